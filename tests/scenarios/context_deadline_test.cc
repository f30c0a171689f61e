// Contexts with deadlines, and timed waits for tasks, events and promises.
// test: labels=smoke
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <limits>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "tests/scenarios/context.h"

using namespace std::chrono_literals;
using gort::cancel_reason;
using gort::test::now_ns;
using gort::test::wait_for_ever;
using gort::test::yield_until;

namespace {

class ContextDeadline : public gort::test::ContextTest {};
GORT_TEST_AT_PROCS(ContextDeadline);

TEST_P(ContextDeadline, AWaitEndsWhenItHasCome) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const std::int64_t began = now_ns();
    gort::with_timeout c(20ms);
    EXPECT_FALSE(c.expired());
    const auto cause = wait_for_ever();
    EXPECT_GE(now_ns() - began, 20'000'000);
    EXPECT_EQ(cause, cancel_reason::timed_out);
    EXPECT_EQ(cause, std::errc::timed_out);
    EXPECT_TRUE(c.expired());
    EXPECT_TRUE(gort::this_goroutine::cancelled());
  });
}

TEST_P(ContextDeadline, OneThatIsNotPositiveIsOverAtOnce) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (auto d : {0ms, -5ms}) {
      gort::with_timeout c(d);
      EXPECT_TRUE(gort::this_goroutine::cancelled());
      EXPECT_TRUE(c.expired());
    }
    gort::with_deadline past(gort::clock::now() - 1h);
    EXPECT_TRUE(gort::this_goroutine::cancelled());
  });
}

TEST_P(ContextDeadline, VeryLongOnes) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::with_timeout years(std::chrono::hours::max());
    EXPECT_FALSE(gort::this_goroutine::context().deadline());
    gort::with_timeout more(std::chrono::duration<double>{std::numeric_limits<double>::infinity()});
    gort::with_deadline far(std::chrono::system_clock::now() + 1000h);
    EXPECT_TRUE(gort::this_goroutine::context().deadline());
    EXPECT_FALSE(gort::this_goroutine::cancelled());
    EXPECT_FALSE(far.expired());
  });
}

TEST_P(ContextDeadline, TimePointsOfAnyRange) {
  GORT_TEST_START(GetParam());
  using hours = std::chrono::time_point<std::chrono::system_clock, std::chrono::hours>;
  gort::run([] {
    {
      gort::with_deadline far(hours::max());
      EXPECT_FALSE(gort::this_goroutine::context().deadline());
      gort::with_deadline last(gort::clock::time_point::max());
      EXPECT_FALSE(gort::this_goroutine::cancelled());
    }
    {
      gort::with_deadline past(gort::clock::time_point::min());
      EXPECT_TRUE(gort::this_goroutine::cancelled());
    }
    {
      gort::with_deadline past(hours::min());
      ASSERT_TRUE(gort::this_goroutine::cancelled());
    }
    gort::event never;
    EXPECT_FALSE(never.wait_until(gort::clock::time_point::min()));
    EXPECT_FALSE(never.wait_until(hours::min()));
    gort::mutex m;
    gort::condition_variable changed;
    std::unique_lock hold(m);
    EXPECT_FALSE(gort::spawn([&] { return m.try_lock_until(hours::min()); }).get());
    EXPECT_EQ(changed.wait_until(hold, hours::min()), std::cv_status::timeout);
    gort::chan<int> c(1);
    EXPECT_FALSE(c.recv_until(hours::min()));
    EXPECT_TRUE(c.send_until(1, hours::max()));
    auto t = gort::spawn([&] { never.wait(); });
    EXPECT_FALSE(t.wait_until(std::chrono::steady_clock::time_point::min()));
    never.set();
    EXPECT_TRUE(t.wait_until(hours::max()));
    t.join();
  });
}

TEST_P(ContextDeadline, TheEarliestOfATreeCounts) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::with_timeout outer(20ms);
    const auto at = *gort::this_goroutine::context().deadline();
    gort::with_timeout later(1h);
    EXPECT_EQ(*gort::this_goroutine::context().deadline(), at);
    gort::with_timeout sooner(5ms);
    EXPECT_LT(*gort::this_goroutine::context().deadline(), at);
    EXPECT_EQ(wait_for_ever(), cancel_reason::timed_out);
    EXPECT_TRUE(sooner.expired());
    EXPECT_TRUE(!outer.expired() || gort::context::clock::now() >= at);
    gort::shield _;
    EXPECT_FALSE(gort::this_goroutine::context().deadline());
    EXPECT_TRUE(yield_until([&] { return outer.expired(); }));
    EXPECT_FALSE(later.expired()) << "it was the outer one";
    EXPECT_TRUE(yield_until([&] { return later.context().cancelled(); })) << "it is on its way down";
  });
}

TEST_P(ContextDeadline, IsInherited) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::with_timeout c(10ms);
    const auto at = gort::this_goroutine::context().deadline();
    std::optional<gort::context::clock::time_point> seen;
    std::error_code cause;
    auto t = gort::spawn([&] {
      seen = gort::this_goroutine::context().deadline();
      cause = wait_for_ever();
    });
    gort::shield _;
    t.join();
    EXPECT_EQ(seen, at);
    EXPECT_EQ(cause, cancel_reason::timed_out);
  });
}

