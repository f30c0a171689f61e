// gort: doing without a lock while there is one P.
//
// In the runtime, whoever has the only P is alone: no other goroutine runs, none is stopped in the middle of the
// runtime, and the number of Ps changes only while the world is stopped, which no stretch like this contains. Who may
// come between all the same is a thread without a P (a foreign one, mostly). So short stretches skip their lock until
// the first such thread comes; it says so, waits until nobody is inside, and from then on there are locks for ever.
//
//   who has the only P             who comes without a P
//     A1  inside = 1                 F1  state = shared
//     A2  looks at state: may skip   F2  barrier on all processors (membarrier: A1 and A2 need no fence)
//     …                              F3  waits for inside == 0
//     A3  inside = 0 (release)       F4  takes the lock, as everybody from now on
//
// Either A2 sees F1, or A1 was before F2 and F3 sees it. A lock and its release are about 10 ns, this is about 1.
// Where the kernel has no membarrier, nobody ever skips.
#pragma once

#include "base/fault.h"
#include "base/mutex.h"
#include "sched/m.h"
#include "sched/sched.h"

namespace gort::inline v0::rt {

struct Alone {
  enum : std::uint32_t { kNotYet, kMaySkip, kShared };
  os::atomic<std::uint32_t> state{kNotYet};
  os::atomic<std::uint32_t> settled{0};  ///< 1: a thread has been through F3
  os::atomic<std::uint32_t> inside{0};   ///< by who has the only P
};
extern Alone alone_words;

/// When the runtime starts.
void alone_start() noexcept;
/// F1 to F3.
void alone_ends_slow() noexcept;

/// A thread without a P is about to touch what a stretch without a lock may be touching. With no lock held.
inline void alone_ends() noexcept {
  if (__builtin_expect(alone_words.settled.load(os::memory_order_acquire) == 0, 0)) alone_ends_slow();
}

/// A1, A2. True: the caller is alone until alone_leave(). In the runtime, not nested, no stop point inside.
[[gnu::always_inline]] inline bool alone_enter(const M* m) noexcept {
  if (m == nullptr || m->p == nullptr) {
    alone_ends();
    return false;
  }
  if (!only_p()) return false;
  alone_words.inside.store(1, os::memory_order_relaxed);
  asm volatile("" ::: "memory");  // partner: F2
  if (__builtin_expect(alone_words.state.load(os::memory_order_relaxed) == Alone::kMaySkip, 1)) return true;
  alone_words.inside.store(0, os::memory_order_relaxed);
  return false;
}
[[gnu::always_inline]] inline void alone_leave() noexcept {
  alone_words.inside.store(0, os::memory_order_release);  // partner: F3
}

/// A thread without a P waits until who is inside now has left: before it frees what that one may still touch.
void alone_wait_outside() noexcept;

/// A lock, or doing without it.
enum class Held : bool { lock, alone };

[[gnu::always_inline]] inline Held lock_or_alone(Mutex& lock) noexcept {
  if (alone_enter(self_m())) {
    test_point(TestPoint::alone_inside);
    return Held::alone;
  }
  lock.lock();
  return Held::lock;
}
[[gnu::always_inline]] inline void unlock(Mutex& lock, Held held) noexcept {
  if (held == Held::alone) {
    alone_leave();
  } else {
    lock.unlock();
  }
}

class [[nodiscard]] HeldGuard {
 public:
  explicit HeldGuard(Mutex& m) noexcept : m_(m), held_(lock_or_alone(m)) {}
  HeldGuard(const HeldGuard&) = delete;
  HeldGuard& operator=(const HeldGuard&) = delete;
  ~HeldGuard() { unlock(m_, held_); }

 private:
  Mutex& m_;
  const Held held_;
};

}  // namespace gort::inline v0::rt
