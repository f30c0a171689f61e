// Every metric is one row of the table below: to add one, add a row, in the order of the names.
#include "gort/metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "api/stack_depth.h"
#include "sched/entry.h"
#include "sched/spawn.h"
#include "sched/start.h"
#include "world/pauses.h"

namespace gort::inline v0::metrics {

namespace {

using rt::TimeHistogram;

/// What stands under sched.lock or is summed over the Ps, gathered in one go.
struct SchedView {
  std::uint64_t procs = 0;
  std::uint64_t procs_idle = 0;
  std::uint64_t goroutines = 0;
  std::uint64_t goroutines_created = 0;
  std::uint64_t goroutines_runnable = 0;
  std::uint64_t threads = 0;
  std::uint64_t threads_idle = 0;
  std::uint64_t threads_spinning = 0;
  std::uint64_t captives = 0;
};

std::uint64_t not_negative(std::int64_t n) noexcept { return n > 0 ? static_cast<std::uint64_t>(n) : 0; }

SchedView look_at_sched() noexcept {
  SchedView v;
  rt::RuntimeEntry entry;
  v.threads_spinning = not_negative(rt::sched.nmspinning.load(os::memory_order_relaxed));
  v.captives = not_negative(rt::sched.ncaptive.load(os::memory_order_relaxed));
  const bool started = rt::sched.started.load(os::memory_order_acquire);
  rt::LockGuard guard(rt::sched.lock);
  // Under the lock, because a P that max_procs retires takes its counts elsewhere.
  v.goroutines = not_negative(rt::num_goroutine());
  v.goroutines_created = rt::num_goroutine_started();
  v.procs = not_negative(rt::sched.nprocs);
  v.procs_idle = not_negative(rt::sched.npidle.load(os::memory_order_relaxed));
  v.goroutines_runnable = rt::sched.global.size();
  for (std::int32_t i = 0; i < rt::sched.nprocs; ++i) v.goroutines_runnable += rt::p_at(i)->runq.size();
  v.threads = not_negative(rt::sched.mcount) + (started ? rt::kSystemThreads : 0);
  v.threads_idle = not_negative(rt::sched.nmidle);
  return v;
}

/// What the rows of one read share: looked at when the first of them asks.
class Source {
 public:
  const SchedView& sched() noexcept {
    if (!sched_) sched_ = look_at_sched();
    return *sched_;
  }
  const rt::StackStats& stacks() noexcept {
    if (!stacks_) {
      rt::RuntimeEntry entry;
      stacks_ = rt::stack_stats();
    }
    return *stacks_;
  }

