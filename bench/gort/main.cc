// gort's own side of `make bench`, through the public API only (raw switch and in-place stop excepted, which have
// none). harness.h says what a contender is; README.md says what each row asks for. More rows: stop_rows.cc,
// hog_rows.cc.
#include <gort/gort.h>

#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "arch/context.h"
#include "harness.h"
#include "rows.h"

namespace {

using bench::check;
using bench::Memory;
using bench::Options;
using bench::Result;
using bench::Timed;
using gort_rows::in_runtime;
using gort_rows::measured;

// ---- switch -------------------------------------------------------------------------------------

struct Pair {
  gort::arch::Context main;
  gort::arch::Context peer;
  std::uint64_t count = 0;
};

void count_switches(void* arg) {
  Pair* const pair = static_cast<Pair*>(arg);
  for (;;) {
    ++pair->count;
    gort::arch::switch_context_jump(&pair->peer, &pair->main);
  }
}

Result raw_switch(const Options& o) {
  constexpr std::size_t kStack = std::size_t{64} << 10;
  const auto stack = std::make_unique<char[]>(kStack);
  Pair pair;
  gort::arch::make_context(&pair.peer, stack.get() + kStack, count_switches, &pair);
  return bench::measure(o, 1000, [&](std::uint64_t n) {
    const std::uint64_t trips = (n + 1) / 2;
    pair.count = 0;
    const double start = bench::now();
    for (std::uint64_t i = 0; i < trips; ++i) gort::arch::switch_context_jump(&pair.main, &pair.peer);
    const double took = bench::now() - start;
    check(pair.count == trips, "every switch arrived");
    return Timed{2 * trips, took};
  });
}

// ---- yield --------------------------------------------------------------------------------------

Result yield(const Options& o, std::uint64_t count) {
  return measured(o, 10 * count, [&o, count](std::uint64_t n) {
    const std::uint64_t each = (n + count - 1) / count;
    const bool alone = o.procs == 1;  // then plain shared words are safe
    std::atomic<std::uint64_t> yields = 0;
    std::uint64_t last = count;
    std::uint64_t turns = 0;
    std::vector<gort::task<void>> all;
    all.reserve(count);
    const double start = bench::now();
    for (std::uint64_t id = 0; id < count; ++id) {
      all.push_back(gort::spawn([&, id] {
        for (std::uint64_t i = 0; i < each; ++i) {
          if (alone && last != id) last = id, ++turns;
          gort::this_goroutine::yield();
        }
        yields += each;
      }));
    }
    for (gort::task<void>& t : all) t.join();
    const double took = bench::now() - start;
    check(yields == each * count, "every yield was made");
    check(!alone || turns >= each * count * 9 / 10, "a yield lets another goroutine run");
    return Timed{each * count, took};
  });
}

Result yield2(const Options& o) { return yield(o, 2); }
Result yield1000(const Options& o) { return yield(o, 1000); }

// ---- spawn --------------------------------------------------------------------------------------

Result spawn_join_one(const Options& o) {
  return measured(o, 100, [](std::uint64_t n) {
    std::uint64_t ran = 0;
    const double start = bench::now();
    for (std::uint64_t i = 0; i < n; ++i) gort::spawn([&] { ++ran; }).join();
    const double took = bench::now() - start;
    check(ran == n, "every goroutine ran once");
    return Timed{n, took};
  });
}

Result spawn_batch1000(const Options& o) {
  constexpr std::uint64_t kBatch = 1000;
  return measured(o, kBatch, [](std::uint64_t n) {
    const std::uint64_t batches = (n + kBatch - 1) / kBatch;
    std::atomic<std::uint64_t> ran = 0;
    std::vector<gort::task<void>> batch;
    batch.reserve(kBatch);
    const double start = bench::now();
    for (std::uint64_t b = 0; b < batches; ++b) {
      for (std::uint64_t i = 0; i < kBatch; ++i) {
        batch.push_back(gort::spawn([&] { ran.fetch_add(1, std::memory_order_relaxed); }));
      }
      for (gort::task<void>& t : batch) t.join();
      batch.clear();
    }
    const double took = bench::now() - start;
    check(ran == batches * kBatch, "every goroutine ran once");
    return Timed{batches * kBatch, took};
  });
}

/// Nobody joins: the last of 10,000 tells.
Result spawn10000(const Options& o) {
  constexpr std::uint64_t kBatch = 10000;
  return measured(o, kBatch, [](std::uint64_t n) {
    const std::uint64_t batches = (n + kBatch - 1) / kBatch;
    std::uint64_t told = 0;
    std::atomic<std::uint64_t> left = 0;
    gort::semaphore last(0);
    const double start = bench::now();
    for (std::uint64_t b = 0; b < batches; ++b) {
      left = kBatch;
      for (std::uint64_t i = 0; i < kBatch; ++i) {
        gort::go([&] {
          if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) ++told, last.release();
        });
      }
      last.acquire();
    }
    const double took = bench::now() - start;
    check(told == batches, "the last goroutine of each batch told once");
    return Timed{batches * kBatch, took};
  });
}

