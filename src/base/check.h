// gort: assertions, in two grades, and the one way to die.
//
//   GORT_CHECK(cond, "text")    in every build; for what would corrupt the program if it went on
//   GORT_DCHECK(cond, "text")   GORT_DEBUG builds; for what is too dear or follows from a CHECK
//
// Both write with raw write(2), call no user code and take no lock that user code can hold, so they may
// stand in a signal handler. fatal() is for what the *user* did (it prints "fatal error: …" as Go does);
// a failed CHECK is gort's own bug and says so, with file and line.
//
// After the first line has been written, the report hook (src/debug fills it in: goroutine traces) runs
// once; a failure inside the hook ends the process at once. Exit status 2, or SIGABRT where
// GORT_TRACEBACK=crash asks for a core.
#pragma once

#include "os/os.h"

namespace gort::inline v0::rt {

/// What the report hook is told.
struct FatalReport {
  const char* message;   ///< without the "fatal error: " prefix
  bool all_goroutines;   ///< print every goroutine, not only the current one
};

/// Set once by the debug floor when the runtime starts; null before.
extern os::atomic<void (*)(const FatalReport&)> fatal_report_hook;

/// Set at start from GORT_TRACEBACK=crash: die by SIGABRT instead of exit status 2.
extern os::atomic<bool> fatal_by_abort;

/// Prints "fatal error: <message>" and the traces, ends the process. Concurrent callers: the first one
/// reports, the others wait for the end.
[[noreturn]] void fatal(const char* message, bool all_goroutines = false) noexcept;

/// Makes the calling thread the one that reports; to be called before it prints its own message. Everybody
/// else who dies waits here for the end: two reports at once are unreadable, and the first is the cause. A
/// reporter that fails again while the hook runs ends the process at once.
void fatal_begin() noexcept;

/// If a report is being written, waits for the end of the process: for threads that would end it otherwise,
/// with another exit status and the report cut short.
void fatal_join() noexcept;

/// In the child of a fork: who reports in the parent does not exist here, and nobody waits for him.
void fatal_fork_child() noexcept;

/// For messages with several lines or values: fatal_begin(), print, then this.
[[noreturn]] void fatal_after_print(const FatalReport& report) noexcept;

[[noreturn, gnu::cold]] void check_failed(const char* file, int line, const char* expr,
                                          const char* text) noexcept;

}  // namespace gort::inline v0::rt

#define GORT_CHECK(cond, text)                                             \
  do {                                                                     \
    if (__builtin_expect(!(cond), 0)) {                                    \
      ::gort::v0::rt::check_failed(__FILE__, __LINE__, #cond, text);       \
    }                                                                      \
  } while (false)

#if defined(GORT_DEBUG)
#define GORT_DCHECK(cond, text) GORT_CHECK(cond, text)
#else
#define GORT_DCHECK(cond, text) \
  do {                          \
    (void)sizeof(cond);         \
  } while (false)
#endif
