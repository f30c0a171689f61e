// gort simulator: what os::atomic tells the simulator about each of its operations.
//
// An operation on a shared word is three calls: sim_access (a scheduling point: other simulated threads
// may run before it returns), the operation itself on a plain value, sim_seen (no scheduling point; puts
// the values into the history). Between sim_access and sim_seen nothing else runs, so the operation is
// atomic. Outside of a simulation all of them return at once.
#pragma once

#include <cstdint>

namespace gort::inline v0::os {

/// What a step of the history did.
enum class SimOp : std::uint8_t {
  point,  ///< a bare scheduling point
  load, store, exchange, cas, add, sub, bit_or, bit_and, fence,              // os::atomic
  futex_wait, futex_return, futex_wake,                                      // futexes
  create, create_failed, exit, reap, join, yield, relax, sleep, wake, clock, // threads and time
  memory, signal, handler,                                                   // mappings, signals
  note, output,                                                              // sim_note, write_all
};

/// A scheduling point of the simulator: another simulated thread may run before this returns. User code
/// of a simulation calls it where a real program would compute.
void sim_point() noexcept;

/// A scheduling point before the operation `op` on the shared word at `addr`.
void sim_access(SimOp op, const void* addr) noexcept;

/// The word's value before and after that operation.
void sim_seen(std::uint64_t before, std::uint64_t after) noexcept;

}  // namespace gort::inline v0::os
