// gort: the context switch, x86-64 System V. The layout is that of saved_frame.h.
//
// How it is fast: no call besides its own, no system call, no needless load of the x87 word. And it
// leaves in the way that the processor predicts. It predicts a `ret` to go back to the latest call:
// right when all switches come from one place, as a scheduler's do, and then calls and returns stay in
// pairs, so that the returns further up are predicted too (1000 yielding goroutines: 24 ns each, 43 with
// a jump). Between two bare contexts with a call site each it is always wrong (12 ns a switch against 5):
// gort_v0_switch_jump leaves by an indirect jump, which the branch predictor learns.
//
// How it stays walkable at every instruction: both stacks have the same shape at the moment when
// rsp changes, so one set of CFI rules describes the frame before and after. A walk sees the old
// context up to that instruction, the new one from it on.
//
// CET. Entries begin with endbr64; the jump goes to an ordinary return address, which has none, hence
// `notrack` (as compilers do for jump tables). So the IBT note below is true. Shadow stacks: not claimed.
// Each context would need one of its own from the kernel; the linker drops SHSTK for any program that
// contains this file, and the kernel leaves it off.

        .set    F_MXCSR,   0
        .set    F_X87CW,   4
        .set    F_R15,     8
        .set    F_R14,    16
        .set    F_R13,    24
        .set    F_R12,    32
        .set    F_RBX,    40
        .set    F_RBP,    48
        .set    F_RETURN, 56
        .set    F_SIZE,   64

        .text

// void gort_v0_switch(Context* from /* rdi */, const Context* to /* rsi */), and gort_v0_switch_jump
        .macro  SWITCH name, leave
        .globl  \name
        .hidden \name
        .type   \name, @function
        .p2align 5
\name:
        .cfi_startproc
        endbr64
        subq    $F_RETURN, %rsp
        .cfi_adjust_cfa_offset F_RETURN
        movq    %rbp, F_RBP(%rsp)
        .cfi_rel_offset %rbp, F_RBP
        movq    %rbx, F_RBX(%rsp)
        .cfi_rel_offset %rbx, F_RBX
        movq    %r12, F_R12(%rsp)
        .cfi_rel_offset %r12, F_R12
        movq    %r13, F_R13(%rsp)
        .cfi_rel_offset %r13, F_R13
        movq    %r14, F_R14(%rsp)
        .cfi_rel_offset %r14, F_R14
        movq    %r15, F_R15(%rsp)
        .cfi_rel_offset %r15, F_R15
        stmxcsr F_MXCSR(%rsp)
        fnstcw  F_X87CW(%rsp)

        movq    %rsp, (%rdi)            // before the load: from may be to
        movq    (%rsi), %rdx

        // MXCSR is loaded even if it is equal: comparing means waiting for the word that stmxcsr
        // has just stored, and the next stmxcsr waits for that (measured on Zen 5: 6.4 ns per
        // switch with the comparison, 4.9 ns without). The x87 word is compared, since fldcw is the
        // dearer one.
        ldmxcsr F_MXCSR(%rdx)
        movzwl  F_X87CW(%rsp), %eax
        cmpw    F_X87CW(%rdx), %ax
        jne     .Lload_x87cw_\name
.Lx87cw_right_\name:

        movq    %rdx, %rsp              // here it happens; every rule below holds on the new stack
        movq    F_RBP(%rsp), %rbp       // a register and its saved copy are equal from now on,
        movq    F_RBX(%rsp), %rbx       // so the rules stay true until the frame is popped
        movq    F_R12(%rsp), %r12
        movq    F_R13(%rsp), %r13
        movq    F_R14(%rsp), %r14
        movq    F_R15(%rsp), %r15
        .cfi_remember_state
        .ifc    \leave, jump
        movq    F_RETURN(%rsp), %rcx
        addq    $F_SIZE, %rsp
        .cfi_def_cfa_offset 0           // the return address is at -8(%rsp): the red zone keeps it
        .else
        addq    $F_RETURN, %rsp
        .cfi_def_cfa_offset 8
        .endif
        .cfi_restore %rbp
        .cfi_restore %rbx
        .cfi_restore %r12
        .cfi_restore %r13
        .cfi_restore %r14
        .cfi_restore %r15
        .ifc    \leave, jump
        notrack jmp *%rcx
        .else
        ret
        .endif

        .cfi_restore_state
.Lload_x87cw_\name:
        fldcw   F_X87CW(%rdx)
        jmp     .Lx87cw_right_\name
        .cfi_endproc
        .size   \name, . - \name
        .endm

        SWITCH  gort_v0_switch, ret
        SWITCH  gort_v0_switch_jump, jump

// The first frame of every made context: r12 = entry, r13 = arg, rsp 16-byte aligned and pointing
// at the null return slot, rbp 0. The label that a context goes on at stands one instruction behind
// the beginning, because walkers look one byte before a return address to find the function it is
// in.
        .globl  gort_v0_context_first
        .hidden gort_v0_context_first
        .globl  gort_v0_context_start
        .hidden gort_v0_context_start
        .type   gort_v0_context_first, @function
        .p2align 4
gort_v0_context_first:
        .cfi_startproc
        .cfi_undefined %rip
        nop
gort_v0_context_start:
        endbr64
        movq    %r13, %rdi
        call    *%r12
        ud2                             // entry returned: there is nothing to return to
        .cfi_endproc
        .size   gort_v0_context_first, . - gort_v0_context_first

// void gort_v0_call_on_stack(void* stack_hi, void (*fn)(void*), void* arg)   rdi, rsi, rdx
        .globl  gort_v0_call_on_stack
        .hidden gort_v0_call_on_stack
        .type   gort_v0_call_on_stack, @function
        .p2align 4
gort_v0_call_on_stack:
        .cfi_startproc
        endbr64
        pushq   %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset %rbp, -16
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp      // so no rule depends on which stack rsp is in
        andq    $-16, %rdi
        movq    %rdi, %rsp
        movq    %rdx, %rdi
        call    *%rsi
        movq    %rbp, %rsp
        popq    %rbp
        .cfi_def_cfa %rsp, 8
        .cfi_restore %rbp
        ret
        .cfi_endproc
        .size   gort_v0_call_on_stack, . - gort_v0_call_on_stack

        .section .note.GNU-stack, "", @progbits

// GNU_PROPERTY_X86_FEATURE_1_AND = IBT (1), without SHSTK (2).
        .section .note.gnu.property, "a"
        .p2align 3
        .long   4                       // name size
        .long   16                      // descriptor size
        .long   5                       // NT_GNU_PROPERTY_TYPE_0
        .asciz  "GNU"
        .long   0xc0000002              // GNU_PROPERTY_X86_FEATURE_1_AND
        .long   4
        .long   1
        .long   0
