// The rows of time: the designs of Go's own benchmarks (time/sleep_test.go), one goroutine per P.
#include <memory>
#include <optional>
#include <vector>

#include "rows.h"

namespace {

using bench::check;
using bench::Options;
using bench::Result;
using bench::Timed;
using namespace std::chrono_literals;

/// n operations, shared by a goroutine for each P.
template <class Body>
Result per_p(const Options& o, Body body) {
  return gort_rows::measured(o, 1000, [&](std::uint64_t n) {
    const auto count = static_cast<std::uint64_t>(o.procs);
    const std::uint64_t each = (n + count * 1000 - 1) / (count * 1000) * 1000;
    std::vector<gort::task<void>> all;
    const double start = bench::now();
    for (std::uint64_t i = 0; i < count; ++i) all.push_back(gort::spawn([&body, each] { body(each); }));
    for (auto& t : all) t.join();
    return Timed{each * count, bench::now() - start};
  });
}

Result timer_stop(const Options& o) {
  return per_p(o, [](std::uint64_t n) {
    for (std::uint64_t i = 0; i < n; ++i) {
      gort::timer t(1s);
      check(t.stop(), "armed");
    }
  });
}

Result timer_start_stop(const Options& o) {
  return per_p(o, [](std::uint64_t n) {
    std::vector<gort::func_handle> timers(1000);
    for (std::uint64_t i = 0; i < n; i += timers.size()) {
      for (auto& t : timers) t = gort::after_func(1h, [] {});
      for (auto& t : timers) check(t.stop(), "armed");
    }
  });
}

Result timer_reset(const Options& o) {
  return per_p(o, [](std::uint64_t n) {
    gort::timer t(1h);
    for (std::uint64_t i = 0; i < n; ++i) check(t.reset(1h), "armed");
  });
}

Result func_reset(const Options& o) {
  return per_p(o, [](std::uint64_t n) {
    auto t = gort::after_func(1h, [] {});
    for (std::uint64_t i = 0; i < n; ++i) check(t.reset(1h), "armed");
    t.stop();
  });
}

struct Chain {
  std::uint64_t left;
  gort::chan<bool> done{0};
  void next() {
    if (left-- == 0) {
      done.send(true);
    } else {
      gort::after_func(0s, [this] { next(); });
    }
  }
};

Result after_func(const Options& o) {
  return per_p(o, [](std::uint64_t n) {
    Chain c{n};
    gort::after_func(0s, [&c] { c.next(); });
    c.done.recv();
  });
}

Result sleep1000(const Options& o) {
  return per_p(o, [](std::uint64_t n) {
    for (std::uint64_t i = 0; i < n; i += 1000) {
      gort::wait_group all;
      all.add(1000);
      for (int k = 0; k < 1000; ++k) {
        gort::go([&all] {
          gort::this_goroutine::sleep_for(1ns);
          all.done();
        });
      }
      all.wait();
    }
  });
}

Result timers1m(const Options& o) {
  return gort_rows::in_runtime(o, [&] {
    constexpr std::size_t kMany = 1'000'000;
    auto timers = std::make_unique<gort::func_handle[]>(kMany);
    const double start = bench::now();
    for (std::size_t i = 0; i < kMany; ++i) {
      timers[i] = gort::after_func(1h + std::chrono::microseconds(i * 7919 % kMany), [] {});
    }
    const double armed = bench::now();
    for (std::size_t i = 0; i < kMany; ++i) check(timers[i].stop(), "armed");
    const double stopped = bench::now();
    timers.reset();
    const double gone = bench::now();
    const double per = 1e9 / static_cast<double>(kMany);
    return Result{(gone - start) * per,
                  "ns",
                  {{"arm_ns", (armed - start) * per}, {"stop_ns", (stopped - armed) * per}, {"free_ns", (gone - stopped) * per}}};
  });
}

/// A wait with a timeout that is served in time, by another goroutine.
Result timed_recv(const Options& o) {
  return gort_rows::measured(o, 1000, [](std::uint64_t n) {
    gort::chan<int> there(0), back(0);
    const double start = bench::now();
    auto other = gort::spawn([=] {
      for (std::uint64_t i = 0; i < n; ++i) {
        check(there.recv_for(1s).has_value(), "in time");
        back.send(1);
      }
    });
    for (std::uint64_t i = 0; i < n; ++i) {
      there.send(1);
      check(back.recv_for(1s).has_value(), "in time");
    }
    other.join();
    return Timed{n, bench::now() - start};
  });
}

}  // namespace

namespace gort_rows {

const std::vector<bench::Row>& timer_rows() {
  static const std::vector<bench::Row> rows{
      {"timer_stop", timer_stop},   {"timer_start_stop", timer_start_stop}, {"timer_reset", timer_reset},
      {"func_reset", func_reset},   {"after_func", after_func},             {"sleep1000", sleep1000},
      {"timers1m", timers1m},       {"timed_recv", timed_recv},
  };
  return rows;
}

}  // namespace gort_rows
