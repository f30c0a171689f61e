// gort: the timer that cancels a context at its deadline. It lies in the context, so that looking at one needs no memory.
#pragma once

#include "sync/context.h"

namespace gort::inline v0::rt {

/// Of a context with a deadline of its own, that nobody else knows yet.
void context_timer_make(Context* c) noexcept;
/// Cancels c, with cause timed_out, when its deadline has come; at once, if it has. Several at once: one counts. In the
/// runtime, under no lock, by who has a ref.
void context_timer_start(Context* c) noexcept;
/// It need not any more. Does not wait for one that fires at this moment. By who has a pin.
void context_timer_stop(Context* c) noexcept;
/// Nobody has a ref any more: waits for one that fires at this moment. It does not fire after that. What it has begun to
/// cancel, and left for after a stop, is the caller's then.
[[nodiscard]] CancelRest context_timer_remove(Context* c) noexcept;

}  // namespace gort::inline v0::rt
