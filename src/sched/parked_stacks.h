// gort: giving back the pages of parked goroutines' stacks that they do not use.
//
// A goroutine that has been deep once, and now waits in a shallow place, keeps its deepest pages until somebody takes
// them. sysmon does, for those that have waited for 10 s: it holds the goroutine (status held: whoever wakes it spins
// for the few microseconds of one madvise), and discards what lies below its stack pointer. At most 1024 goroutines a
// second, so a million idle ones cost a millisecond of CPU a second, and once per wait.
#pragma once

#include <cstdint>

namespace gort::inline v0::rt {

/// One round: looks at some more goroutines of the registry, going on where the last round ended. How many stacks
/// were trimmed. By sysmon only.
int parked_stacks_trim() noexcept;

/// Whether a goroutine may wait that will be due: sysmon goes on with its rounds though all Ps are idle. `busy`:
/// Sched::seconds when a goroutine ran last.
bool parked_stacks_trimmable(std::uint32_t busy) noexcept;

}  // namespace gort::inline v0::rt
