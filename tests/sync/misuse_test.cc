// Scenario 106, misuse: a fatal error that names it, with a traceback.
#include "tests/sync/sync.h"

namespace {

using namespace gort;
using namespace gort::test;
using testing::ExitedWithCode;

class Misuse : public testing::Test {
 protected:
  void SetUp() override { testing::GTEST_FLAG(death_test_style) = "threadsafe"; }
};

/// f in a goroutine dies with these words.
#define EXPECT_FATAL(words, ...) \
  EXPECT_EXIT(run({.max_procs = 2}, [] { __VA_ARGS__; }), ExitedWithCode(2), "fatal error: " words)

constexpr const char* kMutex = "gort::mutex: unlock of an unlocked mutex(.|\n)*goroutine";

TEST_F(Misuse, Mutex) {
  EXPECT_EXIT(run([] {
                gort::mutex m;
                m.unlock();
              }),
              ExitedWithCode(2), kMutex);
  EXPECT_EXIT(run([] {
                gort::mutex m;
                m.lock();
                m.unlock();
                m.unlock();
              }),
              ExitedWithCode(2), kMutex);
#if defined(GORT_DEBUG)
  EXPECT_FATAL("gort::mutex: unlock by another goroutine", gort::mutex m; m.lock(); spawn([&] { m.unlock(); }).join());
  EXPECT_FATAL("gort::mutex: locked again by the goroutine that holds it", gort::mutex m; m.lock(); m.lock());
  EXPECT_FATAL("gort::mutex: destroyed while in use", {
    gort::mutex m;
    m.lock();
  });
#endif
}

TEST_F(Misuse, SharedMutex) {
  EXPECT_FATAL("gort::shared_mutex: unlock of one that no writer holds", gort::shared_mutex m; m.unlock());
  EXPECT_FATAL("gort::shared_mutex: unlock of one that no writer holds", gort::shared_mutex m; m.lock_shared();
               m.unlock());
  EXPECT_FATAL("gort::shared_mutex: unlock_shared of one that no reader holds", gort::shared_mutex m;
               m.unlock_shared());
  EXPECT_FATAL("gort::shared_mutex: unlock_shared of one that no reader holds", gort::shared_mutex m; m.lock();
               m.unlock_shared());
}

TEST_F(Misuse, WaitGroup) {
  EXPECT_FATAL("gort::wait_group: negative count", wait_group g; g.done());
  EXPECT_FATAL("gort::wait_group: negative count", wait_group g; g.add(); g.add(-2));
  EXPECT_FATAL("gort::wait_group: count above max", wait_group g; g.add(wait_group::max() + 1));
  EXPECT_FATAL("gort::wait_group: count above max", wait_group g; g.add(wait_group::max()); g.add());
}

TEST_F(Misuse, Latch) {
  EXPECT_FATAL("gort::latch: count below 0", latch l(1); l.count_down(2));
  EXPECT_FATAL("gort::latch: constructed with a count below 0", latch l(-1));
  EXPECT_FATAL("gort::latch: count_down.. by less than 0", latch l(1); l.count_down(-1));
}

TEST_F(Misuse, Barrier) {
  EXPECT_FATAL("gort::barrier: more arrivals", barrier b(1); static_cast<void>(b.arrive(2)));
  EXPECT_FATAL("gort::barrier: arrive.. of less than 1", barrier b(1); static_cast<void>(b.arrive(0)));
}

TEST_F(Misuse, Semaphore) {
  EXPECT_FATAL("semaphore overflow", gort::semaphore s(gort::semaphore::max()); s.release());
  EXPECT_FATAL("gort::semaphore: release of less than 0", gort::semaphore s(1); s.release(-1));
  EXPECT_FATAL("gort::semaphore: acquire of less than 0", gort::semaphore s(1); s.acquire(-1));
}

#if defined(GORT_DEBUG)
TEST_F(Misuse, DestroyedWithWaiters) {
  EXPECT_FATAL("gort::semaphore: destroyed while somebody waits", {
    gort::semaphore s(0);
    go([&] { s.acquire(); });
    until_waiting(1);
  });
  EXPECT_FATAL("gort::condition_variable: destroyed while somebody waits", {
    gort::mutex m;
    gort::condition_variable cv;
    go([&] {
      std::unique_lock hold(m);
      cv.wait(hold);
    });
    until_waiting(1);
  });
  EXPECT_FATAL("gort::wait_group: destroyed while somebody waits", {
    wait_group g;
    g.add();
    go([&] { g.wait(); });
    until_waiting(1);
  });
}
#endif

// What the deadlock report says of who waits for what.
TEST_F(Misuse, DeadlocksNameTheWait) {
#if defined(GORT_TEST_TSAN)
  GTEST_SKIP() << "TSan's own thread counts as foreign: it could call in";
#endif
  EXPECT_EXIT(run([] {
                wait_group g;
                g.add();
                g.wait();
              }),
              ExitedWithCode(2), "all goroutines are asleep - deadlock!(.|\n)*wait_group wait");
  EXPECT_EXIT(run([] {
                latch l(1);
                l.wait();
              }),
              ExitedWithCode(2), "deadlock!(.|\n)*latch wait");
  EXPECT_EXIT(run([] { barrier<>(2).arrive_and_wait(); }), ExitedWithCode(2), "deadlock!(.|\n)*barrier wait");
  EXPECT_EXIT(run([] {
                once_flag f;
                call_once(f, [&] { call_once(f, [] {}); });
              }),
              ExitedWithCode(2), "deadlock!(.|\n)*call_once");
  EXPECT_EXIT(run([] {
                gort::mutex m;
                gort::condition_variable cv;
                std::unique_lock hold(m);
                cv.wait(hold);
              }),
              ExitedWithCode(2), "deadlock!(.|\n)*condition_variable wait");
  EXPECT_EXIT(run([] {
                gort::shared_mutex m;
                m.lock_shared();
                m.lock();
              }),
              ExitedWithCode(2), "deadlock!(.|\n)*shared_mutex lock");
}

}  // namespace
