// gort: wiring a goroutine to its thread.
//
// While locked, the goroutine runs on this thread only and nobody else does. For libraries with thread state
// (OpenGL, namespaces, per-thread credentials). Calls nest. A goroutine that ends while locked takes its
// thread with it: the thread may have been altered. New threads never inherit from a locked one, since only
// the template thread creates threads.
#pragma once

#include <cstdint>

namespace gort::inline v0::rt {

/// Locks the current goroutine to its thread. On a foreign thread: nothing. O(1).
void lock_os_thread() noexcept;
/// Undoes one lock_os_thread; without one it does nothing, as in Go.
void unlock_os_thread() noexcept;
/// The nesting depth, for tests and tracebacks.
std::uint32_t os_thread_lock_depth() noexcept;

}  // namespace gort::inline v0::rt
