// The runtime's lock and note, as they ship, on simulated threads: nothing is lost and nobody meets
// in any of thousands of schedules. Beside each stands a mutant that the same body must find, so
// that its silence about the original means something.
#include <gtest/gtest.h>

#include <string>

#include "base/alloc.h"
#include "base/mutex.h"
#include "base/note.h"
#include "os/sim/sim.h"

namespace gort::inline v0::rt {
namespace {

using os::sim_assert;
using os::sim_join;
using os::sim_spawn;
using os::SimOptions;
using os::SimResult;
using os::SimStrategy;
using os::SimVerdict;

std::string tell(const SimResult& r) {
  return std::string(os::sim_verdict_name(r.verdict)) + " seed " + std::to_string(r.seed) +
         " after " + std::to_string(r.runs) + " runs: " + std::string(r.message) + "\n" +
         std::string(r.history);
}

class SimBase : public testing::TestWithParam<SimStrategy> {
 protected:
  // Nothing here leaves static state behind.
  SimOptions options() const {
    return {.strategy = GetParam(), .pct_steps = 150, .isolate = false};
  }

  void expect_ok(void (*body)(void*), std::uint64_t runs = 5000) {
    const SimResult r = os::sim_explore(options(), runs, body, nullptr);
    EXPECT_EQ(r.verdict, SimVerdict::ok) << tell(r);
  }
  void expect_found(void (*body)(void*), SimVerdict verdict, std::uint64_t runs = 5000) {
    const SimResult r = os::sim_explore(options(), runs, body, nullptr);
    EXPECT_EQ(r.verdict, verdict) << tell(r);
  }
};
INSTANTIATE_TEST_SUITE_P(Strategies, SimBase,
                         testing::Values(SimStrategy::uniform, SimStrategy::pct),
                         [](const auto& i) {
                           return i.param == SimStrategy::pct ? "pct" : "uniform";
                         });

// ---- the lock -------------------------------------------------------------------------------

struct RankedMutex : Mutex {
  RankedMutex() : Mutex(LockRank::leaf) {}
};

/// Wakes a sleeper only if the word said so *before* the release: two operations where Mutex has
/// one.
class LateLookMutex {
 public:
  void lock() {
    std::uint32_t expected = 0;
    if (word_.compare_exchange_strong(expected, 1)) return;
    while (word_.exchange(2) != 0) os::futex_wait(&word_, 2, -1);
  }
  void unlock() {
    const bool sleepers = word_.load() == 2;
    word_.store(0);
    if (sleepers) os::futex_wake(&word_, 1);
  }

 private:
  os::atomic<std::uint32_t> word_{0};
};

template <class M>
struct Exclusion {
  M mutex;
  os::atomic<int> inside{0};
  int sum = 0;
  static void worker(void* p) {
    auto* x = static_cast<Exclusion*>(p);
    for (int i = 0; i < 3; ++i) {
      x->mutex.lock();
      sim_assert(x->inside.fetch_add(1) == 0, "one at a time");
      ++x->sum;
      x->inside.fetch_sub(1);
      x->mutex.unlock();
    }
  }
  static void body(void*) {
    Exclusion x;
    int ids[3];
    for (int& id : ids) id = sim_spawn(worker, &x);
    for (int id : ids) sim_join(id);
    sim_assert(x.sum == 9, "everybody was inside");
    sim_assert(os::tls().locks == 0, "the count of locks is balanced");
  }
};

TEST_P(SimBase, MutexExcludesAndForgetsNobody) { expect_ok(Exclusion<RankedMutex>::body); }
TEST_P(SimBase, MutexThatLooksTooEarlyIsFound) {
  expect_found(Exclusion<LateLookMutex>::body, SimVerdict::deadlock);
}

TEST_P(SimBase, TryLockNeverWaitsAndExcludes) {
  static constexpr auto worker = [](void* p) {
    auto* x = static_cast<Exclusion<RankedMutex>*>(p);
    for (int i = 0; i < 3; ++i) {
      if (!x->mutex.try_lock()) continue;
      sim_assert(x->inside.fetch_add(1) == 0, "one at a time");
      x->inside.fetch_sub(1);
      x->mutex.unlock();
    }
  };
  expect_ok([](void*) {
    Exclusion<RankedMutex> x;
    const int a = sim_spawn(worker, &x);
    const int b = sim_spawn(Exclusion<RankedMutex>::worker, &x);
    worker(&x);
    sim_join(a);
    sim_join(b);
  });
}

// ---- the note -------------------------------------------------------------------------------

/// As Note, but the wake comes before the store.
class WakeFirstNote {
 public:
  void clear() { word_.store(0); }
  void sleep() {
    while (word_.load() == 0) os::futex_wait(&word_, 0, -1);
  }
  void wakeup() {
    os::futex_wake(&word_, 1);
    word_.store(1);
  }

