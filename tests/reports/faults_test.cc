// Programs that are ended by a fault, an exception or a signal (acceptance scenarios 103 and 104), and hosts
// that have handlers of their own.
#include <gort/debug.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>

#include "base/fault.h"
#include "sched/entry.h"
#include "sched/sched.h"
#include "tests/reports/shop.h"
#include "tests/reports/subject.h"
#include "world/world.h"

namespace shop {

GORT_TEST_APART int dive(int n) {
  if (n < 0) return n;  // never: the compilers must not see that it has no end
  volatile char room[200];
  room[0] = static_cast<char>(n);
  return dive(n + 1) + room[0];
}

GORT_TEST_APART void large_frame() {
  volatile char room[100 * 1024];
  for (std::size_t i = sizeof room; i > 0; i -= 512) room[i - 1] = 1;
  wait_for_ever();
}

struct out_of_stock : std::runtime_error {
  using runtime_error::runtime_error;
};
GORT_TEST_APART void sell() { throw out_of_stock("no apples"); }
GORT_TEST_APART void serve() {
  sell();
  GORT_TEST_NO_TAIL_CALL();
}

// Under UBSan, too, it is the fault that is wanted.
#if defined(__clang__)
[[clang::no_sanitize("undefined")]]
#else
[[gnu::no_sanitize_undefined]]
#endif
GORT_TEST_APART void touch(volatile int* p) { *p = 1; }

}  // namespace shop

