// What the measures of a mutex are there for: with them off, somebody starves, or a wake is lost.
// test: timeout=120
#include "base/fault.h"
#include "tests/sync/sync.h"

namespace {

using namespace gort;
using namespace gort::test;

/// How often a hog that locks again at once has had the mutex before another one got it; at most `limit`.
int turns_of_the_hog(int procs, int limit) {
  int turns = 0;
  run({.max_procs = procs}, [&] {
    gort::mutex m;
    std::atomic<int> hogs{0};
    std::atomic<bool> waits{false}, got{false};
    m.lock();
    auto other = spawn([&] {
      waits = true;
      std::scoped_lock hold(m);
      got = true;
    });
    while (!waits || waiting() == 0) this_goroutine::yield();
    while (!got && hogs < limit) {
      ++hogs;
      spin_for(100'000);
      m.unlock();
      m.lock();
    }
    m.unlock();
    other.join();
    turns = hogs;
  });
  return turns;
}

// A slice is 10 ms, a hundred turns: on one processor the other one finds the mutex taken once, and is given it then.
TEST(MutexStarvation, AHogKeepsNobodyOutOnOneP) {
  GORT_TEST_NEEDS_SIGNALS();
  for (int i = 0; i < 3; ++i) EXPECT_LT(turns_of_the_hog(1, 3000), 1000);
}

TEST(MutexStarvation, AHogKeepsNobodyOutOnTwoPs) {
  for (int i = 0; i < 5; ++i) EXPECT_LT(turns_of_the_hog(2, 3000), 1000);
}

TEST(MutexStarvation, WithoutHandoverItDoes) {
  GORT_TEST_NEEDS_SIGNALS();
  rt::set_fault(rt::Fault::starvation, true);
  EXPECT_EQ(turns_of_the_hog(1, 3000), 3000);
  rt::set_fault(rt::Fault::starvation, false);
}

/// Rounds in which the count comes to 0 just when somebody begins to wait for it.
void count_and_wait(bool blind, int rounds) {
  rt::set_fault(rt::Fault::wait_look, blind);
  run({.max_procs = 2, .quiet = true}, [=] {
    std::atomic<wait_group*> now{nullptr};
    auto other = spawn([&] {
      for (int i = 0; i < rounds; ++i) {
        wait_group* g = nullptr;
        // The partner sleeps for good where its wake is lost: then nobody shall be left who could run.
        const std::int64_t end = now_ns() + 2'000'000'000;
        while ((g = now.exchange(nullptr)) == nullptr) {
          poll();
          if (now_ns() > end) return;
        }
        g->done();
      }
    });
    for (int i = 0; i < rounds; ++i) {
      wait_group g;
      g.add();
      now = &g;
      for (int k = 0; k < i % 64; ++k) os::cpu_relax(1);
      g.wait();
    }
    other.join();
  });
}

TEST(Waits, LookAgainUnderTheLock) { count_and_wait(false, 2'000 / kSlowdown); }

TEST(Waits, WithoutThatAWakeIsLost) {
#if defined(GORT_TEST_TSAN)
  GTEST_SKIP() << "TSan's own thread counts as foreign: no deadlock report";
#endif
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(count_and_wait(true, 1'000'000'000), testing::ExitedWithCode(2), "deadlock!(.|\n)*wait_group wait");
}

}  // namespace
