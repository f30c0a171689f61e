// gort: changing the number of Ps, while the world is stopped.
//
// all_p[0, nprocs) are the Ps that live. A P that dies gives its goroutines to the head of the global queue and its
// caches to the shared ones, and stays in its place, dead, until the number grows again. The stopper's own P never
// dies: it changes places with one that does. A P that an M waits for (in the middle of user
// code, perhaps) is retired first: the M notices when it wakes, makes it dead and queues for another one. If the number
// grows again before that, the P is still that M's, as if nothing had been; so nobody can take a P by an old claim.
#pragma once

#include "sched/sched.h"

namespace gort::inline v0::rt {

/// n from 1 to kMaxProcs. All Ps are stopped; `own` is the stopper's (null: it has none). Under sched.lock.
void proc_resize(std::int32_t n, P* own) noexcept;

}  // namespace gort::inline v0::rt
