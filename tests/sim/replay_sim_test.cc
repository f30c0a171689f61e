// What the runtime's scenarios rest on: one seed is one history; a broken rule of a primitive is named.
#include <gtest/gtest.h>

#include <string>

#include "tests/sim/bodies.h"
#include "tests/sim/scenario.h"

namespace gort::inline v0::rt {
namespace {

class SimReplay : public testing::TestWithParam<SimStrategy> {};
INSTANTIATE_TEST_SUITE_P(Strategies, SimReplay, testing::Values(SimStrategy::uniform, SimStrategy::pct),
                         [](const auto& i) { return i.param == SimStrategy::pct ? "pct" : "uniform"; });

TEST_P(SimReplay, SameSeedSameHistory) {
  const Scenario& s = *find_scenario("each_once");
  SimOptions o = options_of(s, nullptr, GetParam(), 1);
  o.keep_history = true;
  std::string histories[2];
  std::uint64_t digests[2];
  for (int i = 0; i < 2; ++i) {
    const SimResult r = run_scenario(s, nullptr, o);
    ASSERT_EQ(r.verdict, SimVerdict::ok) << tell(r);
    histories[i] = r.history;
    digests[i] = r.digest;
  }
  EXPECT_EQ(histories[0], histories[1]);
  EXPECT_EQ(digests[0], digests[1]);
  o.seed = 2;
  EXPECT_NE(run_scenario(s, nullptr, o).digest, digests[0]);
}

TEST_P(SimReplay, SecondWakeupOfANoteIsNamed) {
  // Isolated: the CHECK's static state (who reports) stays behind.
  const SimResult r = os::sim_run(
      {.strategy = GetParam()},
      [](void*) {
        Note n;
        n.wakeup();
        n.wakeup();
      },
      nullptr);
  EXPECT_EQ(r.verdict, SimVerdict::crash);
  EXPECT_NE(r.message.find("double wakeup of a note"), r.message.npos) << r.message;
}

}  // namespace
}  // namespace gort::inline v0::rt
