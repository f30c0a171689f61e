#include "base/mutex.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/fault.h"

namespace rt = gort::v0::rt;
namespace os = gort::v0::os;

namespace {

using rt::LockRank;

/// What the kernel says a thread of ours does: 'R', 'S' …
char thread_state(int tid) {
  std::ifstream stat("/proc/self/task/" + std::to_string(tid) + "/stat");
  std::string line;
  std::getline(stat, line);
  const std::size_t at = line.rfind(')');
  return at == std::string::npos || at + 2 >= line.size() ? '?' : line[at + 2];
}

struct Contended {
  rt::Mutex lock{LockRank::leaf};
  long count = 0;  // plain: the lock orders it
  static constexpr int kThreads = 4, kRounds = 50000;

  static void* work(void* self) {
    auto& c = *static_cast<Contended*>(self);
    for (int i = 0; i < kRounds; ++i) {
      if (i % 4 == 0) {
        while (!c.lock.try_lock()) os::cpu_relax(1);
        ++c.count;
        c.lock.unlock();
      } else {
        rt::LockGuard guard(c.lock);
        ++c.count;
      }
    }
    return reinterpret_cast<void*>(std::uintptr_t(os::tls().locks));
  }
};

TEST(Mutex, ExcludesUnderContention) {
  Contended c;
  pthread_t threads[Contended::kThreads];
  for (pthread_t& t : threads) ASSERT_EQ(pthread_create(&t, nullptr, &Contended::work, &c), 0);
  for (const pthread_t t : threads) {
    void* locks_left = nullptr;
    ASSERT_EQ(pthread_join(t, &locks_left), 0);
    EXPECT_EQ(locks_left, nullptr) << "the thread may be preempted again";
  }
  EXPECT_EQ(c.count, long{Contended::kThreads} * Contended::kRounds);
  EXPECT_FALSE(c.lock.held());
}

/// Several sleepers in the kernel: each unlock wakes the next, none is forgotten.
TEST(Mutex, EverySleeperIsWoken) {
  rt::Mutex lock(LockRank::leaf);
  std::atomic<int> tids[3] = {};
  int passed = 0;
  lock.lock();
  std::vector<std::thread> threads;
  for (auto& tid : tids) {
    threads.emplace_back([&] {
      tid = os::thread_id();
      lock.lock();
      ++passed;
      lock.unlock();
    });
  }
  for (auto& tid : tids) {
    while (tid == 0 || thread_state(tid) != 'S') std::this_thread::yield();
  }
  EXPECT_EQ(passed, 0);
  lock.unlock();
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(passed, 3);
}

#if defined(GORT_TESTING)
#define NEEDS_FAULTS()
#else
#define NEEDS_FAULTS() GTEST_SKIP() << "needs test points: GORT_TESTING=ON"
#endif

/// The lock is released and taken again when its waiter is about to sleep. Whether that one has it soon after the next
/// release, without the time limit that is there for another case.
bool relocked_before_the_sleep() {
#if defined(GORT_TESTING)
  static rt::Mutex* lock;
  static os::atomic<int> step;
  rt::Mutex of_this_run(LockRank::leaf);
  lock = &of_this_run;
  step.store(0);
  rt::set_fault(rt::Fault::lock_sleep, true);
  rt::set_test_hook(
      rt::TestPoint::lock_sleeps,
      [](void*) noexcept {
        if (step.load() != 0) return;
        step.store(1);
        while (step.load() == 1) os::cpu_relax(1);
      },
      nullptr);
  std::atomic<int> tid = 0;
  std::atomic<bool> passed = false;
  lock->lock();
  std::thread waiter([&] {
    tid = os::thread_id();
    lock->lock();
    lock->unlock();
    passed = true;
  });
  while (step.load() != 1) std::this_thread::yield();
  lock->unlock();
  lock->lock();
  step.store(2);
  while (thread_state(tid) != 'S') std::this_thread::yield();
  lock->unlock();
  // Woken, it has nothing to sleep for before it has passed: the release has woken it already, or nobody will.
  while (thread_state(tid) != 'S' && !passed) std::this_thread::yield();
  const bool soon = passed;
  while (!passed) os::futex_wake(reinterpret_cast<os::atomic<std::uint32_t>*>(lock), 1);  // the word comes first
  waiter.join();
  rt::set_fault(rt::Fault::lock_mark, false);
  rt::set_test_hook(rt::TestPoint::lock_sleeps, nullptr, nullptr);
  rt::set_fault(rt::Fault::lock_sleep, false);
  return soon;
#else
  return false;
#endif
}

TEST(Mutex, AWaiterThatComesTooLateForOneReleaseIsKnownToTheNext) {
  NEEDS_FAULTS();
  EXPECT_TRUE(relocked_before_the_sleep());
}

TEST(Mutex, WithoutTheMarkTheNextReleaseDoesNotKnowIt) {
  NEEDS_FAULTS();
  rt::set_fault(rt::Fault::lock_mark, true);
  EXPECT_FALSE(relocked_before_the_sleep());
}

TEST(Mutex, CountsInTheThreadsBlock) {
  rt::Mutex a(LockRank::sched), b(LockRank::leaf);
  const auto before = os::tls().locks;
  EXPECT_FALSE(a.held());
  a.lock();
  EXPECT_TRUE(a.held());
  EXPECT_EQ(os::tls().locks, before + 1);
  ASSERT_TRUE(b.try_lock());
  EXPECT_EQ(os::tls().locks, before + 2);
  bool other_got_it = true;
  std::thread([&] { other_got_it = b.try_lock(); }).join();
  EXPECT_FALSE(other_got_it);
  a.unlock();  // not in the reverse order: allowed
  EXPECT_EQ(os::tls().locks, before + 1);
  b.unlock();
  EXPECT_EQ(os::tls().locks, before);
  EXPECT_FALSE(a.held());
  EXPECT_FALSE(b.held());
}

#if defined(GORT_DEBUG)
#define NEEDS_RANKS()
#else
#define NEEDS_RANKS() GTEST_SKIP() << "needs the lock-rank checker: GORT_DEBUG=ON"
#endif

TEST(MutexDeathTest, WrongOrderNamesBothLocks) {
  NEEDS_RANKS();
  EXPECT_EXIT(
      {
        rt::Mutex sched(LockRank::sched);
        rt::Mutex pool(LockRank::stack_pool);
        pool.lock();
        sched.lock();
      },
      testing::ExitedWithCode(2),
      "lock order: taking sched while holding stack_pool\nfatal error: gort: runtime locks taken against their order");
}

TEST(MutexDeathTest, OrderIsCheckedAgainstEveryLockHeld) {
  NEEDS_RANKS();
  EXPECT_EXIT(
      {
        rt::Mutex a(LockRank::start);
        rt::Mutex b(LockRank::print);
        rt::Mutex c(LockRank::leaf);
        rt::Mutex d(LockRank::sched);
        a.lock();
        b.lock();
        c.lock();
        a.unlock();
        c.unlock();
        d.lock();
      },
      testing::ExitedWithCode(2), "taking sched while holding print");
}

TEST(MutexDeathTest, RecursionIsCaughtInsteadOfHanging) {
  NEEDS_RANKS();
  EXPECT_EXIT(
      {
        rt::Mutex m(LockRank::task);
        m.lock();
        m.lock();
      },
      testing::ExitedWithCode(2), "lock order: taking task while holding task");
}

TEST(MutexDeathTest, UnlockByAThreadThatDoesNotHoldIt) {
  NEEDS_RANKS();
  EXPECT_EXIT(
      {
        rt::Mutex m(LockRank::task);
        m.unlock();
      },
      testing::ExitedWithCode(2), "unlock of a runtime lock that this thread does not hold");
}

TEST(LockRank, EveryRankHasAName) {
  for (int r = 0; r <= int(LockRank::leaf); ++r) {
    EXPECT_STRNE(rt::lock_rank_name(LockRank(r)), "?") << r;
  }
}

}  // namespace