 private:
  std::optional<SchedView> sched_;
  std::optional<rt::StackStats> stacks_;
};

constexpr double seconds(std::int64_t ns) noexcept { return static_cast<double>(ns) / 1e9; }

constexpr auto kBounds = [] {
  std::array<double, TimeHistogram::kBuckets + 1> b{};
  for (std::size_t i = 0; i < TimeHistogram::kBuckets; ++i) b[i] = seconds(TimeHistogram::lowest_of(i));
  b.back() = std::numeric_limits<double>::infinity();
  return b;
}();

void put(value& v, const TimeHistogram& from) {
  histogram* h = std::get_if<histogram>(&v);
  if (h == nullptr) h = &v.emplace<histogram>();  // else its memory is used again
  TimeHistogram::Snapshot now;
  from.read(&now);
  h->bounds = kBounds;
  h->counts.assign(now.counts.begin(), now.counts.end());
  h->sum = seconds(now.sum_ns);
  h->max = seconds(now.max_ns);
}

void put(value& v, std::uint64_t n) { v = n; }
void put(value& v, double x) { v = x; }

struct Row {
  description what;
  void (*read)(Source& from, value& v);
};

static_assert(std::variant_size_v<value> == 4 && std::is_same_v<std::variant_alternative_t<3, value>, histogram>,
              "kind_of: the kinds are in the order of the alternatives");

constexpr description number(std::string_view name, bool cumulative, std::string_view text) {
  return {name, name.substr(name.find(':') + 1), text, kind::uint64, cumulative};
}
constexpr description real(std::string_view name, bool cumulative, std::string_view text) {
  return {name, name.substr(name.find(':') + 1), text, kind::float64, cumulative};
}
constexpr description times(std::string_view name, std::string_view text) {
  return {name, name.substr(name.find(':') + 1), text, kind::histogram, true};
}
constexpr bool kCumulative = true;
constexpr bool kGauge = false;

constexpr Row rows[] = {
    {number("/sched/captives:goroutines", kGauge,
            "Goroutines whose time slice ended in the middle of their own code and that wait for a processor: each "
            "keeps its thread meanwhile. Not in Go."),
     [](Source& s, value& v) { put(v, s.sched().captives); }},
    {number("/sched/gomaxprocs:threads", kGauge,
            "How many threads can run goroutines at the same time: the number of Ps (gort::num_procs)."),
     [](Source& s, value& v) { put(v, s.sched().procs); }},
    {number("/sched/goroutines-created:goroutines", kCumulative, "Goroutines that were ever started."),
     [](Source& s, value& v) { put(v, s.sched().goroutines_created); }},
    {number("/sched/goroutines/runnable:goroutines", kGauge,
            "Approximately how many goroutines are ready to run and wait for a processor."),
     [](Source& s, value& v) { put(v, s.sched().goroutines_runnable); }},
    {number("/sched/goroutines:goroutines", kGauge, "Goroutines that exist, the runtime's own apart."),
     [](Source& s, value& v) { put(v, s.sched().goroutines); }},
    {real("/sched/pauses/longest/gc:seconds", kGauge,
          "The longest stop of the world for the collector so far, from the request until the restart. Not in Go."),
     [](Source&, value& v) { put(v, seconds(rt::pauses_total(true).max_ns())); }},
    {real("/sched/pauses/longest/other:seconds", kGauge,
          "The longest stop of the world for anything but the collector so far, from the request until the restart. "
          "Not in Go."),
     [](Source&, value& v) { put(v, seconds(rt::pauses_total(false).max_ns())); }},
    {times("/sched/pauses/stopping/gc:seconds",
           "How long each stop of the world for the collector took to come about: from the request until every goroutine "
           "stood. A part of the same stop's /sched/pauses/total/gc:seconds; some goroutines run during it."),
     [](Source&, value& v) { put(v, rt::pauses_stopping(true)); }},
    {times("/sched/pauses/stopping/other:seconds",
           "How long each stop of the world for anything but the collector took to come about: from the request until every "
           "goroutine stood. A part of the same stop's /sched/pauses/total/other:seconds."),
     [](Source&, value& v) { put(v, rt::pauses_stopping(false)); }},
    {times("/sched/pauses/total/gc:seconds",
           "How long each stop of the world for the collector was: from the request until the restart. What goroutines "
           "feel of a stop is at most this."),
     [](Source&, value& v) { put(v, rt::pauses_total(true)); }},
    {times("/sched/pauses/total/other:seconds",
           "How long each stop of the world for anything but the collector was (gort::stop_world, max_procs, "
           "profiles): from the request until the restart."),
     [](Source&, value& v) { put(v, rt::pauses_total(false)); }},
    {number("/sched/procs/idle:procs", kGauge, "Ps that nobody uses for want of work. Not in Go."),
     [](Source& s, value& v) { put(v, s.sched().procs_idle); }},
    {number("/sched/stacks/high-water:bytes", kGauge,
            "The deepest goroutine stack that any read of this metric has ever found, to a page: what GORT_STACK, less "
            "64 KiB of guard, has to exceed. Each read looks at up to 4096 goroutines and goes on where the last one "
            "ended; goroutines that ended in between are not seen. Not in Go."),
     [](Source&, value& v) { put(v, detail::deepest_stack(detail::kStacksPerLook)); }},
    {number("/sched/stacks/in-use:stacks", kGauge,
            "Goroutine stacks handed out, those in the caches of Ps included. Not in Go."),
     [](Source& s, value& v) { put(v, s.stacks().in_use); }},
    {number("/sched/stacks/reserved:bytes", kGauge,
            "Address space set aside for goroutine stacks. Memory comes page by page, where a stack is used. Not in Go."),
     [](Source& s, value& v) { put(v, s.stacks().reserved_bytes); }},
    {number("/sched/stacks/unguarded:stacks", kCumulative,
            "Stacks handed out without a guard, because the kernel's bound on mappings was near: an overflow of theirs is found "
            "late. Not in Go."),
     [](Source& s, value& v) { put(v, s.stacks().guards_none); }},
    {number("/sched/threads/idle:threads", kGauge, "Threads that sleep until there is work. Not in Go."),
     [](Source& s, value& v) { put(v, s.sched().threads_idle); }},
    {number("/sched/threads/spinning:threads", kGauge, "Threads that look for work. Not in Go."),
     [](Source& s, value& v) { put(v, s.sched().threads_spinning); }},
    {number("/sched/threads/total:threads", kGauge,
            "Threads that the runtime has, those that it is creating and its two own ones included."),
     [](Source& s, value& v) { put(v, s.sched().threads); }},
};

constexpr auto descriptions = [] {
  std::array<description, std::size(rows)> d{};
  for (std::size_t i = 0; i < d.size(); ++i) d[i] = rows[i].what;
  return d;
}();
static_assert(std::ranges::is_sorted(descriptions, {}, &description::name), "find() searches by halves");

const Row* find(std::string_view name) noexcept {
  const auto* at = std::ranges::lower_bound(rows, name, {}, [](const Row& r) { return r.what.name; });
  return at != std::end(rows) && at->what.name == name ? at : nullptr;
}

void read_into(Source& from, std::string_view name, value& v) {
  if (const Row* row = find(name)) {
    row->read(from, v);
  } else {
    v = std::monostate();
  }
}

}  // namespace

std::uint64_t histogram::count() const noexcept { return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}); }

double histogram::quantile(double q) const noexcept {
  const std::uint64_t all = count();
  if (all == 0 || std::isnan(q)) return std::numeric_limits<double>::quiet_NaN();
  const double wanted = std::clamp(q, 0.0, 1.0) * static_cast<double>(all);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    seen += counts[i];
    // Nothing is above the greatest, which also makes the last bucket finite.
    if (seen != 0 && static_cast<double>(seen) >= wanted) return std::max(std::min(bounds[i + 1], max), bounds[i]);
  }
  return max;
}

std::span<const description> describe() noexcept { return descriptions; }

void read(std::span<sample> samples) {
  Source from;
  for (sample& s : samples) read_into(from, s.name, s.value);
}

value read(std::string_view name) {
  Source from;
  value v;
  read_into(from, name, v);
  return v;
}

}  // namespace gort::inline v0::metrics
