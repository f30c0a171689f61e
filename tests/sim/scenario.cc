#include "tests/sim/scenario.h"

namespace gort::inline v0::rt {

extern const std::span<const Scenario> base_scenarios;
extern const std::span<const Scenario> sched_scenarios;
extern const std::span<const Scenario> stop_scenarios;

std::span<const std::span<const Scenario>> all_scenarios() noexcept {
  static const std::span<const Scenario> all[] = {base_scenarios, sched_scenarios, stop_scenarios};
  return all;
}

const Scenario* find_scenario(std::string_view name) noexcept {
  for (const auto& group : all_scenarios()) {
    for (const Scenario& s : group) {
      if (name == s.name) return &s;
    }
  }
  return nullptr;
}

const Flaw* find_flaw(const Scenario& s, std::string_view name) noexcept {
  for (const Flaw& f : s.flaws) {
    if (name == f.name) return &f;
  }
  return nullptr;
}

os::SimOptions options_of(const Scenario& s, const Flaw* flaw, os::SimStrategy strategy, std::uint64_t seed) noexcept {
  os::SimOptions o = s.options;
  o.strategy = strategy;
  o.seed = seed;
  unsigned n = 0;
  while (n < s.procs.size() && s.procs[n] != 0) ++n;
  if (n != 0) o.cpus = s.procs[seed % n];
  if (flaw != nullptr && flaw->tune != nullptr) flaw->tune(o);
  return o;
}

os::SimResult run_scenario(const Scenario& s, const Flaw* flaw, const os::SimOptions& o) noexcept {
  auto* body = s.body;
  const void* arg = s.arg;
  if (flaw != nullptr && flaw->body != nullptr) body = flaw->body;
  if (flaw != nullptr && flaw->arg != nullptr) arg = flaw->arg;
  const bool measure = flaw != nullptr && flaw->fault != Fault::kCount;
  if (measure) set_fault(flaw->fault, true);  // the run is a forked child: it inherits that
  const os::SimResult r = os::sim_run(o, body, const_cast<void*>(arg));
  if (measure) set_fault(flaw->fault, false);
  return r;
}

}  // namespace gort::inline v0::rt
