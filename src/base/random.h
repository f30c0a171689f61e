// gort: a small random number generator for scheduling decisions: stealing order, select order.
// Not for secrets. xorshift64* (Vigna 2016): one multiplication, period 2^64-1.
#pragma once

#include <cstdint>

namespace gort::inline v0::rt {

class Random {
 public:
  constexpr explicit Random(std::uint64_t seed) noexcept : state_(mix(seed)) {}

  std::uint32_t next() noexcept {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<std::uint32_t>((state_ * 0x2545f4914f6cdd1dULL) >> 32);
  }

  /// Uniform enough in [0, n), without a division (Lemire 2016). n > 0.
  std::uint32_t below(std::uint32_t n) noexcept {
    return static_cast<std::uint32_t>((std::uint64_t{next()} * n) >> 32);
  }

 private:
  // splitmix64's finalizer: neighbouring seeds give unrelated streams, and never state 0.
  static constexpr std::uint64_t mix(std::uint64_t z) noexcept {
    z += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    z ^= z >> 31;
    return z != 0 ? z : 1;
  }
  std::uint64_t state_;
};

}  // namespace gort::inline v0::rt
