// gort-sim --scaling: the loads of loads.h on the cost model (src/os/sim/costs.h), for any number of Ps.
#pragma once

#include <string>
#include <vector>

namespace gort::inline v0::rt {

struct ScalingWishes {
  std::vector<std::string> loads;  ///< names, or all
  std::vector<int> procs;
  double scale = 1;
  bool json = false;  ///< one object per line
};

/// False: a run failed, or there is no such load.
bool run_scaling(const ScalingWishes& wishes);

}  // namespace gort::inline v0::rt
