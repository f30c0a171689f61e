// The rows of the synchronization primitives: the designs of Go's own benchmarks (sync/*_test.go), with a fixed share of
// the operations for each goroutine.
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "rows.h"

namespace {

using bench::check;
using bench::Options;
using bench::Result;
using bench::Timed;

/// n operations, shared by procs * parallelism goroutines: body(how_many) in each.
template <class Body>
Timed parallel(const Options& o, int parallelism, std::uint64_t n, Body body) {
  const auto count = static_cast<std::uint64_t>(o.procs * parallelism);
  const std::uint64_t each = (n + count - 1) / count;
  std::vector<gort::task<void>> all;
  all.reserve(count);
  const double start = bench::now();
  for (std::uint64_t i = 0; i < count; ++i) all.push_back(gort::spawn([&body, each] { body(each); }));
  for (auto& t : all) t.join();
  return Timed{each * count, bench::now() - start};
}

/// Dependent multiplications: the same machine code in all contenders, which Go's localWork, doubling and halving, is not.
void local_work(int rounds) {
  std::uint64_t x = 1;
  for (int i = 0; i < rounds; ++i) x = x * 2862933555777941757u + 3037000493u;
  asm volatile("" : : "r"(x));
}

template <class T>
struct alignas(128) Padded {
  T value{};
};

// ---- mutex

Result mutex_uncontended(const Options& o) {
  return gort_rows::measured(o, 1000, [&o](std::uint64_t n) {
    return parallel(o, 1, n, [](std::uint64_t each) {
      const auto m = std::make_unique<Padded<gort::mutex>>();
      for (std::uint64_t i = 0; i < each; ++i) {
        m->value.lock();
        m->value.unlock();
        m->value.lock();
        m->value.unlock();
      }
    });
  });
}

Result mutex(const Options& o, bool slack, bool work) {
  return gort_rows::measured(o, 1000, [&o, slack, work](std::uint64_t n) {
    Padded<gort::mutex> m;
    std::uint64_t inside = 0;
    const Timed t = parallel(o, slack ? 10 : 1, n, [&](std::uint64_t each) {
      for (std::uint64_t i = 0; i < each; ++i) {
        m.value.lock();
        ++inside;
        m.value.unlock();
        if (work) local_work(25);
      }
    });
    check(inside == t.ops, "one at a time");
    return t;
  });
}

constexpr std::size_t kNoSpinData = 4 << 10;
constexpr std::size_t kSpinData = 16 << 10;

void touch(std::vector<std::uint64_t>& data) {
  for (std::size_t i = 0; i < data.size(); i += 4) ++data[i];
  asm volatile("" : : "r"(data.data()) : "memory");
}

Result mutex_no_spin(const Options& o) {
  return gort_rows::measured(o, 1000, [&o](std::uint64_t n) {
    Padded<gort::mutex> m;
    std::uint64_t a = 0, b = 0;
    const Timed t = parallel(o, 4, n, [&](std::uint64_t each) {
      std::vector<std::uint64_t> data(kNoSpinData);
      gort::semaphore seen(0);
      for (std::uint64_t i = 0; i < each; ++i) {
        if (i % 4 == 0) {
          m.value.lock();
          a -= 100;
          b += 100;
          m.value.unlock();
        } else {
          touch(data);
          gort::go([&seen] { seen.release(); });
          seen.acquire();
        }
      }
    });
    check(a + b == 0, "one at a time");
    return t;
  });
}

Result mutex_spin(const Options& o) {
  return gort_rows::measured(o, 1000, [&o](std::uint64_t n) {
    Padded<gort::mutex> m;
    std::uint64_t a = 0, b = 0;
    const Timed t = parallel(o, 1, n, [&](std::uint64_t each) {
      std::vector<std::uint64_t> data(kSpinData);
      for (std::uint64_t i = 0; i < each; ++i) {
        m.value.lock();
        a -= 100;
        b += 100;
        m.value.unlock();
        touch(data);
      }
    });
    check(a + b == 0, "one at a time");
    return t;
  });
}

// ---- shared_mutex

Result rwmutex(const Options& o, std::uint64_t write_ratio, int work) {
  return gort_rows::measured(o, 1000, [&o, write_ratio, work](std::uint64_t n) {
    Padded<gort::shared_mutex> m;
    std::atomic<std::uint64_t> written{0};
    const Timed t = parallel(o, 1, n, [&](std::uint64_t each) {
      std::uint64_t mine = 0;
      for (std::uint64_t i = 1; i <= each; ++i) {
        if (i % write_ratio == 0) {
          m.value.lock();
          ++mine;
          m.value.unlock();
        } else {
          m.value.lock_shared();
          local_work(work);
          m.value.unlock_shared();
        }
      }
      written += mine;
    });
    check(written <= t.ops, "shares");
    return t;
  });
}

// ---- condition_variable

Result cond(const Options& o, int waiters) {
  return gort_rows::measured(o, 100, [waiters](std::uint64_t n) {
    gort::mutex m;
    gort::condition_variable changed;
    int id = 0;
    std::vector<gort::task<void>> all;
    const double start = bench::now();
    for (int r = 0; r < waiters + 1; ++r) {
      all.push_back(gort::spawn([&] {
        for (std::uint64_t i = 0; i < n; ++i) {
          std::unique_lock hold(m);
          if (id == -1) return;
          if (++id == waiters + 1) {
            id = 0;
            changed.notify_all();
          } else {
            changed.wait(hold);
          }
        }
        std::scoped_lock hold(m);
        id = -1;
        changed.notify_all();
      }));
    }
    for (auto& t : all) t.join();
    return Timed{n, bench::now() - start};
  });
}

// ---- the others

Result semaphore(const Options& o, bool block, bool work) {
  return gort_rows::measured(o, 1000, [&o, block, work](std::uint64_t n) {
    gort::semaphore s(block ? 1 : o.procs);
    return parallel(o, block ? 10 : 1, n, [&](std::uint64_t each) {
      for (std::uint64_t i = 0; i < each; ++i) {
        s.acquire();
        if (work) local_work(25);
        s.release();
      }
    });
  });
}

Result wait_group_uncontended(const Options& o) {
  return gort_rows::measured(o, 1000, [&o](std::uint64_t n) {
    return parallel(o, 1, n, [](std::uint64_t each) {
      const auto g = std::make_unique<Padded<gort::wait_group>>();
      for (std::uint64_t i = 0; i < each; ++i) {
        g->value.add(1);
        g->value.done();
        g->value.wait();
      }
    });
  });
}

Result wait_group_add_done(const Options& o) {
  return gort_rows::measured(o, 1000, [&o](std::uint64_t n) {
    gort::wait_group g;
    const Timed t = parallel(o, 1, n, [&](std::uint64_t each) {
      for (std::uint64_t i = 0; i < each; ++i) {
        g.add(1);
        g.done();
      }
    });
    g.wait();
    return t;
  });
}

/// Go's BenchmarkWaitGroupActuallyWait: two goroutines are started, and waited for.
Result wait_group_wait(const Options& o) {
  return gort_rows::measured(o, 1000, [&o](std::uint64_t n) {
    return parallel(o, 1, n, [](std::uint64_t each) {
      for (std::uint64_t i = 0; i < each; ++i) {
        gort::wait_group g;
        g.add(2);
        gort::go([&g] { g.done(); });
        gort::go([&g] { g.done(); });
        g.wait();
      }
    });
  });
}

Result once(const Options& o) {
  return gort_rows::measured(o, 1000, [&o](std::uint64_t n) {
    gort::once_flag flag;
    std::atomic<int> calls{0};
    auto f = [&calls] { ++calls; };  // made once, as Go's
    const Timed t = parallel(o, 1, n, [&](std::uint64_t each) {
      gort::once_flag& its = flag;
      for (std::uint64_t i = 0; i < each; ++i) gort::call_once(its, f);
    });
    check(calls == 1, "called once");
    return t;
  });
}

Result pool(const Options& o) {
  return gort_rows::measured(o, 1000, [&o](std::uint64_t n) {
    gort::pool<int> p;
    return parallel(o, 1, n, [&](std::uint64_t each) {
      p.put(std::make_unique<int>(1));
      for (std::uint64_t i = 0; i < each; ++i) p.put(p.get());
    });
  });
}

}  // namespace

