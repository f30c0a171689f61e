// gort: the timer that cancels a context at its deadline.
#pragma once

#include "sync/context.h"

namespace gort::inline v0::rt {

/// Cancels c, with cause timed_out, when its deadline has come; at once, if it has. Several at once: one counts. In the
/// runtime, under no lock, by who has a ref.
void context_timer_start(Context* c) noexcept;
/// It need not any more. Does not wait for one that fires at this moment. By who has a pin.
void context_timer_stop(Context* c) noexcept;
/// Nobody has a ref any more: waits for one that fires at this moment. It does not fire after that.
void context_timer_remove(Context* c) noexcept;
/// Nobody has a pin any more.
void context_timer_free(Context* c) noexcept;

}  // namespace gort::inline v0::rt
