#include "os/sim/switch.h"

#if defined(GORT_SIM_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif

extern "C" {
/// Saves the callee-saved registers on the current stack, its pointer in *save, and goes on where
/// `load` was saved.
void gort_sim_switch(void** save, void* load) noexcept;
void* __cxa_get_globals() noexcept;  // Itanium C++ ABI 2.2.2
}

#if defined(__x86_64__)

asm(R"(
        .text
        .globl  gort_sim_switch
        .hidden gort_sim_switch
        .type   gort_sim_switch, @function
gort_sim_switch:
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        movq    %rsp, (%rdi)
        movq    %rsi, %rsp
        popq    %r15
        .cfi_adjust_cfa_offset -8
        popq    %r14
        .cfi_adjust_cfa_offset -8
        popq    %r13
        .cfi_adjust_cfa_offset -8
        popq    %r12
        .cfi_adjust_cfa_offset -8
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        ret
        .cfi_endproc
        .size   gort_sim_switch, .-gort_sim_switch
)");

namespace gort::inline v0::os::sim {

namespace {
void* first_frame(std::uintptr_t hi, void (*start)()) noexcept {
  auto* sp = reinterpret_cast<std::uintptr_t*>(hi);
  *--sp = 0;  // start's return address: backtraces end here; also aligns the stack as after a call
  *--sp = reinterpret_cast<std::uintptr_t>(start);
  for (int i = 0; i < 6; ++i) *--sp = 0;
  return sp;
}
}  // namespace

}  // namespace gort::inline v0::os::sim

#elif defined(__aarch64__)

asm(R"(
        .text
        .globl  gort_sim_switch
        .hidden gort_sim_switch
        .type   gort_sim_switch, %function
gort_sim_switch:
        .cfi_startproc
        sub     sp, sp, #160
        .cfi_adjust_cfa_offset 160
        stp     x19, x20, [sp, #0]
        stp     x21, x22, [sp, #16]
        stp     x23, x24, [sp, #32]
        stp     x25, x26, [sp, #48]
        stp     x27, x28, [sp, #64]
        stp     x29, x30, [sp, #80]
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        mov     x9, sp
        str     x9, [x0]
        mov     sp, x1
        ldp     x19, x20, [sp, #0]
        ldp     x21, x22, [sp, #16]
        ldp     x23, x24, [sp, #32]
        ldp     x25, x26, [sp, #48]
        ldp     x27, x28, [sp, #64]
        ldp     x29, x30, [sp, #80]
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        add     sp, sp, #160
        .cfi_adjust_cfa_offset -160
        ret
        .cfi_endproc
        .size   gort_sim_switch, .-gort_sim_switch
)");

namespace gort::inline v0::os::sim {

namespace {
void* first_frame(std::uintptr_t hi, void (*start)()) noexcept {
  auto* sp = reinterpret_cast<std::uintptr_t*>(hi - 160);
  for (int i = 0; i < 20; ++i) sp[i] = 0;
  sp[11] = reinterpret_cast<std::uintptr_t>(start);  // x30
  return sp;
}
}  // namespace

}  // namespace gort::inline v0::os::sim

#else
#error "gort knows x86-64 and aarch64"
#endif

namespace gort::inline v0::os::sim {

namespace {

/// As the ABI lays it out.
struct EhGlobals {
  void* caught;
  unsigned uncaught;
};

/// Who has just been left.
constinit Context* left = nullptr;

void finish(void* fake_stack) noexcept {
#if defined(GORT_SIM_ASAN)
  __sanitizer_finish_switch_fiber(fake_stack, &left->stack_lo, &left->stack_bytes);
#else
  (void)fake_stack;
#endif
}

}  // namespace

void Context::prepare(std::uintptr_t lo, std::uintptr_t hi, void (*start)()) noexcept {
  *this = Context{};
  stack_lo = reinterpret_cast<void*>(lo);
  stack_bytes = hi - lo;
  sp = first_frame(hi, start);
}

void switch_context(Context& from, Context& to, bool last) noexcept {
  auto* eh = static_cast<EhGlobals*>(__cxa_get_globals());
  from.eh_caught = eh->caught;
  from.eh_uncaught = eh->uncaught;
  eh->caught = to.eh_caught;
  eh->uncaught = to.eh_uncaught;
  left = &from;
#if defined(GORT_SIM_ASAN)
  __sanitizer_start_switch_fiber(last ? nullptr : &from.fake_stack, to.stack_lo, to.stack_bytes);
#else
  (void)last;
#endif
  gort_sim_switch(&from.sp, to.sp);
  finish(from.fake_stack);
}

void entered() noexcept { finish(nullptr); }

}  // namespace gort::inline v0::os::sim
