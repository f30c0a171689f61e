// gort: the runtime's own lock, ranked, over one futex word. It blocks the *thread*.
//
//   word   meaning
//   0      free
//   1      held
//   2      held, and somebody may sleep: unlock must wake one
//
// Releasing is a plain store: the atomic read-modify-write that a futex lock usually ends with is half of its price, and
// half of what an operation on a channel costs in atomic operations.
//
//   who releases                            who waits
//     U1  looks whether word is 2             L1  word.exchange(2): the lock was free, and is ours
//     U2  word = 0: from here on the lock     L2  else sleeps while word == 2, for 1 ms at most
//         may be gone with what it guards
//     U3  wakes one, if U1 saw a 2
//
// Released and taken again between L1 and L2, the word is 1, so that the kernel does not let L2 sleep: whoever has the lock
// then knows of nobody. The fault lock_mark shows what that would cost.
// L1 may come between U1 and U2, and U2 become visible after the kernel has looked at the word for L2: if the thread loses
// its processor just there, mostly. Then nobody wakes the sleeper, so it looks again by itself; the fault lock_sleep
// shows what happens otherwise. (A barrier in all processors at L1, as in sched/alone.h, would do without the time, and
// interrupt a thousand of them for each sleep.)
// Who slept has the lock as 2: it cannot know whether it was the last.
//
// For runtime data only: held for tens of instructions, never over user code, a park or a system call
// that can block. While it is held the thread cannot be stopped or preempted (Tls::locks > 0).
// Not fair, not recursive. For users' data there is gort::mutex. The futex word, and why who slept says so again: Drepper,
// "Futexes Are Tricky".
#pragma once

#include "base/check.h"
#include "base/lock_rank.h"
#include "os/os.h"

namespace gort::inline v0::rt {

class Mutex {
 public:
  constexpr explicit Mutex(LockRank rank) noexcept : rank_(rank) {}
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  /// Takes the lock; spins briefly, then sleeps in the kernel.
  void lock() noexcept {
    rank_check();
    ++os::tls().locks;
    std::uint32_t expected = 0;
    if (!word_.compare_exchange_strong(expected, 1, os::memory_order_acquire, os::memory_order_relaxed)) {
      lock_slow();
    }
    rank_push();
  }

  bool try_lock() noexcept {
    std::uint32_t expected = 0;
    if (!word_.compare_exchange_strong(expected, 1, os::memory_order_acquire, os::memory_order_relaxed)) {
      return false;
    }
    ++os::tls().locks;
    rank_push();
    return true;
  }

  /// The same for who is in the runtime already (Tls::in_runtime), which is as good as Tls::locks, and calls nobody until
  /// unlock_inside.
  bool try_lock_inside() noexcept {
    std::uint32_t expected = 0;
    if (!word_.compare_exchange_strong(expected, 1, os::memory_order_acquire, os::memory_order_relaxed)) return false;
    rank_push();
    return true;
  }
  void unlock_inside() noexcept {
    rank_pop();
    free_word();
  }

  /// Releases it. Called by the thread that took it; after a context switch that may be another
  /// goroutine on the same thread (park() uses that).
  void unlock() noexcept {
    rank_pop();
    release();
  }

  /// For who holds a lock of this rank already, and has an order of its own among those (channels: their
  /// addresses). Not known to the rank checker; released by unlock_another.
  void lock_another() noexcept {
    ++os::tls().locks;
    std::uint32_t expected = 0;
    if (!word_.compare_exchange_strong(expected, 1, os::memory_order_acquire, os::memory_order_relaxed)) {
      lock_slow();
    }
  }
  void unlock_another() noexcept { release(); }

  /// For assertions: somebody holds it.
  bool held() const noexcept { return word_.load(os::memory_order_relaxed) != 0; }

 private:
  void release() noexcept {
    free_word();
    --os::tls().locks;
  }
  void free_word() noexcept {
    const bool wake = __builtin_expect(word_.load(os::memory_order_relaxed) == 2, 0);  // U1
    word_.store(0, os::memory_order_release);                                          // U2
    if (wake) os::futex_wake(&word_, 1);                                               // U3
  }
  void lock_slow() noexcept;
#if defined(GORT_DEBUG)
  void rank_check() const noexcept;
  void rank_push() const noexcept;
  void rank_pop() const noexcept;
#else
  void rank_check() const noexcept {}
  void rank_push() const noexcept {}
  void rank_pop() const noexcept {}
#endif

  os::atomic<std::uint32_t> word_{0};
  [[maybe_unused]] const LockRank rank_;  // read by debug builds only
};

class [[nodiscard]] LockGuard {
 public:
  explicit LockGuard(Mutex& m) noexcept : m_(m) { m_.lock(); }
  LockGuard(const LockGuard&) = delete;
  LockGuard& operator=(const LockGuard&) = delete;
  ~LockGuard() { m_.unlock(); }

 private:
  Mutex& m_;
};

}  // namespace gort::inline v0::rt
