// Promises and events: callbacks of other threads meet goroutines.
// test: labels=smoke
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "sched/entry.h"
#include "sync/event.h"
#include "tests/support/runtime_fixture.h"

using ::testing::ExitedWithCode;
using gort::test::yield_until;

namespace {

class Promise : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(Promise);
class PromiseDeath : public gort::test::RuntimeTest {};
class Event : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(Event);

TEST_P(Event, SetWakesAllInOrderResetMakesThemWaitAgain) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::event e;
    EXPECT_FALSE(e.is_set());
    e.set();
    e.set();
    EXPECT_TRUE(e.is_set());
    e.wait();
    e.reset();
    EXPECT_FALSE(e.is_set());
    std::atomic<int> through{0};
    std::atomic<int> waiting{0};
    gort::scope s;
    for (int i = 0; i < 20; ++i) {
      s.go([&] {
        ++waiting;
        e.wait();
        ++through;
      });
    }
    ASSERT_TRUE(yield_until([&] { return waiting == 20; }));
    for (int i = 0; i < 50; ++i) gort::this_goroutine::yield();
    EXPECT_EQ(through, 0);
    e.set();
    s.join();
    EXPECT_EQ(through, 20);
  });
}

TEST_P(Event, SetAndResetAtOnceEndsTheWaitsThatHadBegun) {
  GORT_TEST_START(GetParam());
  if (GetParam() != 1) GTEST_SKIP() << "one processor: the waiters have parked when the last one has run";
  gort::run([] {
    gort::event e;
    int through = 0;
    gort::scope s;
    for (int i = 0; i < 5; ++i) {
      s.go([&] {
        e.wait();
        ++through;
      });
    }
    for (int i = 0; i < 10; ++i) gort::this_goroutine::yield();
    e.set();
    e.reset();
    s.join();
    EXPECT_EQ(through, 5);
  });
}

TEST_P(Event, AsADoorbellBetweenThreads) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    constexpr int kRounds = 500;
    gort::event there;
    gort::event back;
    std::atomic<int> value{0};
    std::thread other([&] {
      for (int i = 0; i < kRounds; ++i) {
        there.wait();
        there.reset();
        ++value;
        back.set();
      }
    });
    for (int i = 0; i < kRounds; ++i) {
      there.set();
      back.wait();
      back.reset();
      ASSERT_EQ(value, i + 1);
    }
    other.join();
  });
}

TEST_P(Event, MayDieAsSoonAsTheWaitIsOver) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (int i = 0; i < 2000; ++i) {
      auto e = std::make_unique<gort::event>();
      gort::go([p = e.get()] { p->set(); });
      e->wait();
    }
  });
}

/// Of processor time, for n events with one waiter each; the youngest first.
double seconds_of_setting(int n) {
  std::deque<gort::event> events(static_cast<std::size_t>(n));
  std::atomic<int> waiting{0};
  gort::scope s;
  for (auto& e : events) {
    s.go([&] {
      ++waiting;
      e.wait();
    });
  }
  yield_until([&] { return waiting == n; });
  for (int i = 0; i < 10; ++i) gort::this_goroutine::yield();
  const std::int64_t start = gort::test::process_cpu_ns();
  for (auto e = events.rbegin(); e != events.rend(); ++e) e->set();
  const std::int64_t end = gort::test::process_cpu_ns();
  s.join();
  return static_cast<double>(end - start) * 1e-9;
}

// Setting one does not look at those who wait for others.
TEST(EventScale, TimeGrowsWithTheirNumber) {
#if defined(GORT_TEST_TSAN)
  GTEST_SKIP() << "TSan's price of a stack grows with their number";
#endif
  gort::run({.max_procs = 1}, [] {
    seconds_of_setting(1000);
#if defined(GORT_TEST_ASAN)
    constexpr int kFew = 500;
#else
    constexpr int kFew = 4000;
#endif
    double few = 1e9, many = 1e9;
    for (int i = 0; i < 5; ++i) {
      few = std::min(few, seconds_of_setting(kFew));
      many = std::min(many, seconds_of_setting(16 * kFew));
    }
    EXPECT_LT(many, few * 16 * 16) << "16 times as many took " << many / few << " times as long";
  });
}

TEST_P(Event, CancelledWaitsLeaveNothingBehind) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::event e;
    for (int i = 0; i < 500; ++i) {
      auto t = gort::spawn([&] { e.wait(); });
      if (i % 2 == 0) gort::this_goroutine::yield();
      t.cancel();
      EXPECT_THROW(t.get(), gort::cancelled);
    }
    auto t = gort::spawn([&] {
      e.wait();
      return 1;
    });
    gort::this_goroutine::yield();
    e.set();
    EXPECT_EQ(t.get(), 1);
  });
}

TEST_P(Promise, SetByAThreadGotByAGoroutine) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::promise<std::string> p;
    std::thread client([set = p.setter()] { set("reply"); });
    EXPECT_EQ(p.get(), "reply");
    client.join();
  });
}

