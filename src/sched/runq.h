// gort: a P's local run queue: a ring of 1024 goroutines and `runnext`.
//
//   owner (the M that owns the P)   put, get                     wait-free but for stealers' CAS on head
//   stealers (any M)                take half, from the head     lock-free
//
//   kSize    Go's ring holds 256. What does not fit goes by way of the global queue and its lock, and waits there
//            for its turn, while the ring's own go round: rows yield1000 and spawn_batch1000 (docs/scheduler.md).
//   kBatch   so many at most change queues at once: they pass through a buffer on a stack, perhaps a goroutine's
//            nearly used-up one, and a global queue that gets or gives more at once keeps its lock for long.
//
//   runnext   the goroutine that the running one has just made ready: runs next, in the rest of its time
//             slice, before the ring. A pair that communicates stays on one P and warm.
//
//   alone    there is one P in all, so there are no thieves, and the owner gets along without locked instructions
//            (each waits until all stores before it have left for the cache, and a yield has many). Whether one is
//            alone changes only while the world is stopped, and no stop point lies in here.
//
//   INVARIANT head <= tail <= head + kSize   (as 32-bit counters that wrap)
//   INVARIANT slots in [head, tail) hold a G; whoever advances head by CAS owns what it stepped over
//
// The order of the two counters: tail is stored with release by the owner after the slots were written
// (pairs with the stealers' acquire load); head is advanced by CAS with release after they were read
// (pairs with the owner's acquire load in put, so that a slot is not overwritten while being copied).
// The design is Go's (Vyukov, "Scalable Go Scheduler Design Doc", 2012).
#pragma once

#include <cstdint>

#include "os/os.h"

namespace gort::inline v0::rt {

struct G;

class RunQueue {
 public:
  static constexpr std::uint32_t kSize = 1024;
  static constexpr std::uint32_t kBatch = 128;

  /// Owner only. Makes g the next to run; returns the one it displaced, or null: the caller puts that
  /// into the ring.
  [[nodiscard]] G* swap_next(G* g, bool alone = false) noexcept {
    if (!alone) return next_.exchange(g, os::memory_order_acq_rel);
    G* const old = next_.load(os::memory_order_relaxed);
    next_.store(g, os::memory_order_release);
    return old;
  }

  /// Owner only. Appends to the ring; false if it is full.
  [[nodiscard]] bool put(G* g) noexcept {
    const std::uint32_t h = head_.load(os::memory_order_acquire);
    const std::uint32_t t = tail_.load(os::memory_order_relaxed);
    if (t - h >= kSize) return false;
    ring_[t % kSize].store(g, os::memory_order_relaxed);
    tail_.store(t + 1, os::memory_order_release);
    return true;
  }

  /// Owner only. Takes runnext, or null.
  G* get_next(bool alone = false) noexcept {
    G* g = next_.load(os::memory_order_relaxed);
    if (alone) {
      if (g != nullptr) next_.store(nullptr, os::memory_order_relaxed);
      return g;
    }
    // A stealer may take it meanwhile; it only ever becomes null behind our back, never another G.
    if (g != nullptr && next_.compare_exchange_strong(g, nullptr, os::memory_order_acq_rel,
                                                      os::memory_order_relaxed)) {
      return g;
    }
    return nullptr;
  }

  /// Owner only. Takes the oldest of the ring, or null.
  G* get(bool alone = false) noexcept {
    std::uint32_t h = head_.load(os::memory_order_acquire);
    for (;;) {
      if (tail_.load(os::memory_order_relaxed) == h) return nullptr;
      G* g = ring_[h % kSize].load(os::memory_order_relaxed);
      if (alone) {
        head_.store(h + 1, os::memory_order_release);
        return g;
      }
      if (head_.compare_exchange_weak(h, h + 1, os::memory_order_acq_rel, os::memory_order_acquire)) return g;
    }
  }

  /// Owner only. Takes the oldest kBatch when the ring is full, into out[kBatch]. Returns how many; 0 if a
  /// stealer was there first (then there is room).
  std::uint32_t spill(G** out) noexcept;

  /// Any thread. Moves the older half of the ring, kBatch at most, to out[kBatch] (the thief's own buffer).
  /// Returns how many.
  std::uint32_t grab(G** out) noexcept;

  /// Any thread. Takes runnext, or null.
  G* grab_next() noexcept { return get_next(); }

  /// Any thread. True only if it was empty at one instant: a G that moves from runnext to the ring
  /// meanwhile is not overlooked (acceptance scenario 41).
  bool empty() const noexcept;

  /// Any thread: a moment's view, for reports and victims.
  std::uint32_t size() const noexcept;
  bool has_next() const noexcept { return next_.load(os::memory_order_relaxed) != nullptr; }

 private:
  alignas(64) os::atomic<std::uint32_t> head_{0};  // owner and stealers, by CAS
  alignas(64) os::atomic<std::uint32_t> tail_{0};  // owner only
  os::atomic<G*> next_{nullptr};                   // owner; stealers only to null
  os::atomic<G*> ring_[kSize] = {};                // owner
};

}  // namespace gort::inline v0::rt
