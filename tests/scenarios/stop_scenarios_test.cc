// Acceptance scenarios of stopping the world: 1, 4, 7, 22, 26, 27, 107. There is no collector yet; a GcHold and stops
// for its reasons stand in for it.
// test: timeout=120
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/fault.h"
#include "gort/metrics.h"
#include "gort/world.h"
#include "sched/entry.h"
#include "sched/invariants.h"
#include "sched/sched.h"
#include "tests/support/runtime_fixture.h"
#include "world/pauses.h"
#include "world/world.h"

namespace gort::test {
namespace {

using rt::StopReason;

class Stop : public RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(Stop);

void stop_and_start(StopReason reason = StopReason::test) {
  rt::RuntimeEntry entry;
  rt::start_the_world(rt::stop_the_world(reason));
}

/// What a collection will be, as far as others notice: a mark phase with a stop at each end.
void collect() {
  rt::RuntimeEntry entry;
  rt::GcHold gc = rt::gc_acquire();
  rt::start_the_world(rt::stop_the_world(StopReason::gc_mark_start));
  rt::start_the_world(rt::stop_the_world(StopReason::gc_mark_end));
  rt::gc_release(std::move(gc));
}

/// Goroutines that run beside a test until it ends.
class Crowd {
 public:
  template <class F>
  void add(int n, F f) {
    const int all = begun_ + n;
    for (int i = 0; i < n; ++i) {
      tasks_.push_back(gort::spawn([this, f] {
        ++begun_;
        f(over_);
      }));
    }
    EXPECT_TRUE(yield_until([&] { return begun_ == all; }));
  }
  ~Crowd() {
    over_ = true;
    for (auto& t : tasks_) t.join();
  }

 private:
  std::atomic<bool> over_{false};
  std::atomic<int> begun_{0};
  std::vector<gort::task<void>> tasks_;
};

void spin(std::atomic<bool>& over) {
  while (!over.load(std::memory_order_relaxed)) poll_for_tsan();
}

// ---- the hold order: gcsema before worldsema

/// A resizer waits for the end of a mark phase, which stops the world once more before it ends.
void resize_against_a_mark_phase() {
  std::atomic<bool> begun{false};
  rt::GcHold gc = [] {
    rt::RuntimeEntry entry;
    return rt::gc_acquire();
  }();
  gort::task<void> resizer = gort::spawn([&] {
    begun = true;
    gort::max_procs(gort::num_procs() + 1);
  });
  // On one P the resizer runs until it waits for a semaphore.
  while (!begun) gort::this_goroutine::yield();
  {
    rt::RuntimeEntry entry;
    rt::start_the_world(rt::stop_the_world(StopReason::gc_mark_end));
    rt::gc_release(std::move(gc));
  }
  resizer.join();
}

TEST(StopOrder, AResizerThatWaitsForAMarkPhaseDoesNotKeepItFromStoppingTheWorld) {
  gort::run({.max_procs = 1}, resize_against_a_mark_phase);
}

#if defined(GORT_TESTING)
TEST(StopOrderDeathTest, TheOtherWayRoundTheyWaitForEachOther) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        rt::set_fault(rt::Fault::gc_order, true);
        gort::run({.max_procs = 1}, resize_against_a_mark_phase);
      },
      ::testing::ExitedWithCode(2), "all goroutines are asleep - deadlock!");
}
#endif

// ---- 1: StopTheWorldDeadlock -----------------------------------------------------------------------

TEST_P(Stop, CollectionsAgainstMaxProcsWhileGoroutinesSpawn) {
  GORT_TEST_START(GetParam());
  gort::run([&] {
    std::atomic<long> children{0};
    {
      Crowd crowd;
      crowd.add(2, [&](std::atomic<bool>& over) {
        while (!over) {
          if (++children < 100) {
            gort::go([&] { --children; });
          } else {
            --children;
          }
          gort::this_goroutine::yield();
        }
      });
      gort::task<void> collects = gort::spawn([] {
        for (int i = 0; i < 1000; ++i) collect();
      });
      for (int i = 0; i < 1000; ++i) gort::max_procs(3 - i % 2);  // 3 and 3 again would not stop anybody
      collects.join();
    }
    EXPECT_TRUE(yield_until([&] { return children == 0; }));
    gort::max_procs(GetParam());
  });
}

// ---- 4: handoff keeps the slice ----------------------------------------------------------------------

TEST_P(Stop, WhoRestartsTheWorldGoesOnAtOnce) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    Crowd crowd;
    crowd.add(3, [](std::atomic<bool>& over) {
      while (!over) stop_and_start();
    });
    for (int i = 0; i < 200; ++i) {
      rt::RuntimeEntry entry;
      rt::WorldHold w = rt::stop_the_world(StopReason::test);
      const rt::M* m = rt::self_m();
      const rt::P* p = m->p;
      const std::uint32_t tick = p->schedtick.load();
      rt::start_the_world(std::move(w));
      ASSERT_EQ(rt::self_m(), m);
      ASSERT_EQ(m->p, p);
      ASSERT_EQ(p->schedtick.load(), tick) << "another goroutine has run";
    }
  });
}

