#include "base/random.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <vector>

namespace rt = gort::v0::rt;

namespace {

TEST(Random, BelowStaysBelow) {
  rt::Random r(1);
  for (const std::uint32_t n : {1u, 2u, 3u, 7u, 64u, 1000003u, 0x80000001u, 0xffffffffu}) {
    for (int i = 0; i < 10000; ++i) ASSERT_LT(r.below(n), n);
  }
}

TEST(Random, BelowReachesEveryValue) {
  rt::Random r(2);
  std::set<std::uint32_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(r.below(16));
  EXPECT_EQ(seen.size(), 16u);
}

/// Pearson's chi-square against uniform; seeds are fixed, so this passes always or never.
TEST(Random, RoughlyUniform) {
  for (const std::uint32_t n : {2u, 3u, 8u, 61u}) {
    for (const std::uint64_t seed : {0ULL, 1ULL, 12345ULL, ~0ULL}) {
      rt::Random r(seed);
      const int draws = 20000 * int(n);
      std::vector<double> count(n);
      for (int i = 0; i < draws; ++i) ++count[r.below(n)];
      double chi2 = 0;
      for (const double c : count) chi2 += (c - 20000) * (c - 20000) / 20000;
      // Mean n-1, deviation sqrt(2(n-1)): five deviations off would be no accident.
      EXPECT_LT(chi2, (n - 1) + 5 * __builtin_sqrt(2.0 * (n - 1)) + 5) << "n " << n << " seed " << seed;
    }
  }
}

TEST(Random, SameSeedSameStream) {
  rt::Random a(7), b(7);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(a.next(), b.next());
}

/// Threads are seeded with neighbouring numbers; their first decisions must not agree.
TEST(Random, NeighbouringSeedsAreUnrelated) {
  std::set<std::uint32_t> first;
  int agreeing = 0;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    rt::Random a(seed), b(seed + 1);
    first.insert(rt::Random(seed).next());
    for (int i = 0; i < 8; ++i) agreeing += a.below(2) == b.below(2);
  }
  EXPECT_GT(first.size(), 998u);
  EXPECT_NEAR(agreeing, 4000, 300);
}

/// State 0 would stay 0 for ever. The seed that mixes to 0 is the one to fear.
TEST(Random, NoSeedGetsStuck) {
  for (const std::uint64_t seed : {0ULL, 0ULL - 0x9e3779b97f4a7c15ULL, ~0ULL}) {
    rt::Random r(seed);
    std::set<std::uint32_t> seen;
    for (int i = 0; i < 100; ++i) seen.insert(r.next());
    EXPECT_GT(seen.size(), 90u) << seed;
  }
}

}  // namespace