TEST_P(Promise, ByReference) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (int i = 0; i < 500; ++i) {
      gort::promise<std::unique_ptr<int>> p;
      gort::go([&p, i] { p.set(std::make_unique<int>(i)); });
      ASSERT_EQ(*p.get(), i);
    }
  });
}

TEST_P(Promise, OfNothingAndOfExceptions) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::promise<void> p;
    p.set();
    p.get();
    gort::promise<int> q;
    q.set_exception(std::make_exception_ptr(std::runtime_error("no reply")));
    EXPECT_TRUE(q.is_set());
    EXPECT_THROW(q.get(), std::runtime_error);
  });
}

TEST_P(Promise, IsBrokenWhenTheLastSetterGoes) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::promise<int> p;
    std::function<void(int)> callback = p.setter();
    auto copy = callback;
    gort::go([c = std::move(callback)]() mutable { c = nullptr; });
    for (int i = 0; i < 10; ++i) gort::this_goroutine::yield();
    EXPECT_FALSE(p.is_set());
    copy = nullptr;
    EXPECT_THROW(p.get(), gort::broken_promise);
  });
}

TEST_P(Promise, ACancelledGetLeavesTheCallbackSafe) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto token = std::make_shared<int>(0);
    gort::promise_setter<std::shared_ptr<int>> late;
    gort::event made;
    auto t = gort::spawn([&] {
      gort::promise<std::shared_ptr<int>> p;
      late = p.setter();
      made.set();
      p.get();
    });
    made.wait();
    t.cancel();
    EXPECT_THROW(t.get(), gort::cancelled);
    late(token);
    EXPECT_FALSE(late.try_set(token));
    late = {};
    EXPECT_EQ(token.use_count(), 1);
  });
}

TEST_P(Promise, OneOfManySettersWins) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (int round = 0; round < 200; ++round) {
      gort::promise<int> p;
      std::atomic<int> winners{0};
      gort::scope s;
      for (int i = 0; i < 4; ++i) {
        s.go([&winners, i, set = p.setter()] { winners += set.try_set(i) ? 1 : 0; });
      }
      const int got = p.get();
      s.join();
      ASSERT_EQ(winners, 1);
      ASSERT_TRUE(got >= 0 && got < 4);
    }
  });
}

TEST_P(Promise, AValueThatCannotBeMovedInIsAnError) {
  GORT_TEST_START(GetParam());
  struct thrower {
    thrower() = default;
    thrower(const thrower&) { throw std::runtime_error("copy"); }
  };
  gort::run([] {
    gort::promise<thrower> p;
    thrower t;
    EXPECT_THROW(p.set(t), std::runtime_error);
    EXPECT_THROW(p.get(), std::runtime_error);
  });
}

// As a channel's value: it is not lost because its receiver could not move it out.
TEST_P(Promise, AValueThatCannotBeMovedOutCanBeGotAgain) {
  GORT_TEST_START(GetParam());
  struct picky {
    picky(int n, int* moves_that_throw) : number(n), throws(moves_that_throw) {}
    picky(picky&& o) : throws(o.throws) {
      if (*throws > 0 && (*throws)-- > 0) throw std::runtime_error("move");
      number = std::exchange(o.number, 0);
    }
    int number;
    int* throws;
  };
  gort::run([] {
    gort::promise<picky> p;
    int throws = 2;
    p.set(42, &throws);
    EXPECT_THROW(p.get(), std::runtime_error);
    EXPECT_THROW(p.get(), std::runtime_error);
    EXPECT_EQ(p.get().number, 42);
  });
}

TEST_F(PromiseDeath, Misuse) {
  EXPECT_EXIT(gort::run([] {
                gort::promise<int> p;
                p.set(1);
                p.set(2);
              }),
              ExitedWithCode(2), "fatal error: gort::promise: set: it has been set already");
  EXPECT_EXIT(gort::run([] {
                gort::promise<int> p;
                p.set(1);
                p.get();
                p.get();
              }),
              ExitedWithCode(2), "get: the value has been taken already");
  EXPECT_EXIT(gort::promise_setter<int>()(1), ExitedWithCode(2), "by an empty setter");
  EXPECT_EXIT(gort::run([] {
                gort::promise<int> p;
                const gort::promise<int> q = std::move(p);
                p.wait();
              }),
              ExitedWithCode(2), "fatal error: gort::promise: wait on an empty promise .moved from before.\n");
}

TEST_F(PromiseDeath, AnEventThatIsWaitedForMustNotDie) {
#if defined(GORT_DEBUG)
  EXPECT_EXIT(gort::run([] {
                auto e = std::make_unique<gort::event>();
                gort::go([at = e.get()] { at->wait(); });
                yield_until([at = e.get()] {
                  gort::rt::RuntimeEntry entry;
                  return gort::rt::event_awaited(gort::detail::event_access::word(*at));
                });
                e.reset();
              }),
              ExitedWithCode(2), "gort::event: destroyed while somebody waits for it");
#endif
}

}  // namespace
