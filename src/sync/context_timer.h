// gort: the timer that cancels a context at its deadline.
#pragma once

#include "sync/context.h"

namespace gort::inline v0::rt {

/// The timer's pin: the memory stays until the timer is done with it.
void context_pin(Context* c) noexcept;
void context_unpin(Context* c) noexcept;

/// Cancels c, with cause timed_out, when its deadline has come; at once, if it has. Several at once: one counts.
void context_timer_start(Context* c) noexcept;
/// It need not any more. Does not wait for one that fires at this moment.
void context_timer_stop(Context* c) noexcept;

}  // namespace gort::inline v0::rt
