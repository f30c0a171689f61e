// gort: writing without SIGPIPE where the call has no flag for it.
#pragma once

#include <signal.h>

#include <cerrno>
#include <ctime>

#include "os/linux/syscall.h"
#include "os/signal.h"

namespace gort::inline v0::os {

// As long as this lives, writing to a pipe without a reader is an error and no signal, for this thread: what the runtime has to
// say does not end a program, nor does a peer that is gone.
class NoSigpipe {
 public:
  NoSigpipe() noexcept {
    kernel::call(SYS_rt_sigprocmask, SIG_BLOCK, &kSet, &before_, sizeof kSet);
    // Somebody else's, which was blocked before.
    if ((before_ & kSet) != 0) kernel::call(SYS_rt_sigpending, &pending_, sizeof kSet);
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;
  ~NoSigpipe() { kernel::call(SYS_rt_sigprocmask, SIG_SETMASK, &before_, nullptr, sizeof kSet); }

  // A write has said EPIPE, or may have met it.
  void take() noexcept {
    if ((pending_ & kSet) != 0) return;
    const timespec now{};
    while (kernel::call(SYS_rt_sigtimedwait, &kSet, nullptr, &now, sizeof kSet) == -EINTR) {
    }
  }

 private:
  static constexpr SignalMask kSet = signal_bit(SIGPIPE);
  SignalMask before_ = 0;
  SignalMask pending_ = 0;
};

}  // namespace gort::inline v0::os
