// The loads of gort-sim --scaling on this machine, by the runtime as users link it: `measure_loads [LOAD|all [PROCS,...]]`
// prints one line of JSON each. Each is run several times; the fastest run counts, since other programs only add.
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>

#include "gort/run.h"
#include "tools/sim/loads.h"
#include "tools/sim/report.h"

namespace {

namespace rt = gort::rt;
constexpr int kTimes = 15;

long sleeps() {
  rusage u;
  ::getrusage(RUSAGE_SELF, &u);
  return u.ru_nvcsw;
}

void measure(const rt::Load& load, int procs) {
  nlohmann::ordered_json best;
  for (int i = 0; i < kTimes; ++i) {
    static rt::LoadResult r;
    r = {};
    long slept = 0;
    gort::run({.max_procs = procs}, [&] {
      const long before = sleeps();
      load.run(procs, 1, r);
      slept = sleeps() - before;
    });
    nlohmann::ordered_json j = load_json(load, procs, r, "machine");
    j["sleeps_per_op"] = static_cast<double>(slept) / (1.25 * static_cast<double>(r.ops));
    if (best.empty() || j["ns_per_op"].get<double>() < best["ns_per_op"].get<double>()) best = j;
  }
  std::printf("%s\n", best.dump().c_str());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string wanted = argc > 1 ? argv[1] : "all";
  std::istringstream procs(argc > 2 ? argv[2] : "1,2");
  for (std::string n; std::getline(procs, n, ',');) {
    for (const rt::Load& load : rt::all_loads()) {
      if (wanted == "all" || wanted == load.name) measure(load, std::atoi(n.c_str()));
    }
  }
}
