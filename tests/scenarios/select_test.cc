// Acceptance scenarios of select: 55-58, 61, 63, 64, 65 (select2-8), 67.
// test: labels=smoke timeout=120
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gort/gort.h"
#include "base/alloc.h"
#include "sched/entry.h"
#include "sync/select.h"
#include "tests/support/runtime_fixture.h"

namespace {

using namespace gort;

#if defined(GORT_TEST_TSAN) || defined(GORT_TEST_ASAN)
constexpr int kSlowdown = 10;
#else
constexpr int kSlowdown = 1;
#endif

class SelectAtProcs : public testing::TestWithParam<int> {
 protected:
  template <class F>
  void run_here(F&& f) {
    run({.max_procs = GetParam()}, f);
  }
};
INSTANTIATE_TEST_SUITE_P(procs, SelectAtProcs, testing::Values(1, 2, 4), testing::PrintToStringParamName());

std::size_t nodes_in_use() {
  rt::RuntimeEntry entry;
  return rt::select_nodes_in_use();
}

void yield_some(int n = 50) {
  for (int i = 0; i < n; ++i) this_goroutine::yield();
}

// ---- 55: both ends of one channel in one select ----------------------------------------------------

TEST_P(SelectAtProcs, Scenario55_SelfSelect) {
  run_here([] {
    for (std::ptrdiff_t cap : {0, 10}) {
      chan<int> c(cap);
      std::vector<task<void>> both;
      for (int p = 0; p < 2; ++p) {
        both.push_back(spawn([=] {
          for (int i = 0; i < 1000 / kSlowdown; ++i) {
            std::optional<int> v;
            if (p == 0 || i % 2 == 0) {
              if (select(c.on_send(p), c.on_recv(v)) == 1 && cap == 0) {
                EXPECT_NE(*v, p) << "nobody meets himself";
              }
            } else {
              if (select(c.on_recv(v), c.on_send(p)) == 0 && cap == 0) {
                EXPECT_NE(*v, p);
              }
            }
          }
        }));
      }
      for (auto& t : both) t.join();
    }
  });
}

// ---- 56: stress on four channels --------------------------------------------------------------------

TEST_P(SelectAtProcs, Scenario56_Stress) {
  run_here([] {
    const int n = 20000 / kSlowdown;
    chan<int> c[4] = {chan<int>(0), chan<int>(0), chan<int>(2), chan<int>(3)};
    std::vector<task<void>> all;
    for (int k = 0; k < 4; ++k) {
      all.push_back(spawn([&, k] {
        for (int i = 0; i < n; ++i) c[k].send(i);
      }));
      all.push_back(spawn([&, k] {
        for (int i = 0; i < n; ++i) EXPECT_TRUE(c[k].recv().has_value());
      }));
    }
    all.push_back(spawn([&] {  // sends n on each
      chan<int> open[4] = {c[0], c[1], c[2], c[3]};
      int sent[4] = {};
      for (int i = 0; i < 4 * n; ++i) {
        const std::size_t k = select(open[3].on_send(i), open[2].on_send(i), open[0].on_send(i), open[1].on_send(i));
        const int which[] = {3, 2, 0, 1};
        const int at = which[k];
        if (++sent[at] == n) open[at] = {};
      }
    }));
    all.push_back(spawn([&] {  // and receives n of each
      chan<int> open[4] = {c[0], c[1], c[2], c[3]};
      int got[4] = {};
      for (int i = 0; i < 4 * n; ++i) {
        const std::size_t at = select(open[0].on_recv(), open[1].on_recv(), open[2].on_recv(), open[3].on_recv());
        if (++got[at] == n) open[at] = {};
      }
    }));
    for (auto& t : all) t.join();
    EXPECT_EQ(nodes_in_use(), 0u);
  });
}

// ---- 57, 58: fair ------------------------------------------------------------------------------------

TEST_P(SelectAtProcs, Scenario57_Fairness) {
  run_here([] {
    const int trials = 10000 / (kSlowdown > 1 ? 4 : 1);
    chan<int> c1(trials + 1), c2(trials + 1), out1(unbuffered), out2(unbuffered), never(unbuffered);
    for (int i = 0; i <= trials; ++i) c1.send(1), c2.send(2);
    chan<bool> done(unbuffered);
    std::atomic<int> one{0}, two{0};
    auto t = spawn([=] {
      for (;;) {
        std::optional<int> v;
        std::size_t fired = select(never.on_recv(), c1.on_recv(v), c2.on_recv(v), done.on_recv());
        if (fired == 3) return;
        fired = select(out1.on_send(*v), out2.on_send(*v), done.on_recv());
        if (fired == 2) return;
      }
    });
    for (int i = 0; i < trials; ++i) {
      std::optional<int> v;
      select(out1.on_recv(v), out2.on_recv(v));
      (*v == 1 ? one : two)++;
    }
    done.close();
    t.join();
    // A Bernoulli trial's bounds: ten standard deviations.
    const double r = static_cast<double>(one) / trials;
    EXPECT_NEAR(r, 0.5, 10 / (2 * std::sqrt(trials)));
  });
}

TEST_P(SelectAtProcs, Scenario57_FairAmongAnyReadyOnes) {
  run_here([] {
    const int trials = 6000;
    for (int cases = 2; cases <= 6; ++cases) {
      // Two of them are ready, neighbours or not: each fires as often.
      for (int a = 0; a < cases; ++a) {
        const int b = (a + 1) % cases;
        std::vector<chan<int>> c(static_cast<std::size_t>(cases));
        for (auto& one : c) one = chan<int>(trials);
        for (int i = 0; i < trials; ++i) c[static_cast<std::size_t>(a)].send(i), c[static_cast<std::size_t>(b)].send(i);
        std::vector<select_case> list;
        for (auto& one : c) list.push_back(one.on_recv());
        int first = 0;
        for (int i = 0; i < trials; ++i) {
          const std::size_t fired = select(list);
          ASSERT_TRUE(fired == static_cast<std::size_t>(a) || fired == static_cast<std::size_t>(b));
          first += fired == static_cast<std::size_t>(a) ? 1 : 0;
        }
        EXPECT_NEAR(first, trials / 2, 10 * std::sqrt(trials) / 2) << cases << " cases, " << a << " and " << b;
      }
    }
  });
}

TEST_P(SelectAtProcs, Scenario58_PseudoRandomSend) {
  run_here([] {
    const int n = 100;
    for (std::ptrdiff_t cap : {0, n}) {
      chan<int> c(cap);
      std::vector<int> got;
      auto t = spawn([&] {
        for (int i = 0; i < n; ++i) got.push_back(*c.recv());
      });
      for (int i = 0; i < n; ++i) select(c.on_send(0), c.on_send(1));
      t.join();
      int ones = 0;
      for (int v : got) ones += v;
      EXPECT_GT(ones, n / 10);
      EXPECT_LT(ones, n - n / 10);
    }
  });
}

// ---- 61: the same channel twice ------------------------------------------------------------------------

TEST_P(SelectAtProcs, Scenario61_DuplicateChannel) {
  run_here([] {
    chan<int> c(unbuffered), d(unbuffered), e(unbuffered);
    auto first = spawn([=] {
      EXPECT_LT(select(c.on_recv(), c.on_recv(), d.on_recv()), 3u);
      e.send(9);
    });
    yield_some();
    auto second = spawn([=] { EXPECT_TRUE(c.recv().has_value()); });  // behind the two nodes of the select
    yield_some();
    d.send(7);  // the select goes, its two nodes in the middle of c's queue with it
    e.recv();
    c.send(8);  // finds the second one
    first.join(), second.join();
    EXPECT_EQ(nodes_in_use(), 0u);
  });
}

// ---- 63: taking a select's node off a long queue is O(1) --------------------------------------------------

/// Of processor time.
double seconds_of_leaving(int n) {
  chan<bool> never(unbuffered), done(unbuffered);
  std::vector<task<void>> all;
  std::vector<chan<bool>> each;
  for (int i = 0; i < n; ++i) each.emplace_back(1);
  for (int i = 0; i < n; ++i) {
    all.push_back(spawn([=, mine = each[static_cast<std::size_t>(i)]] { select(never.on_recv(), mine.on_recv()); }));
  }
  yield_some(3);
  const std::int64_t start = test::process_cpu_ns();
  for (int i = n; i-- > 0;) each[static_cast<std::size_t>(i)].send(true);  // the youngest first
  for (auto& t : all) t.join();
  return static_cast<double>(test::process_cpu_ns() - start) * 1e-9;
}

TEST_P(SelectAtProcs, Scenario63_Chanlinear) {
#if defined(GORT_TEST_TSAN)
  GTEST_SKIP() << "TSan's price of a stack grows with their number";
#endif
  run_here([] {
    seconds_of_leaving(500);
    const int n = kSlowdown > 1 ? 500 : 4000;
    // The best of some: neighbours on the machine make single ones worthless.
    double small = 1e9, large = 1e9;
    for (int i = 0; i < 5; ++i) {
      small = std::min(small, seconds_of_leaving(n));
      large = std::min(large, seconds_of_leaving(8 * n));
    }
    EXPECT_LT(large, small * 8 * 4) << "eight times as many took " << large / small << " times as long";
  });
}

// ---- 64: two cases of one select must not both fire --------------------------------------------------------

TEST_P(SelectAtProcs, Scenario64_Doubleselect) {
  run_here([] {
    const int iterations = 50000 / kSlowdown;
    chan<int> c[4], out(1), done(1);
    for (auto& one : c) one = chan<int>(unbuffered);
    auto sender = spawn([&] {
      for (int i = 0; i < iterations; ++i) {
        select(c[0].on_send(i), c[1].on_send(i), c[2].on_send(i), c[3].on_send(i));
      }
      for (auto& one : c) one.close();
    });
    std::vector<task<void>> muxes;
    for (auto& one : c) {
      muxes.push_back(spawn([&] {
        for (int v : one) out.send(v);
      }));
    }
    auto closer = spawn([&] {
      for (auto& m : muxes) m.join();
      out.close();
    });
    std::vector<char> seen(static_cast<std::size_t>(iterations));
    for (int v : out) {
      ASSERT_FALSE(seen[static_cast<std::size_t>(v)]) << v << " was sent twice";
      seen[static_cast<std::size_t>(v)] = 1;
    }
    for (char s : seen) EXPECT_TRUE(s);
    sender.join(), closer.join();
    EXPECT_EQ(nodes_in_use(), 0u);
  });
}

// ---- 65, the selects: memory, truth table, corruption by cases that failed -----------------------------------

TEST_P(SelectAtProcs, Scenario65_Select2_NoGrowth) {
  run_here([] {
    chan<int> a(unbuffered), b(unbuffered), stop(unbuffered);
    auto sender = spawn([=] {
      for (int i = 0;; ++i) {
        if (select(a.on_send(i), b.on_send(i), stop.on_recv()) == 2) return;
      }
    });
    const auto rounds = [&](int n) {
      for (int i = 0; i < n; ++i) select(a.on_recv(), b.on_recv(), chan<int>().on_recv());
    };
    rounds(1000);
    const std::size_t before = rt::persistent_bytes();
    rounds(100000 / kSlowdown);
    // A node per round would be megabytes. (A thread or a goroutine of the runtime's own may have been made meanwhile.)
    EXPECT_LT(rt::persistent_bytes() - before, std::size_t{64} << 10);
    stop.close();
    sender.join();
  });
}

enum class Blocks { yes, no };

template <class F>
void expect_blocking(Blocks expected, F f) {
  chan<bool> through(1);
  chan<int> stop(unbuffered);
  auto t = spawn([=] { f(stop, through); });
  if (expected == Blocks::no) {
    through.recv();
  } else {
    yield_some(20);
    EXPECT_FALSE(through.try_recv()) << "it went on";
  }
  stop.close();
  t.join();
}

TEST_P(SelectAtProcs, Scenario65_Select3_TruthTable) {
  run_here([] {
    chan<int> null, empty(unbuffered), with(10), full(1), closed_one(1);
    with.send(1);
    full.send(1);
    closed_one.close();
    static constexpr int kSeven = 7;  // a case keeps no value
    // `stop` ends those that block; then nothing is reported.
    const auto check = [](Blocks expected, auto make) {
      expect_blocking(expected, [=](chan<int> stop, chan<bool> through) {
        select_case cases[] = {make(), stop.on_recv()};
        if (select(cases) == 0) through.send(true);
      });
    };
    check(Blocks::yes, [=] { return null.on_recv(); });
    check(Blocks::yes, [=] { return null.on_send(kSeven); });
    check(Blocks::yes, [=] { return empty.on_recv(); });
    check(Blocks::yes, [=] { return empty.on_send(kSeven); });
    check(Blocks::no, [=] { return with.on_recv(); });
    check(Blocks::no, [=] { return with.on_send(kSeven); });
    check(Blocks::yes, [=] { return full.on_send(kSeven); });
    check(Blocks::no, [=] { return closed_one.on_recv(); });
    std::optional<int> v;
    EXPECT_EQ(select(null.on_recv(v), otherwise), 1u);
    EXPECT_EQ(select(empty.on_recv(v), empty.on_send(1), otherwise), 2u);
    EXPECT_EQ(select(otherwise), 0u);
    EXPECT_EQ(select(otherwise, closed_one.on_recv()), 1u);
    EXPECT_EQ(select(empty.on_recv(), after(std::chrono::nanoseconds(0))), 1u);
    EXPECT_EQ(select(after(std::chrono::seconds(-1)), closed_one.on_recv()), 1u);
  });
}

// golang/go#2075: a case that was not chosen must leave its channel's queue as it was.
TEST_P(SelectAtProcs, Scenario65_Select6_FailedCases) {
  run_here([] {
    chan<bool> c1(unbuffered), c2(unbuffered), c3(unbuffered);
    auto a = spawn([=] { EXPECT_TRUE(c1.recv()); });
    auto b = spawn([=] {
      EXPECT_EQ(select(c1.on_recv(), c2.on_recv()), 1u);
      c3.send(true);
      EXPECT_TRUE(c1.recv());
    });
    auto c = spawn([=] { c2.send(true); });
    c3.recv();
    c1.send(true), c1.send(true);
    auto d = spawn([=] { c1.send(true); });
    auto e = spawn([=] {
      EXPECT_EQ(select(c1.on_send(true), c2.on_recv()), 1u);
      c3.send(true);
      c1.send(true);
    });
    auto f = spawn([=] { c2.send(true); });
    c3.recv();
    EXPECT_TRUE(c1.recv() && c1.recv());
    for (auto* t : {&a, &b, &c, &d, &e, &f}) t->join();
    EXPECT_EQ(nodes_in_use(), 0u);
  });
}

// ---- 67: golang/go#9110, nodes are not leaked ------------------------------------------------------------------

TEST_P(SelectAtProcs, Scenario67_NodesAreNotLeaked) {
  run_here([] {
    chan<int> never(unbuffered), nobody(unbuffered), kick(unbuffered);
    for (int round = 0; round < 50; ++round) {
      std::vector<task<void>> all;
      for (int i = 0; i < 30; ++i) {
        all.push_back(spawn([=] {
          std::optional<int> v;
          select(never.on_recv(v), kick.on_recv(v), nobody.on_send(1), never.on_recv());
        }));
      }
      for (int i = 0; i < 30; ++i) kick.send(i);
      for (auto& t : all) t.join();
    }
    EXPECT_EQ(nodes_in_use(), 0u);
  });
}

// ---- lists, many cases, moves -----------------------------------------------------------------------------------

TEST_P(SelectAtProcs, ManyCases) {
  run_here([] {
    const std::size_t n = 500;
    std::vector<chan<int>> c(n);
    for (auto& one : c) one = chan<int>(unbuffered);
    std::vector<std::optional<int>> v(n);
    std::vector<select_case> list;
    for (std::size_t i = 0; i < n; ++i) list.push_back(c[i].on_recv(v[i]));
    for (std::size_t i = 0; i < n; ++i) list.push_back(c[n - 1 - i].on_recv(v[n - 1 - i]));
    auto sender = spawn([&] {
      for (int i = 0; i < 300; ++i) c[static_cast<std::size_t>(i * 7) % n].send(i);
    });
    for (int i = 0; i < 300; ++i) {
      const std::size_t expected = static_cast<std::size_t>(i * 7) % n;
      const std::size_t fired = select(list);
      EXPECT_TRUE(fired == expected || fired == 2 * n - 1 - expected);
      EXPECT_EQ(v[expected], i);
    }
    sender.join();
    list.push_back(otherwise);
    EXPECT_EQ(select(list), 2 * n);
    EXPECT_EQ(nodes_in_use(), 0u);
  });
}

TEST_P(SelectAtProcs, MovesOnlyIfTheCaseFires) {
  run_here([] {
    chan<std::unique_ptr<int>> p(1), q(unbuffered);
    chan<std::string> s(1), t(unbuffered);
    const std::string text = "a text that does not fit into the string itself";
    auto one = std::make_unique<int>(1);
    std::string mine = text;
    EXPECT_EQ(select(q.on_send(std::move(one)), t.on_send(std::move(mine)), otherwise), 2u);
    EXPECT_EQ(*one, 1);
    EXPECT_EQ(mine, text);
    EXPECT_EQ(select(q.on_send(std::move(one)), s.on_send(std::move(mine))), 1u);
    EXPECT_EQ(*one, 1);
    EXPECT_EQ(s.recv(), text);
    EXPECT_EQ(select(p.on_send(std::move(one)), t.on_send(std::move(mine))), 0u);
    EXPECT_EQ(one, nullptr);
    // The same object in two cases goes to one of them.
    mine = text;
    EXPECT_EQ(select(t.on_send(std::move(mine)), s.on_send(std::move(mine))), 1u);
    EXPECT_EQ(s.recv(), text);
    mine = text;
    EXPECT_EQ(select(t.on_send(std::move(mine)), chan<std::string>().on_send(std::move(mine)), otherwise), 2u);
    EXPECT_EQ(mine, text);
    // One case copies what another one moves.
    EXPECT_EQ(select(t.on_send(std::move(mine)), s.on_send(mine)), 1u);
    EXPECT_EQ(s.recv(), text);
    EXPECT_EQ(mine, text);
    // And copies stay.
    EXPECT_EQ(select(t.on_send(mine), s.on_send(mine)), 1u);
    EXPECT_EQ(mine, text);
    s.close();
    EXPECT_EQ(s.recv(), text);
    EXPECT_THROW(select(s.on_send(std::move(mine)), t.on_send(std::move(mine))), closed);
    EXPECT_EQ(mine, text);
  });
}

TEST_P(SelectAtProcs, CloseEndsWaitingSelects) {
  run_here([] {
    chan<int> in(unbuffered), out(unbuffered), never(unbuffered), nobody(unbuffered);
    std::vector<task<void>> all;
    std::atomic<int> threw{0};
    for (int i = 0; i < 10; ++i) {
      all.push_back(spawn([&] {
        std::optional<int> v = 3;
        EXPECT_EQ(select(never.on_send(1), in.on_recv(v)), 1u);
        EXPECT_EQ(v, std::nullopt);
      }));
      all.push_back(spawn([&] {
        try {
          select(nobody.on_recv(), out.on_send(1));
        } catch (const closed&) {
          ++threw;
        }
      }));
    }
    yield_some();
    in.close(), out.close();
    for (auto& t : all) t.join();
    EXPECT_EQ(threw, 10);
    EXPECT_EQ(nodes_in_use(), 0u);
  });
}

TEST(SelectForeign, ThreadsSelect) {
  chan<int> a(unbuffered), b(2), stop(unbuffered);
  std::vector<std::thread> threads;
  std::atomic<int> sum{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([=, &sum] {
      for (;;) {
        std::optional<int> v;
        switch (select(a.on_recv(v), b.on_recv(v), stop.on_recv())) {
          case 2: return;
          default: sum += *v;
        }
      }
    });
  }
  run([=] {
    for (int i = 0; i < 2000 / kSlowdown; ++i) select(a.on_send(1), b.on_send(1));
  });
  while (b.len() != 0) std::this_thread::yield();
  stop.close();
  for (auto& t : threads) t.join();
  EXPECT_EQ(sum, 2000 / kSlowdown);
  EXPECT_EQ(nodes_in_use(), 0u);
}

}  // namespace
