#include "tools/sim/series.h"

#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <string_view>
#include <unordered_set>

namespace gort::inline v0::rt {

namespace {

using os::SimOptions;
using os::SimResult;
using os::SimStrategy;
using os::SimVerdict;
using Clock = std::chrono::steady_clock;

/// Of this process and of the runs, which are its children: on a busy machine the clock on the wall says little.
double cpu_seconds() {
  double s = 0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage u{};
    ::getrusage(who, &u);
    s += static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
         static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
  }
  return s;
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

const char* explorer_name(SimStrategy s) {
  return s == SimStrategy::pct ? "pct" : s == SimStrategy::exhaustive ? "exhaustive" : "random";
}

constexpr std::uint64_t kShortenRuns = 20'000;

/// The end of a history is where it went wrong.
void print_history(std::string_view history, bool all) {
  constexpr std::size_t kTail = 8000;
  if (!all && history.size() > kTail) {
    history.remove_prefix(history.size() - kTail);
    history.remove_prefix(history.find('\n') + 1);
    std::printf("... (--trace prints all of it)\n");
  }
  std::fwrite(history.data(), 1, history.size(), stdout);
}

class Program {
 public:
  explicit Program(const Wishes& w) : wishes_(w) {}
  void run(const std::vector<const Scenario*>& scenarios);
  void run_fences(const std::vector<const Scenario*>& scenarios);
  void run_faults(const std::vector<const Scenario*>& scenarios);
  Totals totals() const { return totals_; }

 private:
  struct Series {
    const Scenario& scenario;
    const Flaw* flaw;
    SimStrategy strategy;
    std::uint64_t seeds;
    double seconds;  // 0: no limit
    os::SimBound bound = 0;
  };
  struct Done {
    SimResult last;
    std::uint64_t schedules = 0;
    std::uint64_t steps = 0;
    std::uint64_t distinct = 0;
    std::uint64_t pruned = 0;
    int threads = 0;
    bool complete = false;
  };
  Done explore(const Series& s);
  Done enumerate(const Series& s);
  void series(const Series& s);
  void all_explorers(const Scenario& s, const Flaw* flaw, std::uint64_t seeds, double seconds);
  void say_progress(const Series& s, std::uint64_t done);
  void report(const Series& s, const SimResult& r);
  SimOptions options(const Series& s, std::uint64_t seed) const;