// ---- 7: gomaxprocs waits for the end of a mark phase ---------------------------------------------------

TEST_P(Stop, MaxProcsWaitsForTheEndOfAMarkPhase) {
  GORT_TEST_START(GetParam());
  gort::run([&] {
    const int before = gort::num_procs();
    std::atomic<bool> returned{false};
    auto hold = [] {
      rt::RuntimeEntry entry;
      return rt::gc_acquire();
    }();
    gort::task<void> changes = gort::spawn([&] {
      gort::max_procs(before + 1);
      returned = true;
    });
    // Stops and restarts work meanwhile, and nothing changes the number.
    for (int i = 0; i < 100; ++i) {
      stop_and_start();
      gort::this_goroutine::yield();
      ASSERT_FALSE(returned);
      ASSERT_EQ(gort::num_procs(), before);
    }
    {
      rt::RuntimeEntry entry;
      rt::gc_release(std::move(hold));
    }
    changes.join();
    EXPECT_EQ(gort::num_procs(), before + 1);
    gort::max_procs(before);
  });
}

// ---- 22: what need not stop does not --------------------------------------------------------------------

TEST_P(Stop, MaxProcsWithoutAChangeStopsNobody) {
  GORT_TEST_START(GetParam());
  gort::run([&] {
    const int n = GetParam();
    const std::uint64_t before = rt::pauses_of(StopReason::gomaxprocs).stops;
    for (int i : {0, -1, n, -1'000'000}) EXPECT_EQ(gort::max_procs(i), n);
    EXPECT_EQ(rt::pauses_of(StopReason::gomaxprocs).stops, before);
    EXPECT_EQ(gort::max_procs(n + 1), n);
    EXPECT_EQ(rt::pauses_of(StopReason::gomaxprocs).stops, before + 1);
    EXPECT_EQ(gort::max_procs(n), n + 1);
    EXPECT_EQ(rt::pauses_of(StopReason::gomaxprocs).stops, before + 2);
  });
}

TEST_P(Stop, MaxProcsEndsAt1024) {
  GORT_TEST_START(GetParam());
  gort::run([&] {
    EXPECT_EQ(gort::max_procs(1 << 30), GetParam());
    EXPECT_EQ(gort::num_procs(), 1024);
    EXPECT_EQ(std::get<std::uint64_t>(gort::metrics::read("/sched/gomaxprocs:threads")), 1024u);
    // They work, and stop.
    std::vector<gort::task<int>> tasks;
    for (int i = 0; i < 3000; ++i) {
      tasks.push_back(gort::spawn([i] {
        gort::this_goroutine::yield();
        return i;
      }));
    }
    for (int i = 0; i < 5; ++i) stop_and_start();
    for (int i = 0; i < 3000; ++i) EXPECT_EQ(tasks[static_cast<std::size_t>(i)].get(), i);
    EXPECT_EQ(gort::max_procs(GetParam()), 1024);
    EXPECT_EQ(gort::num_procs(), GetParam());
    EXPECT_EQ(std::get<std::uint64_t>(gort::metrics::read("/sched/gomaxprocs:threads")),
              static_cast<std::uint64_t>(GetParam()));
  });
}

// ---- 26: each stop is one sample, of its kind -------------------------------------------------------------

struct Samples {
  std::uint64_t gc_stopping, gc_total, stopping, total;
  bool operator==(const Samples&) const = default;
};

std::uint64_t count(const char* name) {
  return std::get<gort::metrics::histogram>(gort::metrics::read(name)).count();
}

Samples samples() {
  return {count("/sched/pauses/stopping/gc:seconds"), count("/sched/pauses/total/gc:seconds"),
          count("/sched/pauses/stopping/other:seconds"), count("/sched/pauses/total/other:seconds")};
}

template <class F>
void expect_more(std::uint64_t gc, std::uint64_t other, F operation, const char* what) {
  const Samples before = samples();
  operation();
  const Samples after = samples();
  const Samples expected = {before.gc_stopping + gc, before.gc_total + gc, before.stopping + other,
                            before.total + other};
  EXPECT_TRUE(after == expected) << what;
}

