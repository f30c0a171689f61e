#include "sync/mutex.h"

#include "base/check.h"
#include "base/fault.h"
#include "gort/detail/sync_words.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::uint32_t kLocked = detail::kMutexLocked;
constexpr std::uint32_t kParked = detail::kMutexParked;
constexpr std::uint32_t kWoken = detail::kMutexWoken;
constexpr std::uint32_t kStarving = detail::kMutexStarving;

constexpr std::int64_t kStarvesAfter = 1'000'000;  // ns

// What a waiter finds in its ticket.
constexpr std::uint32_t kTry = 1;   // the lock is free, `woken` is set for it
constexpr std::uint32_t kOwns = 2;  // the lock is its own

enum class Parked : std::uint8_t { not_at_all, woken, owner, timeout };

/// One who wants the lock.
struct Locker {
  std::int64_t deadline;
  std::int64_t since = 0;   // nanotime of the first wait
  bool woken = false;       // `woken` is set on our behalf
  bool starving = false;
};

void timed_out(SyncWord* word, const WaitList& list, waiter* node) noexcept {
  LockGuard guard(list.lock());
  if (!list.leave(node)) return;  // whoever took it off went on to the next one
  if (list.empty()) word->fetch_and(~(kParked | kStarving), os::memory_order_relaxed);
}

Parked park(SyncWord* word, Locker* l) noexcept {
  const bool first = l->since == 0;
  if (first) l->since = os::nanotime();
  BlockingWait wait(WaitReason::mutex_lock, l->deadline, nullptr);
  const WaitList list(word);
  list.lock().lock();
  std::uint32_t now = word->load(os::memory_order_relaxed);
  for (;;) {
    if ((now & kLocked) == 0 && !fault(Fault::wait_look)) {
      list.lock().unlock();
      return Parked::not_at_all;
    }
    std::uint32_t next = now | kParked | (l->starving && (now & kLocked) != 0 ? kStarving : 0);
    if (l->woken) next &= ~kWoken;
    if (word->compare_exchange_weak(now, next, os::memory_order_relaxed, os::memory_order_relaxed)) break;
  }
  l->woken = false;
  list.queue(wait.node(), !first);
  if (wait.park_unlock(&list.lock()) != WaitEnd::done) {
    timed_out(word, list, wait.node());
    return Parked::timeout;
  }
  return wait.node()->ticket == kOwns ? Parked::owner : Parked::woken;
}

/// The lock is free, or has a new holder, and `woken` is set for somebody who does not exist: the next one, if any. The
/// object exists: one whose time has run out waits for the list's lock, which we hold.
void wake_another(SyncWord* word, const WaitList& list, WakeChain* wake) noexcept {
  while (waiter* w = list.first()) {
    list.take(w);
    if (list.empty()) word->fetch_and(~kParked, os::memory_order_relaxed);
    if (wake->grant(w, kTry)) return;
  }
  word->fetch_and(~(kWoken | kParked), os::memory_order_relaxed);
}

/// The lock is given up by its holder, under the list's lock.
void give_up(SyncWord* word, const WaitList& list, WakeChain* wake) noexcept {
  for (;;) {
    std::uint32_t now = word->load(os::memory_order_relaxed);
    waiter* const w = list.first();
    if (w != nullptr && (now & kStarving) != 0) {
      list.take(w);
      if (list.empty()) word->fetch_and(~(kParked | kStarving), os::memory_order_relaxed);
      if (wake->grant(w, kOwns)) return;
      continue;  // its time had run out: the lock is still ours
    }
    const bool wakes = w != nullptr && (now & kWoken) == 0;
    if (wakes) list.take(w);
    const std::uint32_t parked = list.empty() ? 0 : kParked;
    for (;;) {
      // A spinner may set `woken` meanwhile. Then two are on their way, which costs a wake and no more.
      const std::uint32_t next = (now & kWoken) | (wakes ? kWoken : 0) | parked;
      if (word->compare_exchange_weak(now, next, os::memory_order_release, os::memory_order_relaxed)) break;
    }
    if (wakes && !wake->grant(w, kTry)) wake_another(word, list, wake);
    return;
  }
}

}  // namespace

bool mutex_lock_slow(SyncWord* word, std::int64_t deadline) noexcept {
  Locker l{.deadline = deadline};
  for (int round = 0;;) {
    std::uint32_t now = word->load(os::memory_order_relaxed);
    if ((now & kLocked) == 0) {
      const std::uint32_t next = (now | kLocked) & (l.woken ? ~kWoken : ~0u);
      if (word->compare_exchange_weak(now, next, os::memory_order_acquire, os::memory_order_relaxed)) break;
      continue;
    }
    if ((now & kStarving) == 0 && spin_pays(round)) {
      if (!l.woken && (now & kWoken) == 0 && (now & kParked) != 0) {
        l.woken = word->compare_exchange_strong(now, now | kWoken, os::memory_order_relaxed,
                                                os::memory_order_relaxed);
      }
      os::cpu_relax(kSpinPauses);
      ++round;
      continue;
    }
    const Parked end = park(word, &l);
    if (end == Parked::not_at_all) continue;
    if (end == Parked::timeout) return false;
    if (end == Parked::owner) {
      // We held nobody up for long: others may come between again.
      if (os::nanotime() - l.since <= kStarvesAfter) word->fetch_and(~kStarving, os::memory_order_relaxed);
      break;
    }
    l.woken = true;
    l.starving = !fault(Fault::starvation) && (l.starving || os::nanotime() - l.since > kStarvesAfter);
    round = 0;
  }
  san::acquire(word);
  return true;
}

void mutex_unlock_slow(SyncWord* word) noexcept {
  san::release(word);
  std::uint32_t now = word->load(os::memory_order_relaxed);
  for (;;) {
    if ((now & kLocked) == 0) fatal("gort::mutex: unlock of an unlocked mutex");
    if (!detail::mutex_unlock_wakes_nobody(now)) break;
    if (word->compare_exchange_weak(now, now & ~kLocked, os::memory_order_release, os::memory_order_relaxed)) return;
  }
  const WaitList list(word);
  WakeChain wake;
  {
    LockGuard guard(list.lock());
    give_up(word, list, &wake);
  }
  wake.wake();
}

}  // namespace gort::inline v0::rt
