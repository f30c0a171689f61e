#include "base/histogram.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace {

using gort::rt::TimeHistogram;

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kTop = std::int64_t{1} << 40;

// The header's table.
TEST(TimeHistogram, BucketsAreWhereTheHeaderSays) {
  EXPECT_EQ(TimeHistogram::bucket_of(-5), 0u);
  EXPECT_EQ(TimeHistogram::bucket_of(0), 0u);
  EXPECT_EQ(TimeHistogram::bucket_of(63), 0u);
  EXPECT_EQ(TimeHistogram::bucket_of(64), 1u);
  EXPECT_EQ(TimeHistogram::bucket_of(511), 7u);
  EXPECT_EQ(TimeHistogram::bucket_of(512), 8u);
  EXPECT_EQ(TimeHistogram::bucket_of(1023), 15u);
  EXPECT_EQ(TimeHistogram::bucket_of(1024), 16u);
  EXPECT_EQ(TimeHistogram::bucket_of(kTop / 2), 248u);
  EXPECT_EQ(TimeHistogram::bucket_of(kTop - 1), 255u);
  EXPECT_EQ(TimeHistogram::bucket_of(kTop), 256u);
  EXPECT_EQ(TimeHistogram::bucket_of(kMost), 256u);
}

TEST(TimeHistogram, EachBucketBeginsWhereTheOneBeforeEnds) {
  EXPECT_EQ(TimeHistogram::lowest_of(0), 0);
  for (std::size_t i = 1; i < TimeHistogram::kBuckets; ++i) {
    const std::int64_t lowest = TimeHistogram::lowest_of(i);
    EXPECT_EQ(TimeHistogram::bucket_of(lowest), i);
    EXPECT_EQ(TimeHistogram::bucket_of(lowest - 1), i - 1);
  }
  EXPECT_EQ(TimeHistogram::lowest_of(TimeHistogram::kBuckets - 1), kTop);
}

TEST(TimeHistogram, TheErrorBound) {
  for (std::int64_t ns = 0; ns < kTop; ns += 1 + ns / 97) {
    const std::size_t i = TimeHistogram::bucket_of(ns);
    const std::int64_t bound = ns / 8 > 64 ? ns / 8 : 64;
    ASSERT_LE(ns - TimeHistogram::lowest_of(i), bound) << ns;
    ASSERT_GT(TimeHistogram::lowest_of(i + 1), ns);
    ASSERT_LE(TimeHistogram::lowest_of(i + 1) - ns, bound) << ns;
  }
}

TEST(TimeHistogram, CountsSumsAndKeepsTheLongest) {
  static TimeHistogram h;
  h.record(100);
  h.record(100);
  h.record(5'000'000);
  h.record(-1);
  TimeHistogram::Snapshot s;
  h.read(&s);
  EXPECT_EQ(s.count, 4u);
  EXPECT_EQ(s.counts[TimeHistogram::bucket_of(100)], 2u);
  EXPECT_EQ(s.counts[TimeHistogram::bucket_of(5'000'000)], 1u);
  EXPECT_EQ(s.counts[0], 1u);
  EXPECT_EQ(s.sum_ns, 5'000'200);
  EXPECT_EQ(s.max_ns, 5'000'000);
}

}  // namespace
