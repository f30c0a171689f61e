// gort: what a goroutine can ask and do about itself. All are callable from foreign threads, where they do
// what std::this_thread does, or nothing.
#pragma once

#include <cstdint>
#include <string_view>

#include "gort/config.h"

namespace gort::inline v0 {

namespace this_goroutine {

/// Lets other goroutines run; continues later, perhaps on another thread. O(1), tens of nanoseconds.
void yield();

/// The goroutine's number, unique for ever, as tracebacks print it; 0 on a foreign thread. For messages and
/// logs only: there is no way from a number to a goroutine.
std::uint64_t id() noexcept;

/// The name given in go_options, or empty. Valid while the goroutine lives.
std::string_view name() noexcept;

}  // namespace this_goroutine

/// A place in a long computation where the runtime may take the processor away: if this goroutine's time
/// slice has run out and others wait, they run first. May change the thread. About 1 ns otherwise.
void poll();

/// Number of Ps: how many goroutines can run at once. 0 before the runtime has started.
int num_procs() noexcept;

/// Goroutines that exist, the caller included, the runtime's own excluded. A moment's view.
std::int64_t num_goroutine() noexcept;

}  // namespace gort::inline v0
