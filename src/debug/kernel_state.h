// gort: what the kernel says about one of our threads that does not answer us.
#pragma once

#include <cstdint>

#include "base/print.h"

namespace gort::inline v0::rt {

/// /proc/self/task/TID, as far as it tells why a signal is not served.
struct KernelState {
  bool readable = true;      ///< false: no descriptor is left, or there is no /proc; nothing is known
  bool alive = false;        ///< there is such a thread
  char state = '?';          ///< R, S, D, T, t, Z, X …
  char wchan[48] = {};       ///< the kernel function in which it sleeps; "" if it does not, or if that is a secret
  std::int64_t syscall = -1;       ///< system call that it is in; -1: none
  bool urg_known = false;    ///< the two that follow could be read
  bool urg_blocked = false;  ///< it does not let SIGURG through
  bool urg_pending = false;  ///< one is on its way to it
};

/// Reads it. No malloc; about 3 KiB of stack.
KernelState read_kernel_state(int tid) noexcept;

/// "R (running or ready), in user code, SIGURG blocked".
void print(Printer& out, const KernelState& k) noexcept;

}  // namespace gort::inline v0::rt
