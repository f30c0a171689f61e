// Captured on purpose, inside fork and exit: captured.h. Each play in a process of its own, since it ends it.
// test: needs=GORT_UNSANITIZED
#include "tests/scenarios/captured.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <string>

namespace gort::test {
namespace {

using captured::here;

void fork_and_wait() {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  int status = -1;
  if (pid < 0 || ::waitpid(pid, &status, 0) != pid || status != 0) std::abort();
}

void hold_fork() {
  ::pthread_atfork(here, nullptr, nullptr);
  fork_and_wait();
}

constexpr int kExit = 7;

void hold_exit() {
  std::atexit(here);
  std::exit(kExit);
}

/// What exit() needs as well: its list of handlers, and the files.
void use_exits_locks() {
  std::atexit([] {});
  std::fputs("", stdout);
  std::fflush(nullptr);
}

constexpr Place kFork = {"fork", hold_fork, fork_and_wait, false};
constexpr Place kExitCall = {"exit", hold_exit, use_exits_locks, false};

struct Case {
  int procs;
  Threads threads;
};

class CapturedProcess : public RuntimeTest, public ::testing::WithParamInterface<Case> {
 protected:
  void TearDown() override {}  // the runtimes die in child processes
  /// In the child.
  static void play(const Place& place, bool fault) {
    const auto [procs, threads] = GetParam();
    if (!started_with(procs, Stage::max_threads(procs, threads))) std::_Exit(3);
    Stage(place, procs, threads, fault).play();
    std::_Exit(HasFailure() ? 1 : 0);
  }
};

TEST_P(CapturedProcess, InFork) { EXPECT_EXIT(play(kFork, false), ::testing::ExitedWithCode(0), ""); }

TEST_P(CapturedProcess, InExitOnAGoroutine) {
  EXPECT_EXIT(play(kExitCall, false), ::testing::ExitedWithCode(kExit), "");
}

#if defined(GORT_TESTING)
TEST_P(CapturedProcess, WithoutL2NeverSeenAgain) {
  if (GetParam().threads != Threads::exact) GTEST_SKIP() << "with exactly as many threads as are needed";
  EXPECT_EXIT(play(kFork, true), ::testing::ExitedWithCode(42), "told to leave\nstarved\n$");
  EXPECT_EXIT(play(kExitCall, true), ::testing::ExitedWithCode(42), "told to leave\nstarved\n$");
}
#endif

INSTANTIATE_TEST_SUITE_P(Everywhere, CapturedProcess,
                         ::testing::Values(Case{1, Threads::exact}, Case{2, Threads::exact}, Case{1, Threads::refused},
                                           Case{2, Threads::refused}, Case{1, Threads::free}, Case{2, Threads::free}),
                         [](const auto& c) { return std::to_string(c.param.procs) + "_" + name_of(c.param.threads); });

// ---- exit by main, when run has returned -----------------------------------------------------------

FILE* held_file = nullptr;

void flush_all() {
  captured::leave = true;
  captured::say("main flushes\n");
  std::fflush(nullptr);  // waits for the file that a goroutine left over has locked
}

/// A goroutine is left over in the middle of stdio, others compute; main returns from run, and exits.
void exit_beside_a_captive(int procs) {
  cookie_io_functions_t io = {};
  io.write = [](void*, const char*, std::size_t n) -> ssize_t {
    here();
    return static_cast<ssize_t>(n);
  };
  held_file = ::fopencookie(nullptr, "w", io);
  ::setvbuf(held_file, nullptr, _IONBF, 0);
  gort::run({.max_procs = procs, .grace = {}, .quiet = true}, [&] {
    gort::go([] {
      captured::who = rt::current_g();
      std::fputs("text", held_file);
    });
    yield_until([] { return captured::inside.load(); });
    for (int i = 0; i < procs; ++i) {
      gort::go([] {
        ++captured::tried;
        for (;;) asm volatile("");
      });
    }
    // A hog that has not begun when the run ends never does.
    yield_until([&] { return captured::tried.load() == procs && captured::is_captive(); });
  });
  captured::until(captured::is_captive);
  std::atexit(flush_all);
  std::exit(kExit);
}

class CapturedAtTheEnd : public RuntimeTest, public ::testing::WithParamInterface<int> {
 protected:
  void TearDown() override {}
};

TEST_P(CapturedAtTheEnd, MainExitsWhileACaptiveHasAFile) {
  EXPECT_EXIT(exit_beside_a_captive(GetParam()), ::testing::ExitedWithCode(kExit), "^main flushes\n$");
}

INSTANTIATE_TEST_SUITE_P(Procs, CapturedAtTheEnd, ::testing::Values(1, 2), ::testing::PrintToStringParamName());

}  // namespace
}  // namespace gort::test
