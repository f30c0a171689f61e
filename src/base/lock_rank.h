// gort: the order of the runtime's locks.
//
// A thread may take a lock only if every lock that it holds has a lower rank. Debug builds check each
// acquisition against the calling thread's held list (Tls::held) and name both locks when it is broken.
// The idea and its usefulness: Go's lockrank.go. Semaphores (gcsema before worldsema) come before all of
// these and are never taken with one of them held.
#pragma once

#include <cstdint>

namespace gort::inline v0::rt {

enum class LockRank : std::uint8_t {
  start,        // start of the runtime, once
  sysmon,       // sysmon's pass over the Ps
  timer_op,     // arming of one timer: who does it may wake somebody
  sched,        // Sched::lock: idle lists, global queue, counts
  all_g,        // growth of the registry of goroutines
  task,         // join state of a task
  context,      // a context's children and callbacks
  cancel,       // the members of a cancel source
  chan,         // a channel; several, in the order of their addresses
  sema_root,    // one root of the semaphore table: who waits on a primitive of src/sync
  wait_queue,   // who waits elsewhere
  timers,       // one heap of timers
  g_free,       // global list of dead goroutines
  stack_pool,   // goroutine stacks
  fix_alloc,    // one fixed-size allocator
  persistent,   // persistent allocator
  print,        // whole reports on one descriptor
  leaf,         // tests, and locks under which no other is ever taken
};

inline const char* lock_rank_name(LockRank r) noexcept {
  switch (r) {
    case LockRank::start: return "start";
    case LockRank::sysmon: return "sysmon";
    case LockRank::timer_op: return "timer_op";
    case LockRank::sched: return "sched";
    case LockRank::all_g: return "all_g";
    case LockRank::task: return "task";
    case LockRank::context: return "context";
    case LockRank::cancel: return "cancel";
    case LockRank::chan: return "chan";
    case LockRank::sema_root: return "sema_root";
    case LockRank::wait_queue: return "wait_queue";
    case LockRank::timers: return "timers";
    case LockRank::g_free: return "g_free";
    case LockRank::stack_pool: return "stack_pool";
    case LockRank::fix_alloc: return "fix_alloc";
    case LockRank::persistent: return "persistent";
    case LockRank::print: return "print";
    case LockRank::leaf: return "leaf";
  }
  return "?";
}

}  // namespace gort::inline v0::rt