namespace gort_rows {

const std::vector<bench::Row>& sync_rows() {
  static const std::vector<bench::Row> rows{
      {"mutex_uncontended", mutex_uncontended},
      {"mutex", [](const Options& o) { return mutex(o, false, false); }},
      {"mutex_slack", [](const Options& o) { return mutex(o, true, false); }},
      {"mutex_work", [](const Options& o) { return mutex(o, false, true); }},
      {"mutex_work_slack", [](const Options& o) { return mutex(o, true, true); }},
      {"mutex_no_spin", mutex_no_spin},
      {"mutex_spin", mutex_spin},
      {"rwmutex_write100", [](const Options& o) { return rwmutex(o, 100, 0); }},
      {"rwmutex_write10", [](const Options& o) { return rwmutex(o, 10, 0); }},
      {"rwmutex_work_write100", [](const Options& o) { return rwmutex(o, 100, 25); }},
      {"rwmutex_work_write10", [](const Options& o) { return rwmutex(o, 10, 25); }},
      {"cond1", [](const Options& o) { return cond(o, 1); }},
      {"cond2", [](const Options& o) { return cond(o, 2); }},
      {"cond4", [](const Options& o) { return cond(o, 4); }},
      {"cond8", [](const Options& o) { return cond(o, 8); }},
      {"cond16", [](const Options& o) { return cond(o, 16); }},
      {"cond32", [](const Options& o) { return cond(o, 32); }},
      {"semaphore", [](const Options& o) { return semaphore(o, false, false); }},
      {"semaphore_block", [](const Options& o) { return semaphore(o, true, true); }},
      {"wait_group_uncontended", wait_group_uncontended},
      {"wait_group_add_done", wait_group_add_done},
      {"wait_group_wait", wait_group_wait},
      {"once", once},
      {"pool", pool},
  };
  return rows;
}

}  // namespace gort_rows
