// gort: the order in which a thief visits the Ps: each one exactly once, in an order of its own.
//
// From a random start on in strides that are coprime to the number of Ps: the sums run through all of them before
// one comes again. So no two thieves need to agree on anything, they rarely follow each other from P to P, and
// a round costs no memory and two random numbers (acceptance scenario 42).
#pragma once

#include <cstdint>

#include "base/random.h"

namespace gort::inline v0::rt {

class StealOrder {
 public:
  /// Of `n` Ps, at least 1.
  StealOrder(std::uint32_t n, Random& random) noexcept : StealOrder(n, random.below(n), n > 1 ? random.below(n - 1) : 0) {}

  /// start < n; seed < n - 1 (n == 1: 0) is where the search for a stride begins.
  StealOrder(std::uint32_t n, std::uint32_t start, std::uint32_t seed) noexcept
      : n_(n), at_(start), stride_(1 + seed), left_(n) {
    while (gcd(stride_, n) != 1) stride_ = stride_ % (n - 1) + 1;
  }

  /// Whether the round goes on; then at() is the next P's number.
  bool more() const noexcept { return left_ != 0; }
  std::uint32_t at() const noexcept { return at_; }
  void next() noexcept {
    --left_;
    at_ += stride_;
    if (at_ >= n_) at_ -= n_;
  }

 private:
  static std::uint32_t gcd(std::uint32_t a, std::uint32_t b) noexcept {
    while (b != 0) {
      const std::uint32_t r = a % b;
      a = b;
      b = r;
    }
    return a;
  }

  std::uint32_t n_;
  std::uint32_t at_;
  std::uint32_t stride_;
  std::uint32_t left_;
};

}  // namespace gort::inline v0::rt
