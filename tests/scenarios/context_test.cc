// Contexts: what is inherited, what is cancelled, what is not. Timeouts: context_deadline_test.cc.
// test: labels=smoke
#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <chrono>
#include <list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "tests/scenarios/context.h"

namespace {

using namespace gort::test;
using gort::cancel_reason;

class Context : public ContextTest {};
GORT_TEST_AT_PROCS(Context);

TEST_P(Context, TheBackgroundIsNotCancelledAndEmpty) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const gort::context c = gort::this_goroutine::context();
    EXPECT_FALSE(c.cancelled());
    EXPECT_FALSE(c.cause());
    EXPECT_FALSE(c.deadline());
    EXPECT_EQ(c.value<user>(), nullptr);
    EXPECT_NO_THROW(gort::this_goroutine::check_cancelled());
    EXPECT_FALSE(gort::context().cancelled());
  });
}

TEST_P(Context, CancelEndsAWaitAndEveryLaterOne) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::error_code first;
    std::error_code second;
    std::optional<gort::context> shown;
    gort::event ready;
    auto t = gort::spawn([&] {
      gort::with_cancel c;
      shown = c.context();
      ready.set();
      first = wait_for_ever();
      second = wait_for_ever();
    });
    ready.wait();
    EXPECT_FALSE(shown->cancelled());
    t.cancel();
    t.join();
    EXPECT_TRUE(shown->cancelled());
    EXPECT_EQ(first, cancel_reason::cancelled);
    EXPECT_EQ(second, cancel_reason::cancelled);
    EXPECT_EQ(first, std::errc::operation_canceled);
    EXPECT_EQ(shown->cause(), first);
  });
}

TEST_P(Context, ABlockingCallInACancelledContextDoesNothingAlthoughItCould) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::event e;
    e.set();
    auto done = gort::spawn([] { return 1; });
    done.wait();
    gort::with_cancel c;
    EXPECT_NO_THROW(e.wait());
    c.cancel(std::make_error_code(std::errc::owner_dead));
    EXPECT_EQ(cancelled_by([&] { e.wait(); }), std::errc::owner_dead);
    EXPECT_EQ(cancelled_by([&] { done.wait(); }), std::errc::owner_dead);
    EXPECT_EQ(cancelled_by([&] { done.get(); }), std::errc::owner_dead);
    EXPECT_TRUE(done.valid()) << "the task stays joinable";
    EXPECT_EQ(cancelled_by([] { gort::this_goroutine::check_cancelled(); }), std::errc::owner_dead);
    gort::shield _;
    EXPECT_EQ(done.get(), 1);
  });
}

TEST_P(Context, TheFirstCauseCounts) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::with_cancel c;
    c.cancel(std::make_error_code(std::errc::io_error));
    c.cancel();
    EXPECT_EQ(c.context().cause(), std::errc::io_error);
    c.cancel(cancel_reason::timed_out);
    EXPECT_EQ(c.context().cause(), std::errc::io_error);
  });
}

TEST_P(Context, ACancelledOneCancelsWhatIsBelowAndNothingElse) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::with_cancel outer;
    const gort::context sibling = [] {
      gort::with_cancel s;
      return s.context();
    }();
    EXPECT_TRUE(sibling.cancelled()) << "its installer is gone";
    gort::with_value<user> name("ann");
    gort::with_cancel inner;
    gort::with_cancel innermost;
    EXPECT_FALSE(innermost.context().cancelled());
    inner.cancel();
    EXPECT_TRUE(inner.context().cancelled() && innermost.context().cancelled());
    EXPECT_FALSE(outer.context().cancelled());
    outer.cancel(std::make_error_code(std::errc::io_error));
    EXPECT_EQ(outer.context().cause(), std::errc::io_error);
    EXPECT_EQ(innermost.context().cause(), cancel_reason::cancelled) << "keeps its own";
    gort::with_cancel late;
    EXPECT_EQ(late.context().cause(), cancel_reason::cancelled) << "made below a cancelled one";
  });
}

TEST_P(Context, AnInstallerThatEndsUncoversWhatWasThere) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::with_value<depth> one(1);
    {
      gort::with_value<depth> two(2);
      gort::with_cancel c;
      c.cancel();
      EXPECT_TRUE(gort::this_goroutine::cancelled());
      EXPECT_EQ(*gort::this_goroutine::context().value<depth>(), 2);
    }
    EXPECT_FALSE(gort::this_goroutine::cancelled());
    EXPECT_EQ(*gort::this_goroutine::context().value<depth>(), 1);
    gort::event e;
    e.set();
    EXPECT_NO_THROW(e.wait());
  });
}

