#include "base/check.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <string>
#include <thread>

#include "base/print.h"

namespace rt = gort::v0::rt;
namespace os = gort::v0::os;

namespace {

using testing::ExitedWithCode;

TEST(CheckDeathTest, FailedCheckSaysWhatAndWhere) {
  const int zero = 0;
  EXPECT_EXIT(GORT_CHECK(zero == 1, "the sum is wrong"), ExitedWithCode(2),
              "^fatal error: gort: the sum is wrong\n"
              "\tCHECK failed: zero == 1 at [^ ]*check_test.cc:[0-9]+\n$");
}

TEST(Check, HoldingCheckDoesNothingAndEvaluatesOnce) {
  int n = 0;
  GORT_CHECK(++n == 1, "once");
  EXPECT_EQ(n, 1);
}

TEST(CheckDeathTest, DcheckOnlyInDebugBuilds) {
  int n = 0;
#if defined(GORT_DEBUG)
  EXPECT_EXIT(GORT_DCHECK(++n == 2, "dear"), ExitedWithCode(2), "gort: dear");
#else
  GORT_DCHECK(++n == 2, "dear");
  EXPECT_EQ(n, 0) << "not even evaluated";
#endif
}

TEST(CheckDeathTest, FatalIsTheUsersFault) {
  EXPECT_EXIT(rt::fatal("all goroutines are asleep - deadlock!"), ExitedWithCode(2),
              "^fatal error: all goroutines are asleep - deadlock!\n$");
}

TEST(CheckDeathTest, HookRunsOnceAfterTheFirstLine) {
  EXPECT_EXIT(
      {
        rt::fatal_report_hook = [](const rt::FatalReport& r) {
          rt::Printer(2) << "hook: " << r.message << ' ' << (r.all_goroutines ? "all" : "one") << '\n';
        };
        rt::fatal("stuck", true);
      },
      ExitedWithCode(2), "^fatal error: stuck\nhook: stuck all\n$");
}

TEST(CheckDeathTest, FailureInsideTheHookEndsAtOnce) {
  EXPECT_EXIT(
      {
        rt::fatal_report_hook = [](const rt::FatalReport&) { GORT_CHECK(false, "second"); };
        rt::fatal("first");
      },
      ExitedWithCode(2), "^fatal error: first\n(.|\n)*fatal error while reporting a fatal error\n$");
}

TEST(CheckDeathTest, AbortForACoreDump) {
  EXPECT_EXIT(
      {
        signal(SIGABRT, SIG_IGN);  // a program that ignores it dies of it all the same
        rt::fatal_by_abort = true;
        rt::fatal("dump me");
      },
      testing::KilledBySignal(SIGABRT), "^fatal error: dump me\n$");
}

// ---- two threads die at once ----------------------------------------------------------------

char thread_state(int tid) {
  std::ifstream stat("/proc/self/task/" + std::to_string(tid) + "/stat");
  std::string line;
  std::getline(stat, line);
  const std::size_t at = line.rfind(')');
  return at == std::string::npos || at + 2 >= line.size() ? '?' : line[at + 2];
}

std::atomic<bool> first_reports{false};
std::atomic<int> second_tid{0};

/// Runs as the first one's report: holds it until the second one dies too, and waits.
void report_while_another_dies(const rt::FatalReport& r) {
  first_reports = true;
  while (second_tid == 0 || thread_state(second_tid) != 'S') std::this_thread::yield();
  rt::Printer(2) << "report of " << r.message << '\n';
}

[[noreturn]] void die_twice() {
  rt::fatal_report_hook = &report_while_another_dies;
  std::thread second([] {
    while (!first_reports) std::this_thread::yield();
    second_tid = os::thread_id();
    rt::fatal("second");
  });
  second.detach();
  rt::fatal("first");
}

TEST(CheckDeathTest, TwoThreadsDyingAtOncePrintOneReport) {
  EXPECT_EXIT(die_twice(), ExitedWithCode(2), "^fatal error: first\nreport of first\n$");
}

}  // namespace
