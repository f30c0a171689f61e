// gort: the thread's own block, the only thread-local storage of the runtime.
//
//   os::tls().m             the M of this thread, null on a thread that gort did not make or adopt
//   os::tls().in_runtime    1 between RuntimeEntry's construction and destruction; kInForkChild for ever on
//                           the thread of a forked child, so that the test at each entry finds that, too
//   os::tls().window        1 inside an inline fast path that touches P or GC phase (rule L4)
//   os::tls().locks         runtime locks held plus NoPreempt depth; schedule() CHECKs that it is 0
//
// Why volatile assembly: compilers treat the address of a thread_local as constant within a function,
// also over a context switch after which the function runs on another thread. os::tls() is opaque to
// them, is read anew each time, and costs two loads. (The same trap: userver #242, silk #66.)
// Why initial-exec: a lazily allocated TLS block would be malloc'ed, possibly in a signal handler (L1).
// Under the simulator the block belongs to the simulated thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gort::inline v0::os {

/// Tls::in_runtime in the child of a fork: nothing of the runtime works there.
inline constexpr std::uint8_t kInForkChild = 2;

/// Written by its own thread only, and by signal handlers on that thread.
struct Tls {
  void* m = nullptr;             ///< rt::M*; set when the thread becomes an M, null again before it ends
  std::uint32_t locks = 0;       ///< runtime locks held + NoPreempt depth
  std::uint8_t in_runtime = 0;   ///< RuntimeEntry
  std::uint8_t window = 0;       ///< inline windows of L4
  std::uint8_t owned = 0;        ///< OwnedPs alive on this thread; 0 wherever a stack is left
  std::uint8_t in_handler = 0;   ///< inside one of gort's signal handlers
  std::uint8_t held_count = 0;   ///< debug: entries used in `held`
  std::uint8_t held[7] = {};     ///< debug: ranks of the runtime locks held, innermost last
};
static_assert(sizeof(Tls) == 24, "inline windows in users' objects bake this layout in");
static_assert(offsetof(Tls, m) == 0 && offsetof(Tls, in_runtime) == 12 && offsetof(Tls, window) == 13);

}  // namespace gort::inline v0::os

#if !defined(GORT_SIM)
extern "C" {
/// One per thread. extern "C" because assembly names it; the version is part of the name.
extern __thread gort::v0::os::Tls gort_v0_tls __attribute__((tls_model("initial-exec")));
}
#endif

namespace gort::inline v0::os {

/// The calling thread's block. Never keep the reference over anything that can switch goroutines.
#if defined(GORT_SIM)
Tls& tls() noexcept;
#elif defined(__x86_64__)
[[gnu::always_inline]] inline Tls& tls() noexcept {
  Tls* p;
  asm volatile(
      "movq %%fs:0, %0\n\t"
      "addq gort_v0_tls@gottpoff(%%rip), %0"
      : "=r"(p)
      :
      : "cc");
  return *p;
}
#elif defined(__aarch64__)
[[gnu::always_inline]] inline Tls& tls() noexcept {
  char* base;
  std::ptrdiff_t off;
  asm volatile(
      "mrs %0, tpidr_el0\n\t"
      "adrp %1, :gottprel:gort_v0_tls\n\t"
      "ldr %1, [%1, #:gottprel_lo12:gort_v0_tls]"
      : "=r"(base), "=r"(off));
  return *reinterpret_cast<Tls*>(base + off);
}
#else
#error "gort knows x86-64 and aarch64"
#endif

}  // namespace gort::inline v0::os
