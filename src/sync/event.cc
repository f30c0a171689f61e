#include "sync/event.h"

#include "sync/wait_list.h"

namespace gort::inline v0::rt {

WaitEnd event_wait(EventWord* word, std::int64_t deadline, CancelSource* cancel,
                   WaitReason reason) noexcept {
  if (word->load(os::memory_order_acquire) == kEventSet) return WaitEnd::done;
  BlockingWait wait(reason, deadline, cancel);
  const WaitList list(word);
  list.lock().lock();
  // Release on failure too would be pointless: who sets it takes the lock.
  if (word->load(os::memory_order_acquire) == kEventSet) {
    list.lock().unlock();
    return WaitEnd::done;
  }
  word->store(kEventAwaited, os::memory_order_relaxed);
  list.queue(wait.node());
  const WaitEnd end = wait.park_unlock(&list.lock());
  if (end != WaitEnd::done) {
    LockGuard guard(list.lock());
    list.leave(wait.node());
  }
  return end;
}

void event_set(EventWord* word) noexcept {
  if (word->load(os::memory_order_acquire) == kEventSet) {
    // Somebody else's set, whose release covers what he did; ours is for who looks at the word from now on.
    std::uint32_t set = kEventSet;
    if (word->compare_exchange_strong(set, kEventSet, os::memory_order_acq_rel,
                                      os::memory_order_relaxed))
      return;
  }
  const WaitList list(word);
  WakeChain wake;
  {
    LockGuard guard(list.lock());
    // Release: for those who look at the word only.
    if (word->exchange(kEventSet, os::memory_order_acq_rel) != kEventAwaited) return;
    WaiterChain all;
    take_all(list, &all);
    while (waiter* w = all.pop()) wake.grant(w);
  }
  wake.wake();
}

void event_reset(EventWord* word) noexcept {
  LockGuard guard(WaitList(word).lock());
  std::uint32_t set = kEventSet;
  word->compare_exchange_strong(set, 0, os::memory_order_acq_rel, os::memory_order_relaxed);
}

bool event_awaited(EventWord* word) noexcept {
  const WaitList list(word);
  LockGuard guard(list.lock());
  return !list.empty();
}

}  // namespace gort::inline v0::rt
