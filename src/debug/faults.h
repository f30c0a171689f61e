// gort: what ends a program from outside its code: a stack that overflows, an exception that nobody
// catches, SIGQUIT.
//
//   SIGSEGV, SIGBUS   in the guard of the stack that the thread stands on: a named overflow, exit 2. Every
//                     other fault goes to whoever had the signal before: cores and exit status are theirs.
//   std::terminate    on a goroutine: names exception and goroutine, with the trace from where it was
//                     thrown, which still stands if nobody catches it. Then whoever was there before
//                     (abort, mostly).
//   SIGQUIT           if nobody else wanted it when the runtime started: all goroutines, exit 2. Printed by
//                     sysmon, which needs no P, so it works whatever the goroutines do; if sysmon does not
//                     answer within kQuitPatience, the next SIGQUIT prints addresses from its handler.
//
// A host that installs handlers of its own after the start has them; ours are then not there.
#pragma once

#include <cstdint>

namespace gort::inline v0::rt {

inline constexpr std::int64_t kQuitPatience = 2'000'000'000;  ///< ns

/// Installs all of it. Once, before the runtime starts.
void faults_start() noexcept;

/// sched_hooks.serve_requests: sysmon prints what SIGQUIT has asked for. May not return.
void serve_signal_requests() noexcept;

}  // namespace gort::inline v0::rt
