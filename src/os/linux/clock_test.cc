#include <gtest/gtest.h>
#include <sys/time.h>

#include <csignal>
#include <ctime>
#include <limits>
#include <thread>

#include "os/linux/test_support.h"
#include "os/os.h"

namespace {

using namespace gort::os;

constexpr std::int64_t kMillisecond = 1'000'000;

TEST(OsClock, IsTheMonotonicClock) {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  const std::int64_t before = t.tv_sec * 1'000'000'000LL + t.tv_nsec;
  const std::int64_t now = nanotime();
  clock_gettime(CLOCK_MONOTONIC, &t);
  EXPECT_LE(before, now);
  EXPECT_LE(now, t.tv_sec * 1'000'000'000LL + t.tv_nsec);
}

TEST(OsClock, CpuTimeGrowsWithWorkAndNotWithSleep) {
  const std::int64_t begin = thread_cputime();
  sleep_ns(30 * kMillisecond);
  EXPECT_LT(thread_cputime() - begin, 15 * kMillisecond);
  while (thread_cputime() - begin < 5 * kMillisecond) {
  }
  std::int64_t other = 0;
  std::thread([&] { other = thread_cputime(); }).join();
  EXPECT_LT(other, 5 * kMillisecond);  // per thread: a new one begins near zero
}

TEST(OsClock, SleepsNotTooShortUnderSignals) {
  struct sigaction action = {}, before;
  static volatile std::sig_atomic_t ticks = 0;
  action.sa_handler = [](int) { ticks = ticks + 1; };
  sigaction(SIGALRM, &action, &before);
  itimerval each_ms = {{0, 1000}, {0, 1000}}, off = {};
  setitimer(ITIMER_REAL, &each_ms, nullptr);
  // On a busy machine a sleep may see one signal or two, since pending ones merge; ThreadSanitizer delivers them later.
  for (int interrupted = 0; interrupted < 3 && !HasFailure();) {
    const int seen = ticks;
    const std::int64_t begin = nanotime();
    sleep_ns(20 * kMillisecond);
    EXPECT_GE(nanotime() - begin, 20 * kMillisecond);
    interrupted += ticks - seen;
  }
  setitimer(ITIMER_REAL, &off, nullptr);
  sigaction(SIGALRM, &before, nullptr);
}

TEST(OsClock, SleepOfNothingReturns) {
  const std::int64_t begin = nanotime();
  sleep_ns(0);
  sleep_ns(-1);
  sleep_ns(std::numeric_limits<std::int64_t>::min());
  EXPECT_LT(nanotime() - begin, 10'000 * kMillisecond);
}

TEST(OsClock, TicksChange) {
  const std::uint64_t first = cputicks();
  while (cputicks() == first) {
  }
}

}  // namespace
