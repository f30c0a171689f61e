#include "tools/sim/series.h"

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

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

const char* explorer_name(SimStrategy s) { return s == SimStrategy::pct ? "pct" : "random"; }

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
  Totals totals() const { return totals_; }

 private:
  struct Series {
    const Scenario& scenario;
    const Flaw* flaw;
    SimStrategy strategy;
    std::uint64_t seeds;
    double seconds;  // 0: no limit
  };
  void explore(const Series& s);
  void both(const Scenario& s, const Flaw* flaw, std::uint64_t seeds, double seconds);
  void say_progress(const Series& s, std::uint64_t done);
  void report(const Series& s, const SimResult& r);

  const Wishes& wishes_;
  Totals totals_;
  Clock::time_point said_ = Clock::now();
};

void Program::say_progress(const Series& s, std::uint64_t done) {
  if (!wishes_.progress || seconds_since(said_) < 1) return;
  said_ = Clock::now();
  std::fprintf(stderr, "\r%s %s %llu/%llu, %llu schedules, %llu failures \033[K", s.scenario.name,
               explorer_name(s.strategy), static_cast<unsigned long long>(done),
               static_cast<unsigned long long>(s.seeds), static_cast<unsigned long long>(totals_.schedules),
               static_cast<unsigned long long>(totals_.failures));
}

void Program::report(const Series& s, const SimResult& r) {
  std::printf("%s: %s: %.*s\n", s.scenario.name, sim_verdict_name(r.verdict), static_cast<int>(r.message.size()),
              r.message.data());
  print_history(r.history, wishes_.trace);
  std::printf("again: gort-sim --scenario %s --explorer %s%s%s --replay %llu\n", s.scenario.name,
              explorer_name(s.strategy), s.flaw != nullptr ? " --fault " : "", s.flaw != nullptr ? s.flaw->name : "",
              static_cast<unsigned long long>(r.seed));
}

void Program::explore(const Series& s) {
  const auto begin = Clock::now();
  std::unordered_set<std::uint64_t> distinct;
  std::uint64_t steps = 0;
  std::uint64_t done = 0;
  SimResult r;
  for (; done < s.seeds && (s.seconds == 0 || done == 0 || seconds_since(begin) < s.seconds);) {
    SimOptions o = options_of(s.scenario, s.flaw, s.strategy, wishes_.first_seed + done);
    if (wishes_.depth != 0) o.pct_depth = wishes_.depth;
    o.keep_history = wishes_.replay && wishes_.trace;
    r = run_scenario(s.scenario, s.flaw, o);
    ++done;
    ++totals_.schedules;
    steps += r.steps;
    distinct.insert(r.digest);
    if (r.verdict != SimVerdict::ok) break;
    say_progress(s, done);
  }
  // With --short a flaw that is not found is what failed, unless time was too short for a search.
  const bool demanded = wishes_.check_flaws && s.flaw != nullptr;
  const bool bad = demanded ? r.verdict != s.flaw->verdict && (done == s.seeds || r.verdict != SimVerdict::ok)
                            : r.verdict != SimVerdict::ok;
  if (bad) ++totals_.failures;
  if (wishes_.progress) std::fprintf(stderr, "\r\033[K");
  if (wishes_.replay && wishes_.trace && !bad) print_history(r.history, true);
  if (bad) report(s, r);
  const double t = seconds_since(begin);
  std::printf("%-20s %-16s %-7s %8llu schedules %8zu distinct %7.0f steps each %6.0f/s  %s", s.scenario.name,
              s.flaw != nullptr ? s.flaw->name : "-", explorer_name(s.strategy),
              static_cast<unsigned long long>(done), distinct.size(),
              static_cast<double>(steps) / static_cast<double>(done), static_cast<double>(done) / t,
              sim_verdict_name(r.verdict));
  if (r.verdict != SimVerdict::ok) std::printf(" at seed %llu", static_cast<unsigned long long>(r.seed));
  std::printf("\n");
  std::fflush(stdout);
}

void Program::both(const Scenario& s, const Flaw* flaw, std::uint64_t seeds, double seconds) {
  const bool random = wishes_.random && (flaw == nullptr || flaw->uniform || !wishes_.pct);
  const double each = random && wishes_.pct ? seconds / 2 : seconds;
  if (random) explore({s, flaw, SimStrategy::uniform, seeds, each});
  if (wishes_.pct) explore({s, flaw, SimStrategy::pct, seeds, each});
}

void Program::run(const std::vector<const Scenario*>& scenarios) {
  const double share = wishes_.seconds / static_cast<double>(scenarios.size());
  for (const Scenario* s : scenarios) {
    if (wishes_.check_flaws) {
      both(*s, nullptr, wishes_.seeds != 0 ? wishes_.seeds : s->seeds, share);
      for (const Flaw& f : s->flaws) both(*s, &f, f.seeds, 0);
      continue;
    }
    const Flaw* flaw = wishes_.fault.empty() ? nullptr : find_flaw(*s, wishes_.fault);
    std::uint64_t seeds = wishes_.seeds;
    if (seeds == 0) seeds = flaw != nullptr ? flaw->seeds : s->seeds;
    both(*s, flaw, seeds, share);
  }
}

}  // namespace

Totals run_all(const std::vector<const Scenario*>& scenarios, const Wishes& wishes) {
  Program program(wishes);
  program.run(scenarios);
  return program.totals();
}

}  // namespace gort::inline v0::rt
