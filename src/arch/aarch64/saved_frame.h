// gort: what lies on the stack of a suspended context, aarch64.
//
//   offset from sp   what
//        0           x29, the frame pointer
//        8           x30: where the context goes on
//       16 ... 88    x19, x20 ... x28
//       96 ... 152   d8, d9 ... d15
//      160           FPCR
//      168           unused
//      176           the caller's stack begins: its sp when the context goes on (the frame's CFA)
//
// aarch64/switch.S writes and reads this; the unwinder starts from it; the collector scans it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gort::inline v0::arch::saved_frame {

inline constexpr std::size_t kX29 = 0;
inline constexpr std::size_t kReturn = 8;
inline constexpr std::size_t kX19 = 16;
inline constexpr std::size_t kX20 = 24;
inline constexpr std::size_t kD8 = 96;
inline constexpr std::size_t kFpcr = 160;
inline constexpr std::size_t kSize = 176;

/// Where x19 ... x28 are.
constexpr std::size_t x(unsigned n) { return kX19 + 8 * (n - 19); }

/// Bytes of a new context: the frame, and two null words above it.
inline constexpr std::size_t kMadeBytes = kSize + 16;

static_assert(kReturn == kX29 + 8,
              "a walker by frame pointers finds {x29, return address} as a pair");
static_assert(x(28) + 8 == kD8 && kD8 + 8 * 8 == kFpcr);
static_assert(kSize % 16 == 0 && kMadeBytes % 16 == 0,
              "the processor itself wants sp 16-byte aligned");

}  // namespace gort::inline v0::arch::saved_frame
