// gort::wait_group, latch and barrier.
// test: labels=smoke timeout=120
#include "tests/sync/sync.h"

namespace {

using namespace gort;
using namespace gort::test;
using namespace std::chrono_literals;

using Counters = SyncTest;
GORT_TEST_AT_PROCS(Counters);

constinit gort::wait_group group_global;
constinit gort::latch latch_global(1);
constinit gort::barrier<> barrier_global(2);

TEST_P(Counters, WaitGroup) {
  GORT_TEST_START(GetParam());
  run([] {
    wait_group g;
    g.wait();
    int sum = 0;
    gort::mutex m;
    for (int i = 1; i <= 100; ++i) {
      g.go(
          [&](int n) {
            std::scoped_lock hold(m);
            sum += n;
          },
          i);
    }
    g.wait();
    EXPECT_EQ(sum, 5050);
    g.add(3);
    EXPECT_FALSE(g.wait_for(-1s));
    EXPECT_FALSE(g.wait_until(std::chrono::steady_clock::now() - 1s));
    g.add(-2);
    g.done();
    EXPECT_TRUE(g.wait_for(0s));
  });
}

/// Takes its time to end.
struct slow {
  explicit slow(std::atomic<int>* of) noexcept : gone(of) {}
  slow(slow&& other) noexcept : gone(std::exchange(other.gone, nullptr)) {}
  ~slow() {
    if (gone == nullptr) return;
    for (int i = 0; i < 30; ++i) this_goroutine::yield();
    ++*gone;
  }
  std::atomic<int>* gone;
};

TEST_P(Counters, WaitGroupWaitsForTheEndOfWhatItsFunctionsOwn) {
  GORT_TEST_START(GetParam());
  run([] {
    std::atomic<int> gone{0};
    wait_group g;
    g.go([mine = slow(&gone)] {});
    g.go([](const slow&) {}, slow(&gone));
    g.go([mine = slow(&gone)] { goexit(); });
    g.wait();
    EXPECT_EQ(gone, 3);
  });
}

// Used again and again, and destroyed as soon as the wait is over (ASan looks).
TEST_P(Counters, WaitGroupAgainAndGone) {
  GORT_TEST_START(GetParam());
  run([] {
    const int rounds = 3000 / kSlowdown;
    auto g = std::make_unique<wait_group>();
    for (int i = 0; i < rounds; ++i) {
      int a = 0, b = 0;
      g->add(2);
      go([&, group = g.get()] {
        a = 1;
        group->done();
      });
      go([&, group = g.get()] {
        b = 1;
        group->done();
      });
      g->wait();
      EXPECT_EQ(a + b, 2);
      if (i % 2 == 0) g = std::make_unique<wait_group>();
    }
  });
}

TEST_P(Counters, WaitGroupOfThreads) {
  GORT_TEST_START(GetParam());
  run([] {
    for (int i = 0; i < 50; ++i) {
      wait_group all;
      all.add(6);
      Threads threads(3, [&] { all.done(); });
      for (int k = 0; k < 3; ++k) go([&] { all.done(); });
      Threads waiters(2, [&] { all.wait(); });
      auto waiter = spawn([&] { all.wait(); });
      all.wait();
      waiter.join();
      waiters.join();
      threads.join();
    }
  });
}

// A wait that is cancelled while the count comes to 0.
TEST_P(Counters, WaitGroupCancelled) {
  GORT_TEST_START(GetParam());
  run([] {
    const int rounds = 1000 / kSlowdown;
    for (int i = 0; i < rounds; ++i) {
      wait_group g;
      Source source;
      g.add();
      auto leaver = spawn([&] { return is_cancelled_in(source, [&] { g.wait(); }); });
      auto stayer = spawn([&] { g.wait(); });
      until_waiting(2);
      auto canceller = spawn([&] { fire(source); });
      g.done();
      canceller.join();
      static_cast<void>(leaver.get());
      stayer.join();
      EXPECT_TRUE(is_cancelled_in(source, [&] { g.wait(); })) << "at once, though the count is 0";
    }
  });
}

TEST_P(Counters, Latch) {
  GORT_TEST_START(GetParam());
  run([] {
    const int rounds = 1000 / kSlowdown;
    for (int i = 0; i < rounds; ++i) {
      latch l(4);
      int x = 0;
      auto a = spawn([&] { l.arrive_and_wait(); });
      auto b = spawn([&] {
        l.wait();
        EXPECT_EQ(x, 1);
      });
      EXPECT_FALSE(l.try_wait());
      l.count_down(2);
      x = 1;
      l.count_down();
      l.wait();
      EXPECT_TRUE(l.try_wait());
      EXPECT_TRUE(l.wait_for(0s));
      a.join();
      b.join();
    }
  });
}

TEST_P(Counters, LatchCancelled) {
  GORT_TEST_START(GetParam());
  run([] {
    latch l(2);
    Source source;
    auto t = spawn([&] { return is_cancelled_in(source, [&] { l.arrive_and_wait(); }); });
    until_waiting(1);
    fire(source);
    EXPECT_TRUE(t.get());
    EXPECT_TRUE(is_cancelled_in(source, [&] { l.arrive_and_wait(); })) << "did not count";
    EXPECT_FALSE(l.try_wait());
    l.count_down();
    l.wait();
  });
}

// In each round everybody writes its own cell and reads all others' after the barrier.
template <class Run>
void rounds_of(int members, int rounds, Run run_all) {
  std::vector<int> cells(static_cast<std::size_t>(members));
  std::atomic<int> completions{0};
  barrier b(members, [&]() noexcept { ++completions; });
  std::atomic<int> next{0};
  run_all(members, [&] {
    const int me = next++;
    for (int r = 1; r <= rounds; ++r) {
      cells[static_cast<std::size_t>(me)] = r;
      b.arrive_and_wait();
      EXPECT_EQ(completions, 2 * r - 1);
      for (int c : cells) EXPECT_EQ(c, r);
      b.arrive_and_wait();
    }
  });
  EXPECT_EQ(completions, 2 * rounds);
}

TEST_P(Counters, BarrierPhases) {
  GORT_TEST_START(GetParam());
  run([] {
    rounds_of(5, 500 / kSlowdown, [](int n, auto f) { in_goroutines(n, f); });
    rounds_of(4, 100 / kSlowdown + 1, [](int n, auto f) {
      Threads threads(n / 2, f);
      in_goroutines(n - n / 2, f);
      threads.join();
    });
  });
}

TEST_P(Counters, BarrierTokensAndDrops) {
  GORT_TEST_START(GetParam());
  run([] {
    int done = 0;
    barrier b(3, [&]() noexcept { ++done; });
    auto token = b.arrive(2);
    EXPECT_EQ(done, 0);
    b.arrive_and_drop();
    EXPECT_EQ(done, 1);
    b.wait(std::move(token));
    static_cast<void>(b.arrive());
    b.arrive_and_wait();
    EXPECT_EQ(done, 2);
  });
}

// Whoever got through first destroys it.
TEST_P(Counters, BarrierGone) {
  GORT_TEST_START(GetParam());
  run([] {
    const int rounds = 2000 / kSlowdown;
    for (int i = 0; i < rounds; ++i) {
      auto* b = new barrier<>(2);
      auto* l = new latch(1);
      auto t = spawn([=] {
        static_cast<void>(b->arrive());
        l->count_down();
      });
      b->arrive_and_wait();
      delete b;
      l->wait();
      delete l;
      t.join();
    }
  });
}

TEST_P(Counters, BarrierCancelled) {
  GORT_TEST_START(GetParam());
  run([] {
    barrier b(2);
    Source source;
    auto t = spawn([&] { return is_cancelled_in(source, [&] { b.arrive_and_wait(); }); });
    until_waiting(1);
    fire(source);
    EXPECT_TRUE(t.get());
    EXPECT_TRUE(is_cancelled_in(source, [&] { b.arrive_and_wait(); })) << "did not arrive";
    b.arrive_and_wait();  // the other one's arrival counts
  });
}

// Scenario 106: what was done before done() is seen after wait(), also where wait() finds the count at 0.
TEST_P(Counters, Scenario106_WaitGroupRace) {
  GORT_TEST_START(GetParam());
  run([] {
    for (int i = 0; i < 1000 / kSlowdown; ++i) {
      auto g = std::make_unique<wait_group>();
      std::atomic<int> n{0};
      int plain[2] = {0, 0};
      for (int k = 0; k < 2; ++k) {
        g->add();
        go([&n, &plain, k, w = g.get()] {
          ++n;
          plain[k] = 1;
          w->done();
        });
      }
      g->wait();
      g.reset();
      ASSERT_EQ(n, 2);
      ASSERT_EQ(plain[0] + plain[1], 2);
    }
  });
}

}  // namespace
