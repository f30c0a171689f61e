// Lost wake-ups of the runtime semaphore: two sides let each other go, a million times. Nothing is checked but
// that it ends; a wake-up that gets lost hangs it. The sides wait random moments between their steps, so that
// the acquirer's last look and the releaser's first meet at every distance (sema.cc: the two-sided look).
// test: labels=slow timeout=300
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/random.h"
#include "gort/gort.h"
#include "sched/entry.h"
#include "sema/sema.h"

namespace {

using namespace gort;
using rt::SemWord;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kRounds = 50'000;
#else
constexpr int kRounds = 1'000'000;
#endif

enum class Pause { none, some };

struct Side {
  SemWord* mine;
  SemWord* others;
  bool handoff;
  Pause pause;
  std::uint64_t seed;

  void operator()(int rounds) const {
    rt::Random random(seed);
    for (int i = 0; i < rounds; ++i) {
      {
        rt::RuntimeEntry entry;
        rt::sem_release(others, {.handoff = handoff, .yield = false});
      }
      if (pause == Pause::some) os::cpu_relax(static_cast<int>(random.below(40)));
      rt::RuntimeEntry entry;
      rt::sem_acquire(mine);
    }
  }
};

struct Pair {
  SemWord a{0};
  SemWord b{0};
  Side left(bool handoff, Pause pause) { return {&a, &b, handoff, pause, 1}; }
  Side right(bool handoff, Pause pause) { return {&b, &a, handoff, pause, 2}; }
  ~Pair() {
    EXPECT_EQ(a.load(), 0u);
    EXPECT_EQ(b.load(), 0u);
  }
};

void goroutines(int procs, bool handoff, Pause pause, bool locked, int rounds) {
  Pair p;
  run({.max_procs = procs}, [&] {
    auto t = spawn([&] {
      if (locked) lock_os_thread();
      p.left(handoff, pause)(rounds);
      if (locked) unlock_os_thread();
    });
    if (locked) lock_os_thread();
    p.right(handoff, pause)(rounds);
    if (locked) unlock_os_thread();
    t.join();
  });
}

TEST(SemaPingPong, OneP) { goroutines(1, false, Pause::none, false, kRounds); }
TEST(SemaPingPong, OnePHandoff) { goroutines(1, true, Pause::none, false, kRounds); }
TEST(SemaPingPong, TwoPs) { goroutines(2, false, Pause::some, false, kRounds); }
TEST(SemaPingPong, TwoPsHandoff) { goroutines(2, true, Pause::some, false, kRounds); }
// Each goroutine on a thread of its own: they really run at the same time.
TEST(SemaPingPong, TwoPsLocked) { goroutines(2, false, Pause::some, true, kRounds / 5); }
TEST(SemaPingPong, TwoPsLockedHandoff) { goroutines(2, true, Pause::some, true, kRounds / 5); }

void threads(bool handoff) {
  Pair p;
  std::thread t([&] { p.left(handoff, Pause::some)(kRounds); });
  p.right(handoff, Pause::some)(kRounds);
  t.join();
}
TEST(SemaPingPong, Threads) { threads(false); }
TEST(SemaPingPong, ThreadsHandoff) { threads(true); }

void thread_and_goroutine(bool handoff) {
  Pair p;
  run({.max_procs = 2}, [&] {
    std::thread t([&] { p.left(handoff, Pause::some)(kRounds / 2); });
    p.right(handoff, Pause::some)(kRounds / 2);
    gort::blocking([&] { t.join(); });
  });
}
TEST(SemaPingPong, ThreadAndGoroutine) { thread_and_goroutine(false); }
TEST(SemaPingPong, ThreadAndGoroutineHandoff) { thread_and_goroutine(true); }

// ---- the last look and the release, aimed at each other --------------------------------------------

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kAimed = 10'000;
#else
constexpr int kAimed = 200'000;
#endif

/// A taker acquires again at once when it has got a unit: it finds none, announces itself, looks once more,
/// queues. The giver sees that the unit was taken and releases the next one a few nanoseconds to half a
/// microsecond later, so often right between two of those steps. One that goes away without seeing the waiter
/// leaves it asleep beside its unit.
void aimed(bool goroutine, bool handoff) {
  SemWord w{0};
  std::atomic<int> taken{0};
  auto take = [&] {
    for (int i = 0; i < kAimed; ++i) {
      rt::RuntimeEntry entry;
      rt::sem_acquire(&w);
      taken.store(i + 1, std::memory_order_release);
    }
  };
  std::thread giver([&] {
    rt::Random random(3);
    for (int i = 0; i < kAimed; ++i) {
      const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
      for (int spins = 1; taken.load(std::memory_order_acquire) != i; ++spins) {
        if (spins % 1024 != 0) continue;
        std::this_thread::yield();
        if (std::chrono::steady_clock::now() < limit) continue;
        ADD_FAILURE() << "the taker sleeps beside " << w.load() << " units, round " << i;
        rt::RuntimeEntry entry;
        rt::sem_release(&w, {.n = static_cast<std::uint32_t>(kAimed)});
        return;
      }
      for (std::uint32_t n = random.below(1000); n > 0; --n) asm volatile("");
      rt::RuntimeEntry entry;
      rt::sem_release(&w, {.handoff = handoff});
    }
  });
  if (goroutine) {
    run(run_options{.max_procs = 2}, take);
  } else {
    take();
  }
  giver.join();
}

TEST(SemaLastLook, Threads) { aimed(false, false); }
TEST(SemaLastLook, ThreadsHandoff) { aimed(false, true); }
TEST(SemaLastLook, Goroutine) { aimed(true, false); }
TEST(SemaLastLook, GoroutineHandoff) { aimed(true, true); }

}  // namespace