TEST_P(Context, ValuesAreInheritedBySpawnAndScopeAndOutliveTheirInstaller) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::context kept;
    {
      gort::with_value<user> name("ann");
      gort::with_value<depth> d(3);
      kept = gort::this_goroutine::context();
      gort::spawn([] {
        EXPECT_EQ(*gort::this_goroutine::context().value<user>(), "ann");
        gort::with_value<user> other("bob");
        gort::spawn([] { EXPECT_EQ(*gort::this_goroutine::context().value<user>(), "bob"); }).join();
        EXPECT_EQ(*gort::this_goroutine::context().value<depth>(), 3);
      }).join();
      gort::scope s;
      s.go([] { EXPECT_EQ(*gort::this_goroutine::context().value<user>(), "ann"); });
      s.join();
      gort::event done;
      gort::go([&] {
        EXPECT_EQ(gort::this_goroutine::context().value<user>(), nullptr) << "go begins in the background";
        done.set();
      });
      done.wait();
    }
    EXPECT_EQ(gort::this_goroutine::context().value<user>(), nullptr);
    EXPECT_EQ(*kept.value<user>(), "ann");
  });
}

TEST_P(Context, AValueIsDestroyedOnceWhenTheLastHandleGoes) {
  GORT_TEST_START(GetParam());
  struct counted : gort::context_key<std::shared_ptr<int>> {};
  gort::run([] {
    auto p = std::make_shared<int>(1);
    gort::context kept;
    {
      gort::with_value<counted> v(p);
      kept = gort::this_goroutine::context();
    }
    EXPECT_EQ(p.use_count(), 2);
    kept = {};
    EXPECT_EQ(p.use_count(), 1);
  });
}

TEST_P(Context, GoIsCancelledByNothingThatItsStarterHas) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::event started;
    gort::event go_on;
    std::atomic<bool> cancelled{true};
    gort::event ended;
    {
      gort::with_cancel c;
      gort::go([&] {
        started.set();
        go_on.wait();
        cancelled = gort::this_goroutine::cancelled();
        ended.set();
      });
      started.wait();
      c.cancel();
    }
    go_on.set();
    ended.wait();
    EXPECT_FALSE(cancelled);
  });
}

TEST_P(Context, AShieldKeepsCancellationOutButNotValues) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::with_value<user> name("ann");
    gort::with_cancel c;
    c.cancel();
    {
      gort::shield _;
      EXPECT_FALSE(gort::this_goroutine::cancelled());
      EXPECT_FALSE(gort::this_goroutine::context().cancelled());
      EXPECT_EQ(*gort::this_goroutine::context().value<user>(), "ann");
      EXPECT_EQ(gort::spawn([] { return 5; }).get(), 5);
      gort::with_cancel inside;
      EXPECT_FALSE(gort::this_goroutine::cancelled()) << "derived below the shield";
      inside.cancel();
      EXPECT_TRUE(gort::this_goroutine::cancelled());
    }
    EXPECT_TRUE(gort::this_goroutine::cancelled());
  });
}

TEST_P(Context, AWaitUnderAShieldIsNotEnded) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::event waiting;
    gort::event bye;
    bool said = false;
    auto t = gort::spawn([&] {
      EXPECT_TRUE(wait_for_ever());
      gort::shield _;
      waiting.set();
      bye.wait();
      said = true;
    });
    t.cancel();
    waiting.wait();
    t.cancel();
    for (int i = 0; i < 100; ++i) gort::this_goroutine::yield();
    bye.set();
    t.join();
    EXPECT_TRUE(said);
  });
}

TEST_P(Context, DestructorsThatRunWhileUnwindingAreNotCancelled) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    struct says_bye {
      bool* said;
      ~says_bye() {
        gort::event e;
        gort::go([&e] { e.set(); });
        e.wait();
        *said = !gort::this_goroutine::cancelled();
      }
    };
    bool said = false;
    auto t = gort::spawn([&said] {
      says_bye s{&said};
      gort::event never;
      never.wait();
    });
    gort::this_goroutine::yield();
    t.cancel();
    EXPECT_TRUE(cancelled_by([&t] { t.get(); }));
    EXPECT_TRUE(said);
  });
}

