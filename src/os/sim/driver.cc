// gort simulator: runs, each in a child of its own, and series of runs.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/sim/machine.h"

namespace gort::inline v0::os {

using sim::History;
using sim::machine;

namespace {

constinit char fault_stack[64 * 1024];

/// In an isolated run: a fault of the code under test, or its time is over. The run cannot go
/// on; what it has recorded is made readable and the child ends.
void on_fault(int signo, siginfo_t* info, void*) {
  if (!machine.running()) ::_exit(100);
  char what[160];
  sim::Text text(what, sizeof what - 1);
  const bool late = signo == SIGPROF || signo == SIGALRM;
  if (late) {
    text << "out of time: no scheduling point, or too slow for max_steps";
  } else {
    text << ::sigabbrev_np(signo);
    if (signo == SIGSEGV || signo == SIGBUS) {
      text << " at ";
      machine.history().print_place(
          text, History::translate(reinterpret_cast<std::uintptr_t>(info->si_addr)));
    }
    text << " in T" << sim_self();
  }
  what[text.size()] = '\0';
  machine.conclude(late ? SimVerdict::livelock : SimVerdict::crash, what);
  ::_exit(0);
}

void catch_faults(int cpu_seconds) noexcept {
  stack_t stack{};
  stack.ss_sp = fault_stack;
  stack.ss_size = sizeof fault_stack;
  ::sigaltstack(&stack, nullptr);
  struct sigaction action{};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND;
  for (int signo : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGPROF, SIGALRM}) {
    ::sigaction(signo, &action, nullptr);
  }
  const itimerval cpu{.it_interval = {}, .it_value = {.tv_sec = cpu_seconds, .tv_usec = 0}};
  ::setitimer(ITIMER_PROF, &cpu, nullptr);
  // A run that sleeps in the kernel by mistake. Many times as long, for who is stopped, or gets no processor, uses no time.
  ::alarm(static_cast<unsigned>(20 * cpu_seconds));
}

/// For what the run itself could not report.
void blame_driver(History& h, const SimOptions& options, const char* message, int detail) noexcept {
  h.begin(options);
  sim::Text text(h.message, sizeof h.message);
  text << message << ' ' << detail;
  h.result.verdict = SimVerdict::crash;
  h.result.message = {h.message, text.size()};
}

void run_in_child(const SimOptions& options, void (*body)(void*), void* arg) noexcept {
  History& h = History::instance();
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return blame_driver(h, options, "the simulator cannot fork: errno", errno);
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(101);
    catch_faults(options.cpu_seconds);
    machine.run(options, body, arg);
    ::_exit(0);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status))
    return blame_driver(h, options, "the run ended by signal", WTERMSIG(status));
  if (WEXITSTATUS(status) != 0)
    blame_driver(h, options, "the run ended the process, status", WEXITSTATUS(status));
}

}  // namespace

const char* sim_verdict_name(SimVerdict v) noexcept {
  switch (v) {
    case SimVerdict::ok:
      return "ok";
    case SimVerdict::deadlock:
      return "deadlock";
    case SimVerdict::livelock:
      return "livelock";
    case SimVerdict::crash:
      return "crash";
    case SimVerdict::assert:
      return "assert";
  }
  return "?";
}

SimResult sim_run(const SimOptions& options, void (*body)(void*), void* arg) noexcept {
  if (machine.running()) sim_fail("a simulation inside a simulation");
  if (options.isolate) {
    run_in_child(options, body, arg);
  } else {
    machine.run(options, body, arg);
  }
  SimResult& r = History::instance().result;
  r.decisions = History::instance().decisions();
  if (options.costs != nullptr) r.report = &History::instance().report;
  return r;
}

std::span<const SimFence> sim_fences_met() noexcept { return History::instance().fences(); }

SimResult sim_explore(const SimOptions& options, std::uint64_t runs, void (*body)(void*),
                      void* arg) noexcept {
  SimOptions one = options;
  if (const char* n = ::getenv("GORT_SIM_RUNS"); n != nullptr) runs = ::strtoull(n, nullptr, 0);
  if (const char* seed = ::getenv("GORT_SIM_SEED"); seed != nullptr) {
    one.seed = ::strtoull(seed, nullptr, 0);
    runs = 1;
  }
  SimResult result;
  for (std::uint64_t i = 0; i < runs; ++i, ++one.seed) {
    result = sim_run(one, body, arg);
    result.runs = i + 1;
    if (result.verdict != SimVerdict::ok) break;
  }
  return result;
}

}  // namespace gort::inline v0::os
