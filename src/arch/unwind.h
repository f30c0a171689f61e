// gort: walking a stack, from anywhere, without malloc, locks or faults.
//
// A Cursor is one frame of a stack: where its code stands, and the registers as that frame has
// them. step() turns it into the frame that called it, by the call frame information (.eh_frame)
// that compilers write for every function, so code without frame pointers, signal handlers' frames
// and libc are walked too. Where there is none (generated code), frame pointers are followed.
//
//   arch::Cursor c = arch::cursor_here();       // or of a parked context, or of a stopped thread
//   c.allow(stack_lo, stack_hi);                // what may be read
//   do { use(c.pc); } while (arch::step(c));
//
// Why not libunwind: Debian's exports _Unwind_* and so replaces libgcc's for the whole program,
// which breaks exceptions. Why not libgcc's _Unwind_Backtrace: it can start only from its caller,
// neither from a parked context nor from a stopped thread's registers; it faults on a broken stack;
// and it may take locks and allocate (JIT registrations, lazy loading of libgcc_s), which rule L1
// forbids. It is the oracle of our tests.
//
// Promised: nothing here locks, allocates or calls the kernel. With ranges (allow), no word of a
// stack outside them is read, whatever the stack holds: a broken frame ends the walk as `lost`. A
// walk of n frames takes time proportional to n, and a range is walked upwards only, so every walk
// ends.
// Not promised: that a lost walk's last frames are true; that modules opened or closed since
// refresh_modules() are known (modules.h). A walk without ranges trusts the stack, and can fault.
//
// Costs: about 0.13 us a frame by CFI; 2 ns by collect_fp, which sees only frames that keep a frame
// pointer. A Cursor is about 250 bytes (400 on aarch64), a step uses less than 2 KiB (4) of stack.
#pragma once

#include <cstddef>
#include <cstdint>

#include "arch/context.h"

#if defined(__x86_64__)
#include "arch/x86_64/registers.h"
#elif defined(__aarch64__)
#include "arch/aarch64/registers.h"
#endif

namespace gort::inline v0::arch {

/// Addresses [lo, hi) that a walk may read.
struct StackRange {
  std::uintptr_t lo = 0;
  std::uintptr_t hi = 0;
};

/// Why a walk ended.
enum class WalkEnd : std::uint8_t {
  not_yet,
  bottom,  ///< a first frame: undefined or null return address
  lost,    ///< a frame that cannot be true: broken stack, unknown code, wrong tables
};

/// One frame.
struct Cursor {
  static constexpr unsigned kMaxRanges = 4;

  std::uintptr_t pc = 0;  ///< where the frame's code goes on
  /// pc is the very instruction: the frame was interrupted. Else it is a return address, and the
  /// call before it (at most pc - 1) is what the frame is doing.
  bool exact = false;
  WalkEnd end = WalkEnd::not_yet;
  std::uint8_t range_count = 0;
  std::uint8_t stack_changes = 0;
  reg::Set regs{};
  StackRange ranges[kMaxRanges];

  std::uintptr_t sp() const noexcept { return regs.value[reg::kSp]; }
  std::uintptr_t fp() const noexcept { return regs.value[reg::kFp]; }

  /// Lets the walk read [lo, hi): the goroutine's stack first, then the system and signal stacks
  /// that it may pass through. False if there are kMaxRanges already.
  bool allow(std::uintptr_t lo, std::uintptr_t hi) noexcept {
    if (range_count == kMaxRanges) return false;
    ranges[range_count++] = {lo, hi};
    return true;
  }
};

/// The frame of the function that this is called in.
[[gnu::always_inline]] inline Cursor cursor_here() noexcept {
  Cursor c;
  reg::capture(&c.regs);
  c.pc = c.regs.value[reg::kPc];
  c.exact = true;
  return c;
}

/// The innermost frame of a suspended context: the function that called switch_context, or the
/// context's first frame if it never ran. The context must stay suspended during the walk.
Cursor cursor_from_context(const Context& context) noexcept;

/// The interrupted frame, from a signal handler's third argument (ucontext_t*).
Cursor cursor_from_signal(const void* ucontext) noexcept;

/// One frame up. False at the end, with the cursor left at the last frame and `end` set.
bool step(Cursor& c) noexcept;

/// Addresses of at most max frames from c upwards. Each is one *past* an address inside the call or
/// instruction that the frame executes, as return addresses are: look up
/// pcs[i] - 1 to symbolize.
std::size_t collect(Cursor c, std::uintptr_t* pcs, std::size_t max) noexcept;

/// The same by frame pointers alone: much faster, but blind for functions compiled without them
/// (which are left out, or end the walk early) and for a frame that is just being made. Without
/// ranges it gives the first frame only.
std::size_t collect_fp(const Cursor& c, std::uintptr_t* pcs, std::size_t max) noexcept;

}  // namespace gort::inline v0::arch
