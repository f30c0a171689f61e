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
#if defined(GORT_SIM)
#include <cstddef>
#include <source_location>
#include <type_traits>
#endif

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

/// A full fence right behind a read-modify-write operation of this thread, with nothing but loads and stores that need
/// no order between: where those operations are full fences themselves (x86), nothing.
inline void fence_after_rmw() noexcept {
#if defined(__x86_64__)
  asm volatile("" ::: "memory");
#else
  std::atomic_thread_fence(memory_order_seq_cst);
#endif
}

#else

// What an atomic tells the simulator (src/os/sim) about an operation, in three calls: sim_access, a
// scheduling point at which other simulated threads may run; the operation itself on a plain value;
// sim_seen, which puts the values into the history. Between sim_access and sim_seen nothing else runs, so
// the operation is atomic. Outside of a simulation all of them return at once.
//
// With SimOptions::store_buffers a store that is not seq_cst may wait in its thread's buffer (sim_delay) until
// the thread comes to a full fence; its own loads see it there (sim_forward).

/// Where in the program an operation stands.
using SimSite = std::source_location;

/// What a step of a simulation does.
enum class SimOp : std::uint8_t {
  point,  ///< a bare scheduling point
  load, store, exchange, cas, add, sub, bit_or, bit_and, fence,               // atomics
  futex_wait, futex_return, futex_wake,                                       // and what os.h does
  create, create_failed, exit, reap, join, yield, relax, sleep, wake, clock,
  memory, signal, handler, note, output, drain,
};

/// A scheduling point: another simulated thread may run before this returns. The user code of a
/// simulation calls it where a real program would compute.
void sim_point() noexcept;

/// The runtime's own locks, for the cost model (src/os/sim/costs.h): now, without a step; a lock of that name was waited
/// for since then.
std::int64_t sim_now() noexcept;
void sim_waited_for_lock(const char* name, std::int64_t since) noexcept;

/// A scheduling point before the operation `op` on the shared word at `addr`. `full`: no earlier store of this
/// thread is still in its buffer when the operation is done.
void sim_access(SimOp op, const void* addr, bool full, const SimSite& at) noexcept;

/// Whether the store that sim_access has announced stays in the buffer; if not, the caller stores.
bool sim_delay(void* addr, const void* value, std::size_t bytes) noexcept;

/// Replaces a word just read by what this thread's buffer has for it.
void sim_forward(const void* addr, void* value, std::size_t bytes) noexcept;

/// A new object stands at addr: older stores to it do not matter any more.
void sim_made(const void* addr) noexcept;

/// The word's value before and after that operation.
void sim_seen(std::uint64_t before, std::uint64_t after) noexcept;

/// A value's bits as the simulator's history shows them (the first eight bytes).
template <class T>
std::uint64_t sim_bits(const T& v) noexcept {
  std::uint64_t bits = 0;
  __builtin_memcpy(&bits, &v, sizeof(T) < sizeof bits ? sizeof(T) : sizeof bits);
  return bits;
}

/// The simulated twin of std::atomic: sequentially consistent, or of total store order (as x86-64 is) with store
/// buffers, since one real thread runs everything. Weaker orders than that are accepted and ignored. Its only member
/// is the value, so that the simulated futex can look at the word without another scheduling point.
template <class T>
class atomic {
 public:
  constexpr atomic() noexcept : atomic(T{}) {}
  constexpr atomic(T v) noexcept : value_(v) {  // NOLINT: as std::atomic
    if (!std::is_constant_evaluated()) sim_made(this);
  }
  atomic(const atomic&) = delete;
  atomic& operator=(const atomic&) = delete;

  T load(memory_order = memory_order_seq_cst, const SimSite& at = SimSite::current()) const noexcept {
    sim_access(SimOp::load, this, false, at);
    T v = value_;
    sim_forward(this, &v, sizeof v);
    sim_seen(sim_bits(v), sim_bits(v));
    return v;
  }
  void store(T v, memory_order order = memory_order_seq_cst, const SimSite& at = SimSite::current()) noexcept {
    sim_access(SimOp::store, this, order == memory_order_seq_cst, at);
    T old = value_;
    sim_forward(this, &old, sizeof old);
    if (!sim_delay(this, &v, sizeof v)) value_ = v;
    sim_seen(sim_bits(old), sim_bits(v));
  }
  T exchange(T v, memory_order = memory_order_seq_cst, const SimSite& at = SimSite::current()) noexcept {
    return rmw(SimOp::exchange, at, [v](T) { return v; });
  }
  bool compare_exchange_strong(T& expected, T desired, memory_order = memory_order_seq_cst,
                               memory_order = memory_order_seq_cst,
                               const SimSite& at = SimSite::current()) noexcept {
    const T wanted = expected;
    const T old = rmw(SimOp::cas, at, [=](T v) { return v == wanted ? desired : v; });
    if (old == wanted) return true;
    expected = old;
    return false;
  }
  bool compare_exchange_weak(T& expected, T desired, memory_order a = memory_order_seq_cst,
                             memory_order b = memory_order_seq_cst,
                             const SimSite& at = SimSite::current()) noexcept {
    return compare_exchange_strong(expected, desired, a, b, at);
  }
  T fetch_add(T d, memory_order = memory_order_seq_cst, const SimSite& at = SimSite::current()) noexcept {
    return rmw(SimOp::add, at, [d](T v) { return T(v + d); });
  }
  T fetch_sub(T d, memory_order = memory_order_seq_cst, const SimSite& at = SimSite::current()) noexcept {
    return rmw(SimOp::sub, at, [d](T v) { return T(v - d); });
  }
  T fetch_or(T d, memory_order = memory_order_seq_cst, const SimSite& at = SimSite::current()) noexcept {
    return rmw(SimOp::bit_or, at, [d](T v) { return T(v | d); });
  }
  T fetch_and(T d, memory_order = memory_order_seq_cst, const SimSite& at = SimSite::current()) noexcept {
    return rmw(SimOp::bit_and, at, [d](T v) { return T(v & d); });
  }
  operator T() const noexcept { return load(); }  // NOLINT: as std::atomic

 private:
  template <class F>
  T rmw(SimOp op, const SimSite& at, F f) noexcept {
    sim_access(op, this, true, at);
    const T old = value_;
    value_ = f(old);
    sim_seen(sim_bits(old), sim_bits(value_));
    return old;
  }
  T value_;
};

inline void fence(memory_order order, const SimSite& at = SimSite::current()) noexcept {
  sim_access(SimOp::fence, nullptr, order == memory_order_seq_cst, at);
}

/// As where it is one.
inline void fence_after_rmw(const SimSite& at = SimSite::current()) noexcept { fence(memory_order_seq_cst, at); }

#endif

}  // namespace gort::inline v0::os
