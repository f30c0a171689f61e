// gort: a thread of one's own, for libraries with thread state.
//
// While a goroutine is locked to its thread, it runs nowhere else and nobody else runs there. It nests. A
// goroutine that ends while locked ends its thread, since the thread may have been altered. New threads of the
// runtime never inherit from a locked one. Switching to and from a locked goroutine costs two thread
// switches instead of none.
#pragma once

#include "gort/config.h"

namespace gort::inline v0 {

/// O(1), never blocks, never changes the thread. Nothing on a foreign thread.
void lock_os_thread() noexcept;

/// Undoes one lock_os_thread(). Without one: nothing, as in Go.
void unlock_os_thread() noexcept;

/// RAII form.
class [[nodiscard]] os_thread_lock {
 public:
  os_thread_lock() noexcept { lock_os_thread(); }
  os_thread_lock(const os_thread_lock&) = delete;
  os_thread_lock& operator=(const os_thread_lock&) = delete;
  ~os_thread_lock() { unlock_os_thread(); }
};

}  // namespace gort::inline v0
