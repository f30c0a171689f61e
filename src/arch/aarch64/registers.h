// gort: the registers of a walk, aarch64, numbered as in .eh_frame: x0 ... x30, sp as 31. The pc
// has a place of its own, 32: an interrupted function has both a pc and a return address in x30.
// Vector registers are not followed: no frame address depends on them.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "arch/aarch64/saved_frame.h"

namespace gort::inline v0::arch::reg {

inline constexpr unsigned kCount = 33;
inline constexpr unsigned kFp = 29;
inline constexpr unsigned kLr = 30;
inline constexpr unsigned kSp = 31;
inline constexpr unsigned kPc = 32;

/// A frame record may stand anywhere in its frame: it does not tell the caller's sp.
inline constexpr bool kFpGivesSp = false;

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
    {19, saved_frame::x(19)},   {20, saved_frame::x(20)},    {21, saved_frame::x(21)},
    {22, saved_frame::x(22)},   {23, saved_frame::x(23)},    {24, saved_frame::x(24)},
    {25, saved_frame::x(25)},   {26, saved_frame::x(26)},    {27, saved_frame::x(27)},
    {28, saved_frame::x(28)},   {29, saved_frame::kX29},     {30, saved_frame::kReturn},
    {kPc, saved_frame::kReturn},
};

/// Bytes of a ucontext_t that from_ucontext reads.
inline constexpr std::size_t kUcontextBytes =
    offsetof(ucontext_t, uc_mcontext) + offsetof(mcontext_t, pc) + sizeof(std::uintptr_t);

/// From the kernel's signal frame; returns the interrupted instruction.
inline std::uintptr_t from_ucontext(const void* uc, Set* out) noexcept {
  const char* m = static_cast<const char*>(uc) + offsetof(ucontext_t, uc_mcontext);
  std::memcpy(out->value, m + offsetof(mcontext_t, regs), 31 * sizeof out->value[0]);
  std::memcpy(&out->value[kSp], m + offsetof(mcontext_t, sp), sizeof out->value[0]);
  std::memcpy(&out->value[kPc], m + offsetof(mcontext_t, pc), sizeof out->value[0]);
  out->known = (std::uint64_t{1} << kCount) - 1;
  return out->value[kPc];
}

/// Whether pc, of which 8 bytes are readable, is the vdso's return from a signal handler:
/// mov x8, #139; svc #0. Then sp + kTrampolineUcontext is the address of the ucontext, after the
/// siginfo.
inline constexpr std::size_t kTrampolineBytes = 8;
inline constexpr std::size_t kTrampolineUcontext = 128;
inline bool is_signal_trampoline(std::uintptr_t pc) noexcept {
  static constexpr std::uint32_t kCode[] = {0xd2801168, 0xd4000001};
  return std::memcmp(reinterpret_cast<const void*>(pc), kCode, sizeof kCode) == 0;
}

/// What the caller of the function that it is inlined into sees of itself, here and now.
[[gnu::always_inline]] inline void capture(Set* out) noexcept {
  asm volatile(
      "stp x19, x20, [%0, #152]\n\t"
      "stp x21, x22, [%0, #168]\n\t"
      "stp x23, x24, [%0, #184]\n\t"
      "stp x25, x26, [%0, #200]\n\t"
      "stp x27, x28, [%0, #216]\n\t"
      "stp x29, x30, [%0, #232]\n\t"
      "mov x16, sp\n\t"
      "adr x17, .\n\t"
      "stp x16, x17, [%0, #248]"
      :
      : "r"(out->value)
      : "x16", "x17", "memory");
  out->known = std::uint64_t{0x3fff} << 19;
}

/// What a call that has just been made says of its caller: the return address is in x30.
template <class Read>
bool return_of_call(const Set& regs, std::uintptr_t* pc, Set* up, Read) noexcept {
  *up = regs;
  *pc = regs.value[kLr];
  return regs.known >> kLr & 1;
}

/// Takes the authentication code off a signed return address. The instruction is a no-op where the
/// processor has no pointer authentication.
inline std::uintptr_t strip_return(std::uintptr_t pc, bool is_signed) noexcept {
  if (!is_signed) return pc;
  register std::uintptr_t lr asm("x30") = pc;
  asm("hint #7" : "+r"(lr));  // xpaclri
  return lr;
}

}  // namespace gort::inline v0::arch::reg
