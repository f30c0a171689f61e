// Contexts and those who are told: stop tokens, after_func.
// test: labels=smoke
#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <chrono>
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

class ContextCallbacks : public ContextTest {};
GORT_TEST_AT_PROCS(ContextCallbacks);

// ---- stop tokens ----------------------------------------------------------------------------

TEST_P(ContextCallbacks, AStopTokenThatIsStoppedAlready) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::stop_source stop;
    stop.request_stop();
    gort::with_stop_token c(stop.get_token());
    EXPECT_TRUE(gort::this_goroutine::cancelled());
  });
}

TEST_P(ContextCallbacks, AStopTokenOfAContext) {
  GORT_TEST_START(GetParam());
  std::stop_token kept;
  gort::run([&] {
    gort::with_cancel c;
    const std::stop_token t = c.context().stop_token();
    EXPECT_TRUE(t.stop_possible());
    EXPECT_FALSE(t.stop_requested());
    EXPECT_EQ(t, c.context().stop_token()) << "one source per context";
    std::jthread worker([&] {
      while (!t.stop_requested()) std::this_thread::yield();
    });
    c.cancel();
    gort::blocking([&] { worker.join(); });  // the stop is requested by a goroutine
    std::atomic<bool> called{false};
    std::stop_callback cb(t, [&] { called = true; });
    EXPECT_TRUE(called);
    {
      gort::shield _;
      gort::with_cancel uncancelled;
      kept = uncancelled.context().stop_token();
      EXPECT_FALSE(gort::context().stop_token().stop_possible());
    }
  });
  EXPECT_TRUE(yield_until([&] { return kept.stop_requested(); })) << "the end of its installer cancels it";
}

// ---- after_func -----------------------------------------------------------------------------

TEST_P(ContextCallbacks, AfterFuncRunsOnceInAGoroutineInTheBackground) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::with_value<user> name("ann");
    gort::with_cancel c;
    std::atomic<int> calls{0};
    gort::event called;
    auto cb = c.context().after_func([&] {
      ++calls;
      EXPECT_NE(gort::this_goroutine::id(), 0u);
      EXPECT_FALSE(gort::this_goroutine::cancelled());
      EXPECT_EQ(gort::this_goroutine::context().value<user>(), nullptr);
      called.set();
    });
    EXPECT_EQ(calls, 0);
    c.cancel();
    gort::shield _;
    called.wait();
    EXPECT_FALSE(cb.stop());
    c.cancel();
    auto late = c.context().after_func([&] { ++calls; });
    EXPECT_TRUE(yield_until([&] { return calls == 2; })) << "cancelled already: at once";
  });
}

TEST_P(ContextCallbacks, AfterFuncTakenBackDoesNotRun) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::with_cancel c;
    auto token = std::make_shared<int>(0);
    std::atomic<int> calls{0};
    auto by_stop = c.context().after_func([&calls, token] { ++calls; });
    { auto by_end = c.context().after_func([&calls, token] { ++calls; }); }
    EXPECT_TRUE(by_stop.stop());
    EXPECT_FALSE(by_stop.stop());
    c.cancel();
    auto nobody = gort::context().after_func([&calls, token] { ++calls; });
    EXPECT_FALSE(nobody.stop());
    for (int i = 0; i < 100; ++i) gort::this_goroutine::yield();
    EXPECT_EQ(calls, 0);
  });
}

TEST_P(ContextCallbacks, ACallbacksEndWaitsForItsFunction) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::atomic<bool> begun{false};
    std::atomic<bool> over{false};
    gort::with_cancel c;
    {
      auto cb = c.context().after_func([&] {
        begun = true;
        for (int i = 0; i < 50; ++i) gort::this_goroutine::yield();
        over = true;
      });
      c.cancel();
      ASSERT_TRUE(yield_until([&] { return begun.load(); }));
    }
    EXPECT_TRUE(over);
  });
}

// Its function has been started, and does not run yet: all processors compute.
TEST_P(ContextCallbacks, ACallbacksEndOnAForeignThreadWaitsForItsFunction) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::with_cancel c;
    const gort::context shown = c.context();
    std::atomic<bool> compute{true};
    std::atomic<bool> called{false};
    bool called_before = false;
    std::vector<gort::task<void>> busy;
    for (int i = 0; i < gort::num_procs(); ++i) {
      busy.push_back(gort::spawn([&] {
        while (compute) {
        }
      }));
    }
    std::thread ends([&] {
      {
        auto cb = shown.after_func([&] { called = true; });
        c.cancel();
        compute = false;
      }
      called_before = called;
    });
    gort::shield _;
    gort::blocking([&] { ends.join(); });
    for (auto& t : busy) t.join();
    EXPECT_TRUE(called_before);
    EXPECT_TRUE(yield_until([&] { return called.load(); }));
  });
}

TEST_P(ContextCallbacks, OneOfTheBackgroundRunsAtTheEndOfTheRun) {
  GORT_TEST_START(GetParam());
  std::atomic<int> calls{0};
  gort::run([&] { gort::this_goroutine::context().after_func([&] { ++calls; }).detach(); });
  EXPECT_EQ(calls, 1);
}

TEST_P(ContextCallbacks, ACallbackThatEndsItself) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::with_cancel c;
    gort::event called;
    auto cb = std::make_unique<gort::context::callback>();
    *cb = c.context().after_func([&] {
      cb.reset();  // does not wait for itself
      called.set();
    });
    c.cancel();
    gort::shield _;
    called.wait();
  });
}

TEST_P(ContextCallbacks, ADetachedCallbackRunsOrDiesWithItsContext) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto token = std::make_shared<int>(0);
    std::atomic<int> calls{0};
    {
      gort::with_cancel c;
      std::move(*std::make_unique<gort::context::callback>(c.context().after_func([&calls, token] { ++calls; })))
          .detach();
    }
    EXPECT_TRUE(yield_until([&] { return calls == 1 && token.use_count() == 1; }));
    {
      auto t = gort::spawn([&] { return gort::this_goroutine::context(); });
      auto shown = t.get();
      std::move(*std::make_unique<gort::context::callback>(shown.after_func([&calls, token] { ++calls; }))).detach();
    }
    EXPECT_TRUE(yield_until([&] { return token.use_count() == 1; }));
    EXPECT_EQ(calls, 1) << "nobody has cancelled it";
  });
}

TEST_P(ContextCallbacks, CallbacksRaceWithTheirEnds) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (int round = 0; round < 300; ++round) {
      std::atomic<int> calls{0};
      int taken_back = 0;
      {
        gort::with_cancel c;
        std::vector<gort::context::callback> all;
        for (int i = 0; i < 8; ++i) all.push_back(c.context().after_func([&] { ++calls; }));
        gort::event done;
        gort::go([&] {
          c.cancel();
          done.set();
        });
        for (auto& cb : all) {
          taken_back += cb.stop() ? 1 : 0;
          if (round % 2 == 0) gort::this_goroutine::yield();
        }
        all.clear();
        gort::shield _;
        done.wait();
      }
      ASSERT_EQ(calls + taken_back, 8);
    }
  });
}

}  // namespace
