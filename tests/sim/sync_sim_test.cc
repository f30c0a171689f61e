// The synchronization primitives as they ship, on simulated threads: exclusion, no lost wake-up, and that nobody touches
// an object after its last user has returned. Goroutines on 1 to 3 Ps and a foreign thread take part; waits with a
// deadline that has passed already race with whoever would end them.
// test: timeout=120
#include <gtest/gtest.h>

#include <string>

#include "base/fault.h"
#include "gort/detail/sync_words.h"
#include "sync/condition.h"
#include "sync/counter.h"
#include "sync/mutex.h"
#include "sync/semaphore.h"
#include "sync/shared_mutex.h"
#include "tests/sim/bodies.h"

namespace gort::inline v0::rt {
namespace {

constexpr std::int64_t kPast = 1;
constexpr std::uint32_t kPoison = 0xdeadbee0;

class SimSync : public testing::TestWithParam<SimStrategy> {
 protected:
  SimOptions options(int procs) const {
    SimOptions o;
    o.strategy = GetParam();
    o.pct_depth = 4;
    o.pct_steps = 3000;
    o.cpus = procs;
    return o;
  }
  void expect_ok(std::uint64_t runs, void (*body)(void*)) {
    for (int procs : {1, 2, 3}) {
      const SimResult r = os::sim_explore(options(procs), runs, body, nullptr);
      EXPECT_EQ(r.verdict, SimVerdict::ok) << tell(r);
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Strategies, SimSync, testing::Values(SimStrategy::uniform, SimStrategy::pct),
                         [](const auto& i) { return i.param == SimStrategy::pct ? "pct" : "uniform"; });

/// gort::mutex, whose inline half is the same on a std::atomic.
struct SimMutex {
  SyncWord word{0};
  void lock() {
    std::uint32_t free = 0;
    if (word.compare_exchange_strong(free, detail::kMutexLocked)) return;
    RuntimeEntry entry;
    mutex_lock_slow(&word, kNoDeadline);
  }
  bool lock_until(std::int64_t deadline) {
    RuntimeEntry entry;
    return mutex_lock_slow(&word, deadline);
  }
  void unlock() {
    std::uint32_t held = detail::kMutexLocked;
    if (word.compare_exchange_strong(held, 0)) return;
    RuntimeEntry entry;
    mutex_unlock_slow(&word);
  }
};

struct SimShared {
  SyncWord word{0};
  bool lock(std::int64_t deadline = kNoDeadline) {
    std::uint32_t free = 0;
    if (word.compare_exchange_strong(free, detail::kSharedWriter)) return true;
    RuntimeEntry entry;
    return shared_mutex_lock_slow(&word, deadline);
  }
  void unlock() {
    std::uint32_t held = detail::kSharedWriter;
    if (word.compare_exchange_strong(held, 0)) return;
    RuntimeEntry entry;
    shared_mutex_unlock_slow(&word);
  }
  bool lock_shared(std::int64_t deadline = kNoDeadline) {
    RuntimeEntry entry;
    return shared_mutex_lock_shared_slow(&word, deadline);
  }
  void unlock_shared() {
    RuntimeEntry entry;
    shared_mutex_unlock_shared_slow(&word);
  }
};

/// fn(arg) in n goroutines and one foreign thread; then everything is at rest.
void in_all(int n, Done* done, void (*fn)(void*), void* arg) {
  for (int i = 0; i < n; ++i) go(fn, arg);
  const int other = os::sim_spawn(fn, arg);
  done->wait();
  os::sim_join(other);
  expect_all_ps_idle();
}

struct Guarded {
  SimMutex m;
  bool inside = false;  // plain
  int users = 0;        // likewise
  int n = 0;            // likewise
  os::atomic<int> timeouts{0};
  Done done{4};

  void enter() {
    sim_assert(!inside, "one at a time");
    inside = true;
    os::sim_point();
    ++n;
    inside = false;
  }
};

TEST_P(SimSync, MutexExcludesAndWakes) {
  expect_ok(300, [](void*) {
    start({});
    Guarded g;
    in_all(
        3, &g.done,
        [](void* p) {
          auto* t = static_cast<Guarded*>(p);
          for (int i = 0; i < 3; ++i) {
            t->m.lock();
            t->enter();
            t->m.unlock();
          }
          t->done.one();
        },
        &g);
    sim_assert(g.n == 12 && g.m.word.load() == 0, "the mutex is free in the end, and no bit is left");
  });
}

TEST_P(SimSync, MutexWithTimeouts) {
  expect_ok(300, [](void*) {
    start({});
    Guarded g;
    in_all(
        3, &g.done,
        [](void* p) {
          auto* t = static_cast<Guarded*>(p);
          for (int i = 0; i < 4; ++i) {
            if (i % 2 == 0) {
              t->m.lock();
            } else if (!t->m.lock_until(kPast)) {
              t->timeouts.fetch_add(1);
              continue;
            }
            t->enter();
            t->m.unlock();
          }
          t->done.one();
        },
        &g);
    sim_assert(g.n + g.timeouts.load() == 16 && g.m.word.load() == 0, "the mutex is free in the end, no bit is left");
  });
}

// Who holds it long makes the others starve: the mutex goes from hand to hand, and back to normal.
TEST_P(SimSync, MutexStarving) {
  expect_ok(150, [](void*) {
    start({});
    Guarded g;
    in_all(
        3, &g.done,
        [](void* p) {
          auto* t = static_cast<Guarded*>(p);
          for (int i = 0; i < 3; ++i) {
            t->m.lock();
            t->enter();
            if (i != 1) os::sleep_ns(1'500'000);
            t->m.unlock();
          }
          t->done.one();
        },
        &g);
    sim_assert(g.n == 12 && g.m.word.load() == 0, "the mutex is free in the end, and no bit is left");
  });
}

TEST_P(SimSync, MutexIsNotTouchedAfterItsLastUser) {
  expect_ok(400, [](void*) {
    start({});
    Guarded g;
    g.users = 4;
    in_all(
        3, &g.done,
        [](void* p) {
          auto* t = static_cast<Guarded*>(p);
          t->m.lock();
          const bool last = --t->users == 0;
          t->m.unlock();
          if (last) t->m.word.store(kPoison);
          t->done.one();
        },
        &g);
    sim_assert(g.m.word.load() == kPoison, "nobody comes after the last one");
  });
}

struct Book {
  SimShared m;
  int writers = 0, a = 0, b = 0;  // plain
  os::atomic<int> readers{0};
  os::atomic<int> users{4};
  Done done{4};

  void write() {
    sim_assert(writers++ == 0 && readers.load() == 0, "a writer is alone");
    ++a;
    os::sim_point();
    ++b;
    --writers;
  }
  void read() {
    readers.fetch_add(1);
    sim_assert(writers == 0 && a == b, "readers meet no writer");
    readers.fetch_sub(1);
  }
};

TEST_P(SimSync, SharedMutexWithTimeouts) {
  expect_ok(300, [](void*) {
    start({});
    Book b;
    in_all(
        3, &b.done,
        [](void* p) {
          auto* t = static_cast<Book*>(p);
          for (int i = 0; i < 3; ++i) {
            if (t->m.lock(i == 1 ? kPast : kNoDeadline)) {
              t->write();
              t->m.unlock();
            }
            if (t->m.lock_shared(i == 2 ? kPast : kNoDeadline)) {
              t->read();
              t->m.unlock_shared();
            }
          }
          t->done.one();
        },
        &b);
    sim_assert(b.m.word.load() == 0, "free in the end, and no bit is left");
  });
}

TEST_P(SimSync, SharedMutexIsNotTouchedAfterItsLastUser) {
  expect_ok(300, [](void*) {
    start({});
    Book b;
    in_all(
        3, &b.done,
        [](void* p) {
          auto* t = static_cast<Book*>(p);
          t->m.lock_shared();
          t->read();
          t->m.unlock_shared();
          t->m.lock();
          t->write();
          const bool last = t->users.fetch_sub(1) == 1;
          t->m.unlock();
          if (last) t->m.word.store(kPoison);
          t->done.one();
        },
        &b);
    sim_assert(b.m.word.load() == kPoison, "nobody comes after the last one");
  });
}

struct Counted {
  SyncWord word{2 * detail::kCountOne};
  os::atomic<int> users{4};
  os::atomic<std::uint32_t> roles{0};
  Done done{4};

  void one_done() {
    if (word.fetch_sub(detail::kCountOne) != (detail::kCountOne | detail::kCountParked)) return;
    RuntimeEntry entry;
    counter_wake(&word);
  }
  void wait(std::int64_t deadline) {
    RuntimeEntry entry;
    counter_wait(&word, WaitReason::test, deadline, nullptr);
  }
};

void count_body(void*) {
  start({});
  Counted c;
  in_all(
      3, &c.done,
      [](void* p) {
        auto* t = static_cast<Counted*>(p);
        const std::uint32_t role = t->roles.fetch_add(1);
        if (role >= 2) {
          t->one_done();
        } else {
          if (role == 0) t->wait(kPast);
          t->wait(kNoDeadline);
          sim_assert(t->word.load() < detail::kCountOne || t->word.load() == kPoison, "the count was 0");
          // The last of those who wait destroys it; the others' done() may still be returning.
          if (t->users.fetch_sub(1) == 3) t->word.store(kPoison);
        }
        t->done.one();
      },
      &c);
  sim_assert(c.word.load() == kPoison, "nobody comes after the last wait");
}

TEST_P(SimSync, CountersAreNotTouchedAfterTheLastWait) { expect_ok(400, count_body); }

#if defined(GORT_TESTING)
TEST_P(SimSync, NotLookingAgainUnderTheLockIsFound) {
  static constexpr auto body = [](void* arg) {
    set_fault(Fault::wait_look, true);
    count_body(arg);
  };
  const SimResult r = os::sim_explore(options(2), 4000, body, nullptr);
  // Somebody sleeps for ever; sysmon perhaps does not.
  EXPECT_TRUE(r.verdict == SimVerdict::deadlock || r.verdict == SimVerdict::livelock) << tell(r);
}
#endif

struct Units {
  SyncWord word{2};
  os::atomic<int> out{0};
  Done done{4};
};

TEST_P(SimSync, SemaphoreUnitsAreConserved) {
  expect_ok(300, [](void*) {
    start({});
    Units u;
    in_all(
        3, &u.done,
        [](void* p) {
          auto* t = static_cast<Units*>(p);
          for (std::uint32_t i = 0; i < 4; ++i) {
            const std::uint32_t n = 1 + i % 2;
            if (!units_try_acquire(&t->word, n)) {
              RuntimeEntry entry;
              if (units_acquire(&t->word, n, i == 2 ? kPast : kNoDeadline, nullptr) != WaitEnd::done) continue;
            }
            sim_assert(t->out.fetch_add(static_cast<int>(n)) + static_cast<int>(n) <= 2, "two units");
            t->out.fetch_sub(static_cast<int>(n));
            if (!units_try_release(&t->word, n)) {
              RuntimeEntry entry;
              units_release(&t->word, n);
            }
          }
          t->done.one();
        },
        &u);
    sim_assert(u.word.load() == 2, "all units are back, and no bit is left");
  });
}

struct Box {
  SimMutex m;
  CondWord changed{0};
  int items = 0;  // under m
  os::atomic<int> roles{0};
  Done done{4};

  void wait(std::int64_t deadline) {
    const std::uint64_t begun = changed.fetch_add(detail::kCondWaiting);
    m.unlock();
    {
      RuntimeEntry entry;
      cond_sleep(&changed, begun, deadline, nullptr);
    }
    m.lock();
  }
  void notify(bool all) {
    if (static_cast<std::uint32_t>(changed.load()) == 0) return;
    RuntimeEntry entry;
    cond_notify(&changed, all);
  }
};

TEST_P(SimSync, ConditionLosesNothing) {
  expect_ok(400, [](void*) {
    start({});
    Box b;
    in_all(
        3, &b.done,
        [](void* p) {
          auto* t = static_cast<Box*>(p);
          const int role = t->roles.fetch_add(1);
          for (int i = 0; i < 3; ++i) {
            t->m.lock();
            if (role % 2 == 0) {
              ++t->items;
              t->m.unlock();
              t->notify(i == 1);
            } else {
              if (t->items == 0 && i == 1) t->wait(kPast);
              while (t->items == 0) t->wait(kNoDeadline);
              --t->items;
              t->m.unlock();
            }
          }
          t->done.one();
        },
        &b);
    sim_assert(b.items == 0 && static_cast<std::uint32_t>(b.changed.load()) == 0, "nobody is counted in the end");
  });
}

}  // namespace
}  // namespace gort::inline v0::rt