namespace {

using gort::test::Outcome;
using gort::test::ready;
using gort::test::run_subject;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define NOT_SANITIZED() GTEST_SKIP() << "sanitizers have signal handlers and large frames of their own"
#else
#define NOT_SANITIZED() static_cast<void>(0)
#endif

// ---- overflow -----------------------------------------------------------------------------------

SUBJECT(deep) {
  gort::run([] {
    gort::go({.name = "diver"}, [] { shop::dive(0); });
    shop::worker();
  });
}
TEST(StackOverflow, DeepRecursion) {
  NOT_SANITIZED();
  const Outcome o = run_subject("deep");
  EXPECT_EQ(o.exit_code, 2) << o.err;
  EXPECT_EQ(o.line(0).find("gort: goroutine 2 exceeds its stack of 196608 bytes ["), 0u) << o.err;
  EXPECT_EQ(o.line(1), "gort: give it a larger one: gort::go({.stack = bytes}, ...) or GORT_STACK=bytes");
  EXPECT_EQ(o.line(2), "fatal error: stack overflow");
  const std::string trace = o.trace_of("goroutine 2 [running, name \"diver\"]:");
  EXPECT_NE(trace.find("shop::dive()"), std::string::npos) << o.err;
  EXPECT_NE(trace.find(" frames elided..."), std::string::npos) << "both ends of a deep stack are shown";
  EXPECT_NE(trace.find("created by "), std::string::npos) << trace;
  EXPECT_EQ(o.names().find("goroutine 1 ["), std::string::npos) << "the others are not asked for: " << o.err;
}

SUBJECT(large) {
  gort::run([] {
    gort::go({.stack = 128 << 10}, [] { shop::large_frame(); });
    shop::worker();
  });
}
TEST(StackOverflow, LargeFrameBeyondTheStack) {
  NOT_SANITIZED();
  const Outcome o = run_subject("large");
  EXPECT_EQ(o.exit_code, 2) << o.err;
  EXPECT_EQ(o.line(0).find("gort: goroutine 2 exceeds its stack of 65536 bytes ["), 0u) << o.err;
  EXPECT_NE(o.trace_of("goroutine 2 [running]:").find("shop::large_frame()"), std::string::npos) << o.err;
}

TEST(StackOverflow, OthersAreShownWhenAskedFor) {
  NOT_SANITIZED();
  const Outcome o = run_subject("deep", {.env = {"GORT_TRACEBACK=all"}});
  EXPECT_EQ(o.names().find("goroutine 2 ["), 0u) << "the one that died comes first: " << o.err;
  EXPECT_NE(o.trace_of("goroutine 1 [semacquire").find("shop::worker()"), std::string::npos) << o.err;
}

SUBJECT(null_pointer) {
  gort::run([] { shop::touch(nullptr); });
}
TEST(Fault, OtherFaultsEndTheProgramAsEver) {
  NOT_SANITIZED();
  const Outcome o = run_subject("null_pointer");
  EXPECT_EQ(o.signal, SIGSEGV) << o.err;
  EXPECT_EQ(o.err, "");
}

SUBJECT(guard_of_another) {
  gort::run([] {
    std::atomic<char*> low{nullptr};
    gort::go([&] {
      low = reinterpret_cast<char*>(gort::rt::current_g()->stack.lo) - 4096;
      shop::wait_for_ever();
    });
    while (low == nullptr) gort::this_goroutine::yield();
    shop::touch(reinterpret_cast<int*>(low.load()));
  });
}
TEST(Fault, StrayPointerIntoAGuardIsNoOverflow) {
  NOT_SANITIZED();
  const Outcome o = run_subject("guard_of_another");
  EXPECT_EQ(o.signal, SIGSEGV) << o.err;
  EXPECT_EQ(o.err, "");
}

SUBJECT(sent_segv) {
  gort::run([] {
    raise(SIGSEGV);
    _exit(3);
  });
}
TEST(Fault, SentFaultSignalEndsTheProgramToo) {
  NOT_SANITIZED();
  EXPECT_EQ(run_subject("sent_segv").signal, SIGSEGV);
}

struct slow_to_say : std::exception {
  static inline std::atomic<bool> asked{false};
  const char* what() const noexcept override {
    asked = true;
    usleep(300'000);  // meanwhile another thread faults; if it has not yet, this proves nothing
    return "at last";
  }
};
SUBJECT(fault_while_dying) {
  gort::run([] {
    std::thread([] {
      while (!slow_to_say::asked) usleep(1000);
      shop::touch(nullptr);
    }).detach();
    gort::go([] { throw slow_to_say(); });
    shop::worker();
  });
}
GORT_TEST_APART void sell_slowly() {
  throw slow_to_say();
  GORT_TEST_NO_TAIL_CALL();
}
SUBJECT(overflow_while_dying) {
  gort::run([] {
    gort::go([] { sell_slowly(); });
    gort::go([] {
      while (!slow_to_say::asked) gort::this_goroutine::yield();
      shop::dive(0);
    });
    shop::worker();
  });
}
TEST(StackOverflow, OfAnotherGoroutineIsNotTheOneThatIsReported) {
  NOT_SANITIZED();
  const Outcome o = run_subject("overflow_while_dying", {.env = {"GORT_MAXPROCS=2"}});
  EXPECT_EQ(o.signal, SIGABRT) << o.err;
  EXPECT_NE(o.trace_of("goroutine 2 [running]:").find("sell_slowly()"), std::string::npos) << o.err;
  EXPECT_FALSE(o.says("exceeds its stack")) << o.err;
}

TEST(Fault, OfAnotherThreadDoesNotCutAReportShort) {
  NOT_SANITIZED();
  const Outcome o = run_subject("fault_while_dying");
  EXPECT_EQ(o.signal, SIGABRT) << o.err;
  EXPECT_TRUE(o.says("(at last) left goroutine 2")) << o.err;
  EXPECT_NE(o.trace_of("goroutine 2 [running]:"), "") << o.err;
}

// ---- hosts with handlers ------------------------------------------------------------------------

SUBJECT(host_segv) {
  signal(SIGSEGV, [](int) { _exit(41); });
  gort::run([] { shop::touch(nullptr); });
}
SUBJECT(host_segv_info) {
  struct sigaction act = {};
  act.sa_flags = SA_SIGINFO | SA_ONSTACK;
  act.sa_sigaction = [](int, siginfo_t* info, void* context) {
    sigset_t now;
    sigprocmask(SIG_SETMASK, nullptr, &now);
    const bool right = info->si_addr == nullptr && context != nullptr && sigismember(&now, SIGSEGV) == 1 &&
                       sigismember(&now, SIGUSR2) == 1 && sigismember(&now, SIGUSR1) == 0;
    _exit(right ? 42 : 1);
  };
  sigaddset(&act.sa_mask, SIGUSR2);
  sigaction(SIGSEGV, &act, nullptr);
  gort::run([] { shop::touch(nullptr); });
}
TEST(Host, FaultHandlerFromBeforeIsCalled) {
  NOT_SANITIZED();
  EXPECT_EQ(run_subject("host_segv").exit_code, 41);
  EXPECT_EQ(run_subject("host_segv_info").exit_code, 42);
}

std::atomic<int> urgent{0};
SUBJECT(host_urg) {
  signal(SIGURG, [](int) { ++urgent; });
  gort::run([] {
    raise(SIGURG);
    if (urgent != 1) _exit(1);
    std::thread([] { raise(SIGURG); }).join();
    if (urgent != 2) _exit(2);
    gort::all_stacks();
    if (urgent != 2) _exit(3);
    _exit(43);
  });
}
TEST(Host, UrgHandlerFromBeforeGetsItsOwnSignals) {
  NOT_SANITIZED();
  EXPECT_EQ(run_subject("host_urg").exit_code, 43);
}

SUBJECT(host_quit) {
  signal(SIGQUIT, [](int) { _exit(44); });
  gort::run([] {
    shop::spin(ready);
  });
}
SUBJECT(ignored_quit) {
  signal(SIGQUIT, SIG_IGN);
  gort::run([] {
    raise(SIGQUIT);
    _exit(45);
  });
}
TEST(Host, QuitBelongsToWhoeverHadItBefore) {
  EXPECT_EQ(run_subject("host_quit", {.send = SIGQUIT}).exit_code, 44);
  EXPECT_EQ(run_subject("ignored_quit").exit_code, 45);
}

// ---- exceptions ---------------------------------------------------------------------------------

SUBJECT(throws) {
  gort::run([] {
    gort::go({.name = "seller"}, [] { shop::serve(); });
    shop::worker();
  });
}
TEST(Exception, LeavesAGoroutine) {
  const Outcome o = run_subject("throws");
  EXPECT_EQ(o.signal, SIGABRT) << o.err;
  EXPECT_EQ(o.line(0), "terminate: exception of type shop::out_of_stock (no apples) left goroutine 2 [seller]") << o.err;
  const std::string trace = o.trace_of("goroutine 2 [running, name \"seller\"]:");
  EXPECT_NE(trace.find("shop::sell()"), std::string::npos) << "from where it was thrown: " << o.err;
  EXPECT_NE(trace.find("shop::serve()"), std::string::npos) << o.err;
  EXPECT_TRUE(o.says("terminate called after throwing")) << "then the handler from before: " << o.err;
  EXPECT_EQ(o.names().find("goroutine 1 ["), std::string::npos) << o.err;
}

SUBJECT(throws_while_asked_to_stop) {
  gort::run([] {
    gort::go({.name = "seller"}, [] {
      const pid_t tid = ::gettid();
      std::thread([tid] {
        for (;;) ::tgkill(::getpid(), tid, SIGURG);
      }).detach();
      shop::serve();
    });
    shop::worker();
  });
}
// Requests to end the slice go on while it dies; they come by the signal that ends a report in time.
TEST(Exception, NobodyElsesSignalEndsTheReport) {
  const Outcome o = run_subject("throws_while_asked_to_stop");
  EXPECT_EQ(o.signal, SIGABRT) << o.err;
  const std::string trace = o.trace_of("goroutine 2 [running, name \"seller\"]:");
  EXPECT_NE(trace.find("shop::sell()"), std::string::npos) << o.err;
  EXPECT_TRUE(o.says("terminate called after throwing")) << o.err;
}

SUBJECT(throws_int) {
  gort::run([] {
    gort::go([] { throw 5; });
    shop::worker();
  });
}
TEST(Exception, OfAnyType) {
  const Outcome o = run_subject("throws_int", {.env = {"GORT_TRACEBACK=all"}});
  EXPECT_EQ(o.signal, SIGABRT) << o.err;
  EXPECT_EQ(o.line(0), "terminate: exception of type int left goroutine 2") << o.err;
  EXPECT_NE(o.trace_of("goroutine 1 [semacquire").find("shop::worker()"), std::string::npos) << o.err;
}

SUBJECT(throws_in_noexcept) {
  gort::run([] {
    gort::go([] { []() noexcept { shop::serve(); }(); });
    shop::worker();
  });
}
SUBJECT(terminates) {
  gort::run([] { std::terminate(); });
}
TEST(Exception, NotEveryTerminateIsAnEscape) {
  Outcome o = run_subject("throws_in_noexcept");
  EXPECT_EQ(o.signal, SIGABRT) << o.err;
  EXPECT_EQ(o.line(0),
            "terminate: exception of type shop::out_of_stock (no apples) met a noexcept function on goroutine 2") << o.err;
  o = run_subject("terminates");
  EXPECT_EQ(o.signal, SIGABRT) << o.err;
  EXPECT_EQ(o.line(0), "terminate: called on goroutine 1 [main]") << o.err;
}

SUBJECT(host_terminate) {
  std::set_terminate([] { _exit(46); });
  gort::run([] {
    gort::go([] { shop::serve(); });
    shop::worker();
  });
}
TEST(Exception, HostsTerminateHandlerHasTheLastWord) {
  const Outcome o = run_subject("host_terminate");
  EXPECT_EQ(o.exit_code, 46);
  EXPECT_EQ(o.line(0).find("terminate: exception of type shop::out_of_stock"), 0u) << o.err;
}

SUBJECT(host_terminate_takes_long) {
  std::set_terminate([] {
    for (unsigned left = 6; left != 0;) left = sleep(left);
    _exit(47);
  });
  gort::run([] {
    gort::go([] { shop::serve(); });
    shop::worker();
  });
}
// The report has a limit of five seconds; who comes after it has none.
TEST(Exception, HostsTerminateHandlerMayTakeLong) { EXPECT_EQ(run_subject("host_terminate_takes_long").exit_code, 47); }

SUBJECT(dies_without_timers) {
  gort::run([] {
    const rlimit none{0, 0};
    if (setrlimit(RLIMIT_SIGPENDING, &none) != 0) _exit(48);
    gort::go([] { shop::serve(); });
    shop::worker();
  });
}
// Names are looked up through code that may never come back: not where no timer could end that.
TEST(Exception, WithoutATimerThereAreNoNames) {
  const Outcome o = run_subject("dies_without_timers");
  EXPECT_EQ(o.signal, SIGABRT) << o.err;
  EXPECT_EQ(o.line(0).find("terminate: exception of type shop::out_of_stock"), 0u) << o.err;
  EXPECT_TRUE(o.says("goroutine 2 [running]")) << "addresses: " << o.err;
  EXPECT_TRUE(o.says("(no names: ")) << o.err;
  EXPECT_FALSE(o.says("shop::serve()")) << o.err;
}

SUBJECT(throws_on_thread) {
  gort::run([] { std::thread([] { shop::serve(); }).join(); });
}
TEST(Exception, OnAForeignThreadIsNotOurs) {
  const Outcome o = run_subject("throws_on_thread");
  EXPECT_EQ(o.signal, SIGABRT);
  EXPECT_FALSE(o.says("goroutine")) << o.err;
}

// ---- SIGQUIT ------------------------------------------------------------------------------------

class Quit : public testing::TestWithParam<const char*> {
 protected:
  Outcome run(const char* subject, int signo = SIGQUIT) {
    const Outcome o = run_subject(subject, {.env = {std::string("GORT_MAXPROCS=") + GetParam()}, .send = signo});
    EXPECT_EQ(o.exit_code, 2) << o.err;
    EXPECT_EQ(o.line(0), "SIGQUIT: quit") << o.err;
    EXPECT_EQ(o.line(1), "") << o.err;
    return o;
  }
};
INSTANTIATE_TEST_SUITE_P(Procs, Quit, testing::Values("1", "2"));

SUBJECT(quit_spinning) {
  gort::run([] {
    gort::go([] { shop::worker(); });
    gort::this_goroutine::yield();
    gort::go({.name = "hog"}, [] { shop::spin(ready); });
    gort::this_goroutine::yield();
    shop::spin(ready);
  });
}
TEST_P(Quit, WhileGoroutinesSpin) {
  NOT_SANITIZED();
  const Outcome o = run("quit_spinning");
  EXPECT_NE(o.trace_of("[running, name \"hog\"]:").find("shop::spin()"), std::string::npos) << o.err;
  EXPECT_NE(o.trace_of("goroutine 2 [semacquire]:").find("shop::worker()"), std::string::npos) << o.err;
  EXPECT_NE(o.trace_of("goroutine 1 ["), "") << o.err;
}

bool all_idle() {
  const gort::rt::LockGuard guard(gort::rt::sched.lock);
  return gort::rt::sched.nmidle > 0 && gort::rt::sched.npidle.load() == gort::rt::sched.nprocs;
}

void park_three_and_wait_foreign() {
  for (int i = 0; i < 3; ++i) gort::go([] { shop::worker(); });
  while (!all_idle()) usleep(1000);
  ready();
  for (;;) pause();
}
SUBJECT(quit_parked) { park_three_and_wait_foreign(); }
TEST_P(Quit, WhileAllAreParkedAndMainIsForeign) {
  const Outcome o = run("quit_parked");
  for (const char* id : {"1", "2", "3"}) {
    EXPECT_NE(o.trace_of(std::string("goroutine ") + id + " [semacquire]:").find("shop::worker()"), std::string::npos) << o.err;
  }
}

GORT_TEST_APART void wait_for_a_pipe() {
  int fds[2];
  if (pipe(fds) != 0) _exit(1);
  ready();
  char c;
  const ssize_t n = read(fds[0], &c, 1);  // restarted after signals
  _exit(n < 0 ? 3 : 4);
}
SUBJECT(quit_in_blocking) {
  gort::run([] { gort::blocking([] { wait_for_a_pipe(); }); });
}
TEST_P(Quit, WhileAGoroutineBlocksInTheKernel) {
  NOT_SANITIZED();
  const Outcome o = run("quit_in_blocking");
  EXPECT_NE(o.trace_of("goroutine 1 [syscall").find("wait_for_a_pipe()"), std::string::npos) << o.err;
}

SUBJECT(quit_all_blocked) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  park_three_and_wait_foreign();
}
TEST_P(Quit, WhenTheHostStartedUsWithAllSignalsBlocked) {
  const Outcome o = run("quit_all_blocked");
  EXPECT_NE(o.trace_of("goroutine 2 [semacquire]:").find("shop::worker()"), std::string::npos) << o.err;
}

TEST(QuitTwice, WithoutAMonitorTheSecondPrintsAddresses) {
  NOT_SANITIZED();
  const Outcome o = run_subject("quit_deaf", {.send = SIGQUIT, .send_again_after_ms = 2200});
  EXPECT_EQ(o.exit_code, 2) << o.err;
  EXPECT_EQ(o.line(0), "SIGQUIT: quit (the monitor does not answer: addresses only)");
  EXPECT_TRUE(o.says("\ngoroutine 1 [running, name \"main\"]:\n\t0x")) << o.err;
  EXPECT_TRUE(o.says("\ngoroutine 2 [semacquire]:\n\t0x")) << o.err;
}
SUBJECT(quit_deaf) {
  gort::run([] {
    gort::go([] { shop::worker(); });
    gort::this_goroutine::yield();
    gort::rt::sched_hooks.serve_requests = nullptr;
    shop::spin(ready);
  });
}

SUBJECT(quit_in_fork_child) {
  gort::run([] {
    const pid_t pid = fork();
    if (pid == 0) {
      raise(SIGQUIT);
      _exit(1);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) != pid) {
    }
    _exit(WIFSIGNALED(status) ? WTERMSIG(status) : 100 + WEXITSTATUS(status));
  });
}
// Its monitor is the parent's: nobody would ever answer.
TEST(QuitOfAForkChild, EndsItAtOnce) {
  NOT_SANITIZED();
  EXPECT_EQ(run_subject("quit_in_fork_child").exit_code, SIGQUIT);
}