TEST_P(Stop, EachIsOneSampleOfItsKind) {
  GORT_TEST_START(GetParam());
  gort::run([&] {
    const int n = GetParam();
    expect_more(0, 2, [&] { gort::max_procs(n + 1), gort::max_procs(n); }, "max_procs");
    expect_more(0, 0, [&] { gort::max_procs(n); }, "max_procs without a change");
    expect_more(0, 1, [] { EXPECT_TRUE(gort::stop_world("test", std::chrono::seconds(10))); }, "stop_world");
    expect_more(2, 0, [] { collect(); }, "a collection's two stops");
    expect_more(0, 0,
                [] {
                  rt::RuntimeEntry entry;
                  rt::WorldHold w = rt::world_acquire(StopReason::for_each_p);
                  rt::for_each_p(w, [](rt::P*, void*) noexcept {}, nullptr);
                  rt::world_release(std::move(w));
                },
                "for_each_p");
    for (int i = 0; i < rt::kStopReasons; ++i) {
      const auto reason = static_cast<StopReason>(i);
      if (reason == StopReason::for_each_p) continue;
      const bool gc = rt::is_gc_reason(reason);
      expect_more(gc ? 1 : 0, gc ? 0 : 1, [&] { stop_and_start(reason); }, rt::stop_reason_text(reason));
    }
  });
}

TEST_P(Stop, OneThatWasNotInTimeIsNoSample) {
  GORT_TEST_START(GetParam());
  if (GetParam() == 1) GTEST_SKIP() << "the loop runs beside the stopper";
  gort::run([&] {
    Crowd crowd;
    std::atomic<bool> runs{false};
    crowd.add(1, [&](std::atomic<bool>& over) {
      runs = true;
      while (!over.load(std::memory_order_relaxed)) {}
    });
    yield_until([&] { return runs.load(); });
    expect_more(0, 0, [] { EXPECT_FALSE(gort::stop_world("test", std::chrono::milliseconds(5))); }, "too late");
  });
}

// ---- 27: what is true between stop and restart ---------------------------------------------------------------

#if defined(GORT_TESTING)
struct Seen {
  std::atomic<int> stopped{0}, restarted{0}, wrong{0};
};

TEST_P(Stop, AtTheStopAllPsStandAndAfterItNone) {
  GORT_TEST_START(GetParam());
  Seen seen;
  rt::set_test_hook(
      rt::TestPoint::world_stopped,
      [](void* p) noexcept {
        auto* s = static_cast<Seen*>(p);
        ++s->stopped;
        for (int i = 0; i < rt::sched.nprocs; ++i) {
          if (rt::p_at(i)->status.load() != rt::PStatus::stopped) ++s->wrong;
        }
        if (rt::sched.npidle.load() != 0) ++s->wrong;
      },
      &seen);
  rt::set_test_hook(
      rt::TestPoint::world_restarted,
      [](void* p) noexcept {
        auto* s = static_cast<Seen*>(p);
        ++s->restarted;
        for (int i = 0; i < rt::sched.nprocs; ++i) {
          if (rt::p_at(i)->status.load() == rt::PStatus::stopped) ++s->wrong;
        }
      },
      &seen);
  gort::run([&] {
    Crowd crowd;
    crowd.add(2, spin);
    crowd.add(2, [](std::atomic<bool>& over) {
      while (!over) gort::this_goroutine::yield();
    });
    crowd.add(2, [](std::atomic<bool>& over) {
      while (!over) gort::blocking([] {});
    });
    for (int i = 0; i < 300; ++i) {
      stop_and_start();
      if (i % 3 == 0) gort::max_procs(1 + i % 5);
    }
    gort::max_procs(GetParam());
  });
  rt::set_test_hook(rt::TestPoint::world_stopped, nullptr, nullptr);
  rt::set_test_hook(rt::TestPoint::world_restarted, nullptr, nullptr);
  EXPECT_GE(seen.stopped, 300);
  EXPECT_EQ(seen.stopped, seen.restarted);
  EXPECT_EQ(seen.wrong, 0);
}
#endif

// ---- 107: a call that libc makes on every thread -----------------------------------------------------------------

// setresuid() signals every thread of the process and waits until each has obeyed: those that stand in our handler,
// captive or stopped, as well.
TEST_P(Stop, SetuidWhileCaptivesExistAndTheWorldIsStopped) {
  GORT_TEST_NEEDS_SIGNALS();
  GORT_TEST_START(GetParam());
  gort::run([&] {
    Crowd crowd;
    crowd.add(GetParam() + 3, spin);
    crowd.add(1, [](std::atomic<bool>& over) {
      while (!over) stop_and_start();
    });
    const uid_t uid = ::getuid();
    std::atomic<bool> done{false};
    std::thread outside([&] {
      for (int i = 0; i < 200; ++i) {
        if (::setresuid(uid, uid, uid) != 0) std::abort();
      }
      done = true;
    });
    for (int i = 0; i < 20; ++i) {
      if (::setresuid(uid, uid, uid) != 0) std::abort();
      gort::this_goroutine::yield();
    }
    gort::blocking([&] { outside.join(); });
    EXPECT_TRUE(done);
  });
}

}  // namespace
}  // namespace gort::test
