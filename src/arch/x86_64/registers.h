// gort: the registers of a walk, x86-64, numbered as in .eh_frame:
// rax rdx rcx rbx rsi rdi rbp rsp r8 ... r15, and 16 for the return address (rip).
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "arch/x86_64/saved_frame.h"

namespace gort::inline v0::arch::reg {

inline constexpr unsigned kCount = 17;
inline constexpr unsigned kFp = 6;
inline constexpr unsigned kSp = 7;
inline constexpr unsigned kPc = 16;

/// The saved frame pointer and the return address are a frame's highest words.
inline constexpr bool kFpGivesSp = true;

/// What a register set tells, and of which registers.
struct Set {
  std::uintptr_t value[kCount];
  std::uint64_t known;  ///< bit per register
};

/// A suspended context keeps these; all others are dead in it.
struct SavedAt {
  unsigned reg;
  std::size_t offset;
};
inline constexpr SavedAt kSaved[] = {
    {3, saved_frame::kRbx},     {6, saved_frame::kRbp},  {12, saved_frame::kR12},
    {13, saved_frame::kR13},    {14, saved_frame::kR14}, {15, saved_frame::kR15},
    {16, saved_frame::kReturn},
};

/// Bytes of a ucontext_t that from_ucontext reads.
inline constexpr std::size_t kUcontextBytes = offsetof(ucontext_t, uc_mcontext) + sizeof(gregset_t);

/// From the kernel's signal frame; returns the interrupted instruction.
inline std::uintptr_t from_ucontext(const void* uc, Set* out) noexcept {
  static constexpr int kOrder[kCount] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                                         REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                         REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP};
  greg_t regs[NGREG];
  std::memcpy(&regs, static_cast<const char*>(uc) + offsetof(ucontext_t, uc_mcontext), sizeof regs);
  for (unsigned i = 0; i < kCount; ++i)
    out->value[i] = static_cast<std::uintptr_t>(regs[kOrder[i]]);
  out->known = (1u << kCount) - 1;
  return out->value[kPc];
}

/// Whether pc, of which 9 bytes are readable, is libc's return from a signal handler:
/// mov $15, %rax; syscall. Then sp + kTrampolineUcontext is the address of the ucontext.
inline constexpr std::size_t kTrampolineBytes = 9;
inline constexpr std::size_t kTrampolineUcontext = 0;
inline bool is_signal_trampoline(std::uintptr_t pc) noexcept {
  static constexpr unsigned char kCode[kTrampolineBytes] = {0x48, 0xc7, 0xc0, 0x0f, 0,
                                                            0,    0,    0x0f, 0x05};
  return std::memcmp(reinterpret_cast<const void*>(pc), kCode, sizeof kCode) == 0;
}

/// What the caller of the function that it is inlined into sees of itself, here and now.
[[gnu::always_inline]] inline void capture(Set* out) noexcept {
  asm volatile(
      "movq %%rbx, 24(%0)\n\t"
      "movq %%rbp, 48(%0)\n\t"
      "movq %%rsp, 56(%0)\n\t"
      "movq %%r12, 96(%0)\n\t"
      "movq %%r13, 104(%0)\n\t"
      "movq %%r14, 112(%0)\n\t"
      "movq %%r15, 120(%0)\n\t"
      "leaq 0(%%rip), %%rax\n\t"
      "movq %%rax, 128(%0)"
      :
      : "r"(out->value)
      : "rax", "memory");
  out->known = 1u << 3 | 1u << 6 | 1u << 7 | 0x1fu << 12;
}

/// What a call that has just been made says of its caller: the return address is on top of the
/// stack.
template <class Read>
bool return_of_call(const Set& regs, std::uintptr_t* pc, Set* up, Read read) noexcept {
  up->value[kSp] = regs.value[kSp] + sizeof *pc;
  return read(regs.value[kSp], pc);
}

/// Return addresses are plain here.
inline std::uintptr_t strip_return(std::uintptr_t pc, bool) noexcept { return pc; }

}  // namespace gort::inline v0::arch::reg
