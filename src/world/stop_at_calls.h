// gort: the users' stop: at calls into gort only, with a deadline (include/gort/world.h).
//
// One at a time, as every stop: its WorldHold is kept here, not by the user, since it belongs to the phase. Who has
// stopped the world and asks for another stop would wait for itself: that is a fatal error.
#pragma once

#include <cstdint>

namespace gort::inline v0::rt {

/// False: not within `limit_ns`. Inside the runtime. May change the thread.
bool user_stop(const char* reason, std::int64_t limit_ns) noexcept;
/// Ends it. By who has stopped it.
void user_start() noexcept;
/// Whether the caller is who has stopped the world so.
bool user_stop_is_mine() noexcept;
/// The reason that the user gave for the stop in progress, asked for or complete; null: none. For reports.
const char* user_stop_reason() noexcept;

}  // namespace gort::inline v0::rt
