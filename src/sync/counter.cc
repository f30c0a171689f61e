#include "sync/counter.h"

#include "base/fault.h"
#include "gort/detail/sync_words.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::uint32_t kParked = detail::kCountParked;
constexpr std::uint32_t kOne = detail::kCountOne;

// No other primitive has a list at this place of its word: who comes late may meet another object here.
WaitList waiters_of(SyncWord* word) noexcept { return WaitList(word, 2); }

/// The count is 0, and somebody waits. Acquire: whoever has lowered it did so without the lock, and what came before that is
/// seen by us, if our own wait is over, and by those whom we wake.
bool is_zero(SyncWord* word) noexcept { return word->load(os::memory_order_acquire) == kParked; }

/// That is so: everybody goes on. Under the list's lock.
void wake_all(SyncWord* word, const WaitList& list, WakeChain* wake) noexcept {
  WaiterChain chain;
  take_all(list, &chain);
  word->store(0, os::memory_order_relaxed);
  while (waiter* w = chain.pop()) wake->grant(w);
}

/// Not granted. True: the count is 0 all the same.
bool left(SyncWord* word, const WaitList& list, waiter* node) noexcept {
  bool zero = true;
  WakeChain wake;
  {
    LockGuard guard(list.lock());
    if (list.leave(node)) {
      if (is_zero(word)) {
        wake_all(word, list, &wake);
      } else {
        // If the count comes to 0 just now, whoever did that finds nobody, and touches nothing.
        zero = list.empty() ? word->fetch_and(~kParked, os::memory_order_acquire) == kParked : false;
      }
    }
  }
  wake.wake();
  return zero;
}

}  // namespace

void counter_wake(SyncWord* word) noexcept {
  const WaitList list = waiters_of(word);
  WakeChain wake;
  {
    LockGuard guard(list.lock());
    if (!list.empty() && is_zero(word)) wake_all(word, list, &wake);
  }
  wake.wake();
}

WaitEnd counter_wait(SyncWord* word, WaitReason reason, std::int64_t deadline, CancelSource* cancel) noexcept {
  std::uint32_t now = word->load(os::memory_order_acquire);
  if (now < kOne) {
    san::acquire(word);
    return WaitEnd::done;
  }
  BlockingWait wait(reason, deadline, cancel);
  const WaitList list = waiters_of(word);
  list.lock().lock();
  for (;;) {
    if (now < kOne && !fault(Fault::wait_look)) {
      list.lock().unlock();
      san::acquire(word);
      return WaitEnd::done;
    }
    if (word->compare_exchange_weak(now, now | kParked, os::memory_order_acquire, os::memory_order_acquire)) break;
  }
  list.queue(wait.node());
  const WaitEnd end = wait.park_unlock(&list.lock());
  if (end != WaitEnd::done && (!left(word, list, wait.node()) || end == WaitEnd::cancelled)) return end;
  san::acquire(word);
  return WaitEnd::done;
}

}  // namespace gort::inline v0::rt
