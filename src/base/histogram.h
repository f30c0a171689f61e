// gort: a histogram of durations, in nanoseconds: log-linear buckets, written by one agent at a time, read by
// anybody without a lock.
//
//   bucket      from                        width
//   0 .. 7      0, 64, 128 … 448 ns         64 ns
//   8 .. 15     512 ns                      64 ns
//   16 .. 23    1024 ns                     128 ns
//   …           each group of 8: twice as far, twice as wide
//   248 .. 255  2^39 ns (9 min)             2^36 ns
//   256         2^40 ns (18 min) and more   the rest
//
// The error bound: whoever takes a duration for either end of its bucket is wrong by at most 64 ns or an eighth
// of the duration, whichever is more (the last bucket apart; that is what the exact maximum is for). The bounds
// never change, so differences and sums of two readings mean something, over processes too.
//
// One writer at a time, and what lets the next one write orders the two (worldsema, a lock): counting is then
// a load and a store, not a locked instruction. Readers see each number at a moment of its own; every number
// only grows.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "os/os.h"

namespace gort::inline v0::rt {

class TimeHistogram {
 public:
  static constexpr std::size_t kBuckets = 257;

  /// Where a duration is counted; negative ones count as 0.
  static constexpr std::size_t bucket_of(std::int64_t ns) noexcept {
    const std::uint64_t units = ns > 0 ? static_cast<std::uint64_t>(ns) >> kUnitBits : 0;
    if (units < kGroup) return static_cast<std::size_t>(units);
    const int octave = std::bit_width(units) - 1 - kGroupBits;  // how often the width has doubled
    const std::size_t bucket =
        static_cast<std::size_t>(octave + 1) * kGroup + static_cast<std::size_t>(units >> octave) % kGroup;
    return bucket < kBuckets ? bucket : kBuckets - 1;
  }

  /// The least duration of a bucket; kBuckets and beyond: the same as of the last one.
  static constexpr std::int64_t lowest_of(std::size_t bucket) noexcept {
    if (bucket >= kBuckets) bucket = kBuckets - 1;
    if (bucket < kGroup) return static_cast<std::int64_t>(bucket) << kUnitBits;
    const auto octave = static_cast<int>(bucket / kGroup) - 1;
    return static_cast<std::int64_t>(kGroup + bucket % kGroup) << octave << kUnitBits;
  }

  /// The writer's.
  void record(std::int64_t ns) noexcept {
    if (ns < 0) ns = 0;
    add(counts_[bucket_of(ns)], std::uint64_t{1});
    add(sum_, ns);
    if (ns > max_.load(os::memory_order_relaxed)) max_.store(ns, os::memory_order_relaxed);
  }

  struct Snapshot {
    std::array<std::uint64_t, kBuckets> counts{};
    std::uint64_t count = 0;   ///< of all: the sum of `counts`, always
    std::int64_t sum_ns = 0;   ///< of all durations; may be a record ahead of or behind the counts
    std::int64_t max_ns = 0;   ///< the longest, exactly; likewise
  };
  /// Anybody's. A copy of 2 KiB.
  void read(Snapshot* out) const noexcept {
    out->count = 0;
    for (std::size_t i = 0; i < kBuckets; ++i) {
      out->counts[i] = counts_[i].load(os::memory_order_relaxed);
      out->count += out->counts[i];
    }
    out->sum_ns = sum_.load(os::memory_order_relaxed);
    out->max_ns = max_.load(os::memory_order_relaxed);
  }
  std::int64_t max_ns() const noexcept { return max_.load(os::memory_order_relaxed); }

 private:
  static constexpr int kUnitBits = 6;
  static constexpr int kGroupBits = 3;
  static constexpr std::size_t kGroup = std::size_t{1} << kGroupBits;

  template <class T>
  static void add(os::atomic<T>& word, T d) noexcept {
    word.store(word.load(os::memory_order_relaxed) + d, os::memory_order_relaxed);
  }

  os::atomic<std::uint64_t> counts_[kBuckets] = {};
  os::atomic<std::int64_t> sum_{0};
  os::atomic<std::int64_t> max_{0};
};

}  // namespace gort::inline v0::rt