// ---- skynet -------------------------------------------------------------------------------------

std::uint64_t skynet(std::uint64_t number, std::uint64_t leaves) {
  if (leaves == 1) return number;
  std::optional<gort::task<std::uint64_t>> children[10];
  for (std::uint64_t i = 0; i < 10; ++i) {
    children[i].emplace(
        gort::spawn([=] { return skynet(number + i * (leaves / 10), leaves / 10); }));
  }
  std::uint64_t sum = 0;
  for (auto& child : children) sum += child->get();
  return sum;
}

Result skynet_row(const Options& o) {
  Result r = measured(o, 1, [](std::uint64_t n) {
    const double start = bench::now();
    for (std::uint64_t i = 0; i < n; ++i)
      check(skynet(0, 1'000'000) == 499'999'500'000, "the sum of the leaves");
    return Timed{n, bench::now() - start};
  });
  r.value /= 1e6;
  r.unit = "ms";
  return r;
}

// ---- parked -------------------------------------------------------------------------------------

Result parked(const Options& o, std::uint64_t count) {
  const std::uint64_t n = o.n != 0 ? o.n : count;
  return in_runtime(o, [&] {
    gort::semaphore gate(0);
    std::atomic<std::uint64_t> waiting = 0;
    std::atomic<std::uint64_t> passed = 0;
    gort::this_goroutine::yield();  // the scheduler's own memory comes before the first sample
    const Memory before = bench::memory();
    const double start = bench::now();
    for (std::uint64_t i = 0; i < n; ++i) {
      gort::go([&] {
        waiting.fetch_add(1, std::memory_order_relaxed);
        gate.acquire();
        passed.fetch_add(1, std::memory_order_relaxed);
      });
    }
    while (waiting != n) gort::this_goroutine::yield();
    const double created = bench::now();
    const Memory after = bench::memory();
    const double release = bench::now();
    for (std::uint64_t i = 0; i < n; ++i) gate.release();
    while (passed != n) gort::this_goroutine::yield();
    return bench::parked_result(n, before, after, created - start, bench::now() - release);
  });
}

Result parked100k(const Options& o) { return parked(o, 100'000); }
Result parked1m(const Options& o) { return parked(o, 1'000'000); }

// ---- idle ---------------------------------------------------------------------------------------

Result idle_cpu(const Options& o) {
  return in_runtime(o, [&] {
    std::vector<gort::task<void>> burst;
    burst.reserve(10000);
    for (int i = 0; i < 10000; ++i)
      burst.push_back(gort::spawn([] { gort::this_goroutine::yield(); }));
    for (gort::task<void>& t : burst) t.join();
    // The main goroutine is parked, as all others are; a foreign thread looks on and then wakes it.
    Result r;
    gort::semaphore seen(0);
    std::thread observer([&] {
      r = bench::idle_result(0.2, o.n != 0 ? static_cast<double>(o.n) : 3);
      seen.release();
    });
    seen.acquire();
    observer.join();
    return r;
  });
}

// ---- ping-pong ----------------------------------------------------------------------------------

}  // namespace

Timed gort_rows::round_trips(std::uint64_t n, bool locked) {
  gort::semaphore ping(0), pong(0);
  std::uint64_t value = 0;
  gort::task<void> partner = gort::spawn([&, locked] {
    std::optional<gort::os_thread_lock> lock;
    if (locked) lock.emplace();
    for (std::uint64_t i = 0; i < n; ++i) {
      ping.acquire();
      ++value;
      pong.release();
    }
  });
  const double start = bench::now();
  for (std::uint64_t i = 0; i < n; ++i) {
    ping.release();
    pong.acquire();
    check(value == i + 1, "each trip is answered once");
  }
  const double took = bench::now() - start;
  partner.join();
  return Timed{n, took};
}

namespace {

Result pingpong(const Options& o, bool locked) {
  return measured(o, 100, [locked](std::uint64_t n) { return gort_rows::round_trips(n, locked); });
}

Result pingpong_sema(const Options& o) { return pingpong(o, false); }
Result pingpong_locked(const Options& o) { return pingpong(o, true); }

constexpr bench::Row kRows[] = {
    {"switch", raw_switch},
    {"yield2", yield2},
    {"yield1000", yield1000},
    {"spawn_join_one", spawn_join_one},
    {"spawn_batch1000", spawn_batch1000},
    {"spawn10000", spawn10000},
    {"skynet", skynet_row},
    {"parked100k", parked100k},
    {"parked1m", parked1m},
    {"idle_cpu", idle_cpu},
    {"pingpong_sema", pingpong_sema},
    {"pingpong_locked", pingpong_locked},
    {"pingpong_chan", gort_rows::pingpong_chan},
    {"chan_stream1024", gort_rows::chan_stream1024},
    {"chan_uncontended", gort_rows::chan_uncontended},
    {"chan_contended", gort_rows::chan_contended},
    {"chan_sync", gort_rows::chan_sync},
    {"chan_sync_work", gort_rows::chan_sync_work},
    {"chan_prodcons0", gort_rows::chan_prodcons0},
    {"chan_prodcons10", gort_rows::chan_prodcons10},
    {"chan_prodcons100", gort_rows::chan_prodcons100},
    {"chan_prodcons0_work", gort_rows::chan_prodcons0_work},
    {"chan_prodcons10_work", gort_rows::chan_prodcons10_work},
    {"chan_prodcons100_work", gort_rows::chan_prodcons100_work},
    {"chan_sem", gort_rows::chan_sem},
    {"chan_popular", gort_rows::chan_popular},
    {"chan_closed", gort_rows::chan_closed},
    {"select_uncontended", gort_rows::select_uncontended},
    {"select_sync", gort_rows::select_sync},
    {"select_async", gort_rows::select_async},
    {"select_nonblock", gort_rows::select_nonblock},
    {"select_prodcons", gort_rows::select_prodcons},
    {"stop_idle", gort_rows::stop_idle},
    {"stop_busy", gort_rows::stop_busy},
    {"procs_idle", gort_rows::procs_idle},
    {"procs_busy", gort_rows::procs_busy},
    {"stop_parked100k", gort_rows::stop_parked100k},
    {"stop_hogs", gort_rows::stop_hogs},
    {"hogs2", gort_rows::hogs2},
    {"hogs8", gort_rows::hogs8},
    {"server_hog", gort_rows::server_hog},
    {"pingpong_hog", gort_rows::pingpong_hog},
    {"file8", gort_rows::file8},
    {"file16", gort_rows::file16},
};

}  // namespace

int main(int argc, char** argv) {
  std::vector<bench::Row> rows(std::begin(kRows), std::end(kRows));
  for (const auto* more : {&gort_rows::sync_rows(), &gort_rows::context_rows(), &gort_rows::timer_rows()}) {
    rows.insert(rows.end(), more->begin(), more->end());
  }
  return bench::contender_main(argc, argv, "gort", R"("compiler":"C++ )" __VERSION__ R"(")", rows);
}
