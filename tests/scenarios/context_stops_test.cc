// Stops of the world while much is being cancelled, or woken: they come between two steps of it, by a goroutine and by a timer.
// test: needs=GORT_TESTING
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <span>
#include <vector>

#include "base/fault.h"
#include "sched/entry.h"
#include "sched/stop_point.h"
#include "sync/chan.h"
#include "sync/test_points.h"
#include "sync/wait_list.h"
#include "tests/scenarios/context.h"
#include "world/world.h"

using namespace std::chrono_literals;
using gort::rt::Fault;
using gort::rt::TestPoint;
using gort::rt::WaitPoint;
using gort::test::now_ns;
using gort::test::wait_for_ever;

namespace {

constexpr int kContexts = 400;
constexpr int kFew = 300;  // a timer cancels 64 without a look, on each processor
#if defined(GORT_TEST_TSAN)
constexpr int kRounds = 1;  // milliseconds for each goroutine
#else
constexpr int kRounds = 5;
#endif

std::atomic<std::int64_t> patience{30'000'000'000};  ///< ns
std::atomic<bool> ready{false};
std::atomic<bool> begun{false};
std::atomic<int> steps{0};
std::atomic<bool> counts{false};
std::atomic<int> told{0};
std::atomic<int> told_when_stopped{0};

/// A goroutine's thread is asked by name; a timer, on the M's own stack, looks whether anybody is.
bool asked_to_stop(const gort::rt::M* m) noexcept {
  if (!gort::rt::stop_requested()) return false;
  return m->curg == nullptr || (m->pending.load(gort::os::memory_order_relaxed) & gort::rt::kPendingStop) != 0;
}

/// The first step goes no further before it is asked to stop. Not before somebody is there who will: a timer's function
/// keeps everybody from its processor. Not on sysmon, which has none: no stop waits for that.
void until_a_stop(gort::rt::WaitState*) noexcept {
  const gort::rt::M* m = gort::rt::self_m();
  const bool has_p = m != nullptr && m->p != nullptr;
  if (steps++ == 0) counts = ready && has_p;
  if (!counts || !has_p || told++ != 0) return;
  begun = true;
  const std::int64_t give_up = now_ns() + patience;
  while (!asked_to_stop(m) && now_ns() < give_up) {
  }
}
void stopped(void*) noexcept { told_when_stopped = told.load(); }

/// Before the context is made that will be cancelled.
void reset() {
  ready = false;
  begun = false;
  steps = 0;
  counts = false;
  told = 0;
  told_when_stopped = -1;
}

void hook(gort::rt::WaitHook fn) {
  gort::rt::wait_hooks[static_cast<int>(WaitPoint::context_told)].store(fn, gort::os::memory_order_release);
  gort::rt::set_test_hook(TestPoint::world_stopped, fn != nullptr ? stopped : nullptr, nullptr);
}

class ContextStops : public gort::test::ContextTest {
 protected:
  void SetUp() override { hook(until_a_stop); }
  void TearDown() override {
    hook(nullptr);
    gort::rt::set_fault(Fault::cancel_at_once, false);
    gort::test::ContextTest::TearDown();
  }
};
GORT_TEST_AT_PROCS(ContextStops);

void stop_when_begun(gort::event& up) {
  gort::shield _;
  up.set();
  while (!begun) gort::poll();
  gort::rt::RuntimeEntry entry;
  gort::rt::start_the_world(gort::rt::stop_the_world(gort::rt::StopReason::test));
}

/// Those who wait in contexts of their own, below the one that is installed, and who stops the world when the first of them
/// is told that it is cancelled.
class Crowd {
 public:
  Crowd() {
    for (int i = 0; i < kContexts; ++i) {
      tasks_.push_back(gort::spawn([this] {
        ++up_;
        if (wait_for_ever()) ++cancelled_;
      }));
    }
    stops_ = gort::spawn([this] { stop_when_begun(stops_up_); });
    gort::shield _;
    stops_up_.wait();
    EXPECT_TRUE(gort::test::yield_until([this] { return up_ == kContexts; }));
    ready = true;
  }
  /// All have been cancelled. How many had been told when the world stood; -1: the first step was done before all
  /// were there, or by sysmon.
  int join() {
    gort::shield _;
    for (auto& t : tasks_) t.join();
    begun = true;
    stops_.join();
    EXPECT_EQ(cancelled_, kContexts);
    return told > 0 ? told_when_stopped.load() : -1;
  }

 private:
  gort::event stops_up_;
  std::atomic<int> up_{0};
  std::atomic<int> cancelled_{0};
  std::vector<gort::task<void>> tasks_;
  gort::task<void> stops_;
};

int by_a_call() {
  reset();
  gort::with_cancel above;
  Crowd crowd;
  above.cancel();
  return crowd.join();
}
int by_time() {
  for (auto limit = 40ms;; limit *= 2) {
    reset();
    gort::with_timeout above(limit);
    Crowd crowd;
    wait_for_ever();
    if (const int n = crowd.join(); n > 0) return n;
  }
}

/// As many waiters, which nobody has, are woken, by wake(them).
template <class F>
int by_a_wake(F wake) {
  static gort::waiter nodes[kContexts];
  reset();
  gort::event up;
  auto stops = gort::spawn([&] { stop_when_begun(up); });
  up.wait();
  ready = true;
  for (gort::waiter& w : nodes) {
    w.state = nullptr;
    w.over = 0;
    w.ready = [](gort::waiter*) noexcept { until_a_stop(nullptr); };
  }
  {
    gort::rt::RuntimeEntry entry;
    wake(nodes);
  }
  stops.join();
  return told_when_stopped;
}
int by_a_chain() {
  return by_a_wake([](std::span<gort::waiter> all) {
    gort::rt::WakeChain chain;
    for (gort::waiter& w : all) chain.grant(&w);
    chain.wake();
  });
}
int by_a_close() {
  return by_a_wake([](std::span<gort::waiter> all) {
    gort::rt::Chan c;
    for (gort::waiter& w : all) gort::rt::push(c.recvq, &w);
    gort::rt::chan_close(&c);
  });
}

TEST_P(ContextStops, AWakeOfManyLetsThemIn) {
  if (GetParam() < 2) GTEST_SKIP() << "one stops the world while the other wakes";
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (int i = 0; i < kRounds; ++i) EXPECT_LT(by_a_chain(), kFew);
    for (int i = 0; i < kRounds; ++i) EXPECT_LT(by_a_close(), kFew);
  });
}
TEST_P(ContextStops, AWakeThatDoesNot) {
  if (GetParam() < 2) GTEST_SKIP() << "one stops the world while the other wakes";
  GORT_TEST_START(GetParam());
  gort::rt::set_fault(Fault::cancel_at_once, true);
  gort::run([] {
    EXPECT_GE(by_a_chain(), kContexts);
    EXPECT_GE(by_a_close(), kContexts);
  });
}

