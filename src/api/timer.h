// gort: timers as the API layer handles them.
#pragma once

#include "sync/timers.h"

namespace gort::inline v0::detail {

/// An armed timer was taken out of its heap for good. If it is an after_func's, the arming's reference goes, and perhaps the
/// function with it, which is users' code. Outside the runtime.
void func_timer_dropped(const rt::TimerShot& shot) noexcept;

}  // namespace gort::inline v0::detail
