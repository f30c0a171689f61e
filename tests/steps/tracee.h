// gort tests: one thread of another process, halted and led by ptrace.
//
// While a Tracee waits for its thread it comes back each millisecond, so that the caller can look whether the
// thread is still worth waiting for: it may sleep, or the rest of the stretch may run on another thread.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <cstdint>

#include "tests/steps/machine.h"

namespace gort::test::steps {

/// How a wait ended.
enum class Halt : std::uint8_t {
  trap,    ///< a step is done, or a breakpoint is reached
  tick,    ///< nothing yet; the thread still runs or sleeps
  gone,    ///< the thread has ended
};

class Tracee {
 public:
  /// Interrupts waitpid() each millisecond in this process, from now on.
  static void start_ticks() noexcept;

  /// Attaches and halts. False: not permitted, or it has ended.
  bool attach(pid_t process, pid_t tid) noexcept;
  bool attached() const noexcept { return tid_ != 0; }
  /// Lets it go, with the SIGURGs that were held back. It may be running.
  void detach() noexcept;

  bool at(machine::At* out) const noexcept { return machine::read_at(tid_, out); }
  bool break_at(std::uintptr_t a, std::uintptr_t b) noexcept { return machine::break_at(tid_, a, b); }

  /// Starts one instruction, or to the next breakpoint. The thread stands.
  void step() noexcept { resume(true); }
  void run() noexcept { resume(false); }
  /// After these: until it stands again, or a tick.
  Halt wait() noexcept;

  /// Whether it stands and this signal waits for it, for it alone.
  bool pending(int signo) const noexcept;

 private:
  void resume(bool one_step) noexcept;
  /// A stop that is not the caller's: handles it and goes on. True if it is the caller's.
  bool is_trap(int status) noexcept;

  pid_t process_ = 0;
  pid_t tid_ = 0;
  bool stands_ = false;
  bool stepping_ = false;
  bool held_back_ = false;
  int pass_on_ = 0;           ///< a signal for the next resume
};

}  // namespace gort::test::steps
