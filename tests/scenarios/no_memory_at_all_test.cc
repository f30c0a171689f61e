// As no_memory_test.cc, with a fault in place of a limit: nobody who can do without gets memory of the runtime's. So it can be
// under sanitizers, whose own memory has no limit, and it can begin and end at any moment.
//
// test: needs=GORT_TESTING
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <numeric>
#include <random>
#include <vector>

#include "base/fault.h"
#include "gort/world.h"
#include "sched/entry.h"
#include "sched/sched.h"
#include "sema/sema_root.h"
#include "sync/timer_heap.h"
#include "tests/support/runtime_fixture.h"

using namespace std::chrono_literals;
using ::testing::ExitedWithCode;
using gort::rt::Fault;
using gort::rt::set_fault;
using gort::test::yield_until;

namespace {

struct NoMemory {
  NoMemory() { set_fault(Fault::no_memory, true); }
  ~NoMemory() { set_fault(Fault::no_memory, false); }
};

class NoMemoryAtAll : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(NoMemoryAtAll);

/// What many wait for, each in every way that knows a time.
struct Awaited {
  gort::chan<int> values{0};
  gort::mutex lock;
  gort::shared_mutex shared;
  gort::semaphore units{0};
  gort::mutex of_changed;
  gort::condition_variable changed;
  gort::event event;
  gort::wait_group group;
  gort::latch latch{1};
  std::atomic<long> sent{0}, received{0}, released{0}, acquired{0};

  void wait(unsigned kind, std::chrono::nanoseconds d) {
    switch (kind % 10) {
      case 0: received += values.recv_for(d) ? 1 : 0; break;
      case 1: sent += values.send_for(1, d) ? 1 : 0; break;
      case 2:
        if (lock.try_lock_for(d)) {
          gort::this_goroutine::yield();
          lock.unlock();
        }
        break;
      case 3:
        if (shared.try_lock_for(d)) {
          gort::this_goroutine::yield();
          shared.unlock();
        }
        break;
      case 4:
        if (shared.try_lock_shared_for(d)) {
          gort::this_goroutine::yield();
          shared.unlock_shared();
        }
        break;
      case 5: acquired += units.try_acquire_for(d) ? 1 : 0; break;
      case 6: {
        std::unique_lock hold(of_changed);
        changed.wait_for(hold, d);
        break;
      }
      case 7: static_cast<void>(event.wait_for(d)); break;
      case 8: static_cast<void>(group.wait_for(d)); break;
      case 9: gort::this_goroutine::sleep_for(d); break;
    }
  }
  /// Ends one of those waits, perhaps.
  void serve(unsigned kind) {
    switch (kind % 6) {
      case 0: sent += values.try_send(1) ? 1 : 0; break;
      case 1: received += values.try_recv() ? 1 : 0; break;
      case 2: units.release(), ++released; break;
      case 3: changed.notify_one(); break;
      case 4: event.set(), event.reset(); break;
      case 5: group.done(), group.add(); break;
    }
  }
};

// Each wait lends a timer of its own stack, which goes off while it is served, or cancelled, and its goroutine goes on.
TEST_P(NoMemoryAtAll, TimersOnStacksAreTakenBack) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    constexpr int kMany = 40;
    constexpr int kRounds = 150;
    Awaited what;
    what.group.add();
    gort::event go;
    std::atomic<int> ready{0}, ended{0}, cancelled{0};
    {
      gort::scope s;
      for (unsigned i = 0; i < kMany; ++i) {
        s.go([&, i] {
          std::minstd_rand random(i + 1);
          ++ready;
          go.wait();
          try {
            for (int k = 0; k < kRounds; ++k) what.wait(static_cast<unsigned>(random()), std::chrono::microseconds(random() % 100));
            what.wait(i, 1h);
          } catch (const gort::cancelled&) {
            ++cancelled;
          }
          ++ended;
        });
      }
      EXPECT_TRUE(yield_until([&] { return ready == kMany; }));
      const NoMemory none;
      go.set();
      std::minstd_rand random(99);
      const auto until = gort::clock::now() + 300ms;
      while (gort::clock::now() < until) {
        what.serve(static_cast<unsigned>(random()));
        if (random() % 4 == 0) gort::this_goroutine::yield();
      }
      s.cancel();
      const auto all_ended = [&] {
        for (unsigned i = 0; i < 6; ++i) what.serve(i);  // locks heed no cancellation, but nobody holds one for long
        return ended == kMany;
      };
      EXPECT_TRUE(yield_until(all_ended));
      s.join();
      for (int i = 0; i < gort::num_procs(); ++i) {
        gort::rt::TimerHeap* h = gort::rt::p_at(i)->timers.load();
        EXPECT_TRUE(h == nullptr || (h->empty() && h->beside == nullptr)) << "a timer of a stack that has gone on";
      }
    }
    EXPECT_GT(cancelled, 0);
    EXPECT_EQ(what.sent, what.received);
    while (what.units.try_acquire()) ++what.acquired;
    EXPECT_EQ(what.acquired, what.released);
  });
}

