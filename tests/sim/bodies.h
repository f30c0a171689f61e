// gort: what the bodies of simulated runs are made of: goroutines, gates, an end to wait for. See scenario.h.
#pragma once

#include <string>

#include "os/sim/sim.h"
#include "sched/entry.h"
#include "sched/park.h"
#include "sched/sched.h"
#include "sched/spawn.h"
#include "sched/start.h"

namespace gort::inline v0::rt {

using os::sim_assert;
using os::SimOptions;
using os::SimResult;
using os::SimStrategy;
using os::SimVerdict;

/// What is printed about a run that failed.
inline std::string tell(const SimResult& r) {
  // The last part of a long history is where it went wrong.
  std::string_view history = r.history;
  constexpr std::size_t kTail = 20'000;
  if (history.size() > kTail) history.remove_prefix(history.size() - kTail);
  return std::string(os::sim_verdict_name(r.verdict)) + " seed " + std::to_string(r.seed) +
         " after " + std::to_string(r.runs) + " runs: " + std::string(r.message) + "\n" +
         std::string(history) + "\n" + std::string(r.table);
}

/// How often something is done; less where every schedule is tried.
inline int times(int n, int small = 1) { return os::sim_small() && small < n ? small : n; }

inline void go(void (*fn)(void*), void* arg) {
  RuntimeEntry entry;
  G* g = g_alloc(0);
  sim_assert(g != nullptr, "memory for a goroutine");
  StartArgs args;
  args.fn = fn;
  args.arg = arg;
  g_start(g, args);
}

inline void yield_now() {
  RuntimeEntry entry;
  yield();
}

/// A semaphore with direct handoff, over park and ready. Broken: it lets the lock go before it
/// parks.
template <bool Broken = false>
struct Gate {
  Mutex lock{LockRank::sema_root};
  std::uint32_t permits = 0;
  Queue1<G, &G::link> waiters;

  void acquire() {
    RuntimeEntry entry;
    lock.lock();
    if (permits > 0) {
      --permits;
      lock.unlock();
      return;
    }
    waiters.push_back(current_g());
    if constexpr (Broken) {
      lock.unlock();
      park(nullptr, nullptr, WaitReason::test);
    } else {
      park_unlock(&lock, WaitReason::test);
    }
  }
  void release() {
    RuntimeEntry entry;
    lock.lock();
    G* g = waiters.pop_front();
    if (g == nullptr) ++permits;
    lock.unlock();
    if (g != nullptr) ready(g);
  }
};

/// Foreign threads wait for goroutines: the last one rings.
struct Done {
  os::atomic<int> left;
  Note note;
  explicit Done(int n) : left(n) {}
  void one() {
    if (left.fetch_sub(1) == 1) note.wakeup();
  }
  void wait() { note.sleep(); }
};

/// Every P comes to rest on the idle list; none is lost. Virtual seconds: longer than anything
/// sleeps that keeps one.
inline void expect_all_ps_idle() {
  for (int i = 0; i < 100; ++i) {
    if (sched.npidle.load() == sched.nprocs && sched.nmspinning.load() == sched.orders_spinning)
      return;
    os::sleep_ns(100'000'000);
  }
  os::sim_fail("a P, or a count of spinning Ms, is lost");
}

}  // namespace gort::inline v0::rt
