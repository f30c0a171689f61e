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

/// How a goroutine of cancel1000 is told: by a case of its select, as in Go, or by gort::cancelled, which leaves it.
enum class Told { by_case, by_exception };

/// The time from a cancellation until all of a thousand that wait have ended, for each of them.
Result cancel1000(const Options& o, Told told) {
  return gort_rows::measured(o, 1000, [told](std::uint64_t n) {
    constexpr std::uint64_t kMany = 1000;
    const std::uint64_t rounds = (n + kMany - 1) / kMany;
    double took = 0;
    for (std::uint64_t r = 0; r < rounds; ++r) {
      gort::chan<int> never(0);
      gort::wait_group up, ended;
      up.add(kMany), ended.add(kMany);
      gort::with_cancel limit;
      const gort::context ctx = gort::this_goroutine::context();
      auto wait = [&] {
        struct end {
          gort::wait_group& ended;
          ~end() { ended.done(); }
        } at_end{ended};
        up.done();
        if (told == Told::by_case) {
          std::optional<int> v;
          gort::select(never.on_recv(v), ctx.on_cancelled());
        } else {
          never.recv();
        }
      };
      gort::scope s;
      for (std::uint64_t i = 0; i < kMany; ++i) {
        if (told == Told::by_case) {
          gort::go(wait);
        } else {
          s.go(wait);
        }
      }
      up.wait();
      gort::this_goroutine::yield();
      const double start = bench::now();
      limit.cancel();
      const gort::shield cancelled_too;
      ended.wait();
      took += bench::now() - start;
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
      {"cancel1000", [](const Options& o) { return cancel1000(o, Told::by_case); }},
      {"cancel1000_unwind", [](const Options& o) { return cancel1000(o, Told::by_exception); }},
  };
  return rows;
}

}  // namespace gort_rows
