// gort: the simulator's scenarios: small programs, each around one protocol of the runtime, with what they must show.
// The tests (scenarios_sim_test.cc) and the program gort-sim run the same ones.
//
// A scenario holds: under every schedule its body ends, and no assertion in it fails. So that its silence means
// something, it lists *flaws*: each is a measure of the runtime switched off, an order of a fence weakened, or a body
// with a mistake in it, and the same schedules must find it.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "base/fault.h"
#include "os/sim/sim.h"

namespace gort::inline v0::rt {

inline constexpr int kNotEnumerated = -2;

struct Flaw {
  const char* name;               ///< as gort-sim --fault has it
  const char* what;               ///< what is done instead
  os::SimVerdict verdict;         ///< how it shows, as a rule; ok: not at all
  Fault fault = Fault::kCount;    ///< switched on; or
  const char* weaken = nullptr;   ///< SimOptions::weaken, with store buffers; or
  void (*body)(void*) = nullptr;  ///< what runs instead
  const void* arg = nullptr;      ///< for either body; null: the scenario's
  std::uint64_t seeds = 2000;     ///< explorers find it within so many, these excepted:
  bool uniform = true;            ///< not by uniformly random schedules, if false
  bool pct = true;                ///< not by PCT's, if false
  void (*tune)(os::SimOptions& o) = nullptr;
  std::uint64_t first = 1;        ///< where `make test` begins: shortly before the seed that shows a rare one
};

struct Scenario {
  const char* name;
  const char* what;
  void (*body)(void*);
  const void* arg = nullptr;
  std::int64_t small_step_ns =
      0;                     ///< enumerations with sim_small(): virtual time of a step, if more
  os::SimOptions options{};  ///< without seed and strategy
  std::array<std::uint8_t, 4>
      procs{};  ///< numbers of processors that runs have by turns; ends at the first 0
  std::uint64_t seeds = 200;  ///< schedules of the short set, by each explorer
  int preemptions =
      kNotEnumerated;  ///< the bound of the short set's enumeration, if it has one; else
  os::SimBound bound{1, os::SimBound::departures};  ///< of the long one's, with sim_small()
  int small_procs =
      0;  ///< enumerated with so many processors; 0: two, or if that is not in `procs`, its first
  std::span<const Flaw> flaws{};
};

/// All of them, in the order of the floors that they are about.
std::span<const std::span<const Scenario>> all_scenarios() noexcept;
const Scenario* find_scenario(std::string_view name) noexcept;
const Flaw* find_flaw(const Scenario& s, std::string_view name) noexcept;

/// The options of one run: `seed` also decides the number of processors, and whether stores may be delayed.
os::SimOptions options_of(const Scenario& s, const Flaw* flaw, os::SimStrategy strategy,
                          std::uint64_t seed) noexcept;

/// What is enumerated of it: each scenario has a bound.
os::SimBound bound_of(const Scenario& s) noexcept;
/// "all", "2 preemptions", "1 departure".
const char* bound_name(os::SimBound b) noexcept;

/// One run; `flaw` may be null. Uses o.seed and o.strategy as they are.
os::SimResult run_scenario(const Scenario& s, const Flaw* flaw, const os::SimOptions& o) noexcept;
/// sim_enumerate and sim_shorten of it.
os::SimEnumeration enumerate_scenario(const Scenario& s, const Flaw* flaw, const os::SimOptions& o,
                                      os::SimBound bound, std::uint64_t max_schedules,
                                      bool (*go_on)(std::uint64_t, void*) = nullptr,
                                      void* go_on_arg = nullptr) noexcept;
os::SimResult shorten_scenario(const Scenario& s, const Flaw* flaw, const os::SimOptions& o,
                               const os::SimResult& failed, std::uint64_t max_runs) noexcept;

}  // namespace gort::inline v0::rt
