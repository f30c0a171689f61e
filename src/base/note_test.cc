#include "base/note.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace rt = gort::v0::rt;
namespace os = gort::v0::os;

namespace {

constexpr std::int64_t kMs = 1'000'000;

TEST(Note, WakeupBeforeSleepIsKept) {
  rt::Note n;
  n.wakeup();
  n.sleep();
  EXPECT_TRUE(n.sleep_for(0)) << "still, until it is cleared";
  EXPECT_TRUE(n.signaled());
  n.clear();
  EXPECT_FALSE(n.signaled());
  EXPECT_FALSE(n.sleep_for(0));
  EXPECT_FALSE(n.sleep_for(-5));
}

TEST(Note, RoundsPublishWhatWasWrittenBefore) {
  rt::Note ping, pong;
  int data = 0;  // plain: the notes order it
  std::jthread partner([&] {
    for (int i = 1; i <= 2000; ++i) {
      ping.sleep();
      ping.clear();
      ++data;
      pong.wakeup();
    }
  });
  for (int i = 1; i <= 2000; ++i) {
    data = 10 * i;
    ping.wakeup();
    pong.sleep();
    pong.clear();
    ASSERT_EQ(data, 10 * i + 1);
  }
}

TEST(Note, TimeoutIsNotShortAndNotForgotten) {
  rt::Note n;
  const std::int64_t start = os::nanotime();
  EXPECT_FALSE(n.sleep_for(20 * kMs));
  EXPECT_GE(os::nanotime() - start, 20 * kMs);
  n.wakeup();
  EXPECT_TRUE(n.sleep_for(20 * kMs));
}

TEST(Note, TimedSleeperIsWoken) {
  rt::Note n;
  std::atomic<bool> woken{false};
  std::jthread sleeper([&] { woken = n.sleep_for(60'000 * kMs); });
  n.wakeup();
  sleeper.join();
  EXPECT_TRUE(woken);
}

std::atomic<int> handled{0};

/// Acceptance scenario 105, SpuriousWakeupsNeverHangSemasleep. A sleeper that began anew with its whole
/// time after each interruption would sleep as long as the storm blows.
TEST(Note, SpuriousWakeupsNeverHangSemasleep) {
  constexpr std::int64_t kSleep = 200 * kMs, kStorm = 60'000 * kMs, kLate = 15'000 * kMs;
  struct sigaction act = {}, old;
  act.sa_handler = [](int) { handled.fetch_add(1, std::memory_order_relaxed); };  // no SA_RESTART: EINTR
  ASSERT_EQ(sigaction(SIGUSR1, &act, &old), 0);
  const pthread_t sleeper = pthread_self();
  std::atomic<bool> done{false};
  std::jthread storm([&] {
    const std::int64_t end = os::nanotime() + kStorm;
    while (!done && os::nanotime() < end) {
      pthread_kill(sleeper, SIGUSR1);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));  // far more often than once per sleep
    }
  });
  rt::Note n;
  while (handled == 0) std::this_thread::yield();  // it blows
  for (int interrupted = 0; interrupted <= 10 && !HasFailure();) {  // on a busy machine it may take several sleeps
    const int before = handled;
    const std::int64_t start = os::nanotime();
    EXPECT_FALSE(n.sleep_for(kSleep));
    const std::int64_t took = os::nanotime() - start;
    interrupted = handled - before;
    EXPECT_GE(took, kSleep);
    EXPECT_LT(took, kLate);
  }
  done = true;
  storm.join();
  sigaction(SIGUSR1, &old, nullptr);
}

TEST(Note, InterruptedEndlessSleepGoesOn) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "TSan keeps signals back: the sleeper's handlers may never run";
#endif
  struct sigaction act = {}, old;
  act.sa_handler = [](int) { handled.fetch_add(1, std::memory_order_relaxed); };
  ASSERT_EQ(sigaction(SIGUSR1, &act, &old), 0);
  rt::Note n;
  std::atomic<bool> returned{false};
  handled = 0;
  std::jthread sleeper([&] {
    n.sleep();
    returned = true;
  });
  for (int i = 1; i <= 100; ++i) {
    pthread_kill(sleeper.native_handle(), SIGUSR1);
    while (handled < i) std::this_thread::yield();
    ASSERT_FALSE(returned);
  }
  n.wakeup();
  sleeper.join();
  EXPECT_TRUE(returned);
  sigaction(SIGUSR1, &old, nullptr);
}

TEST(NoteDeathTest, DoubleWakeupIsFatal) {
  EXPECT_EXIT(
      {
        rt::Note n;
        n.wakeup();
        n.wakeup();
      },
      testing::ExitedWithCode(2), "double wakeup of a note");
}

TEST(Note, ARingMayBeRepeated) {
  rt::Note n;
  n.ring();
  n.ring();
  n.sleep();
  n.clear();
  EXPECT_FALSE(n.signaled());
  n.ring();
  EXPECT_TRUE(n.sleep_for(60'000 * kMs));
}

}  // namespace
