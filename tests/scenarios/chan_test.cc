// Acceptance scenarios of channels: 15 (without a collector), 31, 32, 40, 53, 54, 59, 65, 66.
// test: labels=smoke timeout=120
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <ranges>
#include <string>
#include <thread>
#include <vector>

#include "gort/gort.h"
#include "tests/support/runtime_fixture.h"

namespace {

using namespace gort;

#if defined(GORT_TEST_TSAN) || defined(GORT_TEST_ASAN)
constexpr int kSlowdown = 10;
#else
constexpr int kSlowdown = 1;
#endif

void yield_some(int n = 50) {
  for (int i = 0; i < n; ++i) this_goroutine::yield();
}

class ChanAtProcs : public testing::TestWithParam<int> {
 protected:
  template <class F>
  void run_here(F&& f) {
    run({.max_procs = GetParam()}, f);
  }
};
INSTANTIATE_TEST_SUITE_P(procs, ChanAtProcs, testing::Values(1, 2, 4), testing::PrintToStringParamName());

// ---- 53: blocking, non-blocking, close, FIFO -----------------------------------------------------

void blocks_until_served(std::ptrdiff_t cap) {
  const int n = 200 / kSlowdown + 1;
  {  // receiving from an empty channel blocks
    chan<int> c(cap);
    std::atomic<bool> one{false}, two{false};
    auto a = spawn([&] {
      EXPECT_EQ(c.recv(), 1);
      one = true;
    });
    auto b = spawn([&] {
      while (!one) this_goroutine::yield();
      EXPECT_EQ(c.recv(), 2);
      two = true;
    });
    yield_some();
    EXPECT_FALSE(one || two);
    EXPECT_EQ(c.try_recv().error(), chan_status::empty);
    c.send(1), c.send(2);
    a.join(), b.join();
    EXPECT_TRUE(one && two);
  }
  {  // sending to a full one blocks
    chan<int> c(cap);
    for (int i = 0; i < cap; ++i) c.send(i);
    EXPECT_EQ(c.len(), static_cast<std::size_t>(cap));
    EXPECT_EQ(c.cap(), static_cast<std::size_t>(cap));
    std::atomic<bool> sent{false};
    auto t = spawn([&] { c.send(static_cast<int>(cap)), sent = true; });
    yield_some();
    EXPECT_FALSE(sent);
    EXPECT_EQ(c.try_send(77).error(), chan_status::full);
    std::optional<int> nothing;
    EXPECT_EQ(select(c.on_send(77), otherwise), 1u);
    for (int i = 0; i <= cap; ++i) EXPECT_EQ(c.recv(), i);
    t.join();
    EXPECT_TRUE(sent);
    EXPECT_EQ(select(c.on_recv(nothing), otherwise), 1u);
  }
  {  // what is left after close comes first, in its order
    chan<int> c(cap);
    for (int i = 0; i < cap; ++i) c.send(i);
    c.close();
    for (int i = 0; i < cap; ++i) EXPECT_EQ(c.recv(), i);
    EXPECT_EQ(c.recv(), std::nullopt);
    EXPECT_EQ(c.try_recv().error(), chan_status::closed);
    EXPECT_EQ(c.try_send(1).error(), chan_status::closed);
    EXPECT_THROW(c.send(1), closed);
  }
  {  // close wakes who waits
    chan<int> c(cap);
    auto t = spawn([&] { return c.recv(); });
    yield_some();
    c.close();
    EXPECT_EQ(t.get(), std::nullopt);
  }
  {  // first in, first out
    chan<int> c(cap);
    auto t = spawn([&] {
      for (int i = 0; i < n; ++i) c.send(i);
    });
    for (int i = 0; i < n; ++i) EXPECT_EQ(c.recv(), i);
    t.join();
  }
  {  // many senders, many receivers
    const int senders = kSlowdown == 1 ? 100 : 12;
    chan<int> c(cap);
    chan<std::vector<int>> counts(unbuffered);
    for (int s = 0; s < senders; ++s) {
      go([=] {
        for (int i = 0; i < 100; ++i) c.send(i);
      });
    }
    for (int r = 0; r < 4; ++r) {
      go([=] {
        std::vector<int> seen(100);
        for (int i = 0; i < senders * 100 / 4; ++i) ++seen[static_cast<std::size_t>(*c.recv())];
        counts.send(std::move(seen));
      });
    }
    std::vector<int> all(100);
    for (int r = 0; r < 4; ++r) {
      auto seen = counts.recv();
      for (std::size_t i = 0; i < 100; ++i) all[i] += (*seen)[i];
    }
    EXPECT_TRUE(std::ranges::all_of(all, [&](int x) { return x == senders; }));
  }
}

TEST_P(ChanAtProcs, Scenario53) {
  run_here([] {
    for (std::ptrdiff_t cap = 0; cap <= 10; ++cap) blocks_until_served(cap);
  });
}

// ---- 54: a non-blocking receive after close must succeed ------------------------------------------

TEST_P(ChanAtProcs, Scenario54_NonblockRecvRace) {
  run_here([] {
    for (int i = 0; i < 10000 / kSlowdown; ++i) {
      chan<int> c(1);
      c.send(1);
      chan<bool> ok(1);
      go([=] { ok.send(c.try_recv().has_value()); });
      c.close();
      static_cast<void>(c.try_recv());  // one of the two gets it, the other sees that it is closed
      ok.recv();
      EXPECT_EQ(c.try_recv().error(), chan_status::closed);
    }
  });
}

// At each moment c1 or c2 has a value (or, in the second form, is closed).
void nonblock_select_race(bool by_close) {
  for (int i = 0; i < 20000 / kSlowdown; ++i) {
    chan<int> c1(1), c2(1), done(1);
    c1.send(1);
    go([=] { done.send(static_cast<int>(select(c1.on_recv(), c2.on_recv(), otherwise))); });
    if (by_close) {
      c2.close();
    } else {
      c2.send(1);
    }
    static_cast<void>(c1.try_recv());
    ASSERT_NE(done.recv(), 2) << "one of them was ready all the time";
  }
}

TEST_P(ChanAtProcs, Scenario54_NonblockSelectRace) {
  run_here([] { nonblock_select_race(false); });
}
TEST_P(ChanAtProcs, Scenario54_NonblockSelectRace2) {
  run_here([] { nonblock_select_race(true); });
}

// ---- 59: many consumers of primes, many times over ------------------------------------------------

TEST_P(ChanAtProcs, Scenario59_MultiConsumer) {
  run_here([] {
    const int consumers = 23, messages = 100000 / kSlowdown;
    const int primes[] = {2, 3, 7, 11, 13, 17, 19, 23, 27, 31};
    chan<int> q(consumers * 3), r(consumers * 3);
    std::vector<task<void>> workers;
    for (int i = 0; i < consumers; ++i) {
      workers.push_back(spawn([=, &primes] {
        for (int v : q) {
          if (primes[v % 10] == v) this_goroutine::yield();
          r.send(v);
        }
      }));
    }
    std::int64_t expected = 0;
    go([=, &workers, &primes, &expected] {
      closing done(r);
      for (int i = 0; i < messages; ++i) expected += primes[i % 10], q.send(primes[i % 10]);
      q.close();
      for (auto& w : workers) w.join();
    });
    int n = 0;
    std::int64_t sum = 0;
    for (int v : r) ++n, sum += v;
    EXPECT_EQ(n, messages);
    EXPECT_EQ(sum, expected);
  });
}

// ---- 65: fifo, chain, sieves, sizes ----------------------------------------------------------------

TEST_P(ChanAtProcs, Scenario65_Fifo) {
  run_here([] {
    chan<int> c(10);
    for (int i = 0; i < 10; ++i) c.send(i);
    for (int i = 0; i < 10; ++i) EXPECT_EQ(c.recv(), i);
    // A chain: each may send when its predecessor has received.
    chan<int> in(unbuffered);
    chan<int> first = in;
    chan<int> ch(unbuffered);
    for (int i = 0; i < 10; ++i) {
      chan<int> out(unbuffered);
      go([=] {
        in.recv();
        EXPECT_EQ(ch.recv(), i);
        out.send(1);
      });
      in = out;
    }
    first.send(0);
    for (int i = 0; i < 10; ++i) ch.send(i);
    in.recv();
  });
}

TEST_P(ChanAtProcs, Scenario65_ChainOf10000) {
  run_here([] {
    const int n = 10000 / kSlowdown;
    const chan<int> leftmost(unbuffered);
    chan<int> right = leftmost;
    for (int i = 0; i < n; ++i) {
      chan<int> left = right;
      right = chan<int>(unbuffered);
      go([left, right] { left.send(*right.recv() + 1); });
    }
    go([right] { right.send(1); });
    EXPECT_EQ(leftmost.recv(), n + 1);
  });
}

TEST_P(ChanAtProcs, Scenario65_Sieve) {
  run_here([] {
    std::vector<task<void>> all;
    chan<int> numbers(unbuffered);
    chan<int> stop(unbuffered);
    all.push_back(spawn([=] {
      for (int i = 2; select(numbers.on_send(i), stop.on_recv()) == 0; ++i) {}
      numbers.close();
    }));
    chan<int> in = numbers;
    std::vector<int> found;
    for (int i = 0; i < 30; ++i) {
      const int prime = *in.recv();
      found.push_back(prime);
      chan<int> out(i % 3);  // buffered ones too: sieve2's point
      all.push_back(spawn([=] {
        closing done(out);
        for (int v : in) {
          if (v % prime != 0) out.send(v);
        }
      }));
      in = out;
    }
    stop.close();
    for (int v : in) static_cast<void>(v);  // drains
    for (auto& t : all) t.join();
    EXPECT_EQ(found.front(), 2);
    EXPECT_EQ(found.back(), 113);
  });
}

template <class T>
void nonblocking_of(T value) {
  for (std::ptrdiff_t cap : {0, 1, 3}) {
    chan<T> c(cap);
    EXPECT_EQ(c.try_recv().error(), chan_status::empty);
    for (int i = 0; i < cap; ++i) EXPECT_TRUE(c.try_send(value));
    EXPECT_EQ(c.try_send(value).error(), chan_status::full);
    for (int i = 0; i < cap; ++i) EXPECT_TRUE(c.try_recv() == value);
    EXPECT_EQ(c.try_recv().error(), chan_status::empty);
    auto receiver = spawn([=] { return *c.recv(); });
    while (!c.try_send(value)) this_goroutine::yield();
    EXPECT_TRUE(receiver.get() == value);
    auto sender = spawn([=] { c.send(value); });
    for (;;) {
      if (auto got = c.try_recv()) {
        EXPECT_TRUE(*got == value);
        break;
      }
      this_goroutine::yield();
    }
    sender.join();
  }
}

struct page {
  char bytes[5000] = {};
  bool operator==(const page&) const = default;
};
struct alignas(256) wide {
  int x = 0;
  bool operator==(const wide&) const = default;
};
struct nothing {
  bool operator==(const nothing&) const = default;
};

TEST_P(ChanAtProcs, Scenario65_NonblockSizes) {
  run_here([] {
    nonblocking_of<bool>(true);
    nonblocking_of<char>('x');
    nonblocking_of<std::int64_t>(1LL << 40);
    nonblocking_of<std::array<long, 8>>({1, 2, 3, 4, 5, 6, 7, 8});
    nonblocking_of<std::string>("a text that does not fit into the string itself");
    nonblocking_of<std::vector<int>>({1, 2, 3});
    page p;
    p.bytes[4999] = 7;
    nonblocking_of<page>(p);
    nonblocking_of<wide>({5});
    nonblocking_of<nothing>({});
  });
}

// ---- 66: closedchan, chancap, zerosize --------------------------------------------------------------

TEST_P(ChanAtProcs, Scenario66_Closed) {
  run_here([] {
    for (std::ptrdiff_t cap : {0, 2}) {
      chan<int> c(cap);
      if (cap != 0) c.send(1);
      c.close();
      if (cap != 0) {
        EXPECT_EQ(c.recv(), 1);
      }
      for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(c.recv(), std::nullopt);
        EXPECT_EQ(c.try_recv().error(), chan_status::closed);
        std::optional<int> v = 5;
        EXPECT_EQ(select(c.on_recv(v)), 0u);
        EXPECT_EQ(v, std::nullopt);
        v = 5;
        EXPECT_EQ(select(c.on_recv(v), otherwise), 0u);
        EXPECT_EQ(v, std::nullopt);
        EXPECT_THROW(c.send(1), closed);
        EXPECT_EQ(c.try_send(1).error(), chan_status::closed);
        EXPECT_THROW(select(c.on_send(1)), closed);
        EXPECT_THROW(select(c.on_send(1), otherwise), closed);
      }
    }
  });
}