SUBJECT(dies_in_fork_child) {
  gort::run([] {
    static std::atomic<bool> dying{false};
    std::thread([] {
      gort::rt::fatal_begin();
      dying = true;
      for (;;) pause();
    }).detach();
    while (!dying) gort::this_goroutine::yield();
    const pid_t pid = fork();
    if (pid == 0) {
      alarm(20);
      std::terminate();
    }
    int status = 0;
    while (waitpid(pid, &status, 0) != pid) {
    }
    _exit(WIFSIGNALED(status) ? WTERMSIG(status) : 100 + WEXITSTATUS(status));
  });
}
// It waited for the end of a report that its parent writes.
TEST(DeathOfAForkChild, IsItsOwn) {
  NOT_SANITIZED();
  const Outcome o = run_subject("dies_in_fork_child");
  EXPECT_EQ(o.exit_code, SIGABRT) << o.err;
  EXPECT_EQ(o.line(0), "terminate: called on goroutine 1 [main]") << o.err;
}

TEST(QuitLevels, CrashAborts) {
  NOT_SANITIZED();
  const Outcome o = run_subject("quit_spinning", {.env = {"GORT_TRACEBACK=crash"}, .send = SIGQUIT});
  EXPECT_EQ(o.signal, SIGABRT) << o.err;
  EXPECT_NE(o.names().find("\nthread "), std::string::npos) << "all threads: " << o.err;
}

