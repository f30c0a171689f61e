// Compiler-inserted polls (docs/polls.md). This program is compiled with gort_add_polls; what serves a request is
// replaced, so that the tests can count and look.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <thread>

#include "sched/m.h"
#include "tests/polls/loops.h"
#include "tests/support/runtime_fixture.h"

namespace {

struct Served {
  std::atomic<int> times{0};
  std::atomic<int> tid{0};
  std::atomic<int> depth{0};
  std::atomic<int> deepest{0};
  std::atomic<bool> stop{false};
  std::atomic<bool> exit{false};
};
Served served;

}  // namespace

namespace gort::inline v0::rt {

/// Instead of the library's. Has polls inside itself, and leaves the request pending.
void serve_at_poll(M* m, const void* here) noexcept;
void serve_at_poll(M*, const void*) noexcept {
  if (served.exit) std::_Exit(7);
  const int depth = ++served.depth;
  if (depth > served.deepest) served.deepest = depth;
  for (int i = 0; i < 10; ++i) {
    if (depth > 1) break;
    served.tid = ::gettid();
  }
  errno = EXDEV;
  ++served.times;
  served.stop = true;
  --served.depth;
}

}  // namespace gort::inline v0::rt

namespace {

using gort::rt::self_m;

/// A loop with polls in it that calls nobody.
[[gnu::noinline]] int spin() {
  volatile int n = 0;
  for (int i = 0; i < 100; ++i) n = n + i;
  return n;
}

void request() { self_m()->pending.fetch_or(gort::rt::kPendingYield); }

/// How often spin() was served, with a request pending.
int served_spinning() {
  const int before = served.times;
  spin();
  return served.times - before;
}

class Polls : public gort::test::RuntimeTest {};

struct Shape {
  const char* name;
  int (*loop)(const std::atomic<bool>&);
};
class PolledLoop : public gort::test::RuntimeTest, public ::testing::WithParamInterface<Shape> {};

/// So that no signal serves what a poll is to serve.
void no_signals() { ::setenv("GORT_DEBUG", "asyncpreemptoff=1", 1); }

// The request is sysmon's own: the slice of a goroutine that calls nobody is over, and another one waits.
TEST_P(PolledLoop, IsFoundByTheMonitorsRequest) {
  no_signals();
  GORT_TEST_START(1);
  gort::run([] {
    const int tid = ::gettid();
    gort::go([] {});
    served.stop = false;
    GetParam().loop(served.stop);
    EXPECT_GT(served.times, 0);
    EXPECT_EQ(served.tid, tid);
    EXPECT_EQ(::gettid(), tid);
  });
}

int by_recursion(const std::atomic<bool>& stop) {
  while (!stop) gort::test::by_recursion(stop, 80);
  return 0;
}

INSTANTIATE_TEST_SUITE_P(Shapes, PolledLoop,
                         ::testing::Values(Shape{"while", gort::test::plain_while}, Shape{"do", gort::test::do_while},
                                           Shape{"goto", gort::test::by_goto}, Shape{"nested", gort::test::nested},
                                           Shape{"recursion", by_recursion}),
                         [](const auto& shape) { return shape.param.name; });

using PollsDeathTest = Polls;

TEST_F(PollsDeathTest, AnEndlessLoopOfOneBlockHasOne) {
  EXPECT_EXIT(
      {
        served.exit = true;
        no_signals();
        gort::run({.max_procs = 1}, [] {
          gort::go([] {});
          volatile int n = 0;
          gort::test::endless(&n);
        });
      },
      ::testing::ExitedWithCode(7), "");
}

TEST_F(Polls, AreNotEnteredFromWhatTheyServe) {
  GORT_TEST_START(1);
  gort::run([] {
    request();
    EXPECT_GT(served_spinning(), 0);
    EXPECT_EQ(served.deepest, 1);
  });
}

TEST_F(Polls, KeepErrno) {
  GORT_TEST_START(1);
  gort::run([] {
    request();
    const int before = served.times;
    errno = ENOTDIR;
    spin();
    EXPECT_EQ(errno, ENOTDIR);
    EXPECT_GT(served.times, before);
  });
}

TEST_F(Polls, AreNoneInTheRuntimeAndInWindows) {
  GORT_TEST_START(1);
  gort::run([] {
    request();
    gort::os::Tls& t = gort::os::tls();
    t.in_runtime = 1;
    EXPECT_EQ(served_spinning(), 0);
    t.in_runtime = 0;
    t.window = 1;
    EXPECT_EQ(served_spinning(), 0);
    t.window = 0;
    t.in_handler = 1;
    EXPECT_EQ(served_spinning(), 0);
    t.in_handler = 0;
    ++t.locks;
    EXPECT_EQ(served_spinning(), 0);
    --t.locks;
    EXPECT_GT(served_spinning(), 0) << "the same without any of these";
  });
}

TEST_F(Polls, AreNoneInBlocking) {
  GORT_TEST_START(1);
  gort::run([] {
    gort::blocking([] {
      request();
      EXPECT_EQ(served_spinning(), 0);
    });
    request();
    EXPECT_GT(served_spinning(), 0);
  });
}

std::atomic<int> in_handler{-1};

TEST_F(Polls, AreNoneOnTheSignalStack) {
  GORT_TEST_START(1);
  gort::run([] {
    struct sigaction action = {};
    action.sa_handler = [](int) { in_handler = served_spinning(); };
    action.sa_flags = SA_ONSTACK;
    ASSERT_EQ(::sigaction(SIGUSR2, &action, nullptr), 0);
    request();
    ASSERT_EQ(::raise(SIGUSR2), 0);
    EXPECT_EQ(in_handler, 0);
    EXPECT_GT(served_spinning(), 0);
  });
}

// A thread that shares our memory and thread-locals, but is not the M's.
TEST_F(Polls, AreNoneInTheChildOfAVfork) {
#if defined(GORT_TEST_TSAN) || defined(GORT_TEST_ASAN)
  GTEST_SKIP() << "sanitizers replace vfork";
#endif
  GORT_TEST_START(1);
  gort::run([] {
    request();
    static volatile int n = -1;
    const pid_t pid = ::vfork();
    if (pid == 0) {
      n = served_spinning();
      ::_exit(0);
    }
    ASSERT_GT(pid, 0);
    ::waitpid(pid, nullptr, 0);
    EXPECT_EQ(n, 0);
    EXPECT_GT(served_spinning(), 0);
  });
}

TEST_F(Polls, AreNoneOnOtherThreads) {
  spin();  // nothing has started yet
  EXPECT_EQ(served.times, 0);
  GORT_TEST_START(1);
  std::thread([] { EXPECT_EQ(served_spinning(), 0); }).join();
  EXPECT_EQ(served_spinning(), 0);
}

}  // namespace
