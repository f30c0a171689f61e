// Loads for judging how the scheduler scales: the same code runs on the simulator's cost model, with any number of Ps,
// and on this machine (measure_loads), so that the one can be held against the other.
#pragma once

#include <cstdint>
#include <span>

namespace gort::inline v0::rt {

inline constexpr int kMostDelays = 4096;

/// What a load has to say. Times in ns, of the clock that the runtime reads.
struct LoadResult {
  std::int64_t ops = 0;
  std::int64_t ns = 0;      ///< for all of them
  std::int64_t steals = 0;  ///< by Ps, of batches
  int delays_n = 0;
  std::int64_t delays[kMostDelays];  ///< of single operations, as far as there is room, in no order
};

struct Load {
  const char* name;
  const char* what;
  const char* op;     ///< what is counted
  const char* delay;  ///< what is timed; null: nothing
  /// On a goroutine, the runtime having `procs` Ps. `scale` 1: twenty thousand operations, and hundreds more per P.
  void (*run)(int procs, double scale, LoadResult& out);
};

std::span<const Load> all_loads() noexcept;

/// Computes for so long.
void load_work(std::int64_t ns) noexcept;

}  // namespace gort::inline v0::rt
