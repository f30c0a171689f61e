// Every scenario of the simulator: it holds under each explorer's schedules of the short set, and each of its flaws is
// found. gort-sim runs the same ones for longer.
//
// test: timeout=300
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/sim/bodies.h"
#include "tests/sim/scenario.h"

namespace gort::inline v0::rt {
namespace {

/// The first run that is not ok, or the last; `runs` tells how many.
SimResult explore(const Scenario& s, const Flaw* flaw, SimStrategy strategy, std::uint64_t seeds) {
  SimResult r;
  const std::uint64_t first = flaw != nullptr ? flaw->first : 1;
  for (std::uint64_t seed = first; seed <= seeds; ++seed) {
    r = run_scenario(s, flaw, options_of(s, flaw, strategy, seed));
    r.runs = seed - first + 1;
    if (r.verdict != SimVerdict::ok) break;
  }
  return r;
}

std::vector<const Scenario*> everything() {
  std::vector<const Scenario*> all;
  for (const auto& group : all_scenarios()) {
    for (const Scenario& s : group) all.push_back(&s);
  }
  return all;
}

class SimScenario : public testing::TestWithParam<const Scenario*> {};
INSTANTIATE_TEST_SUITE_P(All, SimScenario, testing::ValuesIn(everything()),
                         [](const auto& i) { return std::string(i.param->name); });

TEST_P(SimScenario, Holds) {
  for (const SimStrategy strategy : {SimStrategy::uniform, SimStrategy::pct}) {
    // Half of what `make sim` begins with: for the time.
    const SimResult r = explore(*GetParam(), nullptr, strategy, (GetParam()->seeds + 1) / 2);
    EXPECT_EQ(r.verdict, SimVerdict::ok) << tell(r);
  }
}

TEST_P(SimScenario, EverySchedule) {
  const Scenario& s = *GetParam();
  if (s.preemptions == kNotEnumerated) GTEST_SKIP() << "random schedules only";
  SimOptions o = options_of(s, nullptr, SimStrategy::exhaustive, 1);
  const os::SimEnumeration e = enumerate_scenario(s, nullptr, o, bound_of(s), UINT64_MAX);
  EXPECT_EQ(e.result.verdict, SimVerdict::ok) << tell(e.result);
  EXPECT_TRUE(e.complete);
  RecordProperty("schedules", static_cast<int>(e.schedules));
}

// A missing fence shows with store buffers, and by nothing else.
TEST_P(SimScenario, MissingFencesNeedStoreBuffers) {
  for (const Flaw& flaw : GetParam()->flaws) {
    if (flaw.weaken == nullptr) continue;
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
      SimOptions o = options_of(*GetParam(), &flaw, SimStrategy::pct, seed);
      o.store_buffers = false;
      const SimResult r = run_scenario(*GetParam(), &flaw, o);
      ASSERT_EQ(r.verdict, SimVerdict::ok) << tell(r);
    }
  }
}

TEST_P(SimScenario, FlawsAreFound) {
  for (const Flaw& flaw : GetParam()->flaws) {
    SCOPED_TRACE(flaw.name);
    for (const SimStrategy strategy : {SimStrategy::uniform, SimStrategy::pct}) {
      if (strategy == SimStrategy::uniform ? !flaw.uniform : !flaw.pct) continue;
      const SimResult r = explore(*GetParam(), &flaw, strategy, flaw.seeds);
      EXPECT_EQ(r.verdict != SimVerdict::ok, flaw.verdict != SimVerdict::ok) << tell(r);
    }
  }
}

TEST(SimScenarios, NamesAreUnique) {
  for (const Scenario* s : everything()) EXPECT_EQ(find_scenario(s->name), s);
}

}  // namespace
}  // namespace gort::inline v0::rt
