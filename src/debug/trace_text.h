// gort: tracebacks as text, in the shape of Go's, so that eyes and tools that read those read ours.
//
//   goroutine 18 [semacquire, 2 minutes, locked to thread]:
//   shop::worker(...)                          "(...)": inlined into the next one
//           /src/shop.cc:120
//   shop::serve()                              parameters are left out; file and line tell overloads apart
//           /src/shop.cc:88 +0x1d              +0x1d: from the function's first instruction
//   created by shop::main_loop in goroutine 1
//           /src/shop.cc:45 +0x2a
//
// Two stages, in this order in every fatal path: print_raw() needs nothing but write(2); print_trace()
// allocates and reads files (see symbols.h), and may never come to an end in a broken process. Whoever
// dies prints the raw form first and bounds the time of the second.
//
// Everything here formats plain data that somebody else has collected: no scheduler is asked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/print.h"

namespace gort::inline v0::rt {

/// GORT_TRACEBACK: how much a dying program tells. Each includes what stands before it.
enum class TracebackLevel : std::uint8_t {
  none,    ///< the message only
  single,  ///< the goroutine that died; all of them if the message asks for it (deadlock). The default
  all,     ///< all the users' goroutines
  system,  ///< also the runtime's goroutines and frames
  crash,   ///< as system, and then SIGABRT for a core dump
};

/// The level that `value` names; null and "" are the default. Nothing if it names none: the caller
/// reports that (report_bad_traceback) and ends the process, as for any bad setting.
std::optional<TracebackLevel> parse_traceback(const char* value) noexcept;
void report_bad_traceback(Printer& out, const char* value) noexcept;

/// Whether frames of the runtime are shown.
constexpr bool shows_runtime(TracebackLevel level) noexcept { return level >= TracebackLevel::system; }

/// Of more frames than this at each end of a stack, those in between are left out.
inline constexpr std::size_t kTraceEnd = 50;

/// One goroutine, as collected. Strings may be null.
struct GoroutineTrace {
  std::uint64_t id = 0;
  bool is_thread = false;             ///< not a goroutine but a thread; id is the kernel's
  const char* status = nullptr;       ///< "running", "runnable", "syscall", "waiting" …
  const char* wait_reason = nullptr;  ///< stands in place of the status if not empty
  std::int64_t waiting_minutes = 0;   ///< shown from 1 on
  bool locked_to_thread = false;
  const char* name = nullptr;            ///< the goroutine's own, if it was given one
  std::span<const std::uintptr_t> pcs = {};  ///< innermost first
  bool first_is_exact = false;           ///< pcs[0] is the next instruction, not a return address
  bool truncated = false;                ///< the stack was deeper than what was collected
  std::size_t omitted = 0;               ///< frames that were not collected, behind pcs[kTraceEnd - 1]
  std::uintptr_t created_by = 0;         ///< return address of the call that made it; 0: unknown, or main
  std::uint64_t creator_id = 0;          ///< 0: unknown
};

/// Where text goes: a Printer, a string, or a callback, in pieces of any size.
class TextSink {
 public:
  using Write = void (*)(void* context, const char* text, std::size_t n);
  TextSink(Write write, void* context) noexcept : write_(write), context_(context) {}
  explicit TextSink(Printer& out) noexcept;
  explicit TextSink(std::string& out) noexcept;
  void operator()(std::string_view text) const { write_(context_, text.data(), text.size()); }

 private:
  Write write_;
  void* context_;
};

/// Stage one: header, then "\t0x55d0c0de1234 /path/module+0x1234" for each frame, the runtime's too.
/// No malloc, no lock: for signal handlers and fatal paths.
void print_raw(Printer& out, const GoroutineTrace& g) noexcept;
/// Its frames alone.
void print_raw_frames(Printer& out, const GoroutineTrace& g) noexcept;

/// Stage two. Frames of the runtime are left out unless `level` shows them, or unless there are no
/// others; so are, at the outer end, the templates that carry a goroutine's closure to its first call. Of more than 2 kTraceEnd frames the innermost and the outermost kTraceEnd are shown. Not noexcept: it
/// allocates, and what the sink throws goes through.
void print_trace(const TextSink& out, const GoroutineTrace& g, TracebackLevel level);

/// All of `goroutines`, in order, an empty line between two. If they are more than `group_above`,
/// those with the same state, stack and creator share one text, at the place of the first:
///
///   37 goroutines: goroutine 18, 19, 25-59 [semacquire, 2-7 minutes]:
///
/// with all ids, since an id is what every other tool asks for.
void print_traces(const TextSink& out, std::span<const GoroutineTrace> goroutines, TracebackLevel level,
                  std::size_t group_above = 100);

/// A demangled name without return type, parameters and qualifiers: "int ns::f<int>(int) const" gives
/// "ns::f<int>". What it cannot take apart it leaves alone.
std::string_view function_name_only(std::string_view demangled) noexcept;

/// Whether a name as the linker knows it is the runtime's own: gort::v0::{rt,os,arch}, assembly.
bool is_runtime_linkage(std::string_view linkage) noexcept;

}  // namespace gort::inline v0::rt
