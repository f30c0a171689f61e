// gort: the one atomic type of the runtime's shared words.
//
// Every word that two threads of the core share is an os::atomic<T>. On Linux it is std::atomic<T>,
// nothing more. Under the simulator (GORT_SIM) it is a plain value whose every operation is first a
// scheduling point, so that a seed decides which thread's operation comes next.
//
// Rules: no std::atomic, no __atomic builtin and no volatile elsewhere in the core (tools/check_floors
// looks); every fence names its partner in a comment at the call.
#pragma once

#include <atomic>
#include <cstdint>

namespace gort::inline v0::os {

using std::memory_order;
using std::memory_order_acq_rel;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;
using std::memory_order_seq_cst;

#if !defined(GORT_SIM)

template <class T>
using atomic = std::atomic<T>;

/// A fence; the caller's comment names the fence or operation that it pairs with.
inline void fence(memory_order order) noexcept { std::atomic_thread_fence(order); }

#else

/// A scheduling point of the simulator: another simulated thread may run before this returns.
/// Implemented in src/os/sim.
void sim_point() noexcept;

/// The simulated twin of std::atomic: sequentially consistent by construction, since one real thread
/// runs everything. Memory orders are accepted and ignored.
template <class T>
class atomic {
 public:
  constexpr atomic() noexcept : value_{} {}
  constexpr atomic(T v) noexcept : value_(v) {}  // NOLINT: as std::atomic
  atomic(const atomic&) = delete;
  atomic& operator=(const atomic&) = delete;

  T load(memory_order = memory_order_seq_cst) const noexcept { return sim_point(), value_; }
  void store(T v, memory_order = memory_order_seq_cst) noexcept { sim_point(), value_ = v; }
  T exchange(T v, memory_order = memory_order_seq_cst) noexcept {
    sim_point();
    T old = value_;
    value_ = v;
    return old;
  }
  bool compare_exchange_strong(T& expected, T desired, memory_order = memory_order_seq_cst,
                               memory_order = memory_order_seq_cst) noexcept {
    sim_point();
    if (value_ == expected) {
      value_ = desired;
      return true;
    }
    expected = value_;
    return false;
  }
  bool compare_exchange_weak(T& expected, T desired, memory_order a = memory_order_seq_cst,
                             memory_order b = memory_order_seq_cst) noexcept {
    return compare_exchange_strong(expected, desired, a, b);
  }
  T fetch_add(T d, memory_order = memory_order_seq_cst) noexcept { return rmw([d](T v) { return T(v + d); }); }
  T fetch_sub(T d, memory_order = memory_order_seq_cst) noexcept { return rmw([d](T v) { return T(v - d); }); }
  T fetch_or(T d, memory_order = memory_order_seq_cst) noexcept { return rmw([d](T v) { return T(v | d); }); }
  T fetch_and(T d, memory_order = memory_order_seq_cst) noexcept { return rmw([d](T v) { return T(v & d); }); }
  operator T() const noexcept { return load(); }  // NOLINT: as std::atomic

 private:
  template <class F>
  T rmw(F f) noexcept {
    sim_point();
    T old = value_;
    value_ = f(old);
    return old;
  }
  T value_;
};

inline void fence(memory_order) noexcept { sim_point(); }

#endif

}  // namespace gort::inline v0::os
