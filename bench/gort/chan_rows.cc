// Channels and select: the designs of Go's own benchmarks (runtime/chan_test.go), by their names there. README.md says
// what one operation of each row is.
#include <atomic>
#include <vector>

#include "rows.h"

namespace gort_rows {

namespace {

using bench::check;
using bench::Options;
using bench::Result;
using bench::Timed;

constexpr std::uint64_t kCalls = 1000;  // CallsPerSched

/// Work that the compiler cannot drop.
int work(int amount) {
  int foo = 0;
  for (int i = 0; i < amount; ++i) {
    foo *= 2;
    foo /= 2;
    asm volatile("" : "+r"(foo));
  }
  return foo;
}

/// body(k) in o.procs goroutines at once, k operations each.
template <class Body>
Result parallel(const Options& o, std::uint64_t first, Body body) {
  const auto procs = static_cast<std::uint64_t>(o.procs);
  return measured(o, first, [&](std::uint64_t n) {
    const std::uint64_t each = (n + procs - 1) / procs;
    std::vector<gort::task<void>> all;
    const double start = bench::now();
    for (std::uint64_t p = 0; p < procs; ++p) all.push_back(gort::spawn([&] { body(each); }));
    for (auto& t : all) t.join();
    return Timed{each * procs, bench::now() - start};
  });
}

void fill_and_drain(const gort::chan<int>& c, std::uint64_t n) {
  for (std::uint64_t done = 0; done < n; done += 100) {
    for (int i = 0; i < 100; ++i) c.send(0);
    for (int i = 0; i < 100; ++i) c.recv();
  }
}

Result sync_row(const Options& o, int amount) {
  return measured(o, 2 * kCalls, [=](std::uint64_t n) {
    const std::uint64_t calls = (n + kCalls - 1) / kCalls * kCalls;  // not fewer than n: the harness asks for more by that
    gort::chan<int> c(0);
    const auto side = [=](bool receives_first) {
      for (std::uint64_t i = 0; i < calls / 2; ++i) {
        if (receives_first) {
          c.recv(), work(amount), c.send(0), work(amount);
        } else {
          c.send(0), work(amount), c.recv(), work(amount);
        }
      }
    };
    const double start = bench::now();
    auto a = gort::spawn(side, true);
    auto b = gort::spawn(side, false);
    a.join(), b.join();
    return Timed{calls / 2 * 2, bench::now() - start};
  });
}

Result prodcons(const Options& o, std::ptrdiff_t size, int amount) {
  const int procs = o.procs;
  return measured(o, kCalls * static_cast<std::uint64_t>(procs), [=](std::uint64_t n) {
    std::atomic<std::int64_t> left = static_cast<std::int64_t>((n + kCalls - 1) / kCalls);
    const std::uint64_t items = static_cast<std::uint64_t>(left.load()) * kCalls;
    gort::chan<int> c(size);
    std::atomic<std::uint64_t> received = 0;
    std::vector<gort::task<void>> all;
    const double start = bench::now();
    for (int p = 0; p < procs; ++p) {
      all.push_back(gort::spawn([&] {
        while (left.fetch_sub(1) > 0) {
          for (std::uint64_t i = 0; i < kCalls; ++i) work(amount), c.send(1);
        }
        c.send(0);
      }));
      all.push_back(gort::spawn([&] {
        std::uint64_t got = 0;
        while (*c.recv() != 0) ++got, work(amount);
        received += got;
      }));
    }
    for (auto& t : all) t.join();
    const double took = bench::now() - start;
    check(received == items, "what was sent was received");
    return Timed{items, took};
  });
}

Result select_prodcons_row(const Options& o) {
  const int procs = o.procs;
  return measured(o, kCalls * static_cast<std::uint64_t>(procs), [=](std::uint64_t n) {
    std::atomic<std::int64_t> left = static_cast<std::int64_t>((n + kCalls - 1) / kCalls);
    const std::uint64_t items = static_cast<std::uint64_t>(left.load()) * kCalls;
    gort::chan<int> c(128);
    gort::chan<bool> close(0);
    std::atomic<std::uint64_t> received = 0;
    std::vector<gort::task<void>> all;
    const double start = bench::now();
    for (int p = 0; p < procs; ++p) {
      all.push_back(gort::spawn([&] {
        while (left.fetch_sub(1) > 0) {
          for (std::uint64_t i = 0; i < kCalls; ++i) work(100), gort::select(c.on_send(1), close.on_recv());
        }
        gort::select(c.on_send(0), close.on_recv());
      }));
      all.push_back(gort::spawn([&] {
        std::uint64_t got = 0;
        std::optional<int> v;
        while (gort::select(c.on_recv(v), close.on_recv()) == 0 && *v != 0) ++got, work(100);
        received += got;
      }));
    }
    for (auto& t : all) t.join();
    const double took = bench::now() - start;
    check(received == items, "what was sent was received");
    return Timed{items, took};
  });
}

}  // namespace

Result pingpong_chan(const Options& o) {
  return measured(o, 100, [](std::uint64_t n) {
    gort::chan<std::uint64_t> ping(0), pong(0);
    auto echo = gort::spawn([=] {
      for (std::uint64_t v : ping) pong.send(v + 1);
    });
    const double start = bench::now();
    for (std::uint64_t i = 0; i < n; ++i) {
      ping.send(i);
      check(*pong.recv() == i + 1, "each trip is answered once");
    }
    const double took = bench::now() - start;
    ping.close();
    echo.join();
    return Timed{n, took};
  });
}

Result chan_stream1024(const Options& o) {
  return measured(o, 1024, [](std::uint64_t n) {
    gort::chan<std::uint64_t> c(1024);
    const double start = bench::now();
    auto producer = gort::spawn([=] {
      gort::closing done(c);
      for (std::uint64_t i = 0; i < n; ++i) c.send(i);
    });
    std::uint64_t expected = 0;
    bool in_order = true;
    for (std::uint64_t v : c) in_order &= v == expected++;
    const double took = bench::now() - start;
    producer.join();
    check(in_order && expected == n, "all came, in order");
    return Timed{n, took};
  });
}

Result chan_uncontended(const Options& o) {
  return parallel(o, 1000, [](std::uint64_t n) { fill_and_drain(gort::chan<int>(100), n); });
}

Result chan_contended(const Options& o) {
  const gort::chan<int> c(100 * o.procs);
  return parallel(o, 1000, [&](std::uint64_t n) { fill_and_drain(c, n); });
}

Result chan_sync(const Options& o) { return sync_row(o, 0); }
Result chan_sync_work(const Options& o) { return sync_row(o, 1000); }
Result chan_prodcons0(const Options& o) { return prodcons(o, 0, 0); }
Result chan_prodcons10(const Options& o) { return prodcons(o, 10, 0); }
Result chan_prodcons100(const Options& o) { return prodcons(o, 100, 0); }
Result chan_prodcons0_work(const Options& o) { return prodcons(o, 0, 100); }
Result chan_prodcons10_work(const Options& o) { return prodcons(o, 10, 100); }
Result chan_prodcons100_work(const Options& o) { return prodcons(o, 100, 100); }

Result chan_sem(const Options& o) {
  struct nothing {};
  const gort::chan<nothing> c(o.procs);
  return parallel(o, 1000, [&](std::uint64_t n) {
    for (std::uint64_t i = 0; i < n; ++i) c.send({}), c.recv();
  });
}

Result chan_popular(const Options& o) {
  constexpr std::uint64_t kClients = 1000;
  return measured(o, kClients, [](std::uint64_t n) {
    const std::uint64_t rounds = (n + kClients - 1) / kClients;
    gort::chan<bool> popular(0);
    std::vector<gort::chan<bool>> own;
    std::vector<gort::task<void>> all;
    const double start = bench::now();
    for (std::uint64_t j = 0; j < kClients; ++j) {
      own.emplace_back(0);
      all.push_back(gort::spawn([=, d = own.back()] {
        for (std::uint64_t i = 0; i < rounds; ++i) gort::select(popular.on_recv(), d.on_recv());
      }));
    }
    for (std::uint64_t i = 0; i < rounds; ++i) {
      for (auto& d : own) d.send(true);
    }
    for (auto& t : all) t.join();
    return Timed{rounds * kClients, bench::now() - start};
  });
}

Result chan_closed(const Options& o) {
  const gort::chan<int> c(0);
  c.close();
  return parallel(o, 1000, [&](std::uint64_t n) {
    for (std::uint64_t i = 0; i < n; ++i) check(!c.try_recv(), "closed");
  });
}

Result select_uncontended(const Options& o) {
  return parallel(o, 1000, [](std::uint64_t n) {
    gort::chan<int> a(1), b(1);
    a.send(0);
    for (std::uint64_t i = 0; i < n; ++i) {
      if (gort::select(a.on_recv(), b.on_recv()) == 0) {
        b.send(0);
      } else {
        a.send(0);
      }
    }
  });
}

Result select_sync(const Options& o) {
  const gort::chan<int> a(0), b(0), c(0);
  return parallel(o, 1000, [&](std::uint64_t n) {
    gort::chan<int> done(0);
    auto sender = gort::spawn([&] {
      while (gort::select(a.on_send(0), b.on_send(0), c.on_send(0), done.on_recv()) != 3) {}
    });
    for (std::uint64_t i = 0; i < n; ++i) gort::select(a.on_recv(), b.on_recv(), c.on_recv());
    done.close();
    sender.join();
  });
}

Result select_async(const Options& o) {
  return in_runtime(o, [&] {
    return bench::measure(o, 1000, [&](std::uint64_t n) {
      const auto procs = static_cast<std::uint64_t>(o.procs);
      const std::uint64_t each = (n + procs - 1) / procs;
      gort::chan<int> a(o.procs), b(o.procs);
      std::vector<gort::task<void>> all;
      const double start = bench::now();
      for (std::uint64_t p = 0; p < procs; ++p) {
        all.push_back(gort::spawn([&] {
          a.send(0);
          for (std::uint64_t i = 0; i < each; ++i) {
            if (gort::select(a.on_recv(), b.on_recv()) == 0) {
              b.send(0);
            } else {
              a.send(0);
            }
          }
        }));
      }
      for (auto& t : all) t.join();
      return Timed{each * procs, bench::now() - start};
    });
  });
}

Result select_nonblock(const Options& o) {
  const gort::chan<int> a(0), b(0), c(1), d(1);
  return parallel(o, 1000, [&](std::uint64_t n) {
    for (std::uint64_t i = 0; i < n; ++i) {
      gort::select(a.on_recv(), gort::otherwise);
      gort::select(b.on_send(0), gort::otherwise);
      gort::select(c.on_recv(), gort::otherwise);
      gort::select(d.on_send(0), gort::otherwise);
    }
  });
}

Result select_prodcons(const Options& o) { return select_prodcons_row(o); }

}  // namespace gort_rows
