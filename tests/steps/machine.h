// gort tests: what the stepping driver must know of the processor. All of the thread's calls are for one that is
// attached and stands.
#pragma once

#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/user.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace gort::test::steps::machine {

#if defined(__x86_64__)

inline constexpr bool kKnown = true;

struct At {
  std::uintptr_t pc = 0;
  std::uintptr_t sp = 0;
};

inline bool read_at(pid_t tid, At* out) noexcept {
  user_regs_struct regs = {};
  if (::ptrace(PTRACE_GETREGS, tid, nullptr, &regs) != 0) return false;
  *out = {regs.rip, regs.rsp};
  return true;
}

/// Breakpoint registers 0 and 1, for execution; 0 switches one off. The thread's own: other threads pass.
inline bool break_at(pid_t tid, std::uintptr_t a, std::uintptr_t b) noexcept {
  const auto put = [tid](int n, std::uintptr_t v) {
    return ::ptrace(PTRACE_POKEUSER, tid, offsetof(struct user, u_debugreg) + static_cast<std::size_t>(n) * sizeof v, v) == 0;
  };
  // An address may be changed only while its breakpoint is off.
  const std::uintptr_t enable = (a != 0 ? 1u : 0u) | (b != 0 ? 4u : 0u);
  return put(7, 0) && put(0, a) && put(1, b) && put(7, enable);
}

#else

inline constexpr bool kKnown = false;
struct At {
  std::uintptr_t pc = 0;
  std::uintptr_t sp = 0;
};
inline bool read_at(pid_t, At*) noexcept { return false; }
inline bool break_at(pid_t, std::uintptr_t, std::uintptr_t) noexcept { return false; }

#endif

}  // namespace gort::test::steps::machine
