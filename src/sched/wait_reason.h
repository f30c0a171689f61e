// gort: why a goroutine waits, in the words that tracebacks and the deadlock report print (Go's words
// where Go has the thing, so that people and tools recognise them).
#pragma once

#include <cstdint>

namespace gort::inline v0::rt {

enum class WaitReason : std::uint8_t {
  none,
  semacquire,         // the runtime's own semaphores
  semaphore_acquire,  // gort::semaphore
  task_join,
  sleep,
  io_wait,
  chan_receive,
  chan_send,
  chan_receive_null,
  chan_send_null,
  select,
  select_no_cases,
  mutex_lock,
  shared_mutex_lock,
  shared_mutex_rlock,
  cond_wait,
  wait_group_wait,
  latch_wait,
  barrier_wait,
  once_wait,
  scope_join,
  event_wait,
  context_wait,
  stopping_the_world,
  preempted,
  blocking_ends,
  bubble_wait,
  left_over,  // its run has ended: parked for good
  test,       // parked by a test
};

inline const char* wait_reason_text(WaitReason r) noexcept {
  switch (r) {
    case WaitReason::none: return "";
    case WaitReason::semacquire:
    case WaitReason::semaphore_acquire: return "semacquire";
    case WaitReason::task_join: return "task join";
    case WaitReason::sleep: return "sleep";
    case WaitReason::io_wait: return "IO wait";
    case WaitReason::chan_receive: return "chan receive";
    case WaitReason::chan_send: return "chan send";
    case WaitReason::chan_receive_null: return "chan receive (null chan)";
    case WaitReason::chan_send_null: return "chan send (null chan)";
    case WaitReason::select: return "select";
    case WaitReason::select_no_cases: return "select (no cases)";
    case WaitReason::mutex_lock: return "mutex lock";
    case WaitReason::shared_mutex_lock: return "shared_mutex lock";
    case WaitReason::shared_mutex_rlock: return "shared_mutex lock_shared";
    case WaitReason::cond_wait: return "condition_variable wait";
    case WaitReason::wait_group_wait: return "wait_group wait";
    case WaitReason::latch_wait: return "latch wait";
    case WaitReason::barrier_wait: return "barrier wait";
    case WaitReason::once_wait: return "call_once (another runs it)";
    case WaitReason::scope_join: return "scope join";
    case WaitReason::event_wait: return "event wait";
    case WaitReason::context_wait: return "context wait";
    case WaitReason::stopping_the_world: return "stopping the world";
    case WaitReason::preempted: return "preempted";
    case WaitReason::blocking_ends: return "end of blocking";
    case WaitReason::bubble_wait: return "bubble::wait";
    case WaitReason::left_over: return "left over from an ended run";
    case WaitReason::test: return "test";
  }
  return "?";
}

}  // namespace gort::inline v0::rt
