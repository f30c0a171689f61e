// gort: the reports of a dying program, and the texts of stack() and all_stacks().
//
// A fatal report comes in two stages, since the second may never come to an end in a broken process:
//
//   1. addresses: every goroutine as print_raw has it, by write(2). No malloc, no lock.
//   2. names: the same with functions, files and lines. Allocates and reads files, and is ended with the
//      process when kNamesLimit is over (world/signal.h, end_process_within); left out if that cannot be had.
//
// Both run on a stack of their own, since the dying goroutine's may be what is exhausted. Other goroutines
// go on meanwhile: nothing stops them, their traces are of one moment each.
#pragma once

#include <cstdint>
#include <string>

#include "arch/unwind.h"
#include "base/check.h"
#include "debug/trace_text.h"

namespace gort::inline v0::rt {

inline constexpr std::int64_t kNamesLimit = 5'000'000'000;  ///< ns
inline constexpr std::size_t kMostRaw = 1000;               ///< goroutines in stage 1

/// GORT_TRACEBACK; set once before the runtime starts.
extern TracebackLevel traceback_level;

/// fatal_report_hook. Leaves the thread out of the runtime: what it does from here on may allocate.
void report_fatal(const FatalReport& what) noexcept;

/// The registers at which the calling thread was interrupted, if it dies in a signal handler: its trace
/// starts there. Until the process ends; after fatal_begin().
void report_from_signal(const void* ucontext) noexcept;

/// Stage 1 alone, for all goroutines, straight from a signal handler.
void report_raw() noexcept;

/// The trace of whoever stands at c (a goroutine or a foreign thread), and of all goroutines.
std::string current_trace_text(const arch::Cursor& c);
std::string all_traces_text(const arch::Cursor& c);

}  // namespace gort::inline v0::rt
