// Rows that stop the world and change the number of Ps. The stop is the runtime's own, in place, as Go's is; the
// public gort::stop_world does more (it waits until nobody stands outside a call into gort).
#include <gort/world.h>

#include <atomic>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "harness.h"
#include "hogs.h"
#include "rows.h"
#include "sched/entry.h"
#include "world/world.h"

namespace gort_rows {
namespace {

using bench::check;
using bench::Options;
using bench::Result;
using bench::Timed;
namespace rt = gort::rt;

void stop_world() {
  rt::RuntimeEntry entry;
  rt::start_the_world(rt::stop_the_world(rt::StopReason::test));
}

/// Stops and starts the world; returns seconds from the beginning until all had stopped, without the wait for other
/// stoppers. Go's histogram measures the same.
double stop_world_timed() {
  rt::RuntimeEntry entry;
  rt::WorldHold hold = rt::world_acquire(rt::StopReason::test);
  const double start = bench::now();
  rt::stop_with(hold);
  const double stopped = bench::now();
  rt::start_with(hold);
  rt::world_release(std::move(hold));
  return stopped - start;
}

void compute(double seconds) {
  for (const double start = bench::now(); bench::now() - start < seconds;) {
  }
}

/// A stop that lasts: nobody gets on meanwhile.
void check_stops(const Hogs& hogs) {
  hogs.wait_until_all_run();
  std::uint64_t before = 0, after = 0;  // no memory is allocated under the stop
  {
    rt::RuntimeEntry entry;
    rt::WorldHold hold = rt::stop_the_world(rt::StopReason::test);
    for (std::size_t i = 0; i < hogs.size(); ++i) before += hogs.count(i);
    compute(1e-3);
    for (std::size_t i = 0; i < hogs.size(); ++i) after += hogs.count(i);
    rt::start_the_world(std::move(hold));
  }
  check(before == after, "nobody runs while the world is stopped");
}

/// The figure of a busy row is the median of single operations: in the mean, the main goroutine waits for the
/// others' time slices.
void median_instead_of_mean(Result& r, std::vector<double>& seconds) {
  r.numbers.emplace_back("mean_ns", r.value);
  r.value = bench::add_quantiles(r, "", seconds);
}

/// One operation is one change; they come in pairs, down by one and up again, since the two do not cost the same.
Result change_procs(const Options& o, std::size_t busy) {
  check(o.procs > 1, "there is a processor to take away");
  return in_runtime(o, [&] {
    Hogs hogs(busy, Spin());
    hogs.wait_until_all_run();
    std::vector<double> took;
    Result r = bench::measure(o, 10, [&](std::uint64_t n) {
      took.assign((n + 1) / 2, 0);
      const double start = bench::now();
      for (double& t : took) {
        const double began = bench::now();
        const int was = gort::max_procs(o.procs - 1);
        const int lower = gort::max_procs(o.procs);
        t = (bench::now() - began) / 2;
        check(was == o.procs && lower == o.procs - 1, "each change was made");
      }
      return Timed{2 * took.size(), bench::now() - start};
    });
    const double mean = r.value;
    median_instead_of_mean(r, took);
    if (busy == 0) r.value = mean;
    return r;
  });
}

/// The distribution of the time that n stops took to stop the world; between them the main goroutine computes for
/// 100 us, so that the others really run.
Result spaced_stops(const Options& o) {
  std::vector<double> whole(o.n != 0 ? o.n : 1000), stopping(whole.size());
  for (int i = 0; i < 10; ++i) stop_world();
  for (std::size_t i = 0; i < whole.size(); ++i) {
    compute(100e-6);
    const double began = bench::now();
    stopping[i] = stop_world_timed();
    whole[i] = bench::now() - began;
  }
  Result r{0, "ns", {{"n", static_cast<double>(whole.size())}}};
  r.value = bench::add_quantiles(r, "stopping_", stopping);
  bench::add_quantiles(r, "", whole);
  return r;
}

}  // namespace

Result stop_idle(const Options& o) {
  return measured(o, 100, [](std::uint64_t n) {
    const double start = bench::now();
    for (std::uint64_t i = 0; i < n; ++i) stop_world();
    return Timed{n, bench::now() - start};
  });
}

Result stop_busy(const Options& o) {
  return in_runtime(o, [&] {
    Hogs spinners(2, Spin());
    check_stops(spinners);
    std::vector<double> took, stopping;
    Result r = bench::measure(o, 100, [&](std::uint64_t n) {
      took.assign(n, 0);
      stopping.assign(n, 0);
      const double start = bench::now();
      for (std::uint64_t i = 0; i < n; ++i) {
        const double began = bench::now();
        stopping[i] = stop_world_timed();
        took[i] = bench::now() - began;
      }
      return Timed{n, bench::now() - start};
    });
    median_instead_of_mean(r, took);
    bench::add_quantiles(r, "stopping_", stopping);
    return r;
  });
}

Result procs_idle(const Options& o) { return change_procs(o, 0); }
Result procs_busy(const Options& o) { return change_procs(o, 2); }

Result stop_parked100k(const Options& o) {
  constexpr std::ptrdiff_t kCount = 100'000;
  return in_runtime(o, [&] {
    gort::semaphore gate(0);
    std::atomic<std::ptrdiff_t> waiting = 0, passed = 0;
    for (std::ptrdiff_t i = 0; i < kCount; ++i) {
      gort::go([&] {
        ++waiting;
        gate.acquire();
        ++passed;
      });
    }
    while (waiting != kCount) gort::this_goroutine::yield();
    Result r = spaced_stops(o);
    gate.release(kCount);
    while (passed != kCount) gort::this_goroutine::yield();
    return r;
  });
}

Result stop_hogs(const Options& o) {
  return in_runtime(o, [&] {
    Hogs hogs(2, MallocFree());
    check_stops(hogs);
    return spaced_stops(o);
  });
}

}  // namespace gort_rows
