#include "sync/semaphore.h"

#include "base/check.h"
#include "base/fault.h"
#include "gort/detail/sync_words.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::uint32_t kParked = detail::kSemaphoreParked;
constexpr std::uint32_t kMax = detail::kSemaphoreMax;

std::uint32_t plus(std::uint32_t now, std::uint32_t n) noexcept {
  if (n > kMax - (now & kMax)) fatal("semaphore overflow: released beyond 2147483647 units");
  return now + n;
}

/// Adds `n` units, and gives the oldest waiters what they want as far as the units go. Under the list's lock.
void serve(SyncWord* word, const WaitList& list, std::uint32_t n, WakeChain* wake) noexcept {
  for (;;) {
    WaiterChain served;
    std::uint32_t now = word->load(os::memory_order_relaxed);
    std::uint32_t taken = 0;
    std::uint32_t next = 0;
    do {
      next = plus(now, n) & kMax;
      next -= taken;
      for (waiter* w = list.first(); w != nullptr && w->ticket <= next; w = list.first()) {
        next -= w->ticket;
        taken += w->ticket;
        list.take(w);
        served.push(w);
      }
      if (!list.empty()) next |= kParked;
      // Acquire: units may lie there that were released without the lock, and that we hand out.
    } while (!word->compare_exchange_weak(now, next, os::memory_order_acq_rel, os::memory_order_relaxed));
    n = 0;
    while (waiter* w = served.pop()) {
      const std::uint32_t wanted = w->ticket;
      if (!wake->grant(w, wanted)) n += wanted;
    }
    if (n == 0) return;  // else: what those would have got that had gone
  }
}

void left(SyncWord* word, const WaitList& list, waiter* node) noexcept {
  WakeChain wake;
  {
    LockGuard guard(list.lock());
    if (list.leave(node)) serve(word, list, 0, &wake);  // those behind may have waited for this one only
  }
  wake.wake();
}

}  // namespace

bool units_try_acquire(SyncWord* word, std::uint32_t n) noexcept {
  std::uint32_t now = word->load(os::memory_order_relaxed);
  while ((now & kParked) == 0 && now >= n) {
    if (word->compare_exchange_weak(now, now - n, os::memory_order_acquire, os::memory_order_relaxed)) {
      san::acquire(word);
      return true;
    }
  }
  return false;
}

WaitEnd units_acquire(SyncWord* word, std::uint32_t n, std::int64_t deadline, CancelSource* cancel) noexcept {
  BlockingWait wait(WaitReason::semaphore_acquire, deadline, cancel);
  const WaitList list(word);
  list.lock().lock();
  for (;;) {
    if (!fault(Fault::wait_look) && units_try_acquire(word, n)) {
      list.lock().unlock();
      return WaitEnd::done;
    }
    std::uint32_t now = word->load(os::memory_order_relaxed);
    if ((now & kParked) == 0 && now >= n && !fault(Fault::wait_look)) continue;
    if (word->compare_exchange_weak(now, now | kParked, os::memory_order_relaxed, os::memory_order_relaxed)) break;
  }
  wait.node()->ticket = n;
  list.queue(wait.node());
  const WaitEnd end = wait.park_unlock(&list.lock());
  if (end != WaitEnd::done) {
    left(word, list, wait.node());
    return end;
  }
  san::acquire(word);
  return WaitEnd::done;
}

bool units_try_release(SyncWord* word, std::uint32_t n) noexcept {
  san::release(word);
  std::uint32_t now = word->load(os::memory_order_relaxed);
  while ((now & kParked) == 0) {
    if (word->compare_exchange_weak(now, plus(now, n), os::memory_order_release, os::memory_order_relaxed)) return true;
  }
  return false;
}

void units_release(SyncWord* word, std::uint32_t n) noexcept {
  const WaitList list(word);
  WakeChain wake;
  {
    LockGuard guard(list.lock());
    serve(word, list, n, &wake);
  }
  wake.wake();
}

}  // namespace gort::inline v0::rt
