// gort-sim: series of schedules of many scenarios.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/sim/scenario.h"

namespace gort::inline v0::rt {

struct Wishes {
  std::uint64_t seeds = 0;  ///< 0: as the scenario says
  std::uint64_t first_seed = 1;
  bool random = true;
  bool pct = true;
  bool exhaustive = false;
  int depth = 0;            ///< 0: as the scenario says
  std::string fault;
  bool replay = false;
  bool trace = false;
  bool check_flaws = false;  ///< each flaw must be found, too
  double seconds = 0;        ///< in all; 0: no limit
  bool progress = false;     ///< on standard error, once a second
  std::string weaken;        ///< SimOptions::weaken in every run
  bool buffers = false;      ///< stores may be delayed in every run, not in half of them
  bool shorten = true;       ///< failures are shortened
};

struct Totals {
  std::uint64_t schedules = 0;
  std::uint64_t failures = 0;
};

/// One line per series, what failed with its history and how to run it again.
Totals run_all(const std::vector<const Scenario*>& scenarios, const Wishes& wishes);

/// Switches each measure off, and puts each mistake in: a table of who found it, when. A failure: nobody in a minute.
Totals run_faults(const std::vector<const Scenario*>& scenarios, const Wishes& wishes);

/// Takes each full fence that the scenarios meet away, one after the other, and says who found that out.
Totals run_fences(const std::vector<const Scenario*>& scenarios, const Wishes& wishes);

}  // namespace gort::inline v0::rt
