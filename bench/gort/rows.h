// The rows of gort's contender that stand in files of their own, and what they share with main.cc.
#pragma once

#include <gort/gort.h>

#include <vector>

#include "harness.h"

namespace gort_rows {

/// Runs f as the main goroutine on o.procs processors and returns its result.
template <class F>
bench::Result in_runtime(const bench::Options& o, F&& f) {
  bench::Result r;
  gort::run(gort::run_options{.max_procs = o.procs}, [&] { r = f(); });
  return r;
}

/// The usual row: body(n) is measured as the main goroutine.
template <class Body>
bench::Result measured(const bench::Options& o, std::uint64_t first, Body body) {
  return in_runtime(o, [&] { return bench::measure(o, first, body); });
}

/// n round trips with a partner, which may be bound to its thread (main.cc).
bench::Timed round_trips(std::uint64_t n, bool locked);

// chan_rows.cc
bench::Result pingpong_chan(const bench::Options& o);
bench::Result chan_stream1024(const bench::Options& o);
bench::Result chan_uncontended(const bench::Options& o);
bench::Result chan_contended(const bench::Options& o);
bench::Result chan_sync(const bench::Options& o);
bench::Result chan_sync_work(const bench::Options& o);
bench::Result chan_prodcons0(const bench::Options& o);
bench::Result chan_prodcons10(const bench::Options& o);
bench::Result chan_prodcons100(const bench::Options& o);
bench::Result chan_prodcons0_work(const bench::Options& o);
bench::Result chan_prodcons10_work(const bench::Options& o);
bench::Result chan_prodcons100_work(const bench::Options& o);
bench::Result chan_sem(const bench::Options& o);
bench::Result chan_popular(const bench::Options& o);
bench::Result chan_closed(const bench::Options& o);
bench::Result select_uncontended(const bench::Options& o);
bench::Result select_sync(const bench::Options& o);
bench::Result select_async(const bench::Options& o);
bench::Result select_nonblock(const bench::Options& o);
bench::Result select_prodcons(const bench::Options& o);

// stop_rows.cc
bench::Result stop_idle(const bench::Options& o);
bench::Result stop_busy(const bench::Options& o);
bench::Result procs_idle(const bench::Options& o);
bench::Result procs_busy(const bench::Options& o);
bench::Result stop_parked100k(const bench::Options& o);
bench::Result stop_hogs(const bench::Options& o);

// hog_rows.cc
bench::Result hogs2(const bench::Options& o);
bench::Result hogs8(const bench::Options& o);
bench::Result server_hog(const bench::Options& o);
bench::Result pingpong_hog(const bench::Options& o);
bench::Result file8(const bench::Options& o);
bench::Result file16(const bench::Options& o);

// sync_rows.cc
const std::vector<bench::Row>& sync_rows();

// context_rows.cc
const std::vector<bench::Row>& context_rows();

// timer_rows.cc
const std::vector<bench::Row>& timer_rows();

}  // namespace gort_rows
