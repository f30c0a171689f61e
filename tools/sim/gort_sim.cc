// gort-sim: runs the simulator's scenarios (tests/sim/scenario.h) for as many schedules as are wanted.
//
//   gort-sim --list
//   gort-sim --scenario all --seeds 20000
//   gort-sim --scenario stop_queue --fault s0               one seed after the other until it is found
//   gort-sim --scenario stop_queue --fault s0 --replay 17   that run again; --trace prints every step
//   gort-sim --scenario small_mutex3 --explorer exhaustive --depth 3
//   gort-sim --litmus                                       each two-sided fence, as x86-64 and as aarch64 may reorder
//   gort-sim --scaling all --procs 1,32,1024 [--json]       a forecast for so many processors (docs/scaling.md)
//
// Exit status: 0 if every schedule held (with --fault: if none was found), 1 if not, 2 for a wrong command line.
// The last line is always `N schedules, M failures`.
#include <CLI/CLI.hpp>

#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "tests/sim/litmus.h"
#include "tools/sim/scaling.h"
#include "tools/sim/series.h"

namespace gort::inline v0::rt {
namespace {

void list() {
  for (const auto& group : all_scenarios()) {
    for (const Scenario& s : group) {
      std::printf("%-20s %s\n", s.name, s.what);
      std::printf("    --explorer exhaustive   %s\n", bound_name(bound_of(s)));
      for (const Flaw& f : s.flaws) std::printf("    --fault %-16s %s\n", f.name, f.what);
    }
  }
}

/// The scenarios that were asked for; `fault` leaves only those that have it. Empty: a message was printed.
std::vector<const Scenario*> chosen(const std::vector<std::string>& names,
                                    const std::string& fault) {
  std::vector<const Scenario*> out;
  for (const std::string& name : names) {
    const Scenario* one = find_scenario(name);
    if (one == nullptr && name != "all") {
      std::fprintf(stderr, "gort-sim: no scenario %s; --list has them\n", name.c_str());
      return {};
    }
    for (const auto& group : all_scenarios()) {
      for (const Scenario& s : group) {
        if ((one == nullptr || one == &s) && (fault.empty() || find_flaw(s, fault) != nullptr))
          out.push_back(&s);
      }
    }
  }
  if (out.empty())
    std::fprintf(stderr, "gort-sim: no such scenario has a fault %s; --list has them\n",
                 fault.c_str());
  return out;
}

/// Whether runs came to a place that SimOptions::weaken means.
bool was_met(const std::string& weaken) {
  for (const os::SimFence& f : os::sim_fences_met()) {
    const std::string site = f.site;
    if (site == weaken || site.starts_with(weaken + ":")) return true;
  }
  return false;
}

int run(int argc, char** argv) {
  CLI::App app{"The runtime's protocols on simulated threads, schedule by schedule", "gort-sim"};
  Wishes w;
  std::vector<std::string> names = {"all"};
  std::string fault;
  std::string explorer;
  bool want_list = false;
  bool fences = false;
  bool faults = false;
  bool litmuses = false;
  std::uint64_t replay = 0;
  app.add_flag("--list", want_list, "names of scenarios and of their faults");
  app.add_option("--scenario", names, "NAME, NAME,NAME ... or all")->delimiter(',');
  app.add_option("--seeds", w.seeds,
                 "schedules per scenario and explorer (default: the short set's)");
  app.add_option("--first", w.first_seed, "the first seed")->capture_default_str();
  app.add_option("--explorer", explorer, "default: random and pct")
      ->check(CLI::IsMember({"random", "pct", "exhaustive"}));
  app.add_option("--depth", w.depth, "pct: ordering constraints; exhaustive: preemptions");
  app.add_option("--fault", fault, "with this measure switched off");
  CLI::Option* one = app.add_option("--replay", replay, "this seed alone");
  app.add_flag("--trace", w.trace, "every step of each run that failed, or that is replayed");
  app.add_flag("--store-buffers", w.buffers,
               "stores may be delayed in every run (default: in half of them)");
  app.add_flag("!--no-shorten", w.shorten, "print failures as they were found");
  app.add_option("--weaken", w.weaken,
                 "takes full stores and fences away: of FUNCTION, or FUNCTION:LINE");
  app.add_flag("--fences", fences, "takes the full fences away one by one: who finds that out?");
  app.add_flag("--faults", faults,
               "with each measure switched off in turn: who finds it, in how many seconds?");
  app.add_flag("--litmus", litmuses,
               "each two-sided fence by itself, under x86-64's and aarch64's memory models");
  app.add_flag("--short", w.check_flaws, "the short set, and each flaw is found");
  app.add_option("--seconds", w.seconds, "--short: about how long; fewer schedules of each");
  ScalingWishes scaling;
  scaling.procs = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
  app.add_option("--scaling", scaling.loads, "LOAD,LOAD or all: what it costs with many processors")
      ->delimiter(',');
  app.add_option("--procs", scaling.procs, "--scaling: numbers of Ps")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024));
  app.add_option("--scale", scaling.scale, "--scaling: so many times as many operations")
      ->capture_default_str();
  app.add_flag("--json", scaling.json, "--scaling: a line of JSON for each");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  if (want_list) return list(), 0;
  if (litmuses) return litmus::print_all() ? 0 : 1;
  if (!scaling.loads.empty()) return run_scaling(scaling) ? 0 : 1;
  w.random = explorer.empty() || explorer == "random";
  w.pct = explorer.empty() || explorer == "pct";
  w.exhaustive = explorer == "exhaustive";
  if (*one) {
    w.replay = true;
    w.first_seed = replay;
    w.seeds = 1;
    if (explorer.empty())
      w.random = false;  // a seed alone says nothing: the last printed line names the explorer
  }
  w.progress = ::isatty(2) != 0;
  w.fault = fault;
  const auto scenarios = chosen(names, fault);
  if (scenarios.empty()) return 2;
  Totals t = fences   ? run_fences(scenarios, w)
                   : faults ? run_faults(scenarios, w)
                            : run_all(scenarios, w);
  if (!w.weaken.empty() && !was_met(w.weaken)) {
    std::printf("--weaken %s: no full store or fence of that place was met: nothing was taken away\n", w.weaken.c_str());
    ++t.failures;
  }
  std::printf("%llu schedules, %llu failures\n", static_cast<unsigned long long>(t.schedules),
              static_cast<unsigned long long>(t.failures));
  return t.failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace gort::inline v0::rt

int main(int argc, char** argv) { return gort::rt::run(argc, argv); }