TEST_P(Context, AnotherContextCanBeInstalled) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::with_cancel c;
    gort::event started;
    gort::event ended;
    std::error_code cause;
    gort::go([&, shown = c.context()] {
      gort::with_context in(shown);
      started.set();
      cause = wait_for_ever();
      gort::shield _;
      ended.set();
    });
    started.wait();
    c.cancel(std::make_error_code(std::errc::io_error));
    gort::shield _;
    ended.wait();
    EXPECT_EQ(cause, std::errc::io_error);
  });
}

// Who lives in a context of its own and then enters the background is out of the former's reach, in timed waits too.
TEST_P(Context, TheBackgroundInstalledAgainIsNotReachedByWhatWasThereBefore) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const gort::context background = gort::this_goroutine::context();
    gort::with_cancel c;
    const gort::context outer = c.context();
    gort::this_goroutine::sleep_for(1ms);  // a wait in it, so that it knows this goroutine
    gort::with_context in(background);
    gort::event waits;
    gort::chan<int> values(0);
    gort::go([&] {
      waits.wait();
      gort::this_goroutine::yield();
      c.cancel();
      { gort::blocking([] { std::this_thread::sleep_for(5ms); }); }
      values.send(1);
    });
    waits.set();
    EXPECT_EQ(values.recv_for(60s).value_or(0), 1);
    EXPECT_TRUE(outer.cancelled());
  });
}

// Somebody looks from below a cancelled context before anybody has looked at those above it.
TEST_P(Context, WhatIsAboveACancelledOneIsStillReached) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::optional<std::error_code> ended;
    gort::event waits;
    auto t = gort::spawn([&] {
      gort::with_cancel above;
      {
        gort::with_cancel c;
        c.cancel();
        gort::with_cancel below;
        EXPECT_TRUE(below.context().cancelled());
        EXPECT_FALSE(above.context().cancelled());
      }
      waits.set();
      ended = cancelled_by([] {
        gort::event never;
        EXPECT_TRUE(never.wait_for(30s)) << "the task's cancellation has not reached it";
      });
    });
    waits.wait();
    for (int i = 0; i < 10; ++i) gort::this_goroutine::yield();
    t.cancel();
    EXPECT_NO_THROW(t.join());
    EXPECT_EQ(ended, cancel_reason::cancelled);
  });
}

TEST_P(Context, WaitingForAContext) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::with_cancel c;
    gort::event ended;
    gort::go([&, shown = c.context()] {
      shown.wait();
      shown.wait();
      ended.set();
    });
    auto in_it = gort::spawn([shown = c.context()] { shown.wait(); });
    gort::this_goroutine::yield();
    c.cancel();
    {
      gort::shield _;
      ended.wait();
      EXPECT_TRUE(cancelled_by([&] { in_it.get(); }));
    }
    EXPECT_TRUE(cancelled_by([] { gort::context().wait(); }));
  });
}

TEST_P(Context, ACaseOfSelect) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::with_cancel c;
    const gort::context shown = c.context();
    gort::shield _;
    gort::chan<int> silent;
    std::optional<int> v;
    EXPECT_EQ(gort::select(shown.on_cancelled(), gort::otherwise), 1u);
    auto waits = gort::spawn([&] { return gort::select(silent.on_recv(v), shown.on_cancelled()); });
    for (int i = 0; i < 10; ++i) gort::this_goroutine::yield();
    c.cancel();
    EXPECT_EQ(waits.get(), 1u);
    EXPECT_EQ(gort::select(silent.on_recv(v), shown.on_cancelled()), 1u);
    EXPECT_EQ(gort::select(gort::context().on_cancelled(), gort::after(1ms)), 1u) << "nobody cancels that";
    for (int i = 0; i < 300; ++i) {
      gort::with_cancel each;
      auto t = gort::spawn([s = each.context()] {
        gort::shield in;
        return gort::select(s.on_cancelled());
      });
      if (i % 2 == 0) gort::this_goroutine::yield();
      each.cancel();
      gort::shield calm;
      ASSERT_EQ(t.get(), 0u);
    }
  });
}