 private:
  os::atomic<std::uint32_t> word_{0};
};

/// As Note, but a wakeup before the sleep is forgotten.
class ForgetfulNote {
 public:
  void clear() {}
  void sleep() {
    word_.store(0);
    while (word_.load() == 0) os::futex_wait(&word_, 0, -1);
  }
  void wakeup() {
    word_.store(1);
    os::futex_wake(&word_, 1);
  }

 private:
  os::atomic<std::uint32_t> word_{0};
};

/// Two Ms that hand one thing to and fro, as start_m and stop_m do: publish, wake, sleep, clear.
template <class N>
struct PingPong {
  N there, back;
  int ball = 0;  // plain: whoever has been woken owns it
  static void partner(void* p) {
    auto* g = static_cast<PingPong*>(p);
    for (int i = 0; i < 3; ++i) {
      g->there.sleep();
      g->there.clear();
      sim_assert(g->ball++ == 2 * i, "my turn");
      g->back.wakeup();
    }
  }
  static void body(void*) {
    PingPong g;
    const int t = sim_spawn(partner, &g);
    for (int i = 0; i < 3; ++i) {
      g.there.wakeup();
      g.back.sleep();
      g.back.clear();
      sim_assert(g.ball++ == 2 * i + 1, "my turn");
    }
    sim_join(t);
  }
};

TEST_P(SimBase, NoteLosesNoWakeup) { expect_ok(PingPong<Note>::body); }
TEST_P(SimBase, NoteThatWakesFirstIsFound) {
  expect_found(PingPong<WakeFirstNote>::body, SimVerdict::deadlock);
}
TEST_P(SimBase, NoteThatForgetsIsFound) {
  expect_found(PingPong<ForgetfulNote>::body, SimVerdict::deadlock);
}

TEST_P(SimBase, SecondWakeupOfANoteIsNamed) {
  // Isolated: the CHECK's static state (who reports) stays behind.
  SimOptions o = options();
  o.isolate = true;
  const SimResult r = os::sim_run(
      o,
      [](void*) {
        Note n;
        n.wakeup();
        n.wakeup();
      },
      nullptr);
  EXPECT_EQ(r.verdict, SimVerdict::crash);
  EXPECT_NE(r.message.find("double wakeup of a note"), r.message.npos) << r.message;
}

TEST_P(SimBase, DoorbellsMayRingTogether) {
  expect_ok([](void*) {
    struct Bells {
      Note note;
      os::atomic<int> work{0};
    } b;
    constexpr auto ringer = [](void* p) {
      auto* bells = static_cast<Bells*>(p);
      bells->work.fetch_add(1);
      bells->note.ring();
    };
    const int x = sim_spawn(ringer, &b);
    const int y = sim_spawn(ringer, &b);
    for (int done = 0; done < 2;) {
      b.note.sleep();
      b.note.clear();
      done += b.work.exchange(0);
    }
    sim_join(x);
    sim_join(y);
  });
}

TEST_P(SimBase, SleepForIsNeitherShortNorForgetful) {
  expect_ok([](void*) {
    constexpr std::int64_t kShort = 10'000;  // virtual: 500 steps
    Note n;
    const std::int64_t begin = os::nanotime();
    const int t = sim_spawn(
        [](void* p) {
          for (int i = 0; i < 200; ++i) os::sim_point();
          static_cast<Note*>(p)->wakeup();
        },
        &n);
    const bool woken = n.sleep_for(kShort);
    sim_assert(woken || os::nanotime() - begin >= kShort, "a timeout is never early");
    if (!woken) n.sleep();  // the wakeup that was late is kept
    sim_join(t);
    n.clear();
    sim_assert(!n.sleep_for(kShort), "nobody wakes any more");
  });
}

// ---- allocation -----------------------------------------------------------------------------

TEST_P(SimBase, FixAllocGivesEachObjectToOne) {
  SimOptions o = options();
  o.isolate = true;  // persistent_alloc's chunk is static
  const SimResult r = os::sim_explore(
      o, 500,
      [](void*) {
        struct Object {
          os::atomic<int> owner{0};
          void* pad = nullptr;
        };
        static constinit FixAlloc<Object> pool;
        constexpr auto worker = [](void* p) {
          const int me = static_cast<int>(reinterpret_cast<std::intptr_t>(p));
          for (int i = 0; i < 3; ++i) {
            auto* a = ::new (pool.alloc()) Object;
            auto* b = ::new (pool.alloc()) Object;
            a->owner.store(me);
            b->owner.store(me);
            sim_assert(a != b && a->owner.load() == me && b->owner.load() == me, "mine alone");
            pool.free(a);
            pool.free(b);
          }
        };
        const int x = sim_spawn(worker, reinterpret_cast<void*>(1));
        const int y = sim_spawn(worker, reinterpret_cast<void*>(2));
        worker(reinterpret_cast<void*>(3));
        sim_join(x);
        sim_join(y);
        sim_assert(pool.in_use() == 0, "all are back");
      },
      nullptr);
  EXPECT_EQ(r.verdict, SimVerdict::ok) << tell(r);
}

}  // namespace
}  // namespace gort::inline v0::rt
