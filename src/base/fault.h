// gort: faults on purpose. Test builds can switch each protective measure off, so that a test can show the
// hang, the loss or the starvation that the measure is there for.
//
//   GORT_FAULT=s0,s3 program        the environment, read once when the runtime starts; or
//   set_fault(Fault::s0, true);     from a test
//   if (fault(Fault::s0)) { … }     in the code: the old way. Constant false in release builds.
//
// A *test point* is a named place in a protocol. A test hangs a function into it that waits until the
// interleaving it wants has come about: deterministic recipes instead of luck. Without a function it costs one
// load in test builds, nothing in release builds.
#pragma once

#include <cstdint>

#include "os/os.h"

namespace gort::inline v0::rt {

/// The measures that can be switched off. The text after each is what is done instead.
enum class Fault : std::uint8_t {
  s0,          ///< worldsema is released without handoff (golang/go#40459)
  s1,          ///< who stops the world is not stoppable itself, and requests do not queue for worldsema (#19812)
  s2,          ///< start_m can be stopped between taking a P and handing it over (#42237)
  s3,          ///< thread requests carry a P, and the template thread starts at the first lock_os_thread (#38931)
  s4,          ///< worldsema is taken on the M's own stack (#8749)
  resend,      ///< a stop asks once and does not repeat
  idle_drain,  ///< Ps may go idle during a stop without being counted
  progress,    ///< L3: a sleeper may be claimed by one stop after the other
  handed,      ///< a stop waits for threads that were handed a P and have not woken
  captives,    ///< a slice ends only if an idle thread exists (L2)
  lock_slices,  ///< a slice ends although the goroutine may hold a lock for which the next one waits
  handoff_yields,  ///< a granted semaphore yields although preemption is off (#35424)
  gc_order,    ///< gcsema after worldsema
  cancel_look,  ///< who waits does not look whether it is cancelled, once its wait can be seen (W3)
  cancel_walk,  ///< who cancels does not walk the members (C2)
  cancel_hang,  ///< a context is hung below another without a look whether that is cancelled
  timer_break,  ///< an earlier timer does not wake who sleeps until a later one
  starvation,  ///< a mutex never hands over, however long somebody has waited
  wait_look,   ///< who is about to wait does not look again under the lock of the queue
  alone,       ///< a thread without P does not wait for who skips a lock (sched/alone.h)
  net_break,   ///< an earlier timer, or a request for a thread, does not wake who sleeps in the poller
  net_ready,   ///< who is about to wait for a descriptor does not look whether an edge has come
  net_serve,   ///< a call that need not wait for its descriptor is no place to be stopped (api/net_fd.h)
  net_stale,   ///< a late event counts for whoever has the record by now
  hold_queue,  ///< a goroutine that is held in place keeps those who queue on its P
  hold_runnable,  ///< a goroutine that is runnable whenever it is looked at is never held
  chan_next,    ///< who serves a channel's queue gives up at a waiter whose wait is over
  chan_at_once, ///< a send or receive that need not wait does not look whether somebody else does (sync/chan_at_once.h)
  select_look,  ///< a select queues without a look under its channels' locks
  select_leave, ///< a select that has fired leaves its other cases queued
  lock_sleep,   ///< who waits for a lock of the runtime sleeps until it is woken, however long (base/mutex.h)
  lock_mark,    ///< likewise, whether the lock's word still says that somebody sleeps or not (base/mutex.h)
  sysmon_watch, ///< sysmon breaks its word to look at the timers that nobody watches (sched/watch.h)
  run_rights,   ///< the end of a run parks whoever has, or waits for, the right to stop the world (sched/runs.h)
  run_retired,  ///< the end of a run does not wait for a thread that has not noticed that its P is gone (sched/runs.cc)
  count_moves,  ///< who adds up the Ps' counts does not notice that some are being moved (sched/spawn.cc)
  task_done,    ///< a joiner does not wait until the end of the goroutine is done with the task (api/task.cc)
  stop_turns,   ///< a user's stop waits for another user's whatever its limit (api/world.cc)
  sleeper_p,    ///< who sleeps in the kernel keeps its P from those who are queued on other Ps (sched/captives.cc)
  wait_close,   ///< a wait that did not come about stays open (sync/blocking_wait.cc)
  class_debt,   ///< what the turn of captives, or of the others, was too long is not given back (sched/captives.cc)
  cancel_at_once,  ///< who cancels, or wakes, very many lets no stop in before it is done (let_in, sync/context_timer.cc)
  need_memory,  ///< who could do without a record of the runtime's needs it all the same: fatal without memory (base/alloc.h)
  bubble_dead,  ///< a bubble's clock stands still although nobody in the process can go on before it does (sync/bubble.cc)
  no_memory,    ///< no measure: nobody who can do without gets such a record, so that tests need not use memory up
  kCount
};

/// The name as GORT_FAULT has it.
const char* fault_name(Fault f) noexcept;

enum class TestPoint : std::uint8_t {
  start_m_has_p,        ///< start_m holds a P and has not handed it over
  template_flag_set,    ///< the first lock_os_thread; with s3: flag set, template thread not created yet
  world_acquired,       ///< worldsema taken, nothing stopped yet
  world_requested,      ///< a stop has asked everybody and begins to wait
  world_stopped,        ///< everybody has stopped
  world_restarted,      ///< the world goes on, worldsema not released yet
  alone_inside,         ///< a goroutine skips a lock (sched/alone.h)
  lock_sleeps,          ///< a lock of the runtime is held by another thread, which knows it; its waiter is about to sleep
  captive_queued,       ///< a goroutine stands on the captives' queue, its P is on its way
  kCount
};

#if defined(GORT_TESTING)

static_assert(static_cast<int>(Fault::kCount) <= 64);
extern os::atomic<std::uint64_t> faults;  ///< bit per Fault
inline bool fault(Fault f) noexcept {
  return __builtin_expect((faults.load(os::memory_order_relaxed) >> static_cast<unsigned>(f) & 1) != 0, 0);
}
void set_fault(Fault f, bool on) noexcept;
/// Reads GORT_FAULT. An unknown name ends the process with a message and exit status 2.
void faults_from_environment() noexcept;

using TestHook = void (*)(void* arg) noexcept;
/// One hook per point; null takes it out. The hook runs inside the runtime, perhaps with locks held or in a signal
/// handler: it may spin and look at atomics, nothing else.
void set_test_hook(TestPoint at, TestHook hook, void* arg) noexcept;
void run_test_hook(TestPoint at) noexcept;
extern os::atomic<std::uint32_t> test_hooks_set;  ///< bit per TestPoint
inline void test_point(TestPoint at) noexcept {
  if (__builtin_expect(test_hooks_set.load(os::memory_order_relaxed) != 0, 0)) run_test_hook(at);
}

#else

constexpr bool fault(Fault) noexcept { return false; }
constexpr void test_point(TestPoint) noexcept {}

#endif

}  // namespace gort::inline v0::rt
