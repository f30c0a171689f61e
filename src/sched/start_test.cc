// The pure parts of starting; what the environment does is in tests/scenarios/process_test.cc.
#include "sched/start.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace gort::rt {
namespace {

TEST(ParseNumber, WholeDecimalNumbersOnly) {
  struct {
    const char* text;
    bool good;
    std::int64_t value;
  } const cases[] = {
      {"0", true, 0},
      {"7", true, 7},
      {"007", true, 7},
      {"-1", true, -1},
      {"-0", true, 0},
      {"9223372036854775807", true, std::numeric_limits<std::int64_t>::max()},
      {"9223372036854775808", false, 0},
      {"99999999999999999999999", false, 0},
      {"-9223372036854775807", true, -std::numeric_limits<std::int64_t>::max()},
      {"", false, 0},
      {"-", false, 0},
      {"--1", false, 0},
      {"+1", false, 0},
      {" 1", false, 0},
      {"1 ", false, 0},
      {"1\n", false, 0},
      {"1.0", false, 0},
      {"0x10", false, 0},
      {"1e3", false, 0},
      {"abc", false, 0},
      {"12k", false, 0},
  };
  for (const auto& c : cases) {
    std::int64_t n = 4711;
    EXPECT_EQ(parse_number(c.text, &n), c.good) << '"' << c.text << '"';
    EXPECT_EQ(n, c.good ? c.value : 4711) << '"' << c.text << '"';
  }
}

TEST(DefaultProcs, AffinityThenCgroup) {
  struct {
    std::int32_t cpus;
    std::int64_t milli;
    std::int32_t want;
  } const cases[] = {
      {1, 0, 1},         {8, 0, 8},          {0, 0, 1},           {-3, 0, 1},  // unknown: one
      {8, 4000, 4},      {8, 4001, 5},       {8, 3999, 4},                     // rounded up
      {8, 1000, 2},      {8, 100, 2},        {8, 1, 2},                        // never below two …
      {1, 100, 1},       {1, 8000, 1},                                         // … unless there is one processor
      {4, 400000, 4},    {2, 2000, 2},
      {5000, 0, 1024},   {5000, 2'000'000, 1024},                              // the documented clamp
      {8, -1, 8},                                                              // no limit
  };
  for (const auto& c : cases) {
    EXPECT_EQ(default_procs(c.cpus, c.milli), c.want) << c.cpus << " cpus, " << c.milli << " thousandths";
  }
}

}  // namespace
}  // namespace gort::rt
