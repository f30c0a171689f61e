#include "sync/once.h"

#include "gort/detail/sync_words.h"

namespace gort::inline v0::rt {

bool once_begin(SyncWord* word) noexcept {
  for (;;) {
    std::uint32_t now = detail::kOnceNever;
    if (word->compare_exchange_strong(now, detail::kOnceRuns, os::memory_order_acquire, os::memory_order_acquire)) {
      san::acquire(word);
      return true;
    }
    if (now == detail::kOnceDone) break;
    BlockingWait wait(WaitReason::once_wait, kNoDeadline, nullptr);
    const WaitList list(word);
    list.lock().lock();
    now = word->load(os::memory_order_relaxed);
    if (now != detail::kOnceRuns && now != detail::kOnceRunsParked) {
      list.lock().unlock();
      continue;
    }
    // While it runs, the word is written under the lock only.
    word->store(detail::kOnceRunsParked, os::memory_order_relaxed);
    list.queue(wait.node());
    static_cast<void>(wait.park_unlock(&list.lock()));
  }
  san::acquire(word);
  return false;
}

void once_end(SyncWord* word, bool completed) noexcept {
  san::release(word);
  const WaitList list(word);
  WakeChain wake;
  {
    LockGuard guard(list.lock());
    WaiterChain chain;
    take_all(list, &chain);
    // Not completed: they compete once more for being the one.
    word->store(completed ? detail::kOnceDone : detail::kOnceNever, os::memory_order_release);
    while (waiter* w = chain.pop()) wake.grant(w);
  }
  wake.wake();
}

}  // namespace gort::inline v0::rt
