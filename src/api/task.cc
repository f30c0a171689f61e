// Tasks: the wait for their end.
//
//   word           means                                    next
//   running        the goroutine has not ended              waiter, done, detached
//   a waiter       likewise, and somebody waits             running (the wait has ended otherwise), done
//   with kRaces    likewise, and that wait may end          running, finishing
//                  otherwise at any moment
//   finishing      it has, and ends that wait               done
//   done           it has                                   -
//   detached       it has not, and frees the state itself   -
#include "api/cancellation.h"
#include "api/context.h"
#include "base/fault.h"
#include "base/print.h"
#include "gort/go.h"
#include "sched/entry.h"
#include "sched/park.h"
#include "sched/sched.h"
#include "sync/blocking_wait.h"
#include "sync/test_points.h"

/// LeakSanitizer's, if the program has that.
extern "C" void __lsan_ignore_object(const void* p) __attribute__((weak));

namespace gort::inline v0::detail {

namespace {

constexpr std::uintptr_t kRunning = 0;
constexpr std::uintptr_t kDone = 1;
constexpr std::uintptr_t kDetached = 2;
constexpr std::uintptr_t kFinishing = 3;

constexpr std::uintptr_t kRaces = 1;  // in a waiter's word
static_assert(alignof(waiter) > kRaces && kRaces < kFinishing);

/// One waiter may wait for a task again and again, now with a state and now without; the word tells which it is.
std::uintptr_t word_for(waiter* w) noexcept {
  return reinterpret_cast<std::uintptr_t>(w) | (w->state != nullptr ? kRaces : 0);
}

/// Publishes the waiter; false if the task is done already.
bool publish(task_core* t, waiter* w) noexcept {
  std::uintptr_t expected = kRunning;
  if (t->word.compare_exchange_strong(expected, word_for(w), std::memory_order_acq_rel, std::memory_order_acquire)) {
    return true;
  }
  if (expected != kDone) {
    rt::fatal("gort::task: two wait for one task: it has one owner at a time, and only that one may wait, join, get or "
              "destroy it. (Several that want one result: give it to each through a channel of its own, or wait once and "
              "tell the others.)");
  }
  return false;
}

/// The goroutine has ended; it is done with the task when this returns, which may be freed then. A few instructions of
/// task_finish, unless its thread has lost its processor.
void await_done(const task_core* t) noexcept {
  for (int round = 0; t->word.load(std::memory_order_acquire) != kDone; ++round) {
    if (round < 100) {
      os::cpu_relax(8);
    } else {
      os::thread_yield();
    }
  }
}

/// Takes it back. False: the goroutine has ended, and has had a look at it, which is over now.
bool take_back(task_core* t, waiter* w) noexcept {
  std::uintptr_t expected = word_for(w);
  if (t->word.compare_exchange_strong(expected, kRunning, std::memory_order_acq_rel, std::memory_order_acquire)) {
    return true;
  }
  await_done(t);
  return false;
}

bool commit_join(rt::G* g, void* task) noexcept { return publish(static_cast<task_core*>(task), &g->wait); }

/// WaitState::withdraw, of the background.
bool withdraw_join(waiter* w, void* task) noexcept {
  std::uintptr_t expected = word_for(w);
  if (!static_cast<task_core*>(task)->word.compare_exchange_strong(expected, kRunning, std::memory_order_acq_rel)) {
    return false;
  }
  w->over = 2;
  return true;
}

/// Of a goroutine whose wait only the task's end, or the run's, can end.
bool plain_wait(rt::G* g, task_core* t, bool cancellable) noexcept {
  g->wait.state = nullptr;
  g->wait.over = 0;
  if (cancellable) {
    g->wait_state.withdraw = withdraw_join;
    g->wait_state.withdraw_from = t;
  }
  rt::park(commit_join, t, rt::WaitReason::task_join);
  g->wait_state.withdraw = nullptr;
  return g->wait.over != 2;
}

// ---- destructors on foreign threads ------------------------------------------------------------

/// A foreign thread that waits for goroutines of an epoch, until that is over.
///
///   who waits                            the end of a run
///     opens its wait, stands on the list   changes the epoch
///     looks at the epoch                   goes over the list: ends the waits of other epochs
struct Leaver {
  rt::WaitState* state;
  std::uint32_t epoch;
  Leaver* next = nullptr;
  Leaver** at = nullptr;
};
constinit rt::Mutex leavers_lock{rt::LockRank::task};
constinit Leaver* leavers = nullptr;

void stand(Leaver* l) noexcept {
  const rt::LockGuard guard(leavers_lock);
  l->next = leavers;
  if (l->next != nullptr) l->next->at = &l->next;
  l->at = &leavers;
  leavers = l;
}
void leave(Leaver* l) noexcept {
  const rt::LockGuard guard(leavers_lock);
  *l->at = l->next;
  if (l->next != nullptr) l->next->at = l->at;
}

bool epoch_over(std::uint32_t epoch) noexcept { return epoch != rt::sched.run_epoch.load(os::memory_order_seq_cst); }

bool wait_as_leaver(task_core* t, std::uint32_t epoch) noexcept {
  rt::RuntimeEntry entry;
  rt::BlockingWait wait(rt::WaitReason::task_join, kNoDeadline, nullptr);
  wait.race();
  Leaver self{wait.state(), epoch};
  stand(&self);
  bool done = false;
  if (!epoch_over(epoch)) {
    done = !publish(t, wait.node());
    if (!done && wait.park() == rt::WaitEnd::done) {
      await_done(t);
      done = true;
    } else if (!done) {
      done = !take_back(t, wait.node());
    }
  }
  leave(&self);
  return done;
}

}  // namespace

void task_epoch_over() noexcept {
  rt::RuntimeEntry entry;
  rt::WaitState* won = nullptr;
  {
    const rt::LockGuard guard(leavers_lock);
    for (const Leaver* l = leavers; l != nullptr; l = l->next) {
      if (!epoch_over(l->epoch)) continue;
      // Its owner leaves the list before it opens another wait: it is this one.
      const std::uint64_t generation = l->state->word.load(os::memory_order_relaxed) >> rt::kWaitGenerationShift;
      if (rt::wait_win(*l->state, generation, rt::WaitEnd::timeout) != rt::Won::parked) continue;
      l->state->next_ready = won;
      won = l->state;
    }
  }
  while (won != nullptr) {
    waiter* const wake = won->wake;
    won = won->next_ready;
    wake->ready(wake);
  }
}

bool task_wait_in_epoch(task_core* t, std::uint32_t epoch) noexcept {
  if (t->word.load(std::memory_order_acquire) != kDone) {
    if (epoch_over(epoch)) return false;
    if (rt::current_g() == nullptr) {
      if (!wait_as_leaver(t, epoch)) return false;
    } else {
      task_wait_anyway(t);  // a goroutine is left over itself
    }
  }
  rt::san::acquire(t);
  return true;
}

task_end task_wait_until(task_core* t, std::int64_t deadline, bool heed) noexcept {
  rt::CancelSource* cancel = heed ? cancellation() : nullptr;
  if (rt::is_cancelled(cancel)) return task_end::cancelled;
  task_end end = task_end::done;
  if (t->word.load(std::memory_order_acquire) != kDone) {
    rt::RuntimeEntry entry;
    rt::G* g = rt::current_g();
    if (g != nullptr && deadline == kNoDeadline && (cancel == nullptr || cancel->background)) {
      if (!plain_wait(g, t, cancel != nullptr)) end = task_end::cancelled;
    } else {
      rt::BlockingWait wait(rt::WaitReason::task_join, deadline, cancel);
      wait.race();
      if (publish(t, wait.node())) {
        const rt::WaitEnd how = wait.park();
        if (how == rt::WaitEnd::done) {
          // A wait that was ended before it slept is over before task_finish is.
          if (!rt::fault(rt::Fault::task_done)) await_done(t);
        } else if (take_back(t, wait.node())) {
          end = how == rt::WaitEnd::timeout ? task_end::timeout : task_end::cancelled;
        }
      }
    }
  }
  if (end == task_end::done) rt::san::acquire(t);
  return end;
}

void task_wait(task_core* t) {
  if (task_wait_until(t, kNoDeadline, true) == task_end::cancelled) throw_cancelled();
}

bool task_wait_for(task_core* t, std::int64_t deadline) {
  const task_end end = task_wait_until(t, deadline, true);
  if (end == task_end::cancelled) throw_cancelled();
  return end == task_end::done;
}

bool task_leave(spawned_core* t) noexcept {
  if (rt::in_fork_child()) return false;
  task_cancel(t->context, cancel_reason::cancelled);
  if (task_wait_in_epoch(t, to_rt(t->context)->run_epoch)) return true;
  rt::san::release(t);
  std::uintptr_t expected = kRunning;
  if (t->word.compare_exchange_strong(expected, kDetached, std::memory_order_acq_rel)) {
    if (__lsan_ignore_object != nullptr) __lsan_ignore_object(t);  // of a goroutine that lies still for good
    return false;
  }
  rt::san::acquire(t);
  return expected == kDone;  // else somebody who is left over as well waits for it: all that stays as it is
}

bool task_finish(task_core* t) noexcept {
  rt::san::release(t);
  std::uintptr_t old = t->word.load(std::memory_order_acquire);
  waiter* w = nullptr;
  for (;;) {
    w = old > kFinishing ? reinterpret_cast<waiter*>(old & ~kRaces) : nullptr;
    // A waiter with a state may give up at this moment: it waits until we have done with it.
    const std::uintptr_t next = w != nullptr && (old & kRaces) != 0 ? kFinishing : kDone;
    if (old == kDetached) {
      rt::san::acquire(t);  // what the owner of the task did with it, before we free the state
      return true;
    }
    if (w != nullptr) rt::wait_point(rt::WaitPoint::task_seen, nullptr);
    if (t->word.compare_exchange_strong(old, next, std::memory_order_acq_rel, std::memory_order_acquire)) break;
  }
  if (w == nullptr) return false;
  rt::RuntimeEntry entry;
  if ((old & kRaces) != 0) {
    const rt::Won won = rt::wait_win_queued(*w->state);
    rt::wait_point(rt::WaitPoint::task_won, nullptr);
    t->word.store(kDone, std::memory_order_release);
    if (won != rt::Won::parked) return false;
  }
  if (w->ready == rt::ready_waiter) {
    // Behind those who wait already, not into runnext: who joins a batch then finds the rest of it done,
    // instead of being woken and parked again for each of its tasks (a third of the price of a batch).
    rt::ready(rt::g_of(w), false);
  } else {
    w->ready(w);
  }
  return false;
}

bool task_detach(task_core* t) noexcept {
  rt::san::release(t);
  std::uintptr_t expected = kRunning;
  if (t->word.compare_exchange_strong(expected, kDetached, std::memory_order_acq_rel)) return false;
  rt::san::acquire(t);
  return true;
}

void task_misuse(const char* operation) noexcept {
  rt::fatal_begin();
  rt::Printer(2) << "fatal error: gort::task: " << operation
                 << " on an empty task (never given a goroutine, or joined, got, detached or moved from before)\n";
  rt::fatal_after_print({"operation on an empty task", false});
}

}  // namespace gort::inline v0::detail
