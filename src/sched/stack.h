// gort: goroutine stacks.
//
// A stack is a *slot* of reserved address space. Memory comes page by page as the goroutine touches
// it: a parked goroutine that never went deep keeps one page.
//
//      slot                                                         slot + size
//      |<-- guard, 64 KiB -->|<------------- usable ------------------->|
//                            lo                        stack_top()  ... hi
//
// Sizes count the whole slot, guard included, as pthread_attr_setstacksize does: the default of 256
// KiB leaves 192 KiB. The guard is 64 KiB, not a page, because code that is built without
// stack-clash protection (Debian's libraries) steps over a page with one `char buf[65536]`; it
// costs address space only. Sizes are powers of two from 128 KiB (64 usable: below that the guard
// would be most of the slot for no memory saved, since untouched pages cost nothing) to 1 GiB.
//
// Slots of one size lie in slabs, an unused page between each two (stack_slab.h): one mapping for hundreds of stacks and more, since the kernel
// allows a process 65,530 mappings by default. Slabs are never given back, pages are: address space
// that was a stack stays one for ever, which is what lets a signal handler look addresses up
// without a lock.
//
// Guards are cheap where the kernel can (Linux 6.13), split mappings up to os::mem_guard's bound,
// and past it there is none. Each stack knows its kind; `stack_stats` counts them. A stack without
// one has an unused 64 KiB below lo, so that a small overflow damages nobody, and stack_canary_ok
// finds it.
//
// Everything here is callable on any thread and takes at most one short lock; nothing waits in the
// kernel while it is held. stack_alloc and stack_free make a system call or two each: per-P caches
// keep stacks for reuse and come here in batches.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/os.h"

namespace gort::inline v0::rt {

inline constexpr std::size_t kStackGuard = std::size_t{64} << 10;
inline constexpr std::size_t kStackMin = std::size_t{128} << 10;
inline constexpr std::size_t kStackDefault = std::size_t{256} << 10;
inline constexpr std::size_t kStackMax = std::size_t{1} << 30;

/// Bytes at the low end of a stack that a runtime call may need.
inline constexpr std::uintptr_t kStackReserve = std::size_t{8} << 10;

/// The stacks' starting points are spread over this many cache-line offsets, see stack_top.
inline constexpr unsigned kStackColours = 16;

/// A stack in somebody's hands. A value: 24 bytes, kept in the G, never on the stack itself.
struct Stack {
  std::uintptr_t lo = 0;              ///< lowest usable byte; the guard ends here
  std::uintptr_t hi = 0;              ///< one past the highest
  std::uint32_t colour = 0;           ///< bytes that stack_top leaves free below hi
  os::Guard guard = os::Guard::none;  ///< what lies below lo
  explicit operator bool() const noexcept { return hi != 0; }
};

inline constexpr int kStackClasses = 14;

/// The size class, 0 to kStackClasses-1, of a request for `bytes`; -1 above kStackMax. A stack's
/// usable size, hi - lo, has the class of its slot.
inline int stack_class_of(std::size_t bytes) noexcept {
  if (bytes <= kStackMin) return 0;
  if (bytes > kStackMax) return -1;
  return 64 - __builtin_clzl(bytes - 1) - 17;
}
static_assert(kStackMin == std::size_t{1} << 17 && kStackMax == kStackMin << (kStackClasses - 1));

/// The slot size that a request for `bytes` gets: at least kStackMin, a power of two; 0 above
/// kStackMax.
inline std::size_t stack_slot_bytes(std::size_t bytes) noexcept {
  const int c = stack_class_of(bytes);
  return c < 0 ? 0 : kStackMin << c;
}

/// A stack of at least `bytes` (guard included). Its contents are whatever was there before.
/// False if `bytes` is above kStackMax or address space has run out; *out is unchanged then.
bool stack_alloc(std::size_t bytes, Stack* out) noexcept;

/// Up to n stacks of one size at out[0...]; how many there are.
std::size_t stack_alloc_batch(std::size_t bytes, Stack* out, std::size_t n) noexcept;

/// Sets address space aside for n stacks of this size, so that as many stack_allocs cannot fail later; false
/// if there is none. A goroutine claims its stack when it is made and gets it when it first runs.
bool stack_claim(std::size_t bytes, std::size_t n) noexcept;

/// Gives n claims back.
void stack_unclaim(std::size_t bytes, std::size_t n) noexcept;

/// Gives a stack back. Nothing may run on it. A stack that is not in use is a failed CHECK.
void stack_free(const Stack& s) noexcept;

/// The same for many, sizes mixed as they come.
void stack_free_batch(const Stack* s, std::size_t n) noexcept;

/// Where a new goroutine's stack pointer starts: hi less the slot's colour, a multiple of 64 below
/// 1 KiB. Without it all parked goroutines' topmost frames, a few lines each, would compete for the
/// same few of the first-level cache's 64 sets. Under 1 KiB, so that one page still holds colour
/// and frames.
inline std::uintptr_t stack_top(const Stack& s) noexcept { return s.hi - s.colour; }

/// False if the stack has no guard and something was written just below lo: it has overflowed. The
/// canary is the line below lo being zero: it never needs writing, so it keeps no page resident,
/// and a correct program cannot touch it. A frame that steps over it, or puts zeros there, is
/// missed; checks of the stack pointer at runtime entries are the other net. Always true for a
/// guarded stack.
inline bool stack_canary_ok(const Stack& s) noexcept {
  if (s.guard != os::Guard::none) return true;
  const auto* line = reinterpret_cast<const std::uint64_t*>(s.lo) - 8;
  std::uint64_t any = 0;
  for (int i = 0; i < 8; ++i) any |= line[i];
  return any == 0;
}

/// How deep the stack ever was, in bytes below hi, to a page; since its pages were last given back.
/// One system call per MiB.
std::size_t stack_high_water(const Stack& s) noexcept;

/// Gives back the pages that a goroutine parked at `sp` does not use: below sp and its red zone.
/// One system call: worth it when the high-water mark says so.
void stack_discard_below(const Stack& s, std::uintptr_t sp) noexcept;

enum class StackAddr : std::uint8_t {
  not_a_stack,  ///< not ours, or never handed out
  usable,       ///< between some stack's lo and hi
  guard,        ///< in the guard zone of a stack, guarded or not: its goroutine has overflowed
};

/// What an address is, and in which stack (also one that is free just now). No lock, no system
/// call: for SIGSEGV handlers, and for scanning words that may point into stacks. A few loads.
StackAddr stack_classify(std::uintptr_t addr, Stack* which) noexcept;

/// Gives back the pages of all free stacks; what free_os_memory() does. Returns how many had some.
std::size_t stack_release_free() noexcept;

/// Exact when nobody allocates or frees at the time.
struct StackStats {
  std::size_t slabs = 0;           ///< mappings made
  std::size_t reserved_bytes = 0;  ///< address space of all slabs
  std::size_t in_use = 0;          ///< stacks handed out (per-P caches hold some of them)
  std::size_t claimed = 0;         ///< claims that have not been given back
  std::size_t in_use_bytes = 0;    ///< their slots' sizes
  std::size_t free_warm = 0;       ///< free with their topmost pages kept, for quick reuse; bounded
  std::size_t free_cold = 0;       ///< free without any memory
  std::size_t untouched = 0;       ///< slots never handed out
  std::size_t guards_cheap = 0;    ///< stacks ever handed out, by kind of guard
  std::size_t guards_mapping = 0;
  std::size_t guards_none = 0;
};
StackStats stack_stats() noexcept;

}  // namespace gort::inline v0::rt