  const Wishes& wishes_;
  Totals totals_;
  Clock::time_point said_ = Clock::now();
};

SimOptions Program::options(const Series& s, std::uint64_t seed) const {
  SimOptions o = options_of(s.scenario, s.flaw, s.strategy, seed);
  if (wishes_.depth != 0) o.pct_depth = wishes_.depth;
  if (wishes_.buffers || !wishes_.weaken.empty()) o.store_buffers = true;
  if (!wishes_.weaken.empty()) o.weaken = wishes_.weaken.c_str();
  return o;
}

void Program::say_progress(const Series& s, std::uint64_t done) {
  if (!wishes_.progress || seconds_since(said_) < 1) return;
  said_ = Clock::now();
  std::fprintf(stderr, "\r%s %s %s %llu/%llu, %llu schedules, %llu failures \033[K",
               s.scenario.name, s.flaw != nullptr ? s.flaw->name : "", explorer_name(s.strategy),
               static_cast<unsigned long long>(done), static_cast<unsigned long long>(s.seeds),
               static_cast<unsigned long long>(totals_.schedules),
               static_cast<unsigned long long>(totals_.failures));
}

/// A failure: shortened, as a table, and how to see it again.
void Program::report(const Series& s, const SimResult& r) {
  const std::uint64_t seed = r.seed;
  std::printf("%s: %s: %.*s\n", s.scenario.name, sim_verdict_name(r.verdict),
              static_cast<int>(r.message.size()), r.message.data());
  if (wishes_.trace) print_history(r.history, true);
  if (wishes_.shorten) {
    SimOptions o = options(s, seed);
    o.record = true;
    // An enumeration's last run has been recorded already.
    const SimResult again =
        s.strategy == SimStrategy::exhaustive ? r : run_scenario(s.scenario, s.flaw, o);
    const std::size_t before = again.decisions.size();
    const SimResult least = shorten_scenario(s.scenario, s.flaw, o, again, kShortenRuns);
    std::printf("%zu decisions, of which %zu are enough; what matters of the run with these:\n",
                before, least.decisions.size());
    print_history(least.table, true);
  } else if (!wishes_.trace) {
    print_history(r.history, false);
  }
  std::printf("again: gort-sim --scenario %s --explorer %s%s%s%s", s.scenario.name,
              explorer_name(s.strategy), s.flaw != nullptr ? " --fault " : "",
              s.flaw != nullptr ? s.flaw->name : "", wishes_.buffers ? " --store-buffers" : "");
  if (!wishes_.weaken.empty()) std::printf(" --weaken %s", wishes_.weaken.c_str());
  if (wishes_.depth != 0) std::printf(" --depth %d", wishes_.depth);
  if (s.strategy != SimStrategy::exhaustive)
    std::printf(" --replay %llu", static_cast<unsigned long long>(seed));
  std::printf("\n");
}

Program::Done Program::explore(const Series& s) {
  const auto begin = Clock::now();
  std::unordered_set<std::uint64_t> distinct;
  Done d;
  while (d.schedules < s.seeds &&
         (s.seconds == 0 || d.schedules == 0 || seconds_since(begin) < s.seconds)) {
    SimOptions o = options(s, wishes_.first_seed + d.schedules);
    o.keep_history = wishes_.replay && wishes_.trace;
    d.last = run_scenario(s.scenario, s.flaw, o);
    ++d.schedules;
    ++totals_.schedules;
    d.steps += d.last.steps;
    distinct.insert(d.last.digest);
    if (d.last.verdict != SimVerdict::ok) break;
    say_progress(s, d.schedules);
  }
  d.distinct = distinct.size();
  d.complete = d.schedules == s.seeds;
  return d;
}

Program::Done Program::enumerate(const Series& s) {
  struct Watch {
    Program& program;
    const Series& series;
    Clock::time_point begin;
  } watch{*this, s, Clock::now()};
  SimOptions o = options(s, wishes_.first_seed);
  o.record = true;
  const os::SimEnumeration e = enumerate_scenario(
      s.scenario, s.flaw, o, s.bound, s.seeds,
      [](std::uint64_t done, void* p) {
        auto* w = static_cast<Watch*>(p);
        w->program.say_progress(w->series, done);
        return w->series.seconds == 0 || seconds_since(w->begin) < w->series.seconds;
      },
      &watch);
  totals_.schedules += e.schedules;
  return {e.result,  e.schedules, e.result.steps * e.schedules, e.schedules - e.pruned, e.pruned,
          e.threads, e.complete};
}

/// One line.
void Program::series(const Series& s) {
  const auto begin = Clock::now();
  const bool enumerates = s.strategy == SimStrategy::exhaustive;
  const Done d = enumerates ? enumerate(s) : explore(s);
  const SimResult& r = d.last;
  // With --short a flaw that is not found is what failed, unless time was too short for a search.
  const bool demanded = wishes_.check_flaws && s.flaw != nullptr;
  const bool found = r.verdict != SimVerdict::ok;
  bool bad =
      demanded ? found != (s.flaw->verdict != SimVerdict::ok) && (d.complete || found) : found;
  // A stated bound that is not reached is no proof, unless less was asked for.
  if (enumerates && !d.complete && wishes_.seeds == 0 && s.seconds == 0) bad = true;
  if (bad) ++totals_.failures;
  if (wishes_.progress) std::fprintf(stderr, "\r\033[K");
  if (wishes_.replay && wishes_.trace && !bad) print_history(r.history, true);
  const SimVerdict verdict = r.verdict;
  const std::uint64_t seed = r.seed;
  const double took = seconds_since(begin);
  if (found) {
    if (bad) report(s, r);
  } else if (bad && demanded) {
    std::printf("not found: %s\n", s.flaw->what);
  }
  std::printf("%-20s %-16s %-10s %8llu schedules %8llu distinct %7.0f steps each %6.0f/s  %s",
              s.scenario.name, s.flaw != nullptr ? s.flaw->name : "-", explorer_name(s.strategy),
              static_cast<unsigned long long>(d.schedules),
              static_cast<unsigned long long>(d.distinct),
              static_cast<double>(d.steps) / static_cast<double>(d.schedules),
              static_cast<double>(d.schedules) / took, sim_verdict_name(verdict));
  if (enumerates && verdict == SimVerdict::ok) {
    std::printf(", %d threads, %s, %s, %.0f s", d.threads, bound_name(s.bound),
                d.complete ? "complete" : "not complete", took);
  }
  if (!enumerates && verdict != SimVerdict::ok)
    std::printf(" at seed %llu", static_cast<unsigned long long>(seed));
  std::printf("\n");
  std::fflush(stdout);
}

void Program::all_explorers(const Scenario& s, const Flaw* flaw, std::uint64_t seeds,
                            double seconds) {
  // By whom it is not found is asked only if nobody else is.
  const bool random = wishes_.random && (flaw == nullptr || flaw->uniform || !wishes_.pct);
  const bool pct = wishes_.pct && (flaw == nullptr || flaw->pct || !wishes_.random);
  const bool enumerates = wishes_.exhaustive || (wishes_.check_flaws && flaw == nullptr &&
                                                 s.preemptions != kNotEnumerated);
  const double each = seconds / (random + pct + enumerates);
  if (random) series({s, flaw, SimStrategy::uniform, seeds, each});
  if (pct) series({s, flaw, SimStrategy::pct, seeds, each});
  if (!enumerates) return;
  os::SimBound bound = bound_of(s);
  if (wishes_.depth != 0) bound.most = wishes_.depth;
  series({s, flaw, SimStrategy::exhaustive, wishes_.seeds != 0 ? wishes_.seeds : UINT64_MAX, each,
          bound});
}

void Program::run(const std::vector<const Scenario*>& scenarios) {
  const double share = wishes_.seconds / static_cast<double>(scenarios.size());
  for (const Scenario* s : scenarios) {
    if (wishes_.check_flaws) {
      all_explorers(*s, nullptr, wishes_.seeds != 0 ? wishes_.seeds : s->seeds, share);
      for (const Flaw& f : s->flaws) all_explorers(*s, &f, f.seeds, 2 * share);
      continue;
    }
    const Flaw* flaw = wishes_.fault.empty() ? nullptr : find_flaw(*s, wishes_.fault);
    std::uint64_t seeds = wishes_.seeds;
    if (seeds == 0) seeds = flaw != nullptr ? flaw->seeds : s->seeds;
    all_explorers(*s, flaw, seeds, share);
  }
}

void Program::run_fences(const std::vector<const Scenario*>& scenarios) {
  // What is there to be taken away.
  for (const Scenario* s : scenarios) {
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
      SimOptions o = options({*s, nullptr, SimStrategy::uniform, 8, 0}, seed);
      run_scenario(*s, nullptr, o);
    }
  }
  const auto met = os::sim_fences_met();
  std::printf("%zu full stores and fences\n", met.size());
  for (const os::SimFence& fence : met) {
    std::string found;
    for (const Scenario* s : scenarios) {
      const Flaw flaw{
          .name = fence.site, .what = "", .verdict = SimVerdict::ok, .weaken = fence.site};
      const std::uint64_t seeds = wishes_.seeds != 0 ? wishes_.seeds : s->seeds;
      for (const SimStrategy strategy : {SimStrategy::uniform, SimStrategy::pct}) {
        const Done d = explore({*s, &flaw, strategy, seeds, 0});
        if (d.last.verdict == SimVerdict::ok) continue;
        found += std::string(" ") + s->name + " " + explorer_name(strategy) + " seed " +
                 std::to_string(d.last.seed) + " (" + sim_verdict_name(d.last.verdict) + ")";
        break;
      }
      if (!found.empty()) break;
    }
    if (wishes_.progress) std::fprintf(stderr, "\r\033[K");
    std::printf("%-45s %-6s %s\n", fence.site, fence.op == os::SimOp::fence ? "fence" : "store",
                found.empty() ? "-" : found.c_str());
    std::fflush(stdout);
  }
}

/// A table for docs/simulator.md: who finds each flaw, at which seed, in how many seconds of CPU time. One of the two
/// explorers must, within a minute.
void Program::run_faults(const std::vector<const Scenario*>& scenarios) {
  constexpr double kMost = 60;
  std::printf(
      "| flaw | scenario | random: seed, seconds | pct: seed, seconds |\n|---|---|---|---|\n");
  for (const Scenario* s : scenarios) {
    for (const Flaw& flaw : s->flaws) {
      if (flaw.verdict == SimVerdict::ok) continue;
      bool found = false;
      std::printf("| %s: %s | %s |", flaw.name, flaw.what, s->name);
      for (const SimStrategy strategy : {SimStrategy::uniform, SimStrategy::pct}) {
        if (!(strategy == SimStrategy::uniform ? flaw.uniform : flaw.pct)) {
          std::printf(" - |");
          continue;
        }
        const double begin = cpu_seconds();
        const Done d =
            explore({*s, &flaw, strategy, wishes_.seeds != 0 ? wishes_.seeds : flaw.seeds, 0});
        const double took = cpu_seconds() - begin;
        if (d.last.verdict == SimVerdict::ok) {
          std::printf(" not in %llu |", static_cast<unsigned long long>(d.schedules));
        } else {
          std::printf(" %llu, %.2f |", static_cast<unsigned long long>(d.last.seed), took);
          found |= took < kMost;
        }
        std::fflush(stdout);
      }
      std::printf("\n");
      if (!found) ++totals_.failures;
    }
  }
}

}  // namespace

Totals run_all(const std::vector<const Scenario*>& scenarios, const Wishes& wishes) {
  Program program(wishes);
  program.run(scenarios);
  return program.totals();
}

Totals run_faults(const std::vector<const Scenario*>& scenarios, const Wishes& wishes) {
  Program program(wishes);
  program.run_faults(scenarios);
  return program.totals();
}

Totals run_fences(const std::vector<const Scenario*>& scenarios, const Wishes& wishes) {
  Program program(wishes);
  program.run_fences(scenarios);
  return program.totals();
}

}  // namespace gort::inline v0::rt
