// gort: who waits on an object, kept by the object's address: the base of mutexes, semaphores, counters ...
//
// The lists are those of the semaphore table (sema/sema_root.h), so a primitive is one word, and that word says what
// there is to wait for and whether somebody waits. Everybody who changes the "somebody waits" bits holds the list's
// lock, which lies outside the object:
//
//   who waits                                        who ends waits
//     lock the list                                    lock the list
//     look at the word again: nothing to wait for?     take waiters off
//     set the bit, queue the node                      write the word: what the object is after this
//     BlockingWait::park_unlock                        grant() each of them, unlock, wake()
//
// The order on the right is a rule. An object may be destroyed as soon as the last wait on it has returned, and a wait
// that may end by time or cancellation, too, may return within grant(): so the word is written before, and not touched
// after that. If grant() fails, the waiter's time had run out: it is off the list, its owner is about to lock the list, and
// until we unlock it the object exists.
//
// A wait that ended otherwise locks the list and takes its own node off, if it is still there (leave).
#pragma once

#include "sched/stop_point.h"
#include "sema/sema_root.h"
#include "sync/blocking_wait.h"

namespace gort::inline v0::rt {

/// A primitive's word. In user's objects it is a std::atomic, which is the same outside of the simulator.
using SyncWord = os::atomic<std::uint32_t>;

/// One list. Several of one object have keys within the same four bytes, and so one lock.
class WaitList {
 public:
  explicit WaitList(const void* object, std::uintptr_t which = 0) noexcept
      : root_(sem_root(object)), key_(static_cast<const char*>(object) + which) {}

  Mutex& lock() const noexcept { return root_.lock; }

  // All of these under the lock.
  void queue(waiter* w, bool front = false) const noexcept {
    w->key = key_;
    root_.queue(w, front);
    count(1);
  }
  /// The oldest; null: nobody waits.
  waiter* first() const noexcept { return root_.first(key_); }
  bool empty() const noexcept { return first() == nullptr; }
  void take(waiter* w) const noexcept {
    root_.take(w);
    w->key = nullptr;
    count(-1);
  }
  /// By w's owner, when its wait has ended otherwise. False: somebody took it off, but too late.
  bool leave(waiter* w) const noexcept {
    if (w->key == nullptr) return false;
    take(w);
    return true;
  }

 private:
  // For the semaphores of the same root, whose releasers read it without the lock: too many is harmless.
  void count(int n) const noexcept {
    root_.nwait.store(root_.nwait.load(os::memory_order_relaxed) + static_cast<std::uint32_t>(n),
                      os::memory_order_relaxed);
  }
  SemRoot& root_;
  const void* const key_;
};

/// Waiters in one hand, in order, linked by `next`.
class WaiterChain {
 public:
  void push(waiter* w) noexcept {
    w->next = nullptr;
    (last_ != nullptr ? last_->next : first_) = w;
    last_ = w;
  }
  waiter* pop() noexcept {
    waiter* const w = first_;
    if (w == nullptr) return nullptr;
    first_ = w->next;
    if (first_ == nullptr) last_ = nullptr;
    return w;
  }
  bool empty() const noexcept { return first_ == nullptr; }

 private:
  waiter* first_ = nullptr;
  waiter* last_ = nullptr;
};

/// The waits that are over, to be woken when the list's lock is released.
class WakeChain {
 public:
  /// Ends the wait of w, which has been taken off its list; w finds `ticket`. False: it had ended otherwise before.
  bool grant(waiter* w, std::uint32_t ticket = 1) noexcept {
    w->ticket = ticket;
    san::release(w);
    bool wake = false;
    if (!end_queued(w, &wake)) return false;
    if (wake) chain_.push(w);
    return true;
  }
  /// Under no lock; a stop of the world need not wait for all of them. Each one that is readied goes into runnext and
  /// sends the one before it to the end of the queue: so the oldest is readied last, and the queue has them in order.
  void wake() noexcept {
    waiter* const oldest = chain_.pop();
    if (oldest == nullptr) return;
    for (int n = 1; waiter* w = chain_.pop(); ++n) {
      w->ready(w);
      if (n % kLetIn == 0) let_in();
    }
    oldest->ready(oldest);
  }

 private:
  WaiterChain chain_;
};

/// Takes all waiters off; how many.
inline std::uint32_t take_all(const WaitList& list, WaiterChain* out) noexcept {
  std::uint32_t n = 0;
  while (waiter* w = list.first()) {
    list.take(w);
    out->push(w);
    ++n;
  }
  return n;
}

/// Whether it is worth while to spin once more for something that a running goroutine is about to let go: a few rounds,
/// while another P runs, and nobody waits for this one.
bool spin_pays(int round) noexcept;
inline constexpr int kSpinPauses = 30;  ///< per round

}  // namespace gort::inline v0::rt
