// gort: waits for a number of things that others do. Go's sync.WaitGroup.
//
//   gort::wait_group all;
//   for (auto& part : parts) all.go([&] { work(part); });
//   all.wait();
//
//   count    add(n)                         done()                        wait()
//   0        count n                        fatal error                   returns
//   above    count + n                      count - 1; at 0, wakes all    waits until it is 0
//
// Promised: what happened before a done() is visible after a wait() that it has let go. add and done never block and never
// change the thread; wait may change it if it waits. It may be used again when the waits have returned. It may be
// destroyed as soon as all waits have returned, even if the done() that ended them has not. Foreign threads may
// call everything.
// Cancellation: wait in a cancelled context, or one that is cancelled later, throws gort::cancelled. Nothing else
// changes: the others are still at work and will call done(), so the group has to live until then. A gort::scope
// takes care of that and is the better choice for most.
// Misuse, each a fatal error: a count below 0 or above max(); add() from 0 while somebody still waits (the call must happen
// before the wait, as in Go). Debug builds: destruction while somebody waits.
#pragma once

#include <chrono>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "gort/clock.h"
#include "gort/config.h"
#include "gort/detail/sync_words.h"
#include "gort/go.h"

namespace gort::inline v0 {

namespace detail {
/// The count has come to 0 with waiters.
void count_wake(word32& word) noexcept;
/// Throws gort::cancelled; false: the deadline has passed.
bool wait_group_wait(word32& word, std::int64_t deadline);
}  // namespace detail

class wait_group {
 public:
  static constexpr std::ptrdiff_t max() noexcept { return detail::kCountMax; }

  constexpr wait_group() noexcept = default;
  wait_group(const wait_group&) = delete;
  wait_group& operator=(const wait_group&) = delete;
#if defined(GORT_DEBUG)
  ~wait_group() {
    detail::sync_destroyed((word_.load(std::memory_order_relaxed) & detail::kCountParked) != 0,
                           "gort::wait_group: destroyed while somebody waits");
  }
#else
  ~wait_group() = default;
#endif

  /// Counts n more things to wait for; a negative n is that many times done().
  void add(std::ptrdiff_t n = 1) noexcept {
    if (n < 0) return detail::count_down(word_, n < -max() ? detail::kCountMax : static_cast<std::uint32_t>(-n), kName);
    if (n == 0) return;
    if (n > max()) detail::sync_misuse("gort::wait_group: count above max()");
    const auto more = static_cast<std::uint32_t>(n) * detail::kCountOne;
    const std::uint32_t old = word_.fetch_add(more, std::memory_order_relaxed);
    if (old == detail::kCountParked) [[unlikely]] {
      detail::sync_misuse("gort::wait_group: add() from 0 while a wait() has not returned");
    }
    if (old > UINT32_MAX - more) [[unlikely]] detail::sync_misuse("gort::wait_group: count above max()");
  }

  /// One of them is done.
  void done() noexcept {
    const std::uint32_t old = word_.fetch_sub(detail::kCountOne, std::memory_order_acq_rel);
    if (old == (detail::kCountOne | detail::kCountParked)) return detail::count_wake(word_);
    if (old < detail::kCountOne) [[unlikely]] detail::sync_misuse("gort::wait_group: negative count");
  }

  /// Returns when the count is 0, or was when this call waited.
  void wait() { detail::wait_group_wait(word_, detail::kNoDeadline); }
  /// As wait, for at most that long; false: the count is not 0 yet.
  template <class Rep, class Period>
  [[nodiscard]] bool wait_for(const std::chrono::duration<Rep, Period>& time) {
    return detail::wait_group_wait(word_, detail::deadline_in(time));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool wait_until(const std::chrono::time_point<Clock, Duration>& when) {
    return detail::until(when, [&](std::int64_t d) { return detail::wait_group_wait(word_, d); });
  }

  /// add(); a goroutine calls f(args...); done(), however f ends, when f and args have been destroyed. As gort::go: std::bad_alloc if there is no memory
  /// for it, and an exception that leaves f ends the program.
  template <class F, class... Args>
    requires goroutine_function<F, Args...>
  [[gnu::noinline]] void go(F&& f, Args&&... args) {
    static_assert(std::is_void_v<std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>>,
                  "gort::wait_group::go drops results: use gort::spawn, or make the function return void");
    struct finally {
      explicit finally(wait_group* of) noexcept : group(of) {}
      finally(finally&& other) noexcept : group(std::exchange(other.group, nullptr)) {}
      ~finally() {
        if (group != nullptr) group->done();
      }
      wait_group* group;
    };
    struct child {
      finally last;  // destroyed after the others; also if there will be no goroutine
      std::decay_t<F> fn;
      std::tuple<std::decay_t<Args>...> args;
      void operator()() {
        std::apply([this](auto&... a) { std::invoke(std::move(fn), std::move(a)...); }, args);
      }
    };
    add();
    detail::start_goroutine({}, 0, __builtin_return_address(0),
                            child{finally(this), std::forward<F>(f),
                                  std::tuple<std::decay_t<Args>...>(std::forward<Args>(args)...)});
  }

 private:
  static constexpr const char* kName = "gort::wait_group: negative count";
  detail::word32 word_{0};
};

}  // namespace gort::inline v0
