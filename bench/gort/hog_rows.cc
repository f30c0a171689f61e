// Rows about goroutines that never give their processor up by themselves: what do they lose when several share one,
// and what do others lose beside them?
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#include "harness.h"
#include "hogs.h"
#include "rows.h"

namespace gort_rows {
namespace {

using bench::check;
using bench::Options;
using bench::Result;
using bench::Timed;

/// What some hogs do together.
struct Speed {
  double ns;           ///< per operation
  double least_share;  ///< the least hog's part of a fair share
  double cpu;          ///< cores in use
};

/// Watches the hogs from a foreign thread, which needs no processor of gort's. The main goroutine waits parked.
Speed watch(const Options& o, const Hogs& hogs) {
  std::vector<std::uint64_t> before(hogs.size()), after(hogs.size());
  double start = 0, took = 0, cpu = 0;
  gort::semaphore seen(0);
  std::thread observer([&] {
    bench::sleep_seconds(o.min_seconds / 3);  // until all have started
    for (std::size_t i = 0; i < hogs.size(); ++i) before[i] = hogs.count(i);
    cpu = bench::process_cpu();
    start = bench::now();
    bench::sleep_seconds(4 * o.min_seconds);
    for (std::size_t i = 0; i < hogs.size(); ++i) after[i] = hogs.count(i);
    took = bench::now() - start;
    cpu = bench::process_cpu() - cpu;
    seen.release();
  });
  seen.acquire();
  observer.join();
  double sum = 0, least = 1e300;
  for (std::size_t i = 0; i < hogs.size(); ++i) {
    const double did = static_cast<double>(after[i] - before[i]);
    sum += did;
    least = std::min(least, did);
  }
  check(sum > 0, "hogs get on");
  return {took * 1e9 / sum, least * static_cast<double>(hogs.size()) / sum, cpu / took};
}

template <class Work>
Speed hog_speed(const Options& o, std::size_t count, const Work& work) {
  Hogs hogs(count, work);
  return watch(o, hogs);
}

/// By how much `count` hogs together are slower than one alone.
template <class Work>
Result many_against_one(const Options& o, std::size_t count, const Work& work) {
  return in_runtime(o, [&] {
    const Speed one = hog_speed(o, 1, work);
    const Speed many = hog_speed(o, count, work);
    return Result{many.ns / one.ns,
                  "x",
                  {{"one_ns", one.ns},
                   {"many_ns", many.ns},
                   {"least_share", many.least_share},
                   {"cpu_per_wall", many.cpu}}};
  });
}

struct PrintLine {
  std::FILE* file;
  int line = 0;
  std::uint64_t operator()() {
    std::fprintf(file, "%d: %s\n", ++line, "a line of text");
    return 1;
  }
};

Result file_hogs(const Options& o, std::size_t count) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> null(std::fopen("/dev/null", "w"),
                                                             std::fclose);
  check(null != nullptr, "/dev/null opens");
  return many_against_one(o, count, PrintLine{null.get()});
}

/// By how much body is slower beside one hog than alone, and what part of a processor the hog got.
template <class Body>
Result beside_hog(const Options& o, std::uint64_t first, const Body& body) {
  return in_runtime(o, [&] {
    const Result alone = bench::measure(o, first, body);
    const Speed hog_alone = hog_speed(o, 1, Spin());
    Hogs hog(1, Spin());
    double share = 0;
    Result r = bench::measure(o, 10, [&](std::uint64_t n) {
      const std::uint64_t before = hog.count(0);
      const Timed t = body(n);
      share = static_cast<double>(hog.count(0) - before) * hog_alone.ns / 1e9 / t.seconds;
      return t;
    });
    hog.end();
    r.numbers.insert(r.numbers.end(),
                     {{"hog_share", share}, {"alone_ns", alone.value}, {"beside_ns", r.value}});
    r.value /= alone.value;
    r.unit = "x";
    return r;
  });
}

/// A chain of 500 multiplications, about a microsecond.
[[gnu::noinline]] std::uint64_t request() {
  std::uint64_t v = 1;
  for (int i = 0; i < 500; ++i) {
    v = v * 6364136223846793005u + 1442695040888963407u;
    asm volatile("" : "+r"(v));
  }
  return v >> 60;
}

/// Rounds of 64 requests, each a goroutine of its own; the last of a round tells.
Timed serve(std::uint64_t n) {
  constexpr std::uint64_t kRound = 64;
  const std::uint64_t rounds = (n + kRound - 1) / kRound;
  std::atomic<std::uint64_t> sum = 0, left = 0;
  gort::semaphore last(0);
  const double start = bench::now();
  for (std::uint64_t i = 0; i < rounds; ++i) {
    left = kRound;
    for (std::uint64_t k = 0; k < kRound; ++k) {
      gort::go([&] {
        sum += request();
        if (--left == 0) last.release();
      });
    }
    last.acquire();
  }
  const double took = bench::now() - start;
  check(sum == rounds * kRound * request(), "every request was answered");
  return Timed{rounds * kRound, took};
}

}  // namespace

Result hogs2(const Options& o) { return many_against_one(o, 2, MallocFree()); }
Result hogs8(const Options& o) { return many_against_one(o, 8, MallocFree()); }
Result file8(const Options& o) { return file_hogs(o, 8); }
Result file16(const Options& o) { return file_hogs(o, 16); }
Result server_hog(const Options& o) { return beside_hog(o, 64, serve); }
Result pingpong_hog(const Options& o) {
  return beside_hog(o, 100, [](std::uint64_t n) { return round_trips(n, false); });
}

}  // namespace gort_rows
