#include "tests/sim/scenario.h"

#include <cstdio>

namespace gort::inline v0::rt {

/// For sim_on_end (names.cc).
void name_runtime();

extern const std::span<const Scenario> base_scenarios;
extern const std::span<const Scenario> small_scenarios;
extern const std::span<const Scenario> wait_scenarios;
extern const std::span<const Scenario> sched_scenarios;
extern const std::span<const Scenario> protocol_scenarios;
extern const std::span<const Scenario> stop_scenarios;
extern const std::span<const Scenario> sync_scenarios;
extern const std::span<const Scenario> timer_scenarios;

std::span<const std::span<const Scenario>> all_scenarios() noexcept {
  static const std::span<const Scenario> all[] = {
      base_scenarios,     small_scenarios, wait_scenarios, sched_scenarios,
      protocol_scenarios, stop_scenarios,  sync_scenarios, timer_scenarios};
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

os::SimOptions options_of(const Scenario& s, const Flaw* flaw, os::SimStrategy strategy,
                          std::uint64_t seed) noexcept {
  os::SimOptions o = s.options;
  o.strategy = strategy;
  o.seed = seed;
  unsigned n = 0;
  while (n < s.procs.size() && s.procs[n] != 0) ++n;
  if (n != 0) o.cpus = s.procs[seed % n];
  if (strategy == os::SimStrategy::exhaustive) {
    // An enumeration is one thing, not many.
    bool two = false;
    for (const std::uint8_t p : s.procs) two |= p == 2;
    if (n != 0) o.cpus = s.small_procs != 0 ? s.small_procs : two ? 2 : s.procs[0];
    o.small = s.preemptions == kNotEnumerated;
    // A slice, and whatever else takes its time, takes fewer steps on a slower machine.
    if (o.small && o.step_ns < s.small_step_ns) o.step_ns = s.small_step_ns;
  } else if ((seed >> 2) % 2 == 1) {
    o.store_buffers = true;
  }
  if (flaw != nullptr && flaw->weaken != nullptr) {
    o.weaken = flaw->weaken;
    o.store_buffers = true;
  }
  if (flaw != nullptr && flaw->tune != nullptr) flaw->tune(o);
  return o;
}

os::SimBound bound_of(const Scenario& s) noexcept {
  return s.preemptions != kNotEnumerated ? os::SimBound(s.preemptions) : s.bound;
}

const char* bound_name(os::SimBound b) noexcept {
  static char text[32];
  if (b.most == os::kSimAll) return "all";
  static constexpr const char* kKinds[] = {"preemption", "departure", "delay"};
  std::snprintf(text, sizeof text, "%d %s%s", b.most, kKinds[b.kind], b.most == 1 ? "" : "s");
  return text;
}

namespace {

/// What runs, with the flaw's measure switched off as long as this exists: runs are forked children and inherit that.
struct Play {
  Play(const Scenario& s, const Flaw* f) noexcept
      : body_(f != nullptr && f->body != nullptr ? f->body : s.body),
        arg_(const_cast<void*>(f != nullptr && f->arg != nullptr ? f->arg : s.arg)),
        fault_(f != nullptr ? f->fault : Fault::kCount) {
    if (fault_ != Fault::kCount) set_fault(fault_, true);
  }
  Play(const Play&) = delete;
  Play& operator=(const Play&) = delete;
  ~Play() {
    if (fault_ != Fault::kCount) set_fault(fault_, false);
  }
  static void body(void* play) {
    const auto* self = static_cast<const Play*>(play);
    os::sim_on_end(name_runtime);
    self->body_(self->arg_);
  }

 private:
  void (*body_)(void*);
  void* arg_;
  Fault fault_;
};

}  // namespace

os::SimResult run_scenario(const Scenario& s, const Flaw* flaw, const os::SimOptions& o) noexcept {
  Play play(s, flaw);
  return os::sim_run(o, Play::body, &play);
}

os::SimEnumeration enumerate_scenario(const Scenario& s, const Flaw* flaw, const os::SimOptions& o,
                                      os::SimBound bound, std::uint64_t max_schedules,
                                      bool (*go_on)(std::uint64_t, void*),
                                      void* go_on_arg) noexcept {
  Play play(s, flaw);
  return os::sim_enumerate(o, bound, max_schedules, Play::body, &play, go_on, go_on_arg);
}

os::SimResult shorten_scenario(const Scenario& s, const Flaw* flaw, const os::SimOptions& o,
                               const os::SimResult& failed, std::uint64_t max_runs) noexcept {
  Play play(s, flaw);
  return os::sim_shorten(o, failed, max_runs, Play::body, &play);
}

}  // namespace gort::inline v0::rt
