// gort: the runtime's half of gort::condition_variable.
//
// A wait counts itself in the word's lower half, lets go of the user's lock (which may be any lock, so this happens outside
// of the runtime, with nothing queued), and only then goes to sleep. A notification may come in between:
//
//   somebody sleeps                   the one who has slept longest is woken
//   nobody sleeps, somebody counts    the word's upper half changes; who comes to sleep and finds another number than
//                                     the one with which its wait began, goes on instead
//
// In the second case all who are on their way go on, which is more than one perhaps: a wait may end without a notification
// of its own. The other way round, a sleeper that began its wait later never takes a notification away from one that
// is on its way: the sleeper had counted as well before the notification came, so it was meant as much.
#pragma once

#include "sync/wait_list.h"

namespace gort::inline v0::rt {

using CondWord = os::atomic<std::uint64_t>;

/// `begun`: the word before the wait counted itself. In the runtime, no locks held.
WaitEnd cond_sleep(CondWord* word, std::uint64_t begun, std::int64_t deadline, CancelSource* cancel) noexcept;
void cond_notify(CondWord* word, bool all) noexcept;

}  // namespace gort::inline v0::rt
