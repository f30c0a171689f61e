// gort: the runtime's own lock, ranked, over one futex word. It blocks the *thread*.
//
//   word   meaning
//   0      free
//   1      held, nobody sleeps
//   2      held, somebody may sleep: unlock must wake one
//
// For runtime data only: held for tens of instructions, never over user code, a park or a system call
// that can block. While it is held the thread cannot be stopped or preempted (Tls::locks > 0).
// Not fair, not recursive. For users' data there is gort::mutex.
// The three-state word is Drepper's ("Futexes Are Tricky", mutex 2).
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

  /// Releases it. Called by the thread that took it; after a context switch that may be another
  /// goroutine on the same thread (park() uses that).
  void unlock() noexcept {
    rank_pop();
    if (word_.exchange(0, os::memory_order_release) == 2) os::futex_wake(&word_, 1);
    --os::tls().locks;
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
  void unlock_another() noexcept {
    if (word_.exchange(0, os::memory_order_release) == 2) os::futex_wake(&word_, 1);
    --os::tls().locks;
  }

  /// For assertions: somebody holds it.
  bool held() const noexcept { return word_.load(os::memory_order_relaxed) != 0; }

 private:
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