TEST_P(ContextStops, ACallLetsThemIn) {
  if (GetParam() < 2) GTEST_SKIP() << "one stops the world while the other cancels";
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (int i = 0; i < kRounds; ++i) EXPECT_LT(by_a_call(), kFew);
  });
}
TEST_P(ContextStops, ACallThatDoesNot) {
  if (GetParam() < 2) GTEST_SKIP() << "one stops the world while the other cancels";
  GORT_TEST_START(GetParam());
  gort::rt::set_fault(Fault::cancel_at_once, true);
  gort::run([] { EXPECT_GE(by_a_call(), kContexts); });
}

TEST_P(ContextStops, ATimerLetsThemIn) {
  if (GetParam() < 2) GTEST_SKIP() << "one stops the world while the timer goes off";
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (int i = 0; i < kRounds; ++i) EXPECT_LT(by_time(), kFew);
  });
}
TEST_P(ContextStops, ATimerThatDoesNot) {
  if (GetParam() < 2) GTEST_SKIP() << "one stops the world while the timer goes off";
  GORT_TEST_START(GetParam());
  gort::rt::set_fault(Fault::cancel_at_once, true);
  gort::run([] { EXPECT_GE(by_time(), kContexts); });
}

// The context goes while its timer has left the rest of the cancellation for after the stop. Nobody may be on his way to stop
// the world yet, and the timer keeps him from it: then it goes on.
TEST_P(ContextStops, ItsOwnerGoesMeanwhile) {
  if (GetParam() < 2) GTEST_SKIP() << "one stops the world while the timer goes off";
  GORT_TEST_START(GetParam());
  patience = 1'000'000;
  gort::run([] {
    for (int i = 0; i < 4 * kRounds; ++i) {
      reset();
      std::optional<Crowd> crowd;
      {
        gort::with_timeout above(1ms);
        crowd.emplace();
        wait_for_ever();  // ended by the first step
      }
      crowd->join();
    }
  });
}

}  // namespace
