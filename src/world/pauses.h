// gort: how long the world was stopped, and what for.
//
//   request ───────────── everybody stands ───────────── restart
//      |<----- stopping ----->|                             |
//      |<------------------------ total ------------------->|
//
// Each stop is exactly one sample of each, in the pair of histograms of its kind: the collector's reasons
// (is_gc_reason), and all others. What the goroutines feel is the total; what gort is to blame for is the
// stopping. Besides, each reason has its count and its longest times, exactly.
//
// Whoever holds worldsema books, once per stop, when it restarts the world; waiting for worldsema is not part of
// the pause (nobody stands still for it). Anybody reads, at any time: no lock, no stop. A reader may see the stop
// that is being booked in some of the numbers only.
#pragma once

#include <cstdint>

#include "base/histogram.h"
#include "world/world.h"

namespace gort::inline v0::rt {

/// Books one stop. Holder of worldsema only; no lock, no malloc. Not for for_each_p, which stops nobody.
void record_pause(StopReason r, std::int64_t stopping_ns, std::int64_t total_ns) noexcept;

/// The histograms of the collector's stops (`gc`) or of all others.
const TimeHistogram& pauses_stopping(bool gc) noexcept;
const TimeHistogram& pauses_total(bool gc) noexcept;

struct PausesOfReason {
  std::uint64_t stops = 0;
  std::int64_t longest_stopping_ns = 0;
  std::int64_t longest_total_ns = 0;  ///< perhaps another stop than the one before
};
PausesOfReason pauses_of(StopReason r) noexcept;

}  // namespace gort::inline v0::rt
