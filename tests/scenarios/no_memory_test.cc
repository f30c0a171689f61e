// Where no address space is left: waiting needs no memory, what makes something throws std::bad_alloc, and nothing is
// half done.
// test: needs=GORT_TESTING
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/alloc.h"
#include "gort/world.h"
#include "os/linux/test_support.h"
#include "sched/entry.h"
#include "sched/invariants.h"
#include "sched/sched.h"
#include "sema/sema.h"
#include "sync/context.h"
#include "sync/select.h"
#include "sync/timer_heap.h"
#include "tests/support/runtime_fixture.h"

using namespace std::chrono_literals;
using ::testing::ExitedWithCode;
using gort::test::yield_until;

namespace {

/// So many threads as will ever be wanted; with a little of what each kind of record comes from.
void warm_up() {
  gort::rt::set_idle_thread_life_for_test(std::int64_t{3600} * 1'000'000'000);
  constexpr int kThreads = 8;
  std::atomic<int> inside{0};
  gort::chan<int> nothing(0);
  gort::scope s;
  for (int i = 0; i < kThreads; ++i) {
    s.go([&] {
      EXPECT_EQ(gort::select(nothing.on_recv(), gort::after(1us)), 1u);
      ++inside;
      gort::blocking([&] {
        while (inside < kThreads) std::this_thread::yield();
      });
    });
  }
  s.join();
  EXPECT_TRUE(yield_until([] {
    gort::rt::RuntimeEntry entry;
    gort::rt::LockGuard guard(gort::rt::sched.lock);
    return gort::rt::sched.creating == 0 && gort::rt::sched.orders == 0 && gort::rt::sched.nmidle >= kThreads / 2;
  }));
}

/// From now on there is no memory but what somebody has already.
void take_all_memory() {
  warm_up();
  const rlimit most{static_cast<rlim_t>(gort::test::status_kib("VmSize")) * 1024, RLIM_INFINITY};
  if (setrlimit(RLIMIT_AS, &most) != 0) std::_Exit(11);
  while (gort::rt::persistent_try_alloc(64, 8) != nullptr) {
  }
}

void give_memory_back() {
  const rlimit most{RLIM_INFINITY, RLIM_INFINITY};
  if (setrlimit(RLIMIT_AS, &most) != 0) std::_Exit(12);
}

/// Timers that stand beside some P's heap.
int beside() {
  int n = 0;
  for (int i = 0; i < gort::num_procs(); ++i) {
    gort::rt::TimerHeap* h = gort::rt::p_at(i)->timers.load();
    if (h == nullptr) continue;
    for (const gort::rt::Timer* t = h->beside; t != nullptr; t = t->beside) ++n;
  }
  return n;
}

/// Waiters in the table of semaphores.
int waiters() {
  int n = 0;
  gort::rt::RuntimeEntry entry;
  gort::rt::sem_for_each_waiter([](const void*, const gort::waiter*, void* sum) noexcept { ++*static_cast<int*>(sum); }, &n);
  return n;
}

class NoMemory : public gort::test::RuntimeTest {
 protected:
  void SetUp() override {
#if defined(GORT_TEST_SANITIZED)
    GTEST_SKIP() << "sanitizers live on address space";
#endif
  }
};

#define EXPECT_DONE(procs, ...)                                         \
  EXPECT_EXIT(                                                          \
      {                                                                 \
        gort::run({.max_procs = procs}, __VA_ARGS__);                   \
        std::_Exit(::testing::Test::HasFailure() ? 13 : 0);             \
      },                                                                \
      ExitedWithCode(0), "")

// Sleeps, timed waits: more than there are records and places in heaps for.
TEST_F(NoMemory, TimedWaitsWork) {
  for (const int procs : {1, 2}) {
    EXPECT_DONE(procs, [] {
      constexpr int kMany = 1500;
      gort::event go;
      gort::chan<int> nothing(0);
      gort::mutex held;
      std::atomic<int> ready{0};
      std::atomic<int> ended{0};
      gort::scope s;
      for (int i = 0; i < kMany; ++i) {
        s.go([&, i] {
          ++ready;
          go.wait();
          const auto d = std::chrono::microseconds(300'000 + i * 7919 % 100'000);
          const auto until = gort::clock::now() + d;
          switch (i % 3) {
            case 0: gort::this_goroutine::sleep_until(until); break;
            case 1: EXPECT_FALSE(nothing.recv_until(until)); break;
            case 2: EXPECT_FALSE(held.try_lock_until(until)); break;
          }
          EXPECT_GE(gort::clock::now(), until);
          ++ended;
        });
      }
      EXPECT_TRUE(yield_until([&] { return ready == kMany; }));
      held.lock();
      take_all_memory();
      go.set();
      EXPECT_TRUE(yield_until([&] { return beside() > 0; }));
      s.join();
      EXPECT_EQ(ended, kMany);
      EXPECT_EQ(beside(), 0);
      held.unlock();
      gort::this_goroutine::sleep_for(1us);
    });
  }
}

// Who is served or cancelled in time takes its timer back from beside the heap.
TEST_F(NoMemory, TimedWaitsThatEndEarlyLeaveNothingBehind) {
  EXPECT_DONE(2, [] {
    constexpr int kMany = 1500;
    gort::event go;
    gort::chan<int> values(0);
    std::atomic<int> ready{0};
    std::atomic<int> got{0};
    std::atomic<int> cancelled{0};
    gort::scope s;
    for (int i = 0; i < kMany; ++i) {
      s.go([&] {
        ++ready;
        go.wait();
        try {
          if (values.recv_for(1h)) ++got;
        } catch (const gort::cancelled&) {
          ++cancelled;
        }
      });
    }
    EXPECT_TRUE(yield_until([&] { return ready == kMany; }));
    take_all_memory();
    go.set();
    EXPECT_TRUE(yield_until([&] { return beside() > kMany / 4; }));
    for (int i = 0; i < kMany / 2; ++i) values.send(i);
    s.cancel();
    s.join();
    EXPECT_EQ(got, kMany / 2);
    EXPECT_EQ(cancelled, kMany - kMany / 2);
    give_memory_back();
    gort::max_procs(1);  // the rest of the timers, all stopped, moves
    gort::this_goroutine::sleep_for(1ms);
  });
}

// A timer that has been made can be armed, at any time.
TEST_F(NoMemory, TimersAreArmedAnew) {
  EXPECT_DONE(2, [] {
    constexpr int kMany = 2000;
    std::deque<gort::timer> timers;
    for (int i = 0; i < kMany; ++i) timers.emplace_back(0ns);
    for (auto& t : timers) t.recv();
    std::vector<gort::clock::time_point> due(kMany);
    take_all_memory();
    for (int i = 0; i < kMany; ++i) EXPECT_FALSE(timers[i].reset(std::chrono::minutes(60 + i * 7919 % 1000)));
    EXPECT_GT(beside(), kMany / 4);
    for (int i = 0; i < kMany; ++i) {
      due[i] = gort::clock::now() + std::chrono::microseconds(10'000 + i * 7919 % 20'000);
      EXPECT_TRUE(timers[i].reset(due[i] - gort::clock::now()));
    }
    int n = 0;
    for (int i = 0; i < kMany; ++i) {
      if (i % 4 == 0) {
        timers[i].stop();
      } else {
        EXPECT_GE(timers[i].recv(), due[i]);
        ++n;
      }
    }
    EXPECT_EQ(n, kMany / 4 * 3);
    timers.clear();
    EXPECT_EQ(beside(), 0);
  });
}

// Each of a thousand mutexes has somebody who waits.
TEST_F(NoMemory, LocksAreWaitedFor) {
  EXPECT_DONE(2, [] {
    constexpr int kMany = 1500;
    gort::event go;
    std::vector<gort::mutex> locks(kMany);
    std::vector<int> order(kMany);
    std::atomic<int> ready{0};
    gort::scope s;
    for (auto& l : locks) l.lock();
    for (int i = 0; i < kMany; ++i) {
      for (int k = 0; k < 2; ++k) {
        s.go([&, i, k] {
          ++ready;
          go.wait();
          if (k == 1 && i % 2 == 0) {
            if (locks[i].try_lock_for(1ms)) locks[i].unlock();
          } else {
            locks[i].lock();
            ++order[i];
            locks[i].unlock();
          }
        });
      }
    }
    EXPECT_TRUE(yield_until([&] { return ready == 2 * kMany; }));
    take_all_memory();
    go.set();
    constexpr int kStay = kMany + kMany / 2;  // who does not wait for a moment only
    EXPECT_TRUE(yield_until([&] { return waiters() == kStay; }));
    EXPECT_LT(gort::rt::sem_stats().waiters, kStay) << "nobody stood beside a tree";
    for (auto& l : locks) l.unlock();
    s.join();
    for (int i = 0; i < kMany; ++i) {
      if (order[i] != (i % 2 == 0 ? 1 : 2)) ADD_FAILURE() << i << ": " << order[i];
    }
  });
}

// There is room for a thread's stack and not for that of its signals: it is not had, and tried again; nobody dies for a spare.
TEST_F(NoMemory, ThreadsAreTriedAgain) {
  EXPECT_DONE(1, [] {
    std::ptrdiff_t spares = 0;  // two; a busy machine may have had use for more
    auto settled = [&] {
      gort::rt::RuntimeEntry entry;
      gort::rt::LockGuard guard(gort::rt::sched.lock);
      spares = gort::rt::sched.nmidle;
      return gort::rt::sched.creating == 0 && gort::rt::sched.orders == 0 && spares >= 2;
    };
    constexpr std::ptrdiff_t kMost = 16;
    std::atomic<bool> enough{false};
    gort::semaphore turns(0);
    gort::scope s;
    for (std::ptrdiff_t i = 0; i < kMost; ++i) {
      s.go([&] {
        turns.acquire();
        if (enough) return;
        gort::blocking([&] {
          while (!enough) std::this_thread::yield();
        });
      });
    }
    EXPECT_TRUE(yield_until(settled));
    EXPECT_LE(spares, kMost);
    const rlimit most{static_cast<rlim_t>(gort::test::status_kib("VmSize") + 290) * 1024, RLIM_INFINITY};
    if (setrlimit(RLIMIT_AS, &most) != 0) std::_Exit(11);
    turns.release(spares - 1);
    // The last of the spares has the processor now, and there is no other.
    EXPECT_TRUE(yield_until([] {
      gort::rt::RuntimeEntry entry;
      gort::rt::LockGuard guard(gort::rt::sched.lock);
      gort::rt::M* m = gort::rt::sched.free_m.pop();  // one that did not come about
      if (m != nullptr) gort::rt::sched.free_m.push(m);
      return m != nullptr;
    }));
    give_memory_back();
    enough = true;
    turns.release(kMost);
    s.join();
    EXPECT_TRUE(yield_until(settled));
  });
}

// ---- what throws -------------------------------------------------------------------------------

struct user : gort::context_key<std::shared_ptr<int>> {};

int deepest = 0;
gort::with_cancel* outermost = nullptr;

void nest(int depth, const std::shared_ptr<int>& value);

/// False: there is no memory for one more. (A function of its own: Clang takes a nest() that calls itself for endless.)
bool nest_below(int depth, const std::shared_ptr<int>& value) {
  try {
    switch (depth % 4) {
      case 0: {
        gort::with_cancel c;
        nest(depth + 1, value);
        break;
      }
      case 1: {
        gort::with_timeout c(1h);
        nest(depth + 1, value);
        break;
      }
      case 2: {
        gort::with_value<user> c(value);
        nest(depth + 1, value);
        break;
      }
      default: {
        gort::scope s;
        nest(depth + 1, value);
      }
    }
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

/// Contexts below each other until there is no memory for one more; what that does is looked at there.
void nest(int depth, const std::shared_ptr<int>& value) {
  if (nest_below(depth, value)) return;
  deepest = depth;
  const gort::context here = gort::this_goroutine::context();
  const long values = value.use_count();
  const std::size_t contexts = gort::rt::contexts_in_use();
  EXPECT_THROW(gort::with_cancel c, std::bad_alloc);
  EXPECT_THROW(gort::with_timeout c(1ms), std::bad_alloc);
  EXPECT_THROW(gort::with_value<user> c(value), std::bad_alloc);
  EXPECT_THROW(gort::with_context c(here), std::bad_alloc);
  EXPECT_THROW(gort::scope s, std::bad_alloc);
  EXPECT_THROW(static_cast<void>(gort::spawn([] {})), std::bad_alloc);
  EXPECT_EQ(gort::this_goroutine::context(), here);
  EXPECT_EQ(value.use_count(), values);
  EXPECT_EQ(gort::rt::contexts_in_use(), contexts);
  // To look, to be cancelled, to shield needs none.
  EXPECT_FALSE(here.cancelled());
  outermost->cancel();
  EXPECT_TRUE(here.cancelled());
  EXPECT_THROW(gort::this_goroutine::sleep_for(1h), gort::cancelled);
  {
    gort::shield from_that;
    gort::this_goroutine::sleep_for(1ms);
    gort::shield nested;
    EXPECT_FALSE(gort::this_goroutine::cancelled());
  }
  EXPECT_TRUE(gort::this_goroutine::cancelled());
  EXPECT_EQ(gort::this_goroutine::context(), here);
}

TEST_F(NoMemory, ContextsThrow) {
  EXPECT_DONE(2, [] {
    auto value = std::make_shared<int>(7);
    gort::spawn([] {}).join();
    gort::this_goroutine::sleep_for(1ms);
    const std::size_t contexts = gort::rt::contexts_in_use();
    take_all_memory();
    {
      gort::with_cancel outer;
      outermost = &outer;
      nest(0, value);
    }
    EXPECT_GT(deepest, 0);
    EXPECT_EQ(value.use_count(), 1);
    EXPECT_EQ(gort::rt::contexts_in_use(), contexts);
    gort::with_timeout again(0ns);
    EXPECT_TRUE(gort::this_goroutine::cancelled());
  });
}

TEST_F(NoMemory, CallbacksThrowOrRun) {
  EXPECT_DONE(2, [] {
    std::atomic<int> ran{0};
    int n = 0;
    {
      gort::with_cancel c;
      const gort::context context = c.context();
      std::vector<gort::context::callback> all;
      all.reserve(100'000);
      gort::scope told;
      take_all_memory();
      try {
        for (; n < 100'000; ++n) all.push_back(context.after_func([&] { ++ran; }));
      } catch (const std::bad_alloc&) {
      }
      c.cancel();
      EXPECT_LT(n, 100'000);
      EXPECT_TRUE(yield_until([&] { return ran == n; }));
      give_memory_back();
    }
    EXPECT_EQ(ran, n);
  });
}

// A select for which there is no memory has done nothing.
TEST_F(NoMemory, SelectThrows) {
  EXPECT_DONE(2, [] {
    constexpr int kMany = 2000;
    std::vector<gort::chan<std::string>> channels;
    for (int i = 0; i < kMany; ++i) channels.emplace_back(0);
    std::string value = "a string that is longer than what fits into the object";
    const std::string same = value;
    std::optional<std::string> out;
    gort::chan<int> numbers(0);
    std::optional<int> number;
    std::vector<gort::select_case> cases;
    cases.push_back(channels[0].on_send(std::move(value)));
    for (auto& c : channels) cases.push_back(c.on_recv(out));
    gort::scope s;
    gort::event go;
    s.go([&] {
      go.wait();
      numbers.send(42);
    });
    gort::this_goroutine::sleep_for(1ms);
    const std::size_t nodes = gort::rt::select_nodes_in_use();
    take_all_memory();
    EXPECT_THROW(gort::select(cases), std::bad_alloc);
    EXPECT_EQ(value, same);
    EXPECT_FALSE(channels[0].try_recv());
    EXPECT_EQ(gort::rt::select_nodes_in_use(), nodes);
    go.set();
    EXPECT_EQ(gort::select(channels[0].on_recv(out), numbers.on_recv(number), gort::after(10min)), 1u);
    EXPECT_EQ(number, 42);
    s.join();
    give_memory_back();
    cases.emplace_back(gort::after(1ms));
    EXPECT_EQ(gort::select(cases), cases.size() - 1);
  });
}

// The channel that is closed when a context is cancelled is made for the first who waits for it.
TEST_F(NoMemory, WaitingForContextsThrows) {
  EXPECT_DONE(2, [] {
    constexpr int kMany = 2000;
    std::vector<gort::task<void>> tasks;
    std::deque<gort::context> contexts;
    tasks.reserve(kMany);
    gort::event go;
    for (int i = 0; i < kMany; ++i) {
      gort::with_cancel c;
      contexts.push_back(c.context());
    }
    std::vector<gort::context> open;
    gort::with_cancel outer;
    gort::chan<gort::context> made(kMany);
    gort::scope s;
    for (int i = 0; i < kMany; ++i) {
      s.go([&] {
        gort::with_cancel own;
        made.send(own.context());
        go.wait();
      });
    }
    open.reserve(kMany);
    for (int i = 0; i < kMany; ++i) open.push_back(*made.recv());
    take_all_memory();
    int n = 0;
    try {
      for (auto& c : open) static_cast<void>(c.on_cancelled()), ++n;
    } catch (const std::bad_alloc&) {
    }
    EXPECT_LT(n, kMany);
    EXPECT_THROW(open.back().wait(), std::bad_alloc);
    go.set();
    s.join();
    give_memory_back();
    for (auto& c : open) EXPECT_EQ(gort::select(c.on_cancelled(), gort::after(10min)), 0u);
  });
}

}  // namespace