// ---- a process that stands still ----------------------------------------------------------------

#if defined(GORT_TESTING)
std::atomic<int> stop_step{0};
int helper = -1;
/// The world is being stopped: so is the process, for two and a half seconds.
void stand_still(void*) noexcept {
  if (write(helper, "x", 1) != 1) _exit(1);
  kill(getpid(), SIGSTOP);
  stop_step = 2;
}
/// Lets its parent go on.
void let_go_on(int from) {
  char c;
  if (read(from, &c, 1) != 1) _exit(0);
  usleep(2'500'000);
  kill(getppid(), SIGCONT);
  _exit(0);
}
SUBJECT(stopped_in_a_stop) {
  int ends[2];
  if (pipe(ends) != 0) _exit(1);
  helper = ends[1];
  const pid_t pid = fork();
  if (pid == 0) {
    close(ends[1]);
    let_go_on(ends[0]);
  }
  gort::run([] {
    auto deaf = gort::spawn([] {
      sigset_t urg;
      sigemptyset(&urg);
      sigaddset(&urg, SIGURG);
      pthread_sigmask(SIG_BLOCK, &urg, nullptr);
      stop_step = 1;
      while (stop_step != 2) asm volatile("");
      // The one who waits for it looks at least once.
      const std::int64_t until = gort::os::nanotime() + 20'000'000;
      while (gort::os::nanotime() < until) asm volatile("");
      pthread_sigmask(SIG_UNBLOCK, &urg, nullptr);
    });
    while (stop_step != 1) gort::this_goroutine::yield();
    gort::rt::set_test_hook(gort::rt::TestPoint::world_requested, stand_still, nullptr);
    {
      gort::rt::RuntimeEntry entry;
      gort::rt::start_the_world(gort::rt::stop_the_world(gort::rt::StopReason::test));
    }
    gort::rt::set_test_hook(gort::rt::TestPoint::world_requested, nullptr, nullptr);
    deaf.join();
  });
  _exit(48);
}
TEST(StoppedProcess, IsNotReportedAsASlowStop) {
  NOT_SANITIZED();
  const Outcome o = run_subject("stopped_in_a_stop", {.env = {"GORT_MAXPROCS=2", "GORT_DEBUG=slowstop=2000"}});
  EXPECT_EQ(o.exit_code, 48);
  EXPECT_EQ(o.err, "");
}
#endif

// ---- threads ------------------------------------------------------------------------------------

SUBJECT(too_many_threads) {
  gort::run([] {
    for (int i = 0; i < 32; ++i) gort::go([] { gort::blocking([] { for (;;) pause(); }); });
    for (;;) gort::this_goroutine::yield();
  });
}
TEST(Threads, ExhaustionNamesWhoHoldsThem) {
  const Outcome o = run_subject("too_many_threads", {.env = {"GORT_MAXTHREADS=8", "GORT_MAXPROCS=2"}});
  EXPECT_EQ(o.exit_code, 2) << o.err;
  EXPECT_EQ(o.line(0), "gort: program exceeds 8-thread limit") << o.err;
  EXPECT_EQ(o.line(1), "fatal error: thread exhaustion");
  EXPECT_NE(o.names().find("[syscall]:"), std::string::npos) << o.err;
}

}  // namespace
