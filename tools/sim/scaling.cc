#include "tools/sim/scaling.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "os/sim/sim.h"
#include "tests/sim/bodies.h"
#include "tests/sim/stop_bodies.h"
#include "tools/sim/loads.h"
#include "tools/sim/report.h"

namespace gort::inline v0::rt {

namespace {

using Json = nlohmann::ordered_json;

struct Run {
  const Load* load;
  int procs;
  double scale;
  LoadResult* out;  // in memory that the run's process shares with us
};

void body(void* arg) {
  start_with_signals();
  static constinit Done* all = nullptr;
  Done done(1);
  all = &done;
  go(
      [](void* p) {
        const Run& r = *static_cast<const Run*>(p);
        r.load->run(r.procs, r.scale, *r.out);
        all->one();
      },
      arg);
  done.wait();
}

Json hot(const os::SimHot* all, int n, double ops) {
  Json out = Json::array();
  for (int i = 0; i < n; ++i) {
    if (i >= 8) break;
    out.push_back({{"what", all[i].what},
                   {"times_per_op", static_cast<double>(all[i].times) / ops},
                   {"ns_per_op", static_cast<double>(all[i].ns) / ops}});
  }
  return out;
}

Json one(const Run& run, os::SimResult& r) {
  os::SimCosts costs;
  // Two at least: the machine that the model is compared with has so many, whatever GORT_MAXPROCS says.
  costs.cores = std::max(2, run.procs);
  const std::string procs = std::to_string(run.procs);
  const os::SimText environment[] = {{"GORT_MAXPROCS", procs.c_str()}};
  SimOptions o;
  o.costs = &costs;
  o.cpus = costs.cores;
  o.environment = environment;
  o.max_steps = 4'000'000'000;
  o.cpu_seconds = 3600;
  const auto begin = std::chrono::steady_clock::now();
  r = os::sim_run(o, body, const_cast<Run*>(&run));
  if (r.verdict != SimVerdict::ok) return {};
  const os::SimReport& cost = *r.report;
  Json j = load_json(*run.load, run.procs, *run.out, "model");
  // Of the whole run, the start and the warming up included: a quarter more operations.
  const double all = static_cast<double>(run.out->ops) * 1.25;
  j["sleeps_per_op"] = static_cast<double>(cost.sleeps) / all;
  j["wakes_per_op"] = static_cast<double>(cost.wakes) / all;
  j["signals_per_op"] = static_cast<double>(cost.signals) / all;
  j["transfers_per_op"] = static_cast<double>(cost.transfers) / all;
  j["transfer_ns_per_op"] = static_cast<double>(cost.transfer_ns) / all;
  j["locks"] = hot(cost.locks, cost.locks_n, all);
  j["places"] = hot(cost.places, cost.places_n, all);
  j["threads"] = r.threads;
  j["steps"] = cost.steps;
  j["real_seconds"] =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return j;
}

void print_text(const Json& j) {
  std::printf("%s\n", load_line(j).c_str());
  for (const char* kind : {"locks", "places"}) {
    for (const Json& h : j[kind]) {
      if (h["ns_per_op"].get<double>() < 1) continue;
      std::printf("    %-7s %-50s %9.3f times, %9.0f ns per operation\n", kind,
                  h["what"].get<std::string>().c_str(), h["times_per_op"].get<double>(),
                  h["ns_per_op"].get<double>());
    }
  }
  std::fflush(stdout);
}

}  // namespace

bool run_scaling(const ScalingWishes& wishes) {
  void* shared = ::mmap(nullptr, sizeof(LoadResult), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return false;
  bool all_held = true;
  bool any = false;
  for (const Load& load : all_loads()) {
    const bool wanted = std::ranges::any_of(
        wishes.loads, [&](const std::string& n) { return n == "all" || n == load.name; });
    if (!wanted) continue;
    any = true;
    for (const int procs : wishes.procs) {
      const Run run{&load, procs, wishes.scale, new (shared) LoadResult()};
      os::SimResult r;
      const Json j = one(run, r);
      if (j.empty()) {
        std::fprintf(stderr, "%s, %d Ps: %s: %.*s\n", load.name, procs,
                     os::sim_verdict_name(r.verdict), static_cast<int>(r.message.size()),
                     r.message.data());
        all_held = false;
      } else if (wishes.json) {
        std::printf("%s\n", j.dump().c_str());
        std::fflush(stdout);
      } else {
        print_text(j);
      }
    }
  }
  if (!any) {
    std::fprintf(stderr, "gort-sim: no such load; there are");
    for (const Load& load : all_loads()) std::fprintf(stderr, " %s", load.name);
    std::fprintf(stderr, "\n");
  }
  return any && all_held;
}

}  // namespace gort::inline v0::rt
