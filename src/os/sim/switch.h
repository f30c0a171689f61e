// gort simulator: the switch between simulated threads.
//
// Not arch::switch_context: that one is under test here, as it moves between goroutine stacks *inside* a
// simulated thread. This one saves wherever the stack pointer happens to be, goroutine stack or not. Not
// swapcontext either: it asks the kernel for the signal mask, twice per step.
#pragma once

#include <cstdint>

/// Saves the callee-saved registers on the current stack, its pointer in *save, and goes on where `load`
/// was saved.
extern "C" void gort_sim_switch(void** save, void* load) noexcept;

namespace gort::inline v0::os::sim {

/// Prepares a stack of which `hi` is the end (aligned to 16) so that a switch to the returned pointer
/// enters `start`, which must not return.
void* prepare_stack(std::uintptr_t hi, void (*start)()) noexcept;

}  // namespace gort::inline v0::os::sim