TEST_P(ContextDeadline, LeftInTimeNothingHappens) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (int i = 0; i < 2000; ++i) {
      gort::with_timeout c(1h);
      gort::event e;
      gort::go([&] { e.set(); });
      e.wait();
      ASSERT_FALSE(c.expired());
    }
    for (int i = 0; i < 500; ++i) {
      gort::with_timeout c(std::chrono::microseconds(i % 50));
      try {
        gort::this_goroutine::yield();
        gort::this_goroutine::check_cancelled();
      } catch (const gort::cancelled&) {
        ASSERT_TRUE(c.expired());
      }
    }
  });
}

TEST_P(ContextDeadline, CancelledBeforeItIsNotExpired) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::with_timeout c(5ms);
    c.cancel(cancel_reason::timed_out);
    EXPECT_EQ(wait_for_ever(), cancel_reason::timed_out);
    EXPECT_FALSE(c.expired());
    gort::shield _;
    gort::event never;
    EXPECT_FALSE(never.wait_for(10ms));
    EXPECT_FALSE(c.expired());
  });
}

TEST_P(ContextDeadline, CallbacksAndStopTokensOfOne) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::with_timeout c(5ms);
    std::atomic<bool> called{false};
    auto cb = c.context().after_func([&] { called = true; });
    const std::stop_token t = c.context().stop_token();
    EXPECT_TRUE(yield_until([&] { return called && t.stop_requested(); }));
  });
}

TEST_P(ContextDeadline, ManyUnderOne) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::with_timeout c(30ms);
    gort::event never;
    std::atomic<int> ended{0};
    gort::scope s;
    for (int i = 0; i < 2000; ++i) {
      s.go([&] {
        gort::with_timeout own(1h);
        struct counts {
          std::atomic<int>* n;
          ~counts() { ++*n; }
        } k{&ended};
        never.wait();
      });
    }
    EXPECT_THROW(s.join(), gort::cancelled);
    EXPECT_EQ(ended, 2000);
  });
}

TEST_P(ContextDeadline, OnAForeignThread) {
  GORT_TEST_START(GetParam());
  std::thread([] {
    gort::start();
    gort::with_timeout c(10ms);
    EXPECT_EQ(wait_for_ever(), cancel_reason::timed_out);
    EXPECT_TRUE(c.expired());
  }).join();
}

TEST_P(ContextDeadline, OnAForeignThreadASleepToo) {
  GORT_TEST_START(GetParam());
  std::thread([] {
    gort::this_goroutine::sleep_for(1us);
    gort::with_timeout c(1ms);
    EXPECT_THROW(gort::this_goroutine::sleep_for(3s), gort::cancelled);
    EXPECT_TRUE(c.expired());
    EXPECT_THROW(gort::this_goroutine::sleep_for(0s), gort::cancelled) << "as on a goroutine: at once";
    gort::shield not_me;
    const auto began = gort::clock::now();
    gort::this_goroutine::sleep_for(1ms);
    EXPECT_GE(gort::clock::now() - began, 1ms);
  }).join();
  std::jthread stopped([](std::stop_token token) {
    gort::with_stop_token c(token);
    EXPECT_THROW(gort::this_goroutine::sleep_until(gort::clock::time_point::max()), gort::cancelled);
  });
}

TEST_P(ContextDeadline, ASleepIsCancelled) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto t = gort::spawn([] { gort::this_goroutine::sleep_for(1h); });
    gort::this_goroutine::yield();
    t.cancel();
    EXPECT_THROW(t.get(), gort::cancelled);
    gort::with_timeout c(5ms);
    EXPECT_THROW(gort::this_goroutine::sleep_for(1h), gort::cancelled);
    EXPECT_THROW(gort::this_goroutine::sleep_for(0s), gort::cancelled);
  });
  std::atomic<bool> unwound{false};
  gort::run([&] {
    gort::go([&] {
      struct marks {
        std::atomic<bool>* p;
        ~marks() { *p = true; }
      } m{&unwound};
      gort::this_goroutine::sleep_for(1h);
    });
    gort::this_goroutine::yield();
  });
  EXPECT_TRUE(unwound) << "the end of the run";
}

TEST_P(ContextDeadline, TimedWaitsForTasks) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::event go_on;
    auto t = gort::spawn([&] {
      go_on.wait();
      return 3;
    });
    EXPECT_FALSE(t.wait_for(5ms));
    EXPECT_FALSE(t.wait_until(gort::clock::now() + 1ms));
    EXPECT_FALSE(t.wait_for(-1s));
    go_on.set();
    EXPECT_TRUE(t.wait_for(1h));
    EXPECT_TRUE(t.wait_for(0s));
    EXPECT_EQ(t.get(), 3);
    for (int i = 0; i < 1000; ++i) {
      gort::event e;
      auto r = gort::spawn([&] { e.wait(); });
      gort::go([&] { e.set(); });
      while (!r.wait_for(std::chrono::microseconds(i % 20))) {
      }
      r.join();
    }
  });
}

TEST_P(ContextDeadline, TimedWaitsForEventsAndPromises) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::event e;
    EXPECT_FALSE(e.wait_for(3ms));
    EXPECT_FALSE(e.wait_until(std::chrono::system_clock::now()));
    gort::promise<int> p;
    EXPECT_FALSE(p.wait_for(1ms));
    std::thread other([&, set = p.setter()] {
      e.set();
      set(4);
    });
    EXPECT_TRUE(e.wait_for(1h));
    EXPECT_TRUE(p.wait_until(gort::clock::now() + 1h));
    EXPECT_EQ(p.get(), 4);
    other.join();
    std::thread([&] {
      gort::event never;
      EXPECT_FALSE(never.wait_for(2ms));
    }).join();
  });
}

}  // namespace
