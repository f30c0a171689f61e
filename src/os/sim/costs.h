// gort simulator: what things cost. With SimOptions::costs a run is no search for bugs but a forecast: simulated threads
// run at the same time, each on one of `cores` virtual cores, and each step takes as long as it would there. Whoever is
// furthest behind makes the next step, so steps happen in the order of virtual time, and a run has no dice.
//
// What is charged: cache lines (every os::atomic is on one; a line is owned by one core or shared by several, a transfer
// takes time and transfers of one line take turns), full fences, calls of the kernel, sleeping and waking, signals, the
// kernel's switches where there are more threads than cores, and user code by sim_work. What is not: plain memory that
// travels behind the atomics (goroutines' stacks, queue links), page faults, the memory bus, more than one kind of
// distance; `plain` stands for the instructions between two steps. Who reads a forecast for 1024 cores should read it as
// an order of magnitude and a list of suspects.
//
// The defaults were measured by tools/sim/measure_costs on the machine that docs/scaling.md names.
#pragma once

#include <cstdint>

namespace gort::inline v0::os {

/// Nanoseconds.
struct SimCosts {
  int cores = 2;
  std::int64_t plain = 1;               ///< instructions between two steps: fitted, see docs/scaling.md
  std::int64_t local = 1;               ///< a load or store of a line that the core has
  std::int64_t atomic = 6;              ///< an RMW, a full store or fence, the line at hand
  std::int64_t remote = 100;            ///< the line comes from another core
  std::int64_t clock = 24;              ///< reading it
  std::int64_t pause = 27;              ///< one of cpu_relax
  std::int64_t call = 175;              ///< a futex call that finds nothing to do
  std::int64_t wake_call = 8'700;       ///< a futex wake, to who wakes somebody on an idle core
  std::int64_t wake_run = 16'500;       ///< from there until the sleeper runs
  std::int64_t wake_busy = 700;         ///< a futex wake of somebody who has to wait for a core
  std::int64_t context_switch = 1'000;  ///< to the next thread on the same core
  std::int64_t yield = 530;             ///< sched_yield
  std::int64_t signal_send = 8'200;     ///< tgkill to a thread that runs on another core
  std::int64_t signal_run = 13'800;     ///< from there until its handler runs
  std::int64_t signal_handle = 1'850;   ///< in and out of a handler
  std::int64_t memory = 3'500;          ///< mmap, munmap, madvise
  std::int64_t thread = 18'400;         ///< creating one
  std::int64_t slice = 3'000'000;       ///< of the kernel, where more threads can run than there are cores
};

/// A word or place in the program at which time was spent beyond what it would have taken alone.
struct SimHot {
  char what[80];
  std::uint64_t times = 0;
  std::int64_t ns = 0;
};

/// What a run has cost. Times are sums over all threads.
struct SimReport {
  static constexpr int kMost = 24;
  std::uint64_t steps = 0;
  std::uint64_t wakes = 0;   ///< sleepers that a futex wake has woken
  std::uint64_t sleeps = 0;  ///< of threads, in futexes and sleep_ns
  std::uint64_t signals = 0;
  std::uint64_t transfers = 0;   ///< of cache lines
  std::int64_t transfer_ns = 0;  ///< spent in them, waiting for others' included
  std::int64_t busy_ns = 0;      ///< of all cores
  int locks_n = 0;
  SimHot locks[kMost];  ///< the runtime's own, by rank: contended acquisitions, time until acquired
  int places_n = 0;
  SimHot places[kMost];  ///< functions by time in transfers, longest first
};

}  // namespace gort::inline v0::os
