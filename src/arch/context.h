// gort: one stack's suspended execution, and how to go from one stack to another.
//
// A Context is a stack pointer, nothing else. Everything that a suspended execution needs later
// lies on its own stack just above that pointer: the registers that a function must keep for its
// caller, the floating-point control words, and the address to go on at (saved_frame, below).
// Whatever the calling convention lets a function destroy is not saved, since a switch is a
// function call to its caller.
//
//   Context scheduler, task;
//   make_context(&task, stack_top, run_task, &state);   // nothing runs yet
//   switch_context(&scheduler, &task);                  // run_task(&state) runs on its stack ...
//   // ... and here again once somebody calls switch_context(&task, &scheduler)
//
// What belongs to a context: the callee-saved registers; the floating-point environment that C and
// C++ give to a thread (rounding mode, exception masks; on x86-64 the sticky exception flags of SSE
// too, as they share MXCSR). A new context inherits its maker's, as std::thread's does.
// What does not: thread-local storage, errno, the signal mask, the C++ exception state
// (__cxa_get_globals), the sticky flags of x87 and aarch64. The scheduler carries what must travel.
//
// Rules. A context is continued at most once per time that it was saved or made, by any thread; who
// hands it to another thread orders the two by its own release and acquire. It may be continued
// only after the switch that saved it has left its stack: publishing `from` to others is therefore
// a matter for the code that runs *after* the switch. An address of a thread_local must not be
// carried over a switch (see os/tls.h). Nothing here allocates, locks or calls the kernel: all of
// it is async-signal-safe.
//
// Debuggers, profilers and exceptions see ordinary frames: the CFI holds at every instruction, and
// each stack ends in a frame with an undefined return address, a null frame pointer and a null
// return slot.
//
// Rejected: ucontext (a system call per switch) and Boost.Context (its frames have no end mark in
// the versions that distributions carry, and others own its saved layout, which the unwinder and
// the collector must read).
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include "arch/x86_64/saved_frame.h"
#elif defined(__aarch64__)
#include "arch/aarch64/saved_frame.h"
#else
#error "gort knows x86-64 and aarch64"
#endif

namespace gort::inline v0::arch {

/// A suspended execution. Null while it runs or was never made. saved_frame says what lies at sp.
struct Context {
  void* sp = nullptr;
};
static_assert(sizeof(Context) == sizeof(void*), "assembly stores the stack pointer at offset 0");

extern "C" {
// In <cpu>/switch.S. The version is part of each name, since assembly has no namespaces.
[[gnu::visibility("hidden")]] void gort_v0_switch(Context* from, const Context* to) noexcept;
[[gnu::visibility("hidden")]] void gort_v0_switch_jump(Context* from, const Context* to) noexcept;
[[gnu::visibility("hidden")]] void gort_v0_call_on_stack(void* stack_hi, void (*fn)(void*),
                                                         void* arg) noexcept;
}

/// Suspends the caller into *from and continues *to. Returns when somebody continues *from,
/// possibly on another thread. `from` may equal `to`: then it returns at once.
[[gnu::always_inline]] inline void switch_context(Context* from, const Context* to) noexcept {
  gort_v0_switch(from, to);
}

/// The same, for few contexts that switch from different places (generators, tests): on x86-64 it leaves by a
/// jump instead of a ret, which processors predict better there and worse in a scheduler (switch.S has the
/// figures). The two mix freely.
[[gnu::always_inline]] inline void switch_context_jump(Context* from, const Context* to) noexcept {
#if defined(__x86_64__)
  gort_v0_switch_jump(from, to);
#else
  gort_v0_switch(from, to);
#endif
}


/// Makes a context that calls entry(arg) on the stack that ends below stack_hi when it is first
/// continued, with the floating-point environment of the caller. entry must not return (a trap
/// instruction follows) and no exception may leave it (std::terminate, as for any first frame).
/// Writes only the kMadeBytes + 15 bytes just below stack_hi, so that one page of the stack is
/// touched.
void make_context(Context* c, void* stack_hi, void (*entry)(void* arg), void* arg) noexcept;

/// Runs fn(arg) on the stack that ends below stack_hi, then comes back. The caller stays visible: a
/// walk that starts in fn goes on into the caller's frames. fn must not switch contexts while it
/// stands on a stack that others use meanwhile (the system stack); exceptions may not leave it.
[[gnu::always_inline]] inline void call_on_stack(void* stack_hi, void (*fn)(void*),
                                                 void* arg) noexcept {
  gort_v0_call_on_stack(stack_hi, fn, arg);
}

}  // namespace gort::inline v0::arch
