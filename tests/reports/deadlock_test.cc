// Whole programs that cannot go on, and what they say about it (acceptance scenario 102).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <string>

#include "debug/symbols.h"
#include "tests/reports/shop.h"
#include "tests/reports/subject.h"
#include "tests/support/runtime_fixture.h"

namespace {

using gort::test::Outcome;
using gort::test::run_subject;

constexpr char kAsleep[] = "fatal error: all goroutines are asleep - deadlock!";
constexpr char kNone[] = "fatal error: no goroutines (main called goexit) - deadlock!";

class Deadlock : public testing::TestWithParam<const char*> {
 protected:
  Outcome run(const char* subject) { return run_subject(subject, {.env = {std::string("GORT_MAXPROCS=") + GetParam()}}); }

  static void expect_report(const Outcome& o, const char* first_line) {
    EXPECT_EQ(o.exit_code, 2) << o.err;
    EXPECT_EQ(o.line(0), first_line) << o.err;
    EXPECT_EQ(o.line(1), "");
  }

  static void expect_worker_in(const std::string& trace, const Outcome& o) {
    EXPECT_NE(trace.find("\nshop::worker()\n"), std::string::npos) << o.err;
    if (!gort::rt::symbols_have_lines()) return;
    EXPECT_NE(trace.find("tests/reports/shop.h:" + std::to_string(shop::kWorkerLine) + " +0x"), std::string::npos) << o.err;
  }
};
INSTANTIATE_TEST_SUITE_P(Procs, Deadlock, testing::Values("1", "2"));

SUBJECT(simple) {
  gort::run([] {
    gort::go({.name = "rx"}, [] { shop::worker(); });
    shop::worker();
  });
}
TEST_P(Deadlock, Simple) {
  const Outcome o = run("simple");
  expect_report(o, kAsleep);
  expect_worker_in(o.trace_of("goroutine 1 [semacquire, name \"main\"]:"), o);
  expect_worker_in(o.trace_of("goroutine 2 [semacquire, name \"rx\"]:"), o);
  EXPECT_NE(o.trace_of("goroutine 2 [").find("created by "), std::string::npos) << o.err;
  EXPECT_NE(o.trace_of("goroutine 2 [").find(" in goroutine 1\n"), std::string::npos) << o.err;
  if (gort::rt::symbols_have_lines()) {
    EXPECT_NE(o.trace_of("goroutine 2 [").find("deadlock_test.cc:"), std::string::npos) << o.err;
  }
  EXPECT_EQ(o.names().find("gort::v0::rt::"), std::string::npos) << "the runtime's frames are left out: " << o.err;
  EXPECT_EQ(o.names().find("__invoke"), std::string::npos) << "and so is what calls a closure: " << o.err;
  EXPECT_LT(o.err.find("\n\t0x"), o.err.find("shop::worker")) << "addresses first";
}

SUBJECT(join) {
  gort::run([] {
    auto t = gort::spawn([] { shop::worker(); });
    t.join();
  });
}
TEST_P(Deadlock, JoiningATaskThatNeverEnds) {
  const Outcome o = run("join");
  expect_report(o, kAsleep);
  EXPECT_NE(o.trace_of("goroutine 1 [task join"), "") << o.err;
  expect_worker_in(o.trace_of("goroutine 2 [semacquire"), o);
}

SUBJECT(locked) {
  gort::run([] {
    gort::os_thread_lock here;
    gort::go([] {
      gort::os_thread_lock there;
      shop::worker();
    });
    shop::worker();
  });
}
TEST_P(Deadlock, LockedToThreads) {
  const Outcome o = run("locked");
  expect_report(o, kAsleep);
  expect_worker_in(o.trace_of("goroutine 1 [semacquire, locked to thread"), o);
  expect_worker_in(o.trace_of("goroutine 2 [semacquire, locked to thread"), o);
}

SUBJECT(goexit) {
  gort::run([] { gort::goexit(); });
}
TEST_P(Deadlock, MainCalledGoexit) {
  const Outcome o = run("goexit");
  expect_report(o, kNone);
  EXPECT_FALSE(o.says("goroutine 1 [")) << o.err;
}

SUBJECT(goexit_others) {
  gort::run([] {
    gort::go([] { shop::worker(); });
    gort::goexit();
  });
}
TEST_P(Deadlock, MainCalledGoexitAndTheOthersSleep) {
  const Outcome o = run("goexit_others");
  expect_report(o, kAsleep);
  EXPECT_EQ(o.names().find("goroutine 1 ["), std::string::npos) << o.err;
  expect_worker_in(o.trace_of("goroutine 2 [semacquire"), o);
}

SUBJECT(many) {
  gort::run([] {
    for (int i = 0; i < 2000; ++i) gort::go([] { shop::worker(); });
    shop::worker();
  });
}
TEST_P(Deadlock, ManyOfOneKindShareATrace) {
  const Outcome o = run("many");
  expect_report(o, kAsleep);
  // Nearly always 2-2001: each P has its own numbers, and who starts them may change its P.
  const std::string begin = "\n2000 goroutines: goroutine 2", end = " [semacquire]:\nshop::wait_for_ever()";
  const std::size_t at = o.err.find(begin);
  ASSERT_NE(at, std::string::npos) << o.err.substr(0, 4000);
  const std::size_t line = o.err.find('[', at);
  EXPECT_EQ(o.err.substr(line - 1, end.size()), end) << o.err.substr(at, 400);
  EXPECT_TRUE(o.says("more goroutines; names follow"));
}

SUBJECT(no_descriptors) {
  gort::run([] {
    const rlimit none{0, 0};
    setrlimit(RLIMIT_NOFILE, &none);
    shop::worker();
  });
}
TEST_P(Deadlock, IsReportedWithoutADescriptorLeft) {
  const Outcome o = run("no_descriptors");
  EXPECT_EQ(o.exit_code, 2) << o.signal;
  EXPECT_EQ(o.line(0), kAsleep) << o.err;
}

// ---- an error output that takes nothing ---------------------------------------------------------

SUBJECT(nobody_reads) {
  int ends[2];
  if (pipe(ends) != 0) return;
  fcntl(ends[1], F_SETFL, O_NONBLOCK);
  char some[4096] = {};
  while (write(ends[1], some, sizeof some) > 0) {
  }
  fcntl(ends[1], F_SETFL, 0);
  dup2(ends[1], 2);
  gort::run([] { shop::worker(); });
}
TEST_P(Deadlock, EndsThoughNobodyReadsWhatItSays) {
  const Outcome o = run("nobody_reads");
  EXPECT_EQ(o.exit_code, 2) << "14: it did not end; " << o.signal;
}

SUBJECT(no_reader) {
  int ends[2];
  if (pipe(ends) != 0) return;
  close(ends[0]);
  dup2(ends[1], 2);
  gort::run([] { shop::worker(); });
}
TEST_P(Deadlock, EndsAsEverThoughThereIsNoReader) {
  const Outcome o = run("no_reader");
  EXPECT_EQ(o.exit_code, 2) << o.signal;
}

// ---- GORT_TRACEBACK -----------------------------------------------------------------------------

TEST(Traceback, NoneLeavesTheMessage) {
  const Outcome o = run_subject("simple", {.env = {"GORT_TRACEBACK=none"}});
  EXPECT_EQ(o.exit_code, 2);
  EXPECT_EQ(o.err, std::string(kAsleep) + "\n");
}

TEST(Traceback, SystemShowsTheRuntime) {
  GORT_TEST_NEEDS_SIGNALS();  // threads are asked for their traces by one
  const Outcome o = run_subject("simple", {.env = {"GORT_TRACEBACK=system"}});
  EXPECT_EQ(o.exit_code, 2);
  EXPECT_NE(o.trace_of("goroutine 1 [").find("gort::v0::rt::"), std::string::npos) << o.err;
  EXPECT_NE(o.names().find("\nthread "), std::string::npos) << "and its threads: " << o.err;
  EXPECT_NE(o.names().find("stop_m"), std::string::npos) << "each with its stack: " << o.err;
}

TEST(Traceback, CrashAborts) {
  const Outcome o = run_subject("simple", {.env = {"GORT_TRACEBACK=crash"}});
  EXPECT_EQ(o.signal, SIGABRT) << o.err;
  EXPECT_EQ(o.line(0), kAsleep);
  EXPECT_NE(o.trace_of("goroutine 1 [").find("gort::v0::rt::"), std::string::npos) << o.err;
}

TEST(Traceback, BadValueEndsTheProgram) {
  const Outcome o = run_subject("simple", {.env = {"GORT_TRACEBACK=loud"}});
  EXPECT_EQ(o.exit_code, 2);
  EXPECT_EQ(o.err, "gort: GORT_TRACEBACK=loud is not one of none, single, all, system, crash\n");
}

}  // namespace
