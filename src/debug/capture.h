// gort: where goroutines stand: their stacks as lists of addresses, for reports.
//
//   Frames frames;
//   GoroutineTrace t = capture(g, &frames);      // any goroutine, whatever it is doing
//
// How depends on what the goroutine does:
//
//   waiting, runnable   its saved context is walked from here
//   running, in a call  its thread is asked by signal and walks itself, in the handler; whoever asks waits
//                       half of the patience that its report has left
//   the caller's own    from here
//
// No malloc, no lock, so all of it may stand in fatal paths and in handlers. Without a stop of the world
// the answer is a goroutine's at one moment, not all goroutines' at one moment; a goroutine that goes on
// while its saved context is read is looked at again, and listed without frames if it never stands still.
// A walk never leaves the goroutine's own stack, so a torn one is at worst wrong, never a fault.
#pragma once

#include <cstddef>
#include <cstdint>

#include "arch/unwind.h"
#include "debug/trace_text.h"
#include "sched/g.h"
#include "sched/m.h"

namespace gort::inline v0::rt {

/// ns that a report spends on threads that do not answer: a program that goes on, and one that dies.
inline constexpr std::int64_t kPatience = 200'000'000;
inline constexpr std::int64_t kLastPatience = 2'000'000'000;

/// Both ends of a stack: return addresses (one past the executed instruction), innermost first.
struct Frames {
  std::uint32_t n = 0;
  std::uint32_t omitted = 0;  ///< frames left out behind pcs[kTraceEnd - 1]
  arch::WalkEnd end = arch::WalkEnd::not_yet;  ///< anything but `bottom`: the last frames may be wrong
  std::uintptr_t pcs[2 * kTraceEnd] = {};
};

/// Walks from c to the end of its stack.
void walk_stack(arch::Cursor c, Frames* out) noexcept;

/// What may be read when a goroutine is walked: its stack, and its thread's.
void allow_stacks(arch::Cursor& c, const G* g, const M* m) noexcept;

/// All about g, with its frames in *frames (which the result refers to) and its name in *name. False if it
/// is not alive. `patience`: ns left for asking threads; lowered by what was used.
struct Captured {
  Frames frames;
  GoroutineTrace trace;  ///< refers to `frames` and `name`
  char name[sizeof G::name] = {};
};
bool capture(const G* g, std::int64_t* patience, Captured* out) noexcept;

/// The same for the goroutine that runs here, from the frame that c stands at.
void capture_current(const G* g, const arch::Cursor& c, Captured* out) noexcept;

/// The calling thread, which runs no goroutine; [lo, hi) is its stack, 0 if unknown.
void capture_thread(int tid, const arch::Cursor& c, Captured* out) noexcept;

/// What another M's thread does, seen as a thread. False if it does not answer.
bool capture_m(M* m, std::int64_t* patience, Captured* out) noexcept;

/// Registers the server of trace requests. Before the runtime starts.
void capture_start() noexcept;

}  // namespace gort::inline v0::rt
