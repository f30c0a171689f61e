// gort: a promise: a bridge from callbacks to goroutines. A value, or an exception, that somebody sets once, from any
// thread, and that a goroutine waits for.
//
//   gort::promise<reply> p;
//   client.call(request, [set = p.setter()](reply r) mutable { set(std::move(r)); });
//   use(p.get());
//
//   state      get(), wait()                      becomes
//   pending    blocks                             set by set(), set_exception(); broken when the last setter goes
//   set        gives the value or throws          taken by get()
//   broken     get() throws gort::broken_promise  -
//   taken      fatal error                        -
//
// The callback should hold a setter, not a reference to the promise: if get() is cancelled or runs out of time, the
// promise goes away while the call is still under way, and what the callback sets then is dropped. Where the callback
// cannot come later than that, `[&](reply r) { p.set(std::move(r)); }` will do.
//
// Setting what is set already is a fatal error (two callbacks where one was promised): try_set() is for races.
// Threads: setting from any thread, callbacks and foreign threads included; getting by one at a time; copies of a
// setter by several. A promise without setters is never broken: its owner may still set it.
// Promised: what happened before set() is visible after get(). No user code runs under a lock; the value is moved
// by set() into the shared state, from there by get().
// Cost: one allocation.
#pragma once

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "gort/config.h"
#include "gort/detail/fork.h"
#include "gort/event.h"

namespace gort::inline v0 {

/// All setters are gone, and none of them has set anything.
class broken_promise : public std::runtime_error {
 public:
  broken_promise() : std::runtime_error("gort: broken promise: whoever was to set it has gone without") {}
};

namespace detail {

[[noreturn]] void promise_misuse(const char* text) noexcept;
[[noreturn]] void promise_empty(const char* operation) noexcept;

template <class T>
struct promise_state {
  using stored = std::conditional_t<std::is_void_v<T>, char, T>;
  std::atomic<std::uint32_t> refs{1};     ///< promise and setters
  std::atomic<std::uint32_t> setters{0};
  std::atomic<bool> taken{false};         ///< somebody sets it, or has
  bool got = false;                       ///< by get(), the owner's
  std::optional<stored> value;            ///< written by who has set `taken`, before `ready`
  std::exception_ptr error;
  event ready;