TEST_P(ChanAtProcs, Scenario66_CloseWakesEverybody) {  // in their order: src/sync/chan_test.cc
  run_here([] {
    chan<int> in(unbuffered), out(unbuffered);
    std::vector<task<void>> all;
    std::atomic<int> threw{0};
    for (int i = 0; i < 20; ++i) {
      all.push_back(spawn([&] { EXPECT_EQ(in.recv(), std::nullopt); }));
      all.push_back(spawn([&] {
        try {
          out.send(1);
        } catch (const closed&) {
          ++threw;
        }
      }));
    }
    yield_some();
    in.close(), out.close();
    for (auto& t : all) t.join();
    EXPECT_EQ(threw, 20);
  });
}

TEST(ChanScenario66, CapAndLen) {
  EXPECT_EQ(chan<int>(0).cap(), 0u);
  EXPECT_EQ(chan<int>(7).cap(), 7u);
  EXPECT_EQ(chan<int>().cap(), 0u);
  EXPECT_EQ(chan<int>().len(), 0u);
  EXPECT_THROW(chan<std::int64_t>(PTRDIFF_MAX), std::bad_alloc);
#if !defined(GORT_TEST_TSAN) && !defined(GORT_TEST_ASAN)  // whose operator new ends the program
  EXPECT_THROW(chan<std::int64_t>(PTRDIFF_MAX / 16), std::bad_alloc);
#endif
  chan<nothing> many(PTRDIFF_MAX);  // zero-size elements need no room
  for (int i = 0; i < 1000; ++i) many.send({});
  EXPECT_EQ(many.len(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(many.recv().has_value());
  EXPECT_EQ(many.try_recv().error(), chan_status::empty);
}

TEST(ChanScenario66, Misuse) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(chan<int>(-1), testing::ExitedWithCode(2), "fatal error: gort::chan: negative capacity");
  EXPECT_EXIT(chan<int>().close(), testing::ExitedWithCode(2), "fatal error: gort::chan: close of a null channel");
  EXPECT_EXIT(run([] {
                chan<int> c(1);
                c.close();
                c.close();
              }),
              testing::ExitedWithCode(2), "fatal error: gort::chan: close of a closed channel(.|\n)*goroutine");
}

TEST_P(ChanAtProcs, NullNeverIsReady) {
  run_here([] {
    chan<int> null;
    EXPECT_FALSE(null);
    EXPECT_EQ(null.try_recv().error(), chan_status::empty);
    EXPECT_EQ(null.try_send(1).error(), chan_status::full);
    EXPECT_EQ(select(null.on_recv(), null.on_send(1), otherwise), 2u);
    chan<int> c(1);
    c.send(1);
    EXPECT_EQ(select(null.on_recv(), c.on_recv(), null.on_send(1)), 1u);
    EXPECT_EQ(null.recv_for(std::chrono::seconds(0)).error(), chan_status::timeout);
    EXPECT_EQ(c.recv_for(std::chrono::seconds(-1)).error(), chan_status::timeout);
  });
}

TEST(ChanDeadlock, ReportsSayWhatIsWaitedFor) {
#if defined(GORT_TEST_TSAN)
  GTEST_SKIP() << "TSan's own thread is a foreign one: somebody might still do something";
#endif
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto dies = [](auto f, const char* text) { EXPECT_EXIT(run(f), testing::ExitedWithCode(2), text); };
  dies([] { chan<int>().recv(); }, "all goroutines are asleep(.|\n)*chan receive \\(null chan\\)");
  dies([] { chan<int>().send(1); }, "all goroutines are asleep(.|\n)*chan send \\(null chan\\)");
  dies([] { chan<int>(0).recv(); }, "all goroutines are asleep(.|\n)*chan receive");
  dies([] { chan<int>(0).send(1); }, "all goroutines are asleep(.|\n)*chan send");
  dies([] { select(); }, "all goroutines are asleep(.|\n)*select \\(no cases\\)");
  dies([] { select(chan<int>(0).on_recv(), chan<int>(0).on_send(1)); }, "all goroutines are asleep(.|\n)*select");
}

// ---- loops, views, guards ---------------------------------------------------------------------------

TEST_P(ChanAtProcs, IsAnInputRange) {
  run_here([] {
    static_assert(std::ranges::input_range<chan<int>>);
    static_assert(std::ranges::input_range<const recv_chan<std::unique_ptr<int>>>);
    chan<int> c(3);
    go([=] {
      closing done(c);
      for (int i = 0; i < 100; ++i) c.send(i);
    });
    int sum = 0;
    for (int v : c | std::views::filter([](int v) { return v % 2 == 0; })) sum += v;
    EXPECT_EQ(sum, 2450);
  });
}

// What nobody asks for stays in the channel.
TEST_P(ChanAtProcs, ViewsReceiveNoMoreThanTheyGive) {
  run_here([] {
    chan<int> c(10);
    for (int i = 0; i < 6; ++i) c.send(i);
    std::vector<int> got;
    for (int v : c | std::views::take(0)) got.push_back(v);
    for (int v : c | std::views::take(2)) got.push_back(v);
    std::ranges::copy(c | std::views::take(2), std::back_inserter(got));
    EXPECT_EQ(got, (std::vector{0, 1, 2, 3}));
    EXPECT_EQ(c.len(), 2u);
    auto at = c.begin();
    ++at;  // over one that has not been looked at
    EXPECT_EQ(*at, 5);
    EXPECT_EQ(c.len(), 0u);
    ++at;
    c.close();
    EXPECT_EQ(at, c.end());
  });
}

int sum_of(recv_chan<std::unique_ptr<int>> in) {
  int sum = 0;
  for (auto& p : in) sum += *p;
  return sum;
}
void produce(send_chan<std::unique_ptr<int>> out) {
  closing done(out);
  for (int i = 0; i < 10; ++i) out.send(std::make_unique<int>(i));
}

TEST_P(ChanAtProcs, ViewsAndMoveOnlyValues) {
  run_here([] {
    chan<std::unique_ptr<int>> c(2);
    go(produce, c);
    EXPECT_EQ(sum_of(c), 45);
  });
}

TEST_P(ChanAtProcs, ClosingClosesOnExceptions) {
  run_here([] {
    chan<int> c(1);
    EXPECT_THROW(
        {
          closing done(c);
          throw 1;
        },
        int);
    EXPECT_EQ(c.recv(), std::nullopt);
    chan<int> d(1);
    {
      closing done(d);
      done.release();
    }
    EXPECT_EQ(d.try_recv().error(), chan_status::empty);
  });
}

// ---- 31, 32, 40: the scheduler's scenarios that need channels -----------------------------------------

TEST_P(ChanAtProcs, Scenario32_BlockLocked) {
  run_here([] {
    chan<bool> c(unbuffered);
    auto t = spawn([=] {
      os_thread_lock lock;
      for (int i = 0; i < 100; ++i) c.send(true);
    });
    for (int i = 0; i < 100; ++i) EXPECT_EQ(c.recv(), true);
    t.join();
  });
}

TEST_P(ChanAtProcs, Scenario31_YieldLocked) {
  run_here([] {
    chan<bool> c(unbuffered);
    auto t = spawn([=] {
      os_thread_lock lock;
      for (int i = 0; i < 10; ++i) {
        this_goroutine::yield();
        blocking([] { std::this_thread::sleep_for(std::chrono::microseconds(100)); });
      }
      c.send(true);
      // Ends while it is locked: so does its thread.
    });
    EXPECT_EQ(c.recv(), true);
    t.join();
  });
}

// A pair that plays ping-pong beside one that computes: each gets its share.
TEST(ChanScenario40, PingPongHog) {
  GORT_TEST_NEEDS_SIGNALS();
  run({.max_procs = 1}, [] {
    std::atomic<bool> stop{false}, over{false};
    std::atomic<std::int64_t> hog{0}, light{0};
    auto computing = spawn([&] {
      while (!stop.load(std::memory_order_relaxed)) hog.fetch_add(1, std::memory_order_relaxed);
    });
    chan<bool> ping(unbuffered), pong(unbuffered);
    // Who finds that it is over closes the other's channel.
    const auto player = [&](chan<bool> in, chan<bool> out) {
      return [&, in, out] {
        for (bool b : in) {
          light.fetch_add(1, std::memory_order_relaxed);
          if (stop) break;
          out.send(b);
        }
        if (!over.exchange(true)) out.close();
      };
    };
    auto a = spawn(player(ping, pong));
    auto b = spawn(player(pong, ping));
    ping.send(true);
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
    while (std::chrono::steady_clock::now() < end) this_goroutine::yield();
    stop = true;
    computing.join();
    a.join(), b.join();
    // Both got turns; their counts are not of one kind, so this is about starvation.
    EXPECT_GT(hog, 1000);
    EXPECT_GT(light, 1000);
  });
}

// ---- 15: many goroutines that pass and end while others start -------------------------------------------

TEST_P(ChanAtProcs, Scenario15_TreeOfGoroutines) {
  run_here([] {
    struct tree {
      static void grow(chan<int> out, int depth) {
        if (depth == 0) return out.send(1);
        chan<int> in(unbuffered);
        for (int i = 0; i < 3; ++i) go([=] { grow(in, depth - 1); });
        int sum = 0;
        for (int i = 0; i < 3; ++i) sum += *in.recv();
        out.send(sum);
      }
    };
    for (int round = 0; round < 3; ++round) {
      chan<int> out(unbuffered);
      const int depth = kSlowdown == 1 ? 8 : 6;
      go([=] { tree::grow(out, depth); });
      EXPECT_EQ(out.recv(), kSlowdown == 1 ? 6561 : 729);
    }
  });
}

// ---- foreign threads, static objects ----------------------------------------------------------------------

chan<int> static_channel(8);

TEST(ChanForeign, StaticChannelBeforeTheRuntimeStarts) {
  static_channel.send(1);
  EXPECT_TRUE(static_channel.try_send(2));
  EXPECT_EQ(select(static_channel.on_send(3), otherwise), 0u);
  run([] {
    EXPECT_EQ(static_channel.recv(), 1);
    EXPECT_EQ(static_channel.recv(), 2);
    EXPECT_EQ(static_channel.recv(), 3);
  });
}

TEST_P(ChanAtProcs, ForeignThreadsTakePart) {
  for (std::ptrdiff_t cap : {0, 1, 5}) {
    chan<int> to(cap), from(cap);
    const int n = 3000 / kSlowdown;
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([=] {
        for (int i = 0; i < n; ++i) {
          std::optional<int> v;
          if (i % 2 == 0) {
            v = to.recv();
          } else {
            select(to.on_recv(v), chan<int>().on_recv());
          }
          from.send(*v + 1);
        }
      });
    }
    run_here([=] {
      auto feeder = spawn([=] {
        for (int i = 0; i < 3 * n; ++i) to.send(i);
      });
      std::int64_t sum = 0;
      for (int i = 0; i < 3 * n; ++i) sum += *from.recv();
      feeder.join();
      EXPECT_EQ(sum, (3LL * n) * (3 * n + 1) / 2);
    });
    for (auto& t : threads) t.join();
  }
}

TEST(ChanForeign, TwoThreadsWithoutAnyGoroutine) {
  chan<int> c(unbuffered);
  std::thread t([=] {
    for (int i = 0; i < 1000; ++i) c.send(i);
    c.close();
  });
  int expected = 0;
  for (int v : c) EXPECT_EQ(v, expected++);
  EXPECT_EQ(expected, 1000);
  t.join();
}

}  // namespace
