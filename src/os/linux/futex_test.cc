#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "os/os.h"

namespace {

using namespace gort::os;

constexpr std::int64_t kMillisecond = 1'000'000;

TEST(OsFutex, ChangedWordReturnsAtOnce) {
  atomic<std::uint32_t> word{1};
  EXPECT_EQ(futex_wait(&word, 0, -1), Wait::changed);
  EXPECT_EQ(futex_wait(&word, 0, 0), Wait::changed);
}

TEST(OsFutex, WakeBeforeWaitIsNotRemembered) {
  atomic<std::uint32_t> word{0};
  futex_wake(&word, 1);
  EXPECT_EQ(futex_wait(&word, 0, kMillisecond), Wait::timed_out);
}

TEST(OsFutex, TimesOutNotEarly) {
  atomic<std::uint32_t> word{0};
  EXPECT_EQ(futex_wait(&word, 0, 0), Wait::timed_out);
  const std::int64_t begin = nanotime();
  EXPECT_EQ(futex_wait(&word, 0, 5 * kMillisecond), Wait::timed_out);
  EXPECT_GE(nanotime() - begin, 5 * kMillisecond);
}

/// A thread asleep on a word; the test may go on once the kernel says that it sleeps.
struct Sleeper {
  explicit Sleeper(std::int64_t timeout)
      : thread([this, timeout] {
          tid.store(thread_id());
          result = futex_wait(&word, 0, timeout);
          returned.store(1);
        }) {}
  void until_asleep() {
    while (tid.load() == 0) thread_yield();
    char path[64], stat[512];
    std::snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid.load());
    for (;;) {
      ASSERT_GT(read_file(path, stat, sizeof stat), 0);
      const char* paren = std::strrchr(stat, ')');
      if (paren != nullptr && paren[2] == 'S') return;
      thread_yield();
    }
  }
  atomic<std::uint32_t> word{0};
  atomic<int> tid{0};
  atomic<int> returned{0};
  Wait result = Wait::changed;
  std::thread thread;
};

TEST(OsFutex, WakesWhoSleepsForEverAndForTheLongestTime) {
  for (std::int64_t timeout : {std::int64_t{-1}, std::numeric_limits<std::int64_t>::min(),
                               std::numeric_limits<std::int64_t>::max()}) {
    Sleeper s(timeout);
    s.until_asleep();
    EXPECT_EQ(s.returned.load(), 0);
    s.word.store(1);
    futex_wake(&s.word, 1);
    s.thread.join();
    EXPECT_EQ(s.result, Wait::woken);
  }
}

TEST(OsFutex, WakesAtMostN) {
  atomic<std::uint32_t> word{0};
  atomic<std::uint32_t> awake{0};
  constexpr std::uint32_t kThreads = 4;
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      while (futex_wait(&word, 0, -1) != Wait::changed) awake.fetch_add(1);
    });
  }
  // However late a woken thread runs, there are never more returns than wakes that were asked for.
  for (std::uint32_t wakes = 0; awake.load() < 8;) {
    futex_wake(&word, 0);  // nobody; the kernel itself would wake one
    futex_wake(&word, -1);
    futex_wake(&word, 1);
    ++wakes;
    thread_yield();
    ASSERT_LE(awake.load(), wakes);
  }
  word.store(1);
  futex_wake(&word, std::numeric_limits<int>::max());
  for (auto& t : threads) t.join();
}

TEST(OsFutex, SignalEndsTheWaitAsWoken) {
  struct sigaction action = {}, before;
  action.sa_handler = [](int) {};  // no SA_RESTART; the kernel restarts no timed futex wait anyway
  sigaction(SIGUSR1, &action, &before);
  for (std::int64_t timeout : {std::int64_t{-1}, 3600 * 1000 * kMillisecond}) {
    Sleeper s(timeout);
    s.until_asleep();
    EXPECT_EQ(signal_thread(s.tid.load(), SIGUSR1), 0);
    s.thread.join();
    EXPECT_EQ(s.result, Wait::woken);
  }
  sigaction(SIGUSR1, &before, nullptr);
}

TEST(OsFutex, WakeTouchesOnlyTheAddress) {
  void* p = mem_map(page_size(), 1);
  ASSERT_NE(p, nullptr);
  mem_unmap(p, page_size());
  futex_wake(static_cast<atomic<std::uint32_t>*>(p), 1);  // the word is gone: no fault, no error
}

TEST(OsFutex, LeavesErrnoAlone) {
  atomic<std::uint32_t> word{0};
  errno = 4242;
  futex_wait(&word, 1, -1);
  futex_wait(&word, 0, 0);
  futex_wake(nullptr, 1);
  signal_thread(-1, SIGUSR1);
  mem_map(std::size_t{1} << 60, 1);
  char buf[4];
  read_file("/nonexistent", buf, sizeof buf);
  write_all(-1, "x", 1);
  mem_discard(nullptr, 1);
  process_thread_count();
  cgroup_cpu_limit_milli();
  EXPECT_EQ(errno, 4242);
}

}  // namespace
