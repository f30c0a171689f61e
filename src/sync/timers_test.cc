// The heaps, and what may be done to a timer at any time from anywhere.
#include "sync/timers.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "gort/world.h"
#include "os/linux/test_support.h"
#include "sched/entry.h"
#include "sched/watch.h"
#include "sync/timer_heap.h"
#include "tests/support/runtime_fixture.h"

using namespace std::chrono_literals;
using gort::test::now_ns;
using gort::test::yield_until;

namespace gort::inline v0::rt {
namespace {

// ---- the heap alone ----------------------------------------------------------------------------

struct Heap {
  TimerHeap h;
  os::atomic<std::int64_t> earliest{kNoTimer};
  Heap() { h.earliest = &earliest; }
  /// Whether it is what it should be.
  bool check() {
    for (std::uint32_t s = TimerHeap::kRoot; s < h.end; ++s) {
      if (h.at(s).timer->slot != s || h.at(s).timer->key.load() != h.at(s).key) return false;
      if (s != TimerHeap::kRoot && h.at(s / 4 + 2).key > h.at(s).key) return false;
    }
    for (const Timer* t = h.beside; t != nullptr; t = t->beside) {
      if (t->slot != kTimerBeside || t->key < h.top().key) return false;
    }
    return true;
  }
};

/// A long life of a heap and of a list. What is wrong; null: nothing. `begin` is called when the test itself needs no more
/// memory; `most`: segments that the heap may have then.
const char* against_a_list(unsigned seed, const std::function<void()>& begin, std::uint32_t most) {
  std::mt19937_64 random(seed);
  Heap heap;
  std::vector<Timer> timers(3000);
  std::vector<Timer*> in;
  in.reserve(timers.size());
  begin();
  for (int step = 0; step < 20'000; ++step) {
    const auto n = random() % 10;
    const auto key = static_cast<std::int64_t>(random() % 1000);
    if (n < (step < 10'000 ? 6u : 3u)) {
      Timer* t = &timers[random() % timers.size()];
      if (t->slot != 0) continue;
      heap.h.push(t, key);
      in.push_back(t);
    } else if (!in.empty()) {
      const std::size_t i = random() % in.size();
      if (n < 8) {
        heap.h.rekey(in[i], key);
      } else {
        heap.h.remove(in[i]);
        if (in[i]->slot != 0) return "a timer that was taken out has a slot";
        in[i] = in.back();
        in.pop_back();
      }
    }
    if (step % 1000 == 0 && !heap.check()) return "its order is broken";
    heap.h.publish();
    if (heap.h.segments > most) return "there was memory";
    const auto least = std::min_element(in.begin(), in.end(), [](Timer* a, Timer* b) { return a->key < b->key; });
    if (heap.earliest.load() != (in.empty() ? kNoTimer : (*least)->key.load())) return "another one is the earliest";
  }
  while (!heap.h.empty()) {
    heap.h.remove(heap.h.top().timer);
    in.pop_back();
  }
  return in.empty() && heap.h.beside == nullptr ? nullptr : "some have got lost";
}

TEST(TimerHeap, AgainstASortedList) {
  for (unsigned seed = 1; seed <= 20; ++seed) EXPECT_STREQ(against_a_list(seed, [] {}, 9), nullptr) << "seed " << seed;
}

// More timers than there is room for: nobody notices.
TEST(TimerHeap, WithoutMemory) {
#if defined(GORT_TEST_SANITIZED)
  GTEST_SKIP() << "sanitizers live on address space";
#endif
  for (int seed = 1; seed <= 5; ++seed) {
    EXPECT_EQ(gort::test::in_child([seed] {
                auto no_more = [] {
                  const rlimit most{static_cast<rlim_t>(gort::test::status_kib("VmSize")) * 1024, RLIM_INFINITY};
                  if (setrlimit(RLIMIT_AS, &most) != 0) std::_Exit(2);
                };
                const char* wrong = against_a_list(static_cast<unsigned>(seed), no_more, 1);
                if (wrong != nullptr) std::fputs(wrong, stderr);
                return wrong != nullptr ? 1 : 0;
              }),
              0)
        << "seed " << seed;
  }
}

TEST(TimerHeap, GrowsAndShrinksWithoutMovingWhatItHolds) {
  Heap heap;
  std::vector<Timer> timers(1'000'000);
  for (std::size_t i = 0; i < timers.size(); ++i) heap.h.push(&timers[i], static_cast<std::int64_t>(i * 7919 % 1'000'003));
  EXPECT_TRUE(heap.check());
  EXPECT_GT(heap.h.segments, 10u);
  std::int64_t last = -1;
  for (std::size_t i = 0; i < timers.size(); ++i) {
    ASSERT_LE(last, heap.h.top().key);
    last = heap.h.top().key;
    heap.h.remove(heap.h.top().timer);
  }
  EXPECT_TRUE(heap.h.empty());
  EXPECT_LE(heap.h.segments, 2u);
}

// A crowd of timeouts that were stopped in time comes up at once, a second's work of a processor: a stop of the world, and
// who wants the lock, do not wait for all of it.
TEST(TimerHeap, AStopDoesNotWaitForACrowdThatWasStopped) {
  EXPECT_EQ(gort::test::in_child([] {
              Heap heap;
              std::vector<Timer> timers(10'000);
              for (auto& t : timers) {
                heap.h.push(&t, 1);
                t.when = kTimerOff;
              }
              sched.stopping = 1;
              run_heap(&heap.h, 2);
              if (heap.h.empty()) return 1;
              sched.stopping = 0;
              run_heap(&heap.h, 2);
              return heap.h.empty() ? 0 : 2;
            }),
            0);
}

// ---- timers --------------------------------------------------------------------------------------

struct Counting : Timer {
  std::atomic<int> gone_off = 0;
  std::atomic<std::int64_t> late = 0;
  Counting() {
    fire = [](const TimerShot& s) noexcept {
      auto* c = static_cast<Counting*>(s.arg);
      c->late = now_ns() - s.when;
      ++c->gone_off;
    };
    arg = this;
  }
};

bool arm_in(Timer* t, std::chrono::nanoseconds d) {
  RuntimeEntry entry;
  return timer_arm(t, os::nanotime() + d.count(), 0);
}
bool remove(Timer* t) {
  RuntimeEntry entry;
  return timer_remove(t);
}

class Timers : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(Timers);

TEST_P(Timers, ResultsTellWhatItWas) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    Counting t;
    EXPECT_FALSE(timer_stop(&t));
    EXPECT_FALSE(arm_in(&t, 1h));
    EXPECT_TRUE(timer_armed(&t));
    EXPECT_TRUE(arm_in(&t, 2h));   // later: in place
    EXPECT_TRUE(arm_in(&t, 30min));  // earlier than its key
    EXPECT_TRUE(timer_stop(&t));
    EXPECT_FALSE(timer_stop(&t));
    EXPECT_FALSE(arm_in(&t, 3h));  // still in the heap
    EXPECT_TRUE(remove(&t));
    EXPECT_FALSE(remove(&t));
    EXPECT_FALSE(arm_in(&t, 0ns));
    EXPECT_TRUE(yield_until([&] { return t.gone_off == 1; }));
    EXPECT_FALSE(timer_stop(&t));
    EXPECT_FALSE(arm_in(&t, -1h));
    EXPECT_TRUE(yield_until([&] { return t.gone_off == 2; }));
    EXPECT_FALSE(remove(&t));
  });
}

// Scenario 71: an armed timer is made earlier, whoever sleeps.
TEST_P(Timers, MadeEarlierGoesOffEarlier) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (int i = 0; i < 50; ++i) {
      Counting t;
      gort::semaphore done(0);
      arm_in(&t, 1h);
      gort::go([&] {
        gort::this_goroutine::sleep_for(100us);  // everybody else is idle by now
        arm_in(&t, 200us);
        done.release();
      });
      done.acquire();
      EXPECT_TRUE(yield_until([&] { return t.gone_off == 1; }));
      remove(&t);
    }
  });
}

