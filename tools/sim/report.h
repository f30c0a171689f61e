// What gort-sim --scaling and measure_loads both print of a load.
#pragma once

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "tools/sim/loads.h"

namespace gort::inline v0::rt {

inline nlohmann::ordered_json load_json(const Load& load, int procs, LoadResult& r,
                                        const char* on) {
  nlohmann::ordered_json j;
  const auto ops = static_cast<double>(r.ops);
  j["load"] = load.name;
  j["procs"] = procs;
  j["on"] = on;
  j["ops"] = r.ops;
  j["ops_per_second"] = ops * 1e9 / static_cast<double>(r.ns);
  j["ns_per_op"] = static_cast<double>(r.ns) / ops;
  j["steals_per_op"] = static_cast<double>(r.steals) / ops;
  if (r.delays_n > 0) {
    std::sort(r.delays, r.delays + r.delays_n);
    j["delay_p50_ns"] = r.delays[r.delays_n / 2];
    j["delay_p99_ns"] = r.delays[r.delays_n * 99 / 100];
  }
  return j;
}

inline std::string load_line(const nlohmann::ordered_json& j) {
  char line[256];
  std::snprintf(line, sizeof line, "%-9s %4d Ps %12.0f ops/s %9.4f steals/op %9.4f sleeps/op",
                j["load"].get<std::string>().c_str(), j["procs"].get<int>(),
                j["ops_per_second"].get<double>(), j["steals_per_op"].get<double>(),
                j["sleeps_per_op"].get<double>());
  std::string out = line;
  if (j.contains("delay_p50_ns")) {
    std::snprintf(line, sizeof line, "  delay p50 %.1f us p99 %.1f us",
                  j["delay_p50_ns"].get<double>() / 1000, j["delay_p99_ns"].get<double>() / 1000);
    out += line;
  }
  return out;
}

}  // namespace gort::inline v0::rt
