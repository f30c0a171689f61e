#include "sync/barrier.h"

#include "base/fault.h"

namespace gort::inline v0::rt {

namespace {
constexpr std::uint32_t kParked = 1;
}

void barrier_next(SyncWord* phase) noexcept {
  san::release(phase);
  const WaitList list(phase);
  WakeChain wake;
  {
    LockGuard guard(list.lock());
    WaiterChain chain;
    take_all(list, &chain);
    phase->store((phase->load(os::memory_order_relaxed) | kParked) + 1, os::memory_order_release);
    while (waiter* w = chain.pop()) wake.grant(w);
  }
  wake.wake();
}

WaitEnd barrier_wait(SyncWord* phase, std::uint32_t number, CancelSource* cancel) noexcept {
  std::uint32_t now = phase->load(os::memory_order_acquire);
  if (now >> 1 != number) {
    san::acquire(phase);
    return WaitEnd::done;
  }
  BlockingWait wait(WaitReason::barrier_wait, kNoDeadline, cancel);
  const WaitList list(phase);
  list.lock().lock();
  now = phase->load(os::memory_order_acquire);
  if (now >> 1 != number && !fault(Fault::wait_look)) {
    list.lock().unlock();
    san::acquire(phase);
    return WaitEnd::done;
  }
  phase->store(now | kParked, os::memory_order_relaxed);  // written under the lock only
  list.queue(wait.node());
  if (wait.park_unlock(&list.lock()) == WaitEnd::done) {
    san::acquire(phase);
    return WaitEnd::done;
  }
  LockGuard guard(list.lock());
  if (!list.leave(wait.node())) return WaitEnd::cancelled;
  if (list.empty()) phase->store(phase->load(os::memory_order_relaxed) & ~kParked, os::memory_order_relaxed);
  return WaitEnd::cancelled;
}

}  // namespace gort::inline v0::rt