TEST_P(Context, ChannelsHeedIt) {
  GORT_TEST_START(GetParam());
  std::atomic<int> unwound{0};
  gort::run([&] {
    gort::chan<int> ch(0);
    auto t = gort::spawn([&] { ch.recv(); });
    gort::this_goroutine::yield();
    t.cancel();
    EXPECT_TRUE(cancelled_by([&] { t.get(); }));
    {
      gort::with_cancel c;
      c.cancel();
      EXPECT_TRUE(cancelled_by([&] { ch.recv(); }));
      EXPECT_TRUE(cancelled_by([&] { ch.send(1); }));
      gort::shield _;
      gort::go([&] { ch.send(5); });
      EXPECT_EQ(ch.recv(), 5);
    }
    // After waits that the end of a run could have ended, plain ones, and the reverse.
    for (int i = 0; i < 100; ++i) {
      gort::go([&] { ch.send(i); });
      EXPECT_EQ(ch.recv(), i);
      gort::shield _;
      gort::go([&] { ch.send(i); });
      EXPECT_EQ(ch.recv(), i);
    }
    for (int i = 0; i < 20; ++i) {
      gort::go([&unwound, ch, i]() mutable {
        struct counts {
          std::atomic<int>* n;
          ~counts() { ++*n; }
        } c{&unwound};
        if (i % 2 == 0) gort::select(ch.on_send(1), gort::after(1h));
        gort::chan<int> own(0);
        own.recv();
      });
    }
    for (int i = 0; i < 30; ++i) gort::this_goroutine::yield();
  });
  EXPECT_EQ(unwound, 20);
}

TEST_P(Context, ManyParkedUnderOneAreCancelledAtOnce) {
  GORT_TEST_START(GetParam());
#if defined(GORT_TEST_TSAN)
  static constexpr int kMany = 2'000;  // it can hold about 8000 goroutines
#else
  static constexpr int kMany = 10'000;
#endif
  gort::run([] {
    std::atomic<int> ended{0};
    std::atomic<int> waiting{0};
    gort::event never;
    gort::scope s;
    for (int i = 0; i < kMany; ++i) {
      s.go([&] {
        ++waiting;
        struct counts {
          std::atomic<int>* n;
          ~counts() { ++*n; }
        } c{&ended};
        never.wait();
      });
    }
    ASSERT_TRUE(yield_until([&] { return waiting == kMany; }, 60'000));
    s.cancel();
    s.join();
    EXPECT_EQ(ended, kMany);
  });
}

TEST_P(Context, ADeepTree) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    static constexpr int kDeep = 2000;
    struct nest {
      static void down(int n, std::vector<gort::context>& all, gort::event& there) {
        gort::with_cancel c;
        all.push_back(c.context());
        if (n > 0) return down(n - 1, all, there);
        there.set();
        gort::event never;
        never.wait();
      }
    };
    std::vector<gort::context> all;
    gort::event there;
    auto t = gort::spawn({.stack = 8u << 20}, [&] { nest::down(kDeep, all, there); });
    there.wait();
    ASSERT_EQ(all.size(), kDeep + 1u);
    t.cancel(std::make_error_code(std::errc::io_error));
    EXPECT_EQ(cancelled_by([&] { t.get(); }), std::errc::io_error);
    for (const auto& c : all) ASSERT_EQ(c.cause(), std::errc::io_error);
  });
}

// ---- foreign threads ------------------------------------------------------------------------

TEST_P(Context, AForeignThreadHasOneToo) {
  GORT_TEST_START(GetParam());
  std::stop_source stop;
  std::atomic<bool> ready{false};
  std::error_code cause;
  std::thread waits([&] {
    EXPECT_FALSE(gort::this_goroutine::context().cancelled());
    gort::with_value<user> name("thread");
    gort::with_stop_token c(stop.get_token());
    ready = true;
    cause = wait_for_ever();
    EXPECT_EQ(*gort::this_goroutine::context().value<user>(), "thread");
    EXPECT_TRUE(cancelled_by([] { gort::spawn([] { return 1; }).get(); }));
    gort::shield _;
    EXPECT_EQ(*gort::spawn([] { return gort::this_goroutine::context(); }).get().value<user>(), "thread");
  });
  ASSERT_TRUE(yield_until([&] { return ready.load(); }));
  stop.request_stop();
  waits.join();
  EXPECT_EQ(cause, cancel_reason::cancelled);
}

TEST_P(Context, AForeignThreadCancelsGoroutines) {
  GORT_TEST_START(GetParam());
  std::stop_source stop;
  gort::run([&] {
    gort::with_stop_token c(stop.get_token());
    std::thread other([&] { stop.request_stop(); });
    EXPECT_EQ(wait_for_ever(), cancel_reason::cancelled);
    other.join();
  });
}

}  // namespace