  bool claim() noexcept { return !taken.exchange(true, std::memory_order_acq_rel); }
  template <class... Args>
  bool try_set(Args&&... args) {
    if (!claim()) return false;
    try {
      value.emplace(std::forward<Args>(args)...);
    } catch (...) {
      // The value could not be moved in: whoever waits learns that, and so does the caller.
      error = std::current_exception();
      ready.set();
      throw;
    }
    ready.set();
    return true;
  }
  bool try_set_exception(std::exception_ptr e) noexcept {
    if (!claim()) return false;
    error = std::move(e);
    ready.set();
    return true;
  }
  void setter_gone() noexcept {
    if (setters.fetch_sub(1, std::memory_order_acq_rel) != 1 || taken.load(std::memory_order_acquire) || in_fork_child()) return;
    try_set_exception(std::make_exception_ptr(broken_promise()));
  }
  void unref() noexcept {
    if (refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
};

}  // namespace detail

template <class T>
class promise;

/// Sets a promise. Copyable, so that it fits into std::function; copies set the same promise.
template <class T>
class [[nodiscard]] promise_setter {
 public:
  promise_setter() noexcept = default;
  promise_setter(const promise_setter& other) noexcept : promise_setter(other.state_) {}
  promise_setter(promise_setter&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  promise_setter& operator=(promise_setter other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~promise_setter() {
    if (state_ == nullptr) return;
    state_->setter_gone();
    state_->unref();
  }

  /// Sets the value. Fatal if it is set already, or if this setter is empty. Throws what T's constructor throws.
  template <class... Args>
    requires(std::is_void_v<T> ? sizeof...(Args) == 0 : std::constructible_from<typename detail::promise_state<T>::stored, Args...>)
  void operator()(Args&&... args) const {
    if (!try_set(std::forward<Args>(args)...)) detail::promise_misuse("set: it has been set already");
  }
  /// As that; false if it is set already.
  template <class... Args>
  bool try_set(Args&&... args) const {
    if (state_ == nullptr) detail::promise_misuse("set: by an empty setter");
    return state_->try_set(std::forward<Args>(args)...);
  }
  void set_exception(std::exception_ptr e) const {
    if (!try_set_exception(std::move(e))) detail::promise_misuse("set_exception: it has been set already");
  }
  bool try_set_exception(std::exception_ptr e) const {
    if (state_ == nullptr) detail::promise_misuse("set_exception: by an empty setter");
    return state_->try_set_exception(std::move(e));
  }
  explicit operator bool() const noexcept { return state_ != nullptr; }

 private:
  explicit promise_setter(detail::promise_state<T>* s) noexcept : state_(s) {
    if (s == nullptr) return;
    s->setters.fetch_add(1, std::memory_order_relaxed);
    s->refs.fetch_add(1, std::memory_order_relaxed);
  }
  friend class promise<T>;
  detail::promise_state<T>* state_ = nullptr;
};

template <class T>
class [[nodiscard]] promise {
  static_assert(!std::is_reference_v<T>, "promise a std::reference_wrapper or a pointer");

 public:
  promise() : state_(new detail::promise_state<T>) {}
  promise(promise&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  promise& operator=(promise&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  /// Does not wait: what comes later is dropped.
  ~promise() {
    if (state_ != nullptr) state_->unref();
  }

  /// What the callback is to hold.
  promise_setter<T> setter() const { return promise_setter<T>(alive("setter")); }

  /// Sets the value. Fatal if it is set already.
  template <class... Args>
    requires(std::is_void_v<T> ? sizeof...(Args) == 0 : std::constructible_from<typename detail::promise_state<T>::stored, Args...>)
  void set(Args&&... args) {
    if (!try_set(std::forward<Args>(args)...)) detail::promise_misuse("set: it has been set already");
  }
  template <class... Args>
  bool try_set(Args&&... args) {
    return alive("set")->try_set(std::forward<Args>(args)...);
  }
  void set_exception(std::exception_ptr e) {
    if (!try_set_exception(std::move(e))) detail::promise_misuse("set_exception: it has been set already");
  }
  bool try_set_exception(std::exception_ptr e) { return alive("set_exception")->try_set_exception(std::move(e)); }

  bool is_set() const { return alive("is_set")->ready.is_set(); }

  /// Blocks until it is set or broken; gives the value, moved, or rethrows the exception. Once: a second get() is a
  /// fatal error. Throws gort::cancelled in a cancelled context, and what moving a T throws, and may be called again then.
  /// May change the thread.
  T get() {
    auto* s = alive("get");
    if (s->got) detail::promise_misuse("get: the value has been taken already");
    s->ready.wait();
    s->got = true;
    if (s->error) std::rethrow_exception(s->error);
    if constexpr (std::is_void_v<T> || std::is_nothrow_move_constructible_v<T>) {
      if constexpr (!std::is_void_v<T>) return std::move(*s->value);
    } else {
      try {
        return std::move(*s->value);
      } catch (...) {
        s->got = false;
        throw;
      }
    }
  }
  /// Waits only.
  void wait() const { alive("wait")->ready.wait(); }
  /// False: not in time.
  template <class Rep, class Period>
  [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> d) const {
    return alive("wait_for")->ready.wait_for(d);
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool wait_until(std::chrono::time_point<Clock, Duration> at) const {
    return alive("wait_until")->ready.wait_until(at);
  }

 private:
  detail::promise_state<T>* alive(const char* operation) const {
    if (state_ == nullptr) detail::promise_empty(operation);
    return state_;
  }
  detail::promise_state<T>* state_;
};

}  // namespace gort::inline v0
