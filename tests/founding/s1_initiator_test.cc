// S1: who stops the world is stoppable itself. Otherwise it waits for a P whose goroutine waits to look at the initiator's
// stack, which does not stand still as long as it waits: for ever (golang/go#19812).
//
// test: timeout=300
#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "base/fault.h"
#include "gort/gort.h"
#include "sched/entry.h"
#include "sched/sched.h"
#include "tests/founding/founding.h"
#include "tests/support/runtime_fixture.h"
#include "world/suspend.h"
#include "world/world.h"

using namespace gort::test;
namespace rt = gort::rt;

namespace {

constexpr char kAsker[] = "P [0-9]+: running, M [0-9]+, thread [0-9]+, goroutine [0-9]+ \"asker\"";

std::atomic<bool> asker_inside, requested, asks;
std::atomic<rt::G*> initiator;

void reset() {
  asker_inside = requested = asks = false;
  initiator = nullptr;
}

/// In the stop, everybody asked: until the asker, which is in the runtime, is about to ask in its turn.
void wait_for_asker(void*) noexcept {
  requested = true;
  while (!asks.load()) gort::os::cpu_relax(8);
}

/// `stop` runs in the initiator, `ask(g)` in the other one, which has been in the runtime since before the stop. Both
/// must come to their end.
template <class Stop, class Ask>
void meet(Stop stop, Ask ask) {
  gort::run([&] {
    std::atomic<bool> answered{false};
    gort::task<void> a = gort::spawn({.name = "initiator"}, [&] {
      wait_for([] { return asker_inside.load(); });
      initiator = rt::current_g();
      stop();
      wait_for([&] { return answered.load(); });
    });
    gort::task<void> b = gort::spawn({.name = "asker"}, [&] {
      {
        rt::RuntimeEntry entry;
        asker_inside = true;
        while (!requested.load()) gort::os::cpu_relax(8);
        asks = true;
        ask(initiator.load());
      }
      answered = true;
    });
    a.join();
    b.join();
  });
}

void ask_by_suspend(rt::G* g) {
  rt::SuspendedG held = rt::suspend_g(g);
  require(static_cast<bool>(held), "a goroutine that has stopped the world can be held still");
  require(g->status.load() == rt::GStatus::held, "and is");
}

void ask_by_claim(rt::G* g) {
  rt::GStatus was{};
  while (!rt::claim_g(g, &was)) gort::os::cpu_relax(8);
  require(was == rt::GStatus::waiting, "who stops the world is published as waiting");
  for (int i = 0; i < 100; ++i) gort::os::cpu_relax(8);
  rt::unclaim_g(g, was);
}

/// Scenario 9, restated: a traceback is asked of a goroutine that is stopping the world.
void suspend_initiator(int) {
  start_with_procs(2);
  reset();
  rt::set_test_hook(rt::TestPoint::world_requested, wait_for_asker, nullptr);
  meet([] { stop_once(); rt::set_test_hook(rt::TestPoint::world_requested, nullptr, nullptr); }, ask_by_suspend);
}

/// Scenario 9: by somebody who may not wait for worldsema, as a mark worker.
void claim_initiator(int) {
  start_with_procs(2);
  reset();
  rt::set_test_hook(rt::TestPoint::world_requested, wait_for_asker, nullptr);
  meet([] { stop_once(); rt::set_test_hook(rt::TestPoint::world_requested, nullptr, nullptr); }, ask_by_claim);
}

void run_for_each_p() {
  rt::RuntimeEntry entry;
  rt::WorldHold w = rt::world_acquire(rt::StopReason::for_each_p);
  rt::for_each_p(w, [](rt::P* p, void*) noexcept {
    if (rt::self_m() != nullptr && rt::self_m()->p == p && !requested.load()) wait_for_asker(nullptr);
  }, nullptr);
  rt::world_release(std::move(w));
}

/// Scenario 10: of a goroutine that runs for_each_p.
void suspend_for_each_p(int i) {
  start_with_procs(2);
  reset();
  meet(run_for_each_p, i % 2 == 0 ? ask_by_suspend : ask_by_claim);
}

/// Scenario 10: of one that waits for worldsema.
void suspend_waiting(int) {
  start_with_procs(2);
  gort::run([] {
    std::atomic<rt::G*> waiting{nullptr};
    std::atomic<bool> held{false};
    gort::task<void> waiter = gort::spawn([&] {
      wait_for([&] { return held.load(); });
      waiting = rt::current_g();
      stop_once();
    });
    gort::spawn([&] {
      rt::RuntimeEntry entry;
      rt::WorldHold w = rt::world_acquire(rt::StopReason::goroutine_profile);
      held = true;
      while (waiting.load() == nullptr) gort::os::cpu_relax(8);
      while (waiting.load()->status.load() != rt::GStatus::waiting) gort::os::thread_yield();
      {
        rt::SuspendedG s = rt::suspend_g(waiting.load(), w);
        require(s && s.was() == rt::GStatus::waiting, "a goroutine that waits for worldsema can be held still");
      }
      rt::world_release(std::move(w));
    }).join();
    waiter.join();
  });
}

int __attribute__((noinline)) deep(int n) {
  volatile char frame[256] = {};
  if (n == 0) {
    stop_once();
    return frame[0];
  }
  return deep(n - 1) + frame[1];
}

/// Who stops the world with a deep stack is asked for its traceback all the time, and so is everybody else.
void everybody_asks(int) {
  start_with_procs(3);
  gort::run([] {
    constexpr int kOthers = 4;
    std::atomic<bool> done{false};
    std::atomic<rt::G*> all[kOthers + 1] = {};
    std::vector<gort::task<void>> tasks;
    for (int t = 0; t < kOthers; ++t) {
      tasks.push_back(gort::spawn([&, t] {
        all[t] = rt::current_g();
        for (unsigned n = 0; !done.load(std::memory_order_relaxed); ++n) {
          computes();
          if (t == 1) gort::this_goroutine::yield();
          if (t == 2 && n % 64 == 0) gort::blocking([] {});
          if (t == 3) gort::spawn([] {}).join();
        }
      }));
    }
    gort::task<void> stopper = gort::spawn([&] {
      all[kOthers] = rt::current_g();
      while (!done.load()) deep(100);
    });
    wait_for([&] {
      gort::this_goroutine::yield();
      for (auto& g : all) {
        if (g.load() == nullptr) return false;
      }
      return true;
    });
    int answers = 0;
    for (int i = 0; i < 8; ++i) {
      rt::RuntimeEntry entry;
      rt::G* g = all[i % 2 == 0 ? kOthers : i / 2 % kOthers].load();
      rt::SuspendedG s = rt::suspend_g(g);
      if (s) ++answers;
    }
    require(answers >= 4, "who stops the world answers");
    done = true;
    stopper.join();
    for (auto& t : tasks) t.join();
  });
}

TEST(FoundingS1, ShownWithTheMeasureOff) { expect_shown("s1", suspend_initiator, {kAsker}); }
TEST(FoundingS1, ShownToAMarkWorkerToo) { expect_shown("s1", claim_initiator, {kAsker}); }
TEST(FoundingS1, DeterministicRecipe) { expect_passes("s1", "deterministic", suspend_initiator); }
TEST(FoundingS1, AMarkWorkerClaimsTheInitiator) { expect_passes("s1", "claim", claim_initiator); }
TEST(FoundingS1, NaturalRecipe) { expect_passes("s1", "natural", everybody_asks); }
TEST(FoundingS1, ForEachPIsAnInitiatorToo) { expect_passes("s1", "for each P", suspend_for_each_p); }
TEST(FoundingS1, SoIsWhoWaitsForWorldsema) { expect_passes("s1", "waiting", suspend_waiting); }

}  // namespace
