// gort: what lies on the stack of a suspended context, x86-64.
//
//   offset from sp   what
//        0           MXCSR, 4 bytes
//        4           x87 control word, 2 bytes; 2 bytes unused
//        8           r15
//       16           r14
//       24           r13
//       32           r12
//       40           rbx
//       48           rbp
//       56           return address: where the context goes on
//       64           the caller's stack begins: its rsp when the context goes on (the frame's CFA)
//
// x86_64/switch.S writes and reads this; the unwinder starts from it; the collector scans it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gort::inline v0::arch::saved_frame {

inline constexpr std::size_t kMxcsr = 0;
inline constexpr std::size_t kX87Cw = 4;
inline constexpr std::size_t kR15 = 8;
inline constexpr std::size_t kR14 = 16;
inline constexpr std::size_t kR13 = 24;
inline constexpr std::size_t kR12 = 32;
inline constexpr std::size_t kRbx = 40;
inline constexpr std::size_t kRbp = 48;
inline constexpr std::size_t kReturn = 56;
inline constexpr std::size_t kSize = 64;

/// Bytes of a new context: the frame, a null return address for the first frame, and one null word
/// that keeps the stack aligned.
inline constexpr std::size_t kMadeBytes = kSize + 16;

static_assert(kReturn == kRbp + 8,
              "a walker by frame pointers finds {rbp, return address} as a pair");
static_assert(kSize == kReturn + 8,
              "the return address is the highest word: CFA - 8, as after any call");
static_assert(kSize % 16 == 0 && kMadeBytes % 16 == 0,
              "sp of a suspended context is 16-byte aligned");

}  // namespace gort::inline v0::arch::saved_frame
