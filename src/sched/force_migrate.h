// gort: GORT_DEBUG=forcemigrate=1: every park, yield, poll and end of gort::blocking continues on another thread
// (GORT_TESTING builds). For code that must not carry a thread's state over such a call (docs/tls.md): what goes wrong
// once in a million there goes wrong at once here.
//
// How: departures take no short cut from goroutine to goroutine but go through schedule(), and schedule() does not
// run a goroutine on the M where it ran last, if it can help it: it puts the goroutine in front of its P's queue and
// hands the P to an idle M. So it works with one P, too. Spare threads see to it that an M is idle, mostly; where
// none comes within two milliseconds, the goroutine stays. Locked goroutines stay always.
#pragma once

#include "sched/m.h"

namespace gort::inline v0::rt {

#if defined(GORT_TESTING)

extern os::atomic<bool> force_migrate_on;  ///< set when the runtime starts

/// Whether departures shall go the long way.
inline bool force_migrate() noexcept {
  return __builtin_expect(force_migrate_on.load(os::memory_order_relaxed), 0);
}
/// In schedule(), with g picked to run on m: true if g and m's P went to another M instead.
bool force_migrate_away(M* m, G* g) noexcept;
inline bool migrated_away(M* m, G* g) noexcept { return force_migrate() && force_migrate_away(m, g); }

#else

constexpr bool force_migrate() noexcept { return false; }
constexpr bool migrated_away(M*, G*) noexcept { return false; }

#endif

}  // namespace gort::inline v0::rt
