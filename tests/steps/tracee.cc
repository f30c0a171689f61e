#include "tests/steps/tracee.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace gort::test::steps {

namespace {

constexpr int kPatience = 20'000;  // ticks: a thread in an uninterruptible sleep stands when that is over

bool is_event_stop(int status) noexcept { return status >> 16 == PTRACE_EVENT_STOP; }

}  // namespace

void Tracee::start_ticks() noexcept {
  struct sigaction act = {};
  act.sa_handler = [](int) {};
  ::sigaction(SIGALRM, &act, nullptr);  // without SA_RESTART
  const itimerval each = {{0, 1000}, {0, 1000}};
  ::setitimer(ITIMER_REAL, &each, nullptr);
}

bool Tracee::attach(pid_t process, pid_t tid) noexcept {
  *this = {};
  if (::ptrace(PTRACE_SEIZE, tid, nullptr, nullptr) != 0) return false;
  process_ = process;
  tid_ = tid;
  ::ptrace(PTRACE_INTERRUPT, tid, nullptr, nullptr);
  for (int ticks = 0;;) {
    int status = 0;
    if (::waitpid(tid, &status, __WALL) != tid) {
      if (errno == EINTR && ++ticks < kPatience) continue;
      tid_ = 0;
      return false;
    }
    if (!WIFSTOPPED(status)) {
      tid_ = 0;
      return false;
    }
    stands_ = true;
    if (is_event_stop(status)) return true;
    is_trap(status);  // a signal came first
    resume(false);
  }
}

bool Tracee::is_trap(int status) noexcept {
  const int signo = WSTOPSIG(status);
  if (is_event_stop(status)) return false;
  if (signo == SIGTRAP) return true;
  if (signo == SIGURG) {
    held_back_ = true;
  } else {
    pass_on_ = signo;
  }
  return false;
}

void Tracee::resume(bool one_step) noexcept {
  stepping_ = one_step;
  stands_ = false;
  const int signo = std::exchange(pass_on_, 0);
  ::ptrace(one_step ? PTRACE_SINGLESTEP : PTRACE_CONT, tid_, nullptr, static_cast<std::uintptr_t>(signo));
}

Halt Tracee::wait() noexcept {
  for (;;) {
    int status = 0;
    const pid_t got = ::waitpid(tid_, &status, __WALL);
    if (got != tid_) {
      if (errno == EINTR) return Halt::tick;
      tid_ = 0;
      return Halt::gone;
    }
    if (!WIFSTOPPED(status)) {
      tid_ = 0;
      return Halt::gone;
    }
    stands_ = true;
    if (is_trap(status)) return Halt::trap;
    resume(stepping_);
  }
}

bool Tracee::pending(int signo) const noexcept {
  __ptrace_peeksiginfo_args args = {};
  args.nr = 8;
  siginfo_t found[8];
  const long n = ::ptrace(PTRACE_PEEKSIGINFO, tid_, &args, found);
  for (long i = 0; i < n; ++i) {
    if (found[i].si_signo == signo) return true;
  }
  return false;
}

void Tracee::detach() noexcept {
  if (tid_ == 0) return;
  for (int ticks = 0; !stands_;) {
    ::ptrace(PTRACE_INTERRUPT, tid_, nullptr, nullptr);
    int status = 0;
    if (::waitpid(tid_, &status, __WALL) != tid_) {
      if (errno == EINTR && ++ticks < kPatience) continue;
      tid_ = 0;
      return;
    }
    if (!WIFSTOPPED(status)) {
      tid_ = 0;
      return;
    }
    is_trap(status);  // whatever it is: it stands
    stands_ = true;
  }
  machine::break_at(tid_, 0, 0);
  // A trap that has been raised and not been seen: the interruption came first. Untraced, the thread would die of it.
  while (pending(SIGTRAP)) {
    resume(false);
    while (!stands_) {
      if (wait() == Halt::gone) return;
    }
  }
  if (held_back_) ::syscall(SYS_tgkill, process_, tid_, SIGURG);
  ::ptrace(PTRACE_DETACH, tid_, nullptr, static_cast<std::uintptr_t>(pass_on_));
  tid_ = 0;
}

}  // namespace gort::test::steps
