#include "world/pauses.h"

namespace gort::inline v0::rt {

namespace {

struct OfReason {
  os::atomic<std::uint64_t> stops{0};
  os::atomic<std::int64_t> longest_stopping{0};
  os::atomic<std::int64_t> longest_total{0};
};

// By is_gc_reason.
constinit TimeHistogram stopping[2];
constinit TimeHistogram total[2];
constinit OfReason reasons[kStopReasons];

void keep_longest(os::atomic<std::int64_t>& longest, std::int64_t ns) noexcept {
  if (ns > longest.load(os::memory_order_relaxed)) longest.store(ns, os::memory_order_relaxed);
}

}  // namespace

void record_pause(StopReason r, std::int64_t stopping_ns, std::int64_t total_ns) noexcept {
  GORT_DCHECK(r != StopReason::for_each_p, "a pause is booked for for_each_p, which stops nobody");
  GORT_DCHECK(stopping_ns <= total_ns, "a pause that ended before everybody had stopped");
  const int gc = is_gc_reason(r) ? 1 : 0;
  stopping[gc].record(stopping_ns);
  total[gc].record(total_ns);
  OfReason& of = reasons[static_cast<int>(r)];
  of.stops.store(of.stops.load(os::memory_order_relaxed) + 1, os::memory_order_relaxed);
  keep_longest(of.longest_stopping, stopping_ns);
  keep_longest(of.longest_total, total_ns);
}

const TimeHistogram& pauses_stopping(bool gc) noexcept { return stopping[gc ? 1 : 0]; }
const TimeHistogram& pauses_total(bool gc) noexcept { return total[gc ? 1 : 0]; }

PausesOfReason pauses_of(StopReason r) noexcept {
  const OfReason& of = reasons[static_cast<int>(r)];
  return {of.stops.load(os::memory_order_relaxed), of.longest_stopping.load(os::memory_order_relaxed),
          of.longest_total.load(os::memory_order_relaxed)};
}

}  // namespace gort::inline v0::rt
