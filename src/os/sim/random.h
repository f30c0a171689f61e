// gort simulator: the random numbers of a run. splitmix64 (Steele, Lea, Flood 2014): any seed is
// good, and independent streams are independent seeds. base/random.h stands above this floor.
#pragma once

#include <cstdint>

namespace gort::inline v0::os::sim {

class Random {
 public:
  constexpr Random() noexcept = default;
  constexpr Random(std::uint64_t seed, std::uint64_t stream) noexcept
      : state_(seed * 0xd1342543de82ef95ULL + stream) {
    next();
  }

  constexpr std::uint64_t next() noexcept {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }

  /// In [0, n), n > 0. Biased by less than n / 2^32: no matter here.
  std::uint32_t below(std::uint32_t n) noexcept {
    return static_cast<std::uint32_t>(((next() >> 32) * n) >> 32);
  }

  /// True in n of 1000 cases. Draws only if there is something to decide.
  bool permille(unsigned n) noexcept { return n != 0 && below(1000) < n; }

 private:
  std::uint64_t state_ = 0;
};

}  // namespace gort::inline v0::os::sim
