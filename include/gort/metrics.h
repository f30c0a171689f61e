// gort: the runtime's numbers, by name: Go's runtime/metrics for C++.
//
//   for (const auto& d : gort::metrics::describe()) std::cout << d.name << "  " << d.text << '\n';
//
//   auto n = gort::metrics::read("/sched/goroutines:goroutines");           // one, now and then
//   std::cout << std::get<std::uint64_t>(n);
//
//   static std::vector<gort::metrics::sample> samples = {                   // the same ones again and again
//       {"/sched/goroutines:goroutines"}, {"/sched/pauses/total/gc:seconds"}};
//   gort::metrics::read(samples);                                           // in place: memory is reused
//   const auto& pauses = std::get<gort::metrics::histogram>(samples[1].value);
//   std::cout << pauses.count() << " pauses, 99 % of them below " << pauses.quantile(0.99) << " s\n";
//
// Names. A path and, behind a colon, the unit: /sched/goroutines:goroutines. Where Go has the metric, it is Go's
// name and meaning; describe() says where gort differs. A name keeps its meaning, kind and unit for good.
// New names come with new versions, and some may go: programs that know a name should take "no such metric" for
// an answer (std::monostate), programs that export everything should go by describe().
//
// Kinds. A `cumulative` metric only ever grows, from 0 at the start of the program: two readings and the time
// between them give a rate. The others are gauges: they go up and down. All histograms are cumulative.
//
// Promised: reading stops nobody, waits for no goroutine, and works when all of them are stuck. Any thread may
// read, before the runtime has started too: all numbers are 0 then, and it is not started. Never changes the
// thread. (Inside gort::blocking it is a call into gort like any other: it waits for a processor.)
// Not promised: that the numbers of one read belong to one instant. Each is exact for a moment of its own, or
// says "approximately" in its description. Not for signal handlers.
//
// Cost: a look-up by name, then a few loads; a histogram copies 2 KiB; /sched/stacks/high-water:bytes makes
// system calls. Only what is asked for is computed. With the same samples, only the first read of a histogram
// allocates.
//
// Prometheus. "/sched/goroutines-created:goroutines" is by custom gort_sched_goroutines_created_goroutines_total:
// gort_, the path with every / - and : as _, and _total if it is cumulative and a number. Units are Prometheus' base
// units already (seconds, bytes). A histogram has all that the text format wants: bucket i, counted from the first
// one, is le="bounds[i + 1]" (times are whole nanoseconds: "below" and "at most" are one apart); `sum` is _sum and count() is _count. Its 257 buckets are many for a time series
// database: any bounds may be left out of the *running* counts. examples/metrics.cc does all of it in a page.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "gort/config.h"

namespace gort::inline v0::metrics {

enum class kind : std::uint8_t {
  none,       ///< there is no metric of that name
  uint64,     ///< std::uint64_t
  float64,    ///< double
  histogram,  ///< metrics::histogram
};

/// What one metric is. Strings live as long as the program.
struct description {
  std::string_view name;
  std::string_view unit;  ///< the name's part behind the colon
  std::string_view text;  ///< a sentence or more, in English
  metrics::kind kind = metrics::kind::none;
  bool cumulative = false;
};

/// How often values of each size were seen, in the metric's unit.
struct histogram {
  /// counts[i] values were in [bounds[i], bounds[i + 1]); one bound more than counts. The last is infinity. For
  /// one metric they never change, neither in a process nor between versions that have the same number of
  /// them: a duration is known to 64 ns or to an eighth of itself, whichever is more.
  std::span<const double> bounds;
  std::vector<std::uint64_t> counts;
  double sum = 0;  ///< of all values, unrounded; may be one value ahead of the counts, or behind
  double max = 0;  ///< the greatest ever, unrounded; likewise

  /// How many values.
  std::uint64_t count() const noexcept;
  /// A number that at least the share q of all values (0 to 1) is not above, and that is too large by one
  /// bucket's width at most: never flattering. NaN if there is no value.
  double quantile(double q) const noexcept;
};

using value = std::variant<std::monostate, std::uint64_t, double, histogram>;

/// What a value holds.
inline metrics::kind kind_of(const value& v) noexcept { return static_cast<metrics::kind>(v.index()); }

/// A question and, after read(), its answer.
struct sample {
  std::string_view name;
  metrics::value value = {};
};

/// All metrics, in the order of their names.
std::span<const description> describe() noexcept;

/// Fills in samples[i].value for every samples[i].name; std::monostate where there is no such metric. Throws
/// std::bad_alloc only.
void read(std::span<sample> samples);

/// One value by name.
value read(std::string_view name);

}  // namespace gort::inline v0::metrics
