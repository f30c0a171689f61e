// Who ends a wait: partners, time and cancellation race for one word, and exactly one of them wins.
#include "sync/blocking_wait.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/fault.h"
#include "gort/gort.h"
#include "sched/entry.h"
#include "sync/test_points.h"
#include "sync/timers.h"

namespace {

using namespace gort::rt;
using gort::waiter;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kRounds = 500;  // a goroutine costs a thousand times as much
constexpr int kMany = 500;
#else
constexpr int kRounds = 20'000;
constexpr int kMany = 10'000;
#endif

// ---- the word

TEST(WaitState, EndsOnce) {
  WaitState s;
  const WaitGeneration g = wait_open(s, false);
  EXPECT_EQ(wait_end(s), WaitEnd::none);
  EXPECT_EQ(wait_win(s, g, WaitEnd::timeout), Won::early);
  EXPECT_EQ(wait_win(s, g, WaitEnd::done), Won::no);
  EXPECT_EQ(wait_end(s), WaitEnd::timeout);
  EXPECT_FALSE(wait_commit(s)) << "whoever won will not call ready";
}

TEST(WaitState, TheWinnerOfAParkedOneWakes) {
  WaitState s;
  const WaitGeneration g = wait_open(s, true);
  EXPECT_TRUE(wait_commit(s));
  EXPECT_EQ(wait_win(s, g, WaitEnd::cancelled), Won::parked);
  EXPECT_EQ(wait_end(s), WaitEnd::cancelled);
}

TEST(WaitState, WhoComesTooLateFindsAnotherGeneration) {
  WaitState s;
  const WaitGeneration old = wait_open(s, false);
  EXPECT_EQ(wait_win(s, old, WaitEnd::done), Won::early);
  const WaitGeneration now = wait_open(s, false);
  EXPECT_NE(old, now);
  EXPECT_EQ(wait_win(s, old, WaitEnd::timeout), Won::no);
  EXPECT_EQ(wait_end(s), WaitEnd::none);
  EXPECT_EQ(wait_win_queued(s), Won::early);
  EXPECT_EQ(wait_end(s), WaitEnd::done);
}

// ---- waiting

struct Queue {
  Mutex lock{LockRank::wait_queue};
  waiter* node = nullptr;
};

/// The goroutine lives in the context of this source meanwhile.
class LivesIn {
 public:
  explicit LivesIn(CancelSource* s) : g_(current_g()), before_(g_ != nullptr ? g_->cancel : nullptr) { set(s); }
  ~LivesIn() { set(before_); }

