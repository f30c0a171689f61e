// Compiler-inserted polls with what they really serve: goroutines that no signal can reach are stopped all the same.
// test: timeout=120
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>

#include "sched/entry.h"
#include "tests/polls/loops.h"
#include "tests/support/runtime_fixture.h"
#include "world/world.h"

namespace {

class PollsServe : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(PollsServe);

/// As ThreadSanitizer does it: gort's signal does not come through to this thread.
class Deaf {
 public:
  Deaf() {
    sigset_t urg;
    ::sigemptyset(&urg);
    ::sigaddset(&urg, SIGURG);
    ::pthread_sigmask(SIG_BLOCK, &urg, &before_);
  }
  Deaf(const Deaf&) = delete;
  Deaf& operator=(const Deaf&) = delete;
  ~Deaf() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

TEST_P(PollsServe, StopsOfTheWorldWithoutASignal) {
  GORT_TEST_START(GetParam());
  if (GetParam() == 1) GTEST_SKIP() << "one P: who stops the world runs alone";
  gort::run([] {
    std::atomic<bool> stop{false};
    std::atomic<bool> spins{false};
    auto hog = gort::spawn([&] {
      const Deaf deaf;
      const int tid = ::gettid();
      spins = true;
      gort::test::plain_while(stop);
      return tid == ::gettid();
    });
    while (!spins) gort::this_goroutine::yield();
    for (int i = 0; i < 100; ++i) {
      gort::rt::RuntimeEntry entry;
      gort::rt::start_the_world(gort::rt::stop_the_world(gort::rt::StopReason::test));
    }
    stop = true;
    EXPECT_TRUE(hog.get()) << "a poll has changed the thread";
  });
}

TEST_P(PollsServe, EndsOfTimeSlicesWithoutASignal) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    constexpr int kHogs = 6;  // more than Ps: each must be interrupted, or the one that ends it never runs
    std::atomic<bool> stop{false};
    std::vector<gort::task<bool>> hogs;
    for (int i = 0; i < kHogs; ++i) {
      hogs.push_back(gort::spawn([&] {
        const Deaf deaf;
        const int tid = ::gettid();
        gort::test::do_while(stop);
        return tid == ::gettid();
      }));
    }
    gort::spawn([&] { stop = true; }).join();
    for (auto& hog : hogs) EXPECT_TRUE(hog.get()) << "a poll has changed the thread";
  });
}

}  // namespace
