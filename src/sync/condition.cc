#include "sync/condition.h"

#include "base/fault.h"
#include "gort/detail/sync_words.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::uint64_t kOne = detail::kCondWaiting;
constexpr std::uint64_t kRound = detail::kCondRound;

/// The oldest sleeper whose wait can still be ended; false: there is none. Under the list's lock.
bool notify_sleeper(CondWord* word, const WaitList& list, WakeChain* wake) noexcept {
  while (waiter* w = list.first()) {
    list.take(w);
    word->fetch_sub(kOne, os::memory_order_relaxed);
    if (wake->grant(w)) return true;
  }
  return false;
}

void notify_all(CondWord* word, const WaitList& list, WakeChain* wake) noexcept {
  WaiterChain chain;
  const std::uint32_t n = take_all(list, &chain);
  const std::uint64_t before = word->fetch_sub(n * kOne, os::memory_order_relaxed);
  // The rest is on its way. The object exists, since those will come to it.
  if (static_cast<std::uint32_t>(before) != n) word->fetch_add(kRound, os::memory_order_relaxed);
  while (waiter* w = chain.pop()) wake->grant(w);
}

}  // namespace

WaitEnd cond_sleep(CondWord* word, std::uint64_t begun, std::int64_t deadline, CancelSource* cancel) noexcept {
  BlockingWait wait(WaitReason::cond_wait, deadline, cancel);
  const WaitList list(word);
  list.lock().lock();
  if (word->load(os::memory_order_relaxed) / kRound != begun / kRound && !fault(Fault::wait_look)) {
    word->fetch_sub(kOne, os::memory_order_relaxed);
    list.lock().unlock();
    return WaitEnd::done;
  }
  list.queue(wait.node());
  const WaitEnd end = wait.park_unlock(&list.lock());
  if (end != WaitEnd::done) {
    LockGuard guard(list.lock());
    if (list.leave(wait.node())) word->fetch_sub(kOne, os::memory_order_relaxed);
  }
  return end;
}

void cond_notify(CondWord* word, bool all) noexcept {
  const WaitList list(word);
  WakeChain wake;
  {
    LockGuard guard(list.lock());
    if (all) {
      notify_all(word, list, &wake);
    } else if (!notify_sleeper(word, list, &wake)) {
      std::uint64_t now = word->load(os::memory_order_relaxed);
      while (static_cast<std::uint32_t>(now) != 0 &&
             !word->compare_exchange_weak(now, now + kRound, os::memory_order_relaxed, os::memory_order_relaxed)) {
      }
    }
  }
  wake.wake();
}

}  // namespace gort::inline v0::rt
