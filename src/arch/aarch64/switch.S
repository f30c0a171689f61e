// gort: the context switch, aarch64 (AAPCS64). The layout is that of saved_frame.h; x86_64/switch.S
// says how such a switch stays walkable at every instruction.
//
// It leaves by `ret`, though processors mispredict that after a stack switch: under branch target
// identification a `br` may go only to a landing pad, and return addresses have none. FPCR is
// loaded only if it differs, since writing it drains the pipeline.
//
// Landing pads: entries begin with `bti c`; everything else is reached by `ret`. So the BTI note
// below is true. Pointer authentication is not claimed: return addresses are kept unsigned here
// (signed ones in callers' frames are theirs, and nothing here touches them).

        .set    F_X29,      0
        .set    F_X19,     16
        .set    F_X21,     32
        .set    F_X23,     48
        .set    F_X25,     64
        .set    F_X27,     80
        .set    F_D8,      96
        .set    F_D10,    112
        .set    F_D12,    128
        .set    F_D14,    144
        .set    F_FPCR,   160
        .set    F_SIZE,   176

// A pair of registers goes to the frame; numbers are DWARF's: xN is N, dN is 64 + N.
        .macro  save_pair a, b, offset, number
        stp     \a, \b, [sp, #\offset]
        .cfi_rel_offset \number, \offset
        .cfi_rel_offset \number + 1, \offset + 8
        .endm

        .text

// void gort_v0_switch(Context* from, const Context* to)   x0, x1
        .globl  gort_v0_switch
        .hidden gort_v0_switch
        .type   gort_v0_switch, %function
        .p2align 5
gort_v0_switch:
        .cfi_startproc
        hint    #34                     // bti c
        sub     sp, sp, #F_SIZE
        .cfi_def_cfa_offset F_SIZE
        save_pair x29, x30, F_X29, 29
        save_pair x19, x20, F_X19, 19
        save_pair x21, x22, F_X21, 21
        save_pair x23, x24, F_X23, 23
        save_pair x25, x26, F_X25, 25
        save_pair x27, x28, F_X27, 27
        save_pair d8, d9, F_D8, 72
        save_pair d10, d11, F_D10, 74
        save_pair d12, d13, F_D12, 76
        save_pair d14, d15, F_D14, 78
        mrs     x9, fpcr
        str     x9, [sp, #F_FPCR]

        mov     x10, sp
        str     x10, [x0]               // before the load: from may be to
        ldr     x11, [x1]
        ldr     x12, [x11, #F_FPCR]
        cmp     x9, x12
        b.ne    .Lload_fpcr
.Lfpcr_right:
        mov     sp, x11                 // here it happens; every rule below holds on the new stack
        ldp     x29, x30, [sp, #F_X29]
        ldp     x19, x20, [sp, #F_X19]
        ldp     x21, x22, [sp, #F_X21]
        ldp     x23, x24, [sp, #F_X23]
        ldp     x25, x26, [sp, #F_X25]
        ldp     x27, x28, [sp, #F_X27]
        ldp     d8, d9, [sp, #F_D8]
        ldp     d10, d11, [sp, #F_D10]
        ldp     d12, d13, [sp, #F_D12]
        ldp     d14, d15, [sp, #F_D14]
        .cfi_remember_state
        add     sp, sp, #F_SIZE
        .cfi_def_cfa_offset 0
        .irp    n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 72, 73, 74, 75, 76, 77, 78, 79
        .cfi_restore \n
        .endr
        ret
        .cfi_restore_state
.Lload_fpcr:
        msr     fpcr, x12
        b       .Lfpcr_right
        .cfi_endproc
        .size   gort_v0_switch, . - gort_v0_switch

// The first frame of every made context: x19 = entry, x20 = arg, x29 = 0. The label that a context
// goes on at stands one instruction behind the beginning: walkers look before a return address.
        .globl  gort_v0_context_first
        .hidden gort_v0_context_first
        .globl  gort_v0_context_start
        .hidden gort_v0_context_start
        .type   gort_v0_context_first, %function
        .p2align 4
gort_v0_context_first:
        .cfi_startproc
        .cfi_undefined x30
        nop
gort_v0_context_start:
        mov     x0, x20
        blr     x19
        brk     #1                      // entry returned: there is nothing to return to
        .cfi_endproc
        .size   gort_v0_context_first, . - gort_v0_context_first

// void gort_v0_call_on_stack(void* stack_hi, void (*fn)(void*), void* arg)   x0, x1, x2
        .globl  gort_v0_call_on_stack
        .hidden gort_v0_call_on_stack
        .type   gort_v0_call_on_stack, %function
        .p2align 4
gort_v0_call_on_stack:
        .cfi_startproc
        hint    #34                     // bti c
        stp     x29, x30, [sp, #-16]!
        .cfi_def_cfa_offset 16
        .cfi_rel_offset x29, 0
        .cfi_rel_offset x30, 8
        mov     x29, sp
        .cfi_def_cfa_register x29       // so no rule depends on which stack sp is in
        and     x0, x0, #~15
        mov     sp, x0
        mov     x0, x2
        blr     x1
        mov     sp, x29
        .cfi_def_cfa_register sp
        ldp     x29, x30, [sp], #16
        .cfi_def_cfa_offset 0
        .cfi_restore x29
        .cfi_restore x30
        ret
        .cfi_endproc
        .size   gort_v0_call_on_stack, . - gort_v0_call_on_stack

        .section .note.GNU-stack, "", %progbits

// GNU_PROPERTY_AARCH64_FEATURE_1_AND = BTI (1), without PAC (2).
        .section .note.gnu.property, "a"
        .p2align 3
        .long   4                       // name size
        .long   16                      // descriptor size
        .long   5                       // NT_GNU_PROPERTY_TYPE_0
        .asciz  "GNU"
        .long   0xc0000000              // GNU_PROPERTY_AARCH64_FEATURE_1_AND
        .long   4
        .long   1
        .long   0
