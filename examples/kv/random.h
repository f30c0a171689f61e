// Random numbers for SPOP, RANDOMKEY and eviction. Not for secrets.
#pragma once

#include <atomic>
#include <cstdint>

namespace kv {

/// Any goroutine may ask; each call gives the next number of one sequence (splitmix64).
inline std::uint64_t random_bits() noexcept {
  static std::atomic<std::uint64_t> state{0x9e3779b97f4a7c15};
  std::uint64_t z = state.fetch_add(0x9e3779b97f4a7c15, std::memory_order_relaxed);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace kv
