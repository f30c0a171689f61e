// The rows of contexts and scopes.
#include <chrono>
#include <optional>
#include <vector>

#include "rows.h"

namespace {

using bench::check;
using bench::Options;
using bench::Result;
using bench::Timed;

/// A receive under a time limit of its own. `waits`: the value is not there yet.
Result timeout_recv(const Options& o, bool waits) {
  return gort_rows::measured(o, 1000, [waits](std::uint64_t n) {
    gort::chan<std::uint64_t> ask(waits ? 0 : 1);
    gort::chan<std::uint64_t> answer(waits ? 0 : 1);
    auto partner = gort::spawn([=] {
      gort::shield plain;
      while (auto v = ask.recv()) answer.send(*v + 1);
    });
    std::uint64_t sum = 0;
    const double start = bench::now();
    for (std::uint64_t i = 0; i < n; ++i) {
      if (waits) {
        ask.send(i);
      } else {
        answer.send(i + 1);
      }
      gort::with_timeout limit(std::chrono::hours(1));
      sum += *answer.recv() - i;
    }
    const double took = bench::now() - start;
    ask.close();
    partner.join();
    check(sum == n, "every answer arrived");
    return Timed{n, took};
  });
}

Result scope10(const Options& o) {
  return gort_rows::measured(o, 100, [](std::uint64_t n) {
    std::uint64_t sum = 0;
    const double start = bench::now();
    for (std::uint64_t i = 0; i < n; ++i) {
      std::uint64_t parts[10] = {};
      gort::scope s;
      for (auto& part : parts) s.go([&part] { part = 1; });
      s.join();
      for (const auto part : parts) sum += part;
    }
    const double took = bench::now() - start;
    check(sum == 10 * n, "all have run");
    return Timed{n, took};
  });
}

/// The time from a cancellation until all of a thousand that wait have ended, for each of them.
Result cancel1000(const Options& o) {
  return gort_rows::measured(o, 1000, [](std::uint64_t n) {
    constexpr std::uint64_t kMany = 1000;
    const std::uint64_t rounds = (n + kMany - 1) / kMany;
    double took = 0;
    for (std::uint64_t r = 0; r < rounds; ++r) {
      gort::chan<int> never(0);
      gort::semaphore up(0);
      std::atomic<std::uint64_t> ended{0};
      gort::scope s;
      for (std::uint64_t i = 0; i < kMany; ++i) {
        s.go([&] {
          up.release();
          try {
            never.recv();
          } catch (const gort::cancelled&) {
            ended.fetch_add(1, std::memory_order_relaxed);
          }
        });
      }
      for (std::uint64_t i = 0; i < kMany; ++i) up.acquire();
      gort::this_goroutine::yield();
      const double start = bench::now();
      s.cancel();
      s.join();
      took += bench::now() - start;
      check(ended == kMany, "all were cancelled");
    }
    return Timed{rounds * kMany, took};
  });
}

}  // namespace

namespace gort_rows {

const std::vector<bench::Row>& context_rows() {
  static const std::vector<bench::Row> rows{
      {"timeout_recv_ready", [](const Options& o) { return timeout_recv(o, false); }},
      {"timeout_recv", [](const Options& o) { return timeout_recv(o, true); }},
      {"scope10", scope10},
      {"cancel1000", cancel1000},
  };
  return rows;
}

}  // namespace gort_rows
