// gort: running a function on the M's own stack (Go's systemstack).
//
// For what must not stand on a goroutine's stack: it may need more room than the reserve that runtime
// entries guarantee, or looks at the goroutine's stack from outside. While it runs there is no current
// goroutine (current_g() is null), so nothing in it can park; semaphores say so, fatally.
#pragma once

namespace gort::inline v0::rt {

/// Calls fn(arg) on the M's own stack and returns; on the M's own stack already, or on a foreign thread, it is
/// a plain call. Inside the runtime. fn must not park, switch or call users; the thread does not change.
void on_system_stack(void (*fn)(void*), void* arg) noexcept;

}  // namespace gort::inline v0::rt