// The same from a foreign thread, with all Ms asleep.
TEST_P(Timers, SetByForeignThreads) {
  GORT_TEST_START(GetParam());
  gort::start();
  Counting far;
  arm_in(&far, 1h);
  for (int i = 0; i < 200; ++i) {
    Counting t;
    arm_in(&t, i % 3 == 0 ? 0us : 100us);
    EXPECT_TRUE(yield_until([&] { return t.gone_off == 1; }));
    remove(&t);
  }
  EXPECT_TRUE(remove(&far));
}

TEST_P(Timers, PeriodicOnesKeepTheirGrid) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    Counting t;
    t.period = 300'000;
    const std::int64_t begin = now_ns();
    arm_in(&t, 300us);
    EXPECT_TRUE(yield_until([&] { return t.gone_off >= 20; }));
    EXPECT_TRUE(remove(&t));
    const int n = t.gone_off;
    EXPECT_LE(n, (now_ns() - begin) / 300'000);
    gort::this_goroutine::sleep_for(2ms);
    EXPECT_EQ(t.gone_off, n) << "removed";
  });
}

// Everything at once from everywhere; at the end each armed one goes off exactly as often as nobody stopped it.
TEST_P(Timers, ArmedStoppedAndMovedByAll) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    constexpr int kTimers = 20;
    std::vector<Counting> timers(kTimers);
    std::atomic<int> armed = 0;  // arms that found it unarmed, minus stops that prevented one
    auto work = [&](unsigned seed) {
      std::mt19937 random(seed);
      for (int i = 0; i < 3000; ++i) {
        Counting& t = timers[random() % kTimers];
        if (random() % 3 == 0) {
          if (timer_stop(&t)) --armed;
        } else {
          if (!arm_in(&t, std::chrono::microseconds(random() % 300))) ++armed;
        }
        if (random() % 64 == 0) gort::this_goroutine::sleep_for(std::chrono::microseconds(random() % 200));
        if (random() % 16 == 0) gort::this_goroutine::yield();
      }
    };
    std::thread foreign([&] { work(99); });
    {
      std::vector<gort::task<void>> all;
      for (unsigned i = 0; i < 4; ++i) all.push_back(gort::spawn([&, i] { work(i); }));
    }
    gort::blocking([&] { foreign.join(); });
    auto total = [&] {
      int n = 0;
      for (auto& t : timers) n += t.gone_off;
      return n;
    };
    EXPECT_TRUE(yield_until([&] { return std::none_of(timers.begin(), timers.end(), [](auto& t) { return timer_armed(&t); }); }));
    for (auto& t : timers) remove(&t);
    EXPECT_EQ(total(), armed);
  });
}