 private:
  void set(CancelSource* s) const {
    if (g_ != nullptr) g_->cancel = s;
  }
  G* g_;
  CancelSource* before_;
};

/// Waits in `q` under `cancel`.
WaitEnd wait_in(Queue& q, CancelSource* cancel) {
  RuntimeEntry entry;
  const LivesIn lives(cancel);
  BlockingWait wait(WaitReason::test, kNoDeadline, cancel);
  q.lock.lock();
  q.node = wait.node();
  const WaitEnd end = wait.park_unlock(&q.lock);
  if (end != WaitEnd::done) {
    LockGuard guard(q.lock);
    q.node = nullptr;
  }
  return end;
}

/// Ends the wait in `q`. False: nobody there, or not any more.
bool serve(Queue& q) {
  RuntimeEntry entry;
  bool wake = false;
  waiter* node = nullptr;
  {
    LockGuard guard(q.lock);
    node = std::exchange(q.node, nullptr);
    if (node == nullptr || !end_queued(node, &wake)) return false;
  }
  if (wake) node->ready(node);
  return true;
}

void fire(CancelSource& s) {
  RuntimeEntry entry;
  cancel_fire(&s);
  while (cancel_walk(&s)) {
  }
}

void leave() {
  RuntimeEntry entry;
  cancel_leave(&current_g()->wait_state);
}

class Waiting : public testing::TestWithParam<int> {};

/// How a plain wait ends that is cancelled, and served after that; before it, its goroutine began one with a deadline that
/// did not come about.
WaitEnd after_one_that_did_not_come_about() {
  CancelSource source;
  Queue q;
  auto t = gort::spawn([&] {
    {
      RuntimeEntry entry;
      const LivesIn lives(&source);
      const BlockingWait timed(WaitReason::test, clock_now() + 3'600'000'000'000, &source);
    }
    const WaitEnd end = wait_in(q, &source);
    leave();
    return end;
  });
  // It holds the lock until it is parked.
  const auto parked = [&q] {
    RuntimeEntry entry;
    LockGuard guard(q.lock);
    return q.node != nullptr;
  };
  while (!parked()) gort::this_goroutine::yield();
  fire(source);
  serve(q);
  return t.get();
}

TEST_P(Waiting, OneThatDidNotComeAboutIsNotTakenForTheNext) {
  gort::run({.max_procs = GetParam()}, [] { EXPECT_EQ(after_one_that_did_not_come_about(), WaitEnd::cancelled); });
}

#if defined(GORT_TESTING)
TEST_P(Waiting, LeftOpenItIs) {
  set_fault(Fault::wait_close, true);
  gort::run({.max_procs = GetParam()}, [] { EXPECT_EQ(after_one_that_did_not_come_about(), WaitEnd::done); });
  set_fault(Fault::wait_close, false);
}
#endif

TEST_P(Waiting, ServedWithoutAState) {
  gort::run({.max_procs = GetParam()}, [] {
    Queue q;
    auto t = gort::spawn([&] { return wait_in(q, nullptr); });
    while (!serve(q)) gort::this_goroutine::yield();
    EXPECT_EQ(t.get(), WaitEnd::done);
  });
}

TEST_P(Waiting, CancelledBeforeIsNotAWait) {
  gort::run({.max_procs = GetParam()}, [] {
    Queue q;
    CancelSource s;
    fire(s);
    EXPECT_EQ(wait_in(q, &s), WaitEnd::cancelled);
    leave();
  });
}

// Each wait is ended by a partner or by the cancellation, whoever is first, and nobody is left behind.
TEST_P(Waiting, PartnersAndCancellationRace) {
  gort::run({.max_procs = GetParam()}, [] {
    int done = 0;
    for (int i = 0; i < kRounds; ++i) {
      Queue q;
      CancelSource s;
      auto t = gort::spawn([&] {
        const WaitEnd end = wait_in(q, &s);
        leave();
        return end;
      });
      if (i % 2 == 0) gort::this_goroutine::yield();
      auto canceller = gort::spawn([&] { fire(s); });
      if (i % 3 == 0) gort::this_goroutine::yield();
      const bool served = serve(q);
      canceller.join();
      const WaitEnd end = t.get();
      ASSERT_EQ(end, served ? WaitEnd::done : WaitEnd::cancelled) << "round " << i;
      done += served;
    }
    EXPECT_GT(done, 0);
    EXPECT_LT(done, kRounds);
  });
}

TEST_P(Waiting, OneCancellationEndsManyWaits) {
  gort::run({.max_procs = GetParam()}, [] {
    std::vector<Queue> queues(kMany);
    CancelSource s;
    std::vector<gort::task<WaitEnd>> tasks;
    for (auto& q : queues) {
      tasks.push_back(gort::spawn([&] {
        const WaitEnd end = wait_in(q, &s);
        leave();
        return end;
      }));
    }
    fire(s);
    for (auto& t : tasks) EXPECT_EQ(t.get(), WaitEnd::cancelled);
    EXPECT_EQ(s.members, nullptr);
  });
}

// A member whose wait is shielded stays; its next one is ended at once.
TEST_P(Waiting, AShieldedWaitIsLeftAlone) {
  gort::run({.max_procs = GetParam()}, [] {
    Queue first;
    Queue second;
    CancelSource s;
    std::atomic<bool> member{false};
    auto t = gort::spawn([&] {
      EXPECT_EQ(wait_in(first, &s), WaitEnd::done);
      member = true;
      EXPECT_EQ(wait_in(second, nullptr), WaitEnd::done);
      EXPECT_EQ(wait_in(first, &s), WaitEnd::cancelled);
      leave();
    });
    while (!serve(first)) gort::this_goroutine::yield();
    while (!member) gort::this_goroutine::yield();
    fire(s);
    while (!serve(second)) gort::this_goroutine::yield();
    t.join();
  });
}

TEST_P(Waiting, ForeignThreads) {
  gort::run({.max_procs = GetParam()}, [] {
    for (int i = 0; i < 200; ++i) {
      Queue q;
      CancelSource s;
      WaitEnd end = WaitEnd::none;
      std::thread t([&] { end = wait_in(q, &s); });
      std::thread canceller([&] { fire(s); });
      const bool served = serve(q);
      gort::blocking([&] {
        canceller.join();
        t.join();
      });
      ASSERT_EQ(end, served ? WaitEnd::done : WaitEnd::cancelled);
      ASSERT_EQ(s.members, nullptr) << "a record goes back to its pool without memberships";
    }
  });
}

INSTANTIATE_TEST_SUITE_P(procs, Waiting, testing::Values(1, 2, 4), testing::PrintToStringParamName());

#if defined(GORT_TESTING)
void end_it(WaitState* w) noexcept {
  wait_win(*w, w->word.load(gort::os::memory_order_relaxed) >> kWaitGenerationShift, WaitEnd::done);
}

// A deadline is armed by who parks right after it, so that it is the P that remembers to have it watched. Where the owner
// does not park, because its wait has ended, somebody is told at once: a later timer relies on the earlier one's being
// watched, and the owner may compute for long.
TEST(Waiting, ADeadlineThatIsNotSleptForIsWatched) {
  gort::run({.max_procs = 2}, [] {
    wait_hooks[static_cast<int>(WaitPoint::deadline_armed)].store(end_it, gort::os::memory_order_release);
    WaitEnd end = WaitEnd::none;
    bool unwatched = true;
    {
      RuntimeEntry entry;
      BlockingWait wait(WaitReason::sleep, clock_now() + 3'600'000'000'000, nullptr);
      wait.race();
      end = wait.park();
      unwatched = self_m()->p->unwatched;
    }
    EXPECT_EQ(end, WaitEnd::done);
    EXPECT_FALSE(unwatched);
    wait_hooks[static_cast<int>(WaitPoint::deadline_armed)].store(nullptr, gort::os::memory_order_release);
  });
}
#endif

}  // namespace