// Memory is there and is not, in turns: an address is in the table or beside it, a timer in the heap or beside it, never both.
TEST_P(NoMemoryAtAll, ComesAndGoes) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    constexpr int kMany = 400;  // more than a heap's first segment
    constexpr int kLocks = 100;
    std::vector<gort::mutex> locks(kLocks);
    std::vector<long> counts(kLocks);
    gort::event go;
    std::atomic<int> ready{0}, ended{0};
    std::atomic<long> had{0};
    gort::scope s;
    for (unsigned i = 0; i < kMany; ++i) {
      s.go([&, i] {
        std::minstd_rand random(i + 1);
        ++ready;
        go.wait();
        for (int k = 0; k < 20; ++k) {
          const auto at = random() % kLocks;
          const bool timed = random() % 2 == 0;
          if (timed && !locks[at].try_lock_for(std::chrono::microseconds(random() % 2000))) continue;
          if (!timed) locks[at].lock();
          ++counts[at], ++had;
          if (random() % 4 == 0) gort::this_goroutine::sleep_for(std::chrono::microseconds(random() % 50));
          locks[at].unlock();
        }
        ++ended;
      });
    }
    s.go([&] {
      while (ended != kMany) {
        const NoMemory none;
        gort::this_goroutine::sleep_for(300us);
        set_fault(Fault::no_memory, false);
        gort::this_goroutine::sleep_for(300us);
        for (auto& root : gort::rt::sem_table) {
          gort::rt::RuntimeEntry entry;
          gort::rt::LockGuard guard(root.lock);
          gort::rt::check_sem_root(root);
        }
      }
    });
    EXPECT_TRUE(yield_until([&] { return ready == kMany; }));
    go.set();
    s.join();
    EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), 0L), had);
  });
}

/// As it was before waiting needed no memory.
struct NeedMemory : gort::test::RuntimeTest, ::testing::WithParamInterface<const char*> {};

void wait_without_memory(const std::string& how, bool needs_it) {
  gort::run({.max_procs = 2}, [&] {
    gort::chan<int> nothing(0);
    std::deque<gort::timer> timers;  // more than two heaps have place for in the beginning
    for (int i = 0; how == "arming" && i < 600; ++i) timers.emplace_back(0ns).recv();
    std::vector<gort::mutex> locks(how == "locks" ? 100 : 0);
    for (auto& l : locks) l.lock();
    gort::event go;
    std::atomic<int> ready{0}, waiting{0};
    gort::scope s;
    for (auto& l : locks) {
      s.go([&] {
        ++ready;
        go.wait();
        ++waiting;
        l.lock();
        l.unlock();
      });
    }
    EXPECT_TRUE(yield_until([&] { return ready == static_cast<int>(locks.size()); }));
    const NoMemory none;
    set_fault(Fault::need_memory, needs_it);
    if (how == "sleep") gort::this_goroutine::sleep_for(1ms);
    if (how == "timed_wait") {
      EXPECT_FALSE(nothing.recv_for(1ms));
    }
    for (auto& t : timers) t.reset(1h);
    for (auto& t : timers) t.reset(1ms);
    for (auto& t : timers) t.recv();
    go.set();
    EXPECT_TRUE(yield_until([&] { return waiting == static_cast<int>(locks.size()); }));
    for (auto& l : locks) l.unlock();
    s.join();
  });
  std::_Exit(::testing::Test::HasFailure() ? 13 : 0);
}

TEST_P(NeedMemory, EndsTheProgramAndIsNotNeeded) {
  EXPECT_EXIT(wait_without_memory(GetParam(), false), ExitedWithCode(0), "");
  EXPECT_EXIT(wait_without_memory(GetParam(), true), ExitedWithCode(2), "out of address space for the runtime's own data");
}
INSTANTIATE_TEST_SUITE_P(For, NeedMemory, ::testing::Values("sleep", "timed_wait", "arming", "locks"),
                         [](const auto& i) { return std::string(i.param); });

/// The number of the P that this goroutine has, at this moment.
int processor() {
  gort::rt::RuntimeEntry entry;
  return gort::rt::self_m()->p->id.load();
}

/// Two Ps have no heap of their own and share the first one's; then the second P becomes the first. By who has the second.
void first_p_goes_away() {
  std::deque<gort::timer> timers;
  {
    const NoMemory none;
    for (int i = 0; i < 40; ++i) timers.emplace_back(1h);
    for (int i = 0; i < 2; ++i) EXPECT_EQ(gort::rt::p_at(i)->timers.load() == nullptr, i == 1) << "there was memory for " << i;
    EXPECT_EQ(gort::max_procs(1), 2);
    gort::timer another(1ms);
    another.recv();
    for (auto& t : timers) EXPECT_TRUE(t.reset(1ms));
    for (auto& t : timers) t.recv();
  }
  EXPECT_EQ(gort::max_procs(4), 1);
  for (auto& t : timers) t.reset(1ms);
  for (auto& t : timers) t.recv();
}

TEST(NoMemoryAtAllHeaps, GoToAnotherFirstP) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        gort::run({.max_procs = 2}, [] {
          std::atomic<bool> done{false};
          while (!done) {
            std::atomic<bool> two{false};
            const auto second_p = [&] {
              if (processor() != 1 || done.exchange(true)) return;
              first_p_goes_away();
            };
            auto other = gort::spawn([&] {
              two = true;
              second_p();
            });
            while (!two) gort::test::poll_for_tsan();
            second_p();
            other.join();
          }
        });
        std::_Exit(::testing::Test::HasFailure() ? 13 : 0);
      },
      ExitedWithCode(0), "");
}

}  // namespace