// Ps come and go with the timers that they hold.
TEST_P(Timers, MoveWhenTheNumberOfPsChanges) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (int i = 0; i < 30; ++i) {
      gort::max_procs(4);
      std::vector<Counting> timers(64);
      {
        std::vector<gort::task<void>> all;
        for (auto& t : timers) {
          all.push_back(gort::spawn([&t] {
            arm_in(&t, 2ms);
            gort::this_goroutine::yield();
          }));
        }
      }
      gort::max_procs(1 + i % 2);
      EXPECT_TRUE(yield_until([&] { return std::all_of(timers.begin(), timers.end(), [](auto& t) { return t.gone_off == 1; }); }));
      for (auto& t : timers) remove(&t);
    }
  });
}

/// Entries in all heaps.
std::size_t entries() {
  std::size_t n = 0;
  for (int i = 0; i < gort::num_procs(); ++i) {
    TimerHeap* h = p_at(i)->timers.load();
    if (h == nullptr) continue;
    RuntimeEntry entry;
    LockGuard guard(h->lock);
    n += h->end - TimerHeap::kRoot;
  }
  return n;
}

// Whoever stops and arms for ever: one entry per living timer, and per goroutine that has waited so.
TEST_P(Timers, WhatIsResetForEverTakesOnePlace) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::chan<int> full(1);
    gort::timer again(1h);
    gort::func_handle func = gort::after_func(1h, [] {});
    for (int i = 0; i < 20'000; ++i) {
      full.send(i);
      EXPECT_EQ(full.recv_for(1h), i);
      EXPECT_EQ(gort::select(full.on_recv(), gort::after(10us)), 1u);  // this one waits
      again.stop();
      again.reset(std::chrono::hours(1 + i % 3));
      func.reset(std::chrono::minutes(600 - i % 500));
      gort::timer other(1h);
      gort::with_timeout limit(1h);
      static_cast<void>(gort::this_goroutine::cancelled());
      if (i % 200 == 0) {
        gort::scope s;
        for (int k = 0; k < 8; ++k) s.go([&] { EXPECT_FALSE(full.recv_for(1us)); });
        s.join();
      }
      if (i > 1000) i += 99;
    }
    EXPECT_LE(entries(), 2 + 1 + 8 * 8u);
    func.stop();
  });
}

TEST_P(Timers, AMillionArmedAndStopped) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    constexpr std::size_t kMany = 1'000'000;
    std::vector<Timer> timers(kMany);
    std::atomic<int> gone_off = 0;
    for (auto& t : timers) {
      t.fire = [](const TimerShot& s) noexcept { ++*static_cast<std::atomic<int>*>(s.arg); };
      t.arg = &gone_off;
    }
    for (std::size_t i = 0; i < kMany; ++i) EXPECT_FALSE(arm_in(&timers[i], 1h + std::chrono::microseconds(i * 7919 % kMany)));
    for (std::size_t i = 0; i < kMany; i += 2) EXPECT_TRUE(timer_stop(&timers[i]));
    for (auto& t : timers) remove(&t);
    // And all of them due at once.
    for (auto& t : timers) arm_in(&t, 1ns);
    EXPECT_TRUE(yield_until([&] { return gone_off == static_cast<int>(kMany); }, 60'000));
    for (auto& t : timers) remove(&t);
  });
}

}  // namespace
}  // namespace gort::inline v0::rt
