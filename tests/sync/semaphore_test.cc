// gort::semaphore: several units at a time, order, cancellation.
// test: labels=smoke timeout=120
#include "tests/sync/sync.h"

namespace {

using namespace gort;
using namespace gort::test;
using namespace std::chrono_literals;

using Semaphore = SyncTest;
GORT_TEST_AT_PROCS(Semaphore);

TEST_P(Semaphore, Plain) {
  GORT_TEST_START(GetParam());
  run([] {
    gort::semaphore s(5);
    s.acquire(3);
    EXPECT_FALSE(s.try_acquire(3));
    EXPECT_TRUE(s.try_acquire(2));
    EXPECT_TRUE(s.try_acquire(0));
    EXPECT_FALSE(s.try_acquire_for(0s));
    EXPECT_FALSE(s.try_acquire_until(std::chrono::steady_clock::now() - 1s, 2));
    s.release(5);
    EXPECT_TRUE(s.try_acquire_for(-1s, 5));
  });
}

// Small requests that come later do not keep a large one out, and wait behind it.
TEST_P(Semaphore, InTheOrderOfTheirComing) {
  GORT_TEST_START(GetParam());
  run([] {
    gort::semaphore s(2);
    std::vector<int> order;
    std::mutex lock;
    auto want = [&](int n) {
      s.acquire(n);
      std::scoped_lock hold(lock);
      order.push_back(n);
    };
    auto large = spawn(want, 4);
    until_waiting(1);
    EXPECT_FALSE(s.try_acquire()) << "there are two units, but somebody waits";
    auto small = spawn(want, 1);
    until_waiting(2);
    s.release();
    EXPECT_TRUE(order.empty());
    s.release();
    large.join();
    EXPECT_EQ(order, std::vector<int>{4});
    s.release();
    small.join();
    EXPECT_FALSE(s.try_acquire());
  });
}

TEST_P(Semaphore, UnitsAreConserved) {
  GORT_TEST_START(GetParam());
  run([] {
    gort::semaphore s(10);
    std::atomic<int> out{0};
    const int rounds = 5000 / kSlowdown;
    auto work = [&] {
      for (int i = 0; i < rounds; ++i) {
        const int n = i % 7;
        if (i % 3 != 0 || !s.try_acquire(n)) s.acquire(n);
        EXPECT_LE(out += n, 10);
        if (i % 16 == 0) this_goroutine::yield();
        out -= n;
        s.release(n);
      }
    };
    Threads threads(2, work);
    in_goroutines(6, work);
    threads.join();
    EXPECT_TRUE(s.try_acquire(10));
    EXPECT_FALSE(s.try_acquire());
  });
}

// Waits that are cancelled while units come: none is lost, and those behind are served.
TEST_P(Semaphore, Cancelled) {
  GORT_TEST_START(GetParam());
  run([] {
    const int rounds = 1000 / kSlowdown;
    for (int i = 0; i < rounds; ++i) {
      gort::semaphore s(1);
      Source source;
      auto leaver = spawn([&] { return is_cancelled_in(source, [&] { s.acquire(3); }); });
      until_waiting(1);
      auto stayer = spawn([&] { s.acquire(1); });
      until_waiting(2);
      auto canceller = spawn([&] { fire(source); });
      s.release(2);
      canceller.join();
      const bool left = leaver.get();
      if (!left) s.release(3);
      stayer.join();
      EXPECT_TRUE(s.try_acquire(2));
      EXPECT_FALSE(s.try_acquire());
      EXPECT_TRUE(is_cancelled_in(source, [&] { s.acquire(0); }));
      EXPECT_TRUE(is_cancelled_in(source, [&] { static_cast<void>(s.try_acquire_for(1h)); }));
    }
  });
}

// The one in front goes; there are units for the next.
TEST_P(Semaphore, WhoWaitedBehindIsServed) {
  GORT_TEST_START(GetParam());
  run([] {
    gort::semaphore s(1);
    Source source;
    auto front = spawn([&] { return is_cancelled_in(source, [&] { s.acquire(2); }); });
    until_waiting(1);
    auto behind = spawn([&] { s.acquire(); });
    until_waiting(2);
    fire(source);
    behind.join();
    EXPECT_TRUE(front.get());
  });
}

}  // namespace
