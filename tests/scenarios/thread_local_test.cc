// Scenario 47, GetgThreadSwitch: whatever says who and where we are is read anew after every switch. In C++
// the danger is the compiler, which takes a thread_local's address for constant within a function (userver
// #242, silk #66). Worth most in the lto and clang presets.
// test: labels=smoke
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <vector>

#include "sched/m.h"
#include "tests/support/runtime_fixture.h"

namespace {

class ThreadLocal : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(ThreadLocal);

std::atomic<int> moves{0};

/// One function, everything inlined into it that can be: current_g(), self_m() and the id before and after
/// each operation that may change the thread.
#if defined(GORT_TEST_LTO)  // where "everything" is the whole runtime: GCC needs minutes and 5 GiB for that
[[gnu::noinline]]
#else
[[gnu::flatten]]
#endif
void look_before_and_after(int rounds, int how) {
  gort::rt::G* const g = gort::rt::current_g();
  const std::uint64_t id = gort::this_goroutine::id();
  ASSERT_NE(g, nullptr);
  for (int i = 0; i < rounds; ++i) {
    gort::rt::M* const m = gort::rt::self_m();
    const int tid = m->tid.load();
    ASSERT_EQ(tid, ::gettid());
    ASSERT_EQ(m->curg, g);
    switch ((how + i) % 3) {
      case 0: gort::this_goroutine::yield(); break;
      case 1: gort::spawn([] { gort::this_goroutine::yield(); }).join(); break;
      default: gort::blocking([] { ::usleep(20); });
    }
    ASSERT_EQ(gort::rt::current_g(), g);
    ASSERT_EQ(gort::this_goroutine::id(), id);
    ASSERT_EQ(gort::rt::self_m()->tid.load(), ::gettid());
    ASSERT_EQ(gort::rt::self_m()->curg, g);
    ASSERT_EQ(gort::rt::current_g()->m, gort::rt::self_m());
    if (gort::rt::self_m() != m) ++moves;
  }
}

TEST_P(ThreadLocal, WhoAmIIsReadAnewAfterASwitch) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::vector<gort::task<void>> tasks;
    for (int i = 0; i < 16; ++i) tasks.push_back(gort::spawn(look_before_and_after, 200, i));
    for (auto& t : tasks) t.join();
  });
  // The test says something only if goroutines have moved; with one P only a late end of a call moves one.
  if (GetParam() > 1) {
    EXPECT_GT(moves, 0);
  }
}

// Forced migration: two Ms hand one goroutine to and fro. A locked goroutine holds its thread in a spin, so
// that whoever was behind it must go on elsewhere.
TEST_P(ThreadLocal, UnderForcedMigration) {
  if (GetParam() == 1) GTEST_SKIP() << "one P: nobody else could take it";
  GORT_TEST_START(GetParam());
  gort::run([] {
    int moved = 0;
    for (int i = 0; i < 100; ++i) {
      gort::rt::G* const g = gort::rt::current_g();
      gort::rt::M* const before = gort::rt::self_m();
      std::atomic<bool> there{false};
      // Runs next on this P and keeps its thread until we have run: we can only do that on another one.
      auto hog = gort::spawn([&] {
        const std::int64_t deadline = gort::test::now_ns() + 5'000'000'000;
        while (!there && gort::test::now_ns() < deadline) {
        }
        return there.load();
      });
      gort::this_goroutine::yield();
      ASSERT_EQ(gort::rt::current_g(), g);
      ASSERT_EQ(gort::rt::self_m()->curg, g);
      ASSERT_EQ(gort::rt::self_m()->tid.load(), ::gettid());
      if (gort::rt::self_m() != before) ++moved;
      there = true;
      ASSERT_TRUE(hog.get());
    }
    EXPECT_GT(moved, 0);
  });
}

TEST_P(ThreadLocal, GoroutineLocalsStayWithTheirGoroutine) {
  GORT_TEST_START(GetParam());
  static gort::goroutine_local<int> mine;
  *mine = -1;  // the foreign thread's own
  gort::run([] {
    std::vector<gort::task<void>> tasks;
    for (int i = 1; i <= 16; ++i) {
      tasks.push_back(gort::spawn([i] {
        ASSERT_EQ(*mine, 0);
        *mine = i;
        for (int k = 0; k < 50; ++k) {
          gort::this_goroutine::yield();
          gort::blocking([] { ::usleep(10); });
          ASSERT_EQ(*mine, i);
        }
      }));
    }
    for (auto& t : tasks) t.join();
  });
  EXPECT_EQ(*mine, -1);
}

}  // namespace
