// gort simulator: the switch between simulated threads.
//
// Not arch::switch_context: that one is under test here, as it moves between goroutine stacks
// *inside* a simulated thread. This one saves wherever the stack pointer happens to be, goroutine
// stack or not. Not swapcontext either: it asks the kernel for the signal mask, twice per step.
//
// Two things of the one real thread travel with the simulated one: the exception state of the C++
// ABI, and what AddressSanitizer believes to be the current stack.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#define GORT_SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GORT_SIM_ASAN 1
#endif
#endif

namespace gort::inline v0::os::sim {

/// A stack that can be switched to. Its first switch enters the function given to prepare().
struct Context {
  void* sp = nullptr;         // while not running
  void* eh_caught = nullptr;  // __cxa_eh_globals, while not running
  unsigned eh_uncaught = 0;
  void* fake_stack = nullptr;  // AddressSanitizer's, while not running
  const void* stack_lo =
      nullptr;  // of the stack that it stood on, while not running; for AddressSanitizer
  std::size_t stack_bytes = 0;

  /// [lo, hi) is the stack, hi aligned to 16. `start` calls entered() first and never returns.
  void prepare(std::uintptr_t lo, std::uintptr_t hi, void (*start)()) noexcept;
};

/// Leaves `from`, goes on in `to`. `last`: from is never switched to again.
void switch_context(Context& from, Context& to, bool last = false) noexcept;

/// The first call of a new context.
void entered() noexcept;

}  // namespace gort::inline v0::os::sim
