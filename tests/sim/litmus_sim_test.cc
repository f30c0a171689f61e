// The litmus tests hold; a site that is said to be needed is, and where; and the models themselves do what they are said
// to do.
#include "tests/sim/litmus.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/scenario.h"

namespace gort::inline v0::rt::litmus {
namespace {

std::vector<const Litmus*> everything() {
  std::vector<const Litmus*> out;
  for (const Litmus& l : all()) out.push_back(&l);
  return out;
}

class SimLitmus : public testing::TestWithParam<const Litmus*> {};
INSTANTIATE_TEST_SUITE_P(All, SimLitmus, testing::ValuesIn(everything()), [](const auto& i) {
  std::string name = i.param->name;
  std::erase_if(name, [](char c) { return c == ','; });
  for (char& c : name) c = c == ' ' ? '_' : c;
  return name;
});

TEST_P(SimLitmus, HoldsAsWritten) {
  EXPECT_FALSE(explore(*GetParam(), Model::tso, nullptr).bad) << GetParam()->outcome;
  EXPECT_FALSE(explore(*GetParam(), Model::aarch64, nullptr).bad) << GetParam()->outcome;
}

TEST_P(SimLitmus, SitesAreNeededWhereItIsSaid) {
  for (const Site& s : GetParam()->sites) {
    const bool everywhere = s.needed == Needed::everywhere;
    EXPECT_EQ(explore(*GetParam(), Model::tso, s.name).bad,
              everywhere || s.needed == Needed::on_x86_64)
        << s.name;
    EXPECT_EQ(explore(*GetParam(), Model::aarch64, s.name).bad,
              everywhere || s.needed == Needed::on_aarch64)
        << s.name;
    bool there = false;
    for (const auto& side : GetParam()->sides) {
      for (const Op& op : side) there |= op.site != nullptr && std::string(op.site) == s.name;
    }
    EXPECT_TRUE(there) << s.name << " is no site of " << GetParam()->name;
  }
}

// The operations are a copy of the code's. So that the code cannot lose a full store or fence while the copy goes on to be
// proved: in each function the scenarios meet at least as many as it has sites here. Not seen: the orders of exchanges and
// additions, which are full to the simulator whatever they say.
TEST(SimLitmusSites, AreInTheCode) {
  for (const auto& group : all_scenarios()) {
    for (const Scenario& s : group) {
      for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        run_scenario(s, nullptr, options_of(s, nullptr, os::SimStrategy::uniform, seed));
      }
    }
  }
  using Place = std::pair<std::string, bool>;  // function, fence or store
  std::map<Place, std::size_t> met;
  for (const os::SimFence& f : os::sim_fences_met()) {
    const std::string site = f.site;
    ++met[{site.substr(0, site.rfind(':')), f.op == os::SimOp::fence}];
  }
  std::map<Place, std::set<std::string>> sites;
  for (const Litmus& l : all()) {
    for (const auto& side : l.sides) {
      for (const Op& op : side) {
        if (op.site == nullptr || (op.kind != Kind::store && op.kind != Kind::fence)) continue;
        const std::string site = op.site;
        // "f, g: what" stands in both.
        const std::size_t colon = site.find(": ");
        std::istringstream functions(site.substr(0, colon));
        for (std::string f; std::getline(functions >> std::ws, f, ',');) {
          sites[{f, op.kind == Kind::fence}].insert(site.substr(colon));
        }
      }
    }
  }
  for (const auto& [place, of_it] : sites) {
    if (place.first == "unring") continue;  // no scenario has a network
    EXPECT_GE(met[place], of_it.size()) << place.first << *of_it.begin();
  }
}

// ---- the models -----------------------------------------------------------------------------------------------

constexpr auto kRelaxed = os::memory_order_relaxed;
constexpr auto kAcquire = os::memory_order_acquire;
constexpr auto kRelease = os::memory_order_release;
constexpr auto kFull = os::memory_order_seq_cst;

Litmus two(std::span<const Op> a, std::span<const Op> b, bool (*bad)(const Outcome&)) {
  return {"", "", {}, {a, b, {}}, bad, "", {}};
}

Op load(std::uint8_t word, std::int8_t reg, os::memory_order order) {
  return {.kind = Kind::load, .word = word, .order = order, .reg = reg};
}
Op store(std::uint8_t word, std::int8_t value, os::memory_order order) {
  return {.kind = Kind::store, .word = word, .order = order, .value = value};
}
Op exchange(std::uint8_t word, std::int8_t value, os::memory_order order) {
  return {.kind = Kind::exchange, .word = word, .order = order, .value = value};
}

// Store buffering: both look before their stores are there.
TEST(LitmusModels, StoreBuffering) {
  struct {
    os::memory_order write, read;
    bool rmw, tso, aarch64;
  } const cases[] = {
      {kRelaxed, kRelaxed, false, true, true}, {kRelease, kAcquire, false, true, true},
      {kRelease, kFull, false, true, false},  // stlr, ldar: no compiler promises that
      {kFull, kFull, false, false, false},     {kFull, kAcquire, false, false, true},
      {kFull, kRelaxed, true, false, true},    {kFull, kFull, true, false, false},
  };
  for (const auto& c : cases) {
    const auto write = [&](std::uint8_t w) {
      return c.rmw ? exchange(w, 1, c.write) : store(w, 1, c.write);
    };
    const Op a[] = {write(0), load(1, 0, c.read)};
    const Op b[] = {write(1), load(0, 1, c.read)};
    const Litmus l = two(a, b, [](const Outcome& o) { return o.reg[0] == 0 && o.reg[1] == 0; });
    EXPECT_EQ(explore(l, Model::tso, nullptr).bad, c.tso)
        << static_cast<int>(c.write) << static_cast<int>(c.read);
    EXPECT_EQ(explore(l, Model::aarch64, nullptr).bad, c.aarch64)
        << static_cast<int>(c.write) << static_cast<int>(c.read);
  }
}

// Message passing: the flag is seen and the data is not.
TEST(LitmusModels, MessagePassing) {
  for (const bool releases : {false, true}) {
    for (const bool acquires : {false, true}) {
      const Op a[] = {store(0, 1, kRelaxed), store(1, 1, releases ? kRelease : kRelaxed)};
      const Op b[] = {load(1, 0, acquires ? kAcquire : kRelaxed), load(0, 1, kRelaxed)};
      const Litmus l = two(a, b, [](const Outcome& o) { return o.reg[0] == 1 && o.reg[1] == 0; });
      EXPECT_FALSE(explore(l, Model::tso, nullptr).bad);
      EXPECT_EQ(explore(l, Model::aarch64, nullptr).bad, !releases || !acquires);
    }
  }
}

// Load buffering: each sees what the other stores afterwards.
TEST(LitmusModels, LoadBuffering) {
  const Op a[] = {load(0, 0, kRelaxed), store(1, 1, kRelaxed)};
  const Op b[] = {load(1, 1, kRelaxed), store(0, 1, kRelaxed)};
  const Litmus l = two(a, b, [](const Outcome& o) { return o.reg[0] == 1 && o.reg[1] == 1; });
  EXPECT_FALSE(explore(l, Model::tso, nullptr).bad);
  EXPECT_TRUE(explore(l, Model::aarch64, nullptr).bad);
}

// A thread sees its own stores at once, and words have one order.
TEST(LitmusModels, Coherence) {
  const Op a[] = {store(0, 1, kRelaxed), load(0, 0, kRelaxed)};
  const Op b[] = {load(0, 1, kRelaxed), load(0, 2, kRelaxed)};
  const Litmus l =
      two(a, b, [](const Outcome& o) { return o.reg[0] != 1 || (o.reg[1] == 1 && o.reg[2] == 0); });
  for (const Model m : {Model::tso, Model::aarch64}) EXPECT_FALSE(explore(l, m, nullptr).bad);
}

// An RMW lets nobody between its halves; a lock excludes.
TEST(LitmusModels, RmwIsAtomic) {
  const Op both[] = {{.kind = Kind::add, .word = 0, .value = 1}};
  const Litmus adds = two(both, both, [](const Outcome& o) { return o.word[0] != 2; });
  const Op inside[] = {{.kind = Kind::lock, .word = 1},
                       load(0, 0, kRelaxed),
                       store(0, 1, kRelaxed),
                       {.kind = Kind::unlock, .word = 1}};
  const Op also[] = {{.kind = Kind::lock, .word = 1},
                     load(0, 1, kRelaxed),
                     store(0, 2, kRelaxed),
                     {.kind = Kind::unlock, .word = 1}};
  const Litmus locked = two(inside, also, [](const Outcome& o) { return o.reg[0] == o.reg[1]; });
  for (const Model m : {Model::tso, Model::aarch64}) {
    EXPECT_FALSE(explore(adds, m, nullptr).bad);
    EXPECT_FALSE(explore(locked, m, nullptr).bad);
  }
}

}  // namespace
}  // namespace gort::inline v0::rt::litmus
