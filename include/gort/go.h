// gort: starting goroutines.
//
// A goroutine is a function that runs concurrently with others on the runtime's Ps: cheap (a few hundred
// bytes and one page of stack), in any number. It has its own stack, may block in any gort operation
// without holding a thread, and may be continued on another thread after it has blocked (docs/tls.md).
//
//   gort::go(f, args...)       fire and forget; the function must return void
//   gort::spawn(f, args...)    gives a task<T>: wait for the end, take the result or the exception
//
//   task<T>     means                               by
//   empty       no goroutine                        default construction, get, join, detach, moved from
//   joinable    stands for exactly one goroutine    spawn
//
// A task's goroutine runs in a context of its own, derived from the spawner's (gort/context.h): it is cancelled with it,
// by cancel(), and by the task's destructor. One that is started by `go` is cancelled at the end of the run only.
//
// Promised: arguments are decayed and moved into the goroutine before go/spawn returns (no references unless
// std::ref says so); everything that happened before go/spawn is visible to the goroutine, and everything
// that it did is visible to who joined it. An exception that leaves a goroutine started by `go` ends the
// program with its traceback (gort::cancelled apart: that is a plain end); `spawn` keeps it for get().
// Not promised: any order between goroutines; a thread of one's own (os_thread_lock has that).
// Callable from foreign threads (std::thread, main): waiting there blocks the thread.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "gort/clock.h"
#include "gort/config.h"
#include "gort/detail/goroutine.h"

namespace gort::inline v0 {

/// How a goroutine is made.
struct go_options {
  std::string_view name = {};  ///< for tracebacks and tools; at most 23 bytes are kept
  std::size_t stack = 0;       ///< bytes; 0: GORT_STACK or 256 KiB; rounded up to a power of two
};

inline namespace literals {
consteval std::size_t operator""_KiB(unsigned long long n) {
  return static_cast<std::size_t>(n) << 10;
}
consteval std::size_t operator""_MiB(unsigned long long n) {
  return static_cast<std::size_t>(n) << 20;
}
}  // namespace literals

template <class F, class... Args>
concept goroutine_function = std::invocable<std::decay_t<F>, std::decay_t<Args>...>;

/// Runs f(args...) in a new goroutine. Never blocks, never changes the caller's thread. Throws
/// std::bad_alloc if there is no memory for a stack, and whatever copying the arguments throws; the
/// goroutine does not exist then. O(1).
template <class F, class... Args>
  requires goroutine_function<F, Args...>
[[gnu::noinline]] void go(go_options options, F&& f, Args&&... args) {
  static_assert(std::is_void_v<std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>>,
                "gort::go drops results: use gort::spawn, or make the function return void");
  detail::start_goroutine(options.name, options.stack, __builtin_return_address(0),
                          std::forward<F>(f), std::forward<Args>(args)...);
}

template <class F, class... Args>
  requires goroutine_function<F, Args...>
[[gnu::noinline]] void go(F&& f, Args&&... args) {
  static_assert(std::is_void_v<std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>>,
                "gort::go drops results: use gort::spawn, or make the function return void");
  detail::start_goroutine({}, 0, __builtin_return_address(0), std::forward<F>(f),
                          std::forward<Args>(args)...);
}

/// The end of a goroutine, and its result. Movable, not copyable; one owner at a time, not thread-safe
/// itself. Destroying a joinable one cancels the goroutine and waits for it (structured by default; detach() is
/// explicit); that wait heeds no cancellation, and what the goroutine threw is dropped. One that was left over at the end of its
/// run never goes on, and is not waited for: so a task may be a static object.
template <class T>
class [[nodiscard]] task {
 public:
  task() noexcept = default;
  task(task&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  task& operator=(task&& other) noexcept {
    task(std::move(other)).swap(*this);
    return *this;
  }
  ~task() {
    if (state_ == nullptr) return;
    if (detail::task_leave(state_)) state_->destroy(state_);
  }
  void swap(task& other) noexcept { std::swap(state_, other.state_); }

  /// Whether it stands for a goroutine.
  bool valid() const noexcept { return state_ != nullptr; }

  /// Tells the goroutine, and all that was started in its context, to stop: its blocking calls throw gort::cancelled
  /// from now on. Does not wait. Nothing happens if it has been told before or has ended. Fatal on an empty task.
  void cancel(std::error_code cause = cancel_reason::cancelled) const noexcept {
    if (state_ == nullptr) detail::task_misuse("cancel");
    detail::task_cancel(state_->context, cause);
  }

  /// Waits for the end; the result stays. Blocks. Throws gort::cancelled in a cancelled context: the task stays as it is.
  /// Fatal on an empty task, and if somebody else is waiting for it.
  void wait() const {
    if (state_ == nullptr) detail::task_misuse("wait");
    detail::task_wait(state_);
  }

  /// As wait(), at most for `d`. False: it has not ended in time.
  template <class Rep, class Period>
  [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> d) const {
    if (state_ == nullptr) detail::task_misuse("wait_for");
    return detail::task_wait_for(state_, detail::deadline_in(d));
  }
  /// As wait_for, until a time of any clock, judged now.
  template <class Clock, class Duration>
  [[nodiscard]] bool wait_until(std::chrono::time_point<Clock, Duration> at) const {
    if (state_ == nullptr) detail::task_misuse("wait_until");
    return detail::task_wait_for(state_, detail::deadline_at(at));
  }

  /// Waits for the end, gives the result or rethrows the exception; the task is empty afterwards. Blocks. Throws
  /// gort::cancelled in a cancelled context, and can be called again then: the task stays as it is. (If it is the
  /// goroutine that was cancelled, get() rethrows its gort::cancelled, and valid() is false after it.)
  /// A second get() or join() is a fatal error that says so.
  T get() {
    if (state_ == nullptr) detail::task_misuse("get");
    detail::task_wait(state_);
    struct last {
      detail::task_state<T>* state;
      ~last() { state->destroy(state); }
    } owner{std::exchange(state_, nullptr)};
    return owner.state->take();
  }

  /// As get(), without the value.
  void join() {
    if (state_ == nullptr) detail::task_misuse("join");
    static_cast<void>(get());
  }

  /// Lets the goroutine go on alone; its result and exception are dropped.
  void detach() && noexcept {
    if (state_ == nullptr) detail::task_misuse("detach");
    auto* s = std::exchange(state_, nullptr);
    if (detail::task_detach(s)) s->destroy(s);
  }

 private:
  explicit task(detail::task_state<T>* s) noexcept : state_(s) {}
  template <class F, class... Args>
    requires goroutine_function<F, Args...>
  friend task<std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>> spawn(go_options, F&&,
                                                                                  Args&&...);
  template <class F, class... Args>
    requires goroutine_function<F, Args...>
  friend task<std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>> spawn(F&&, Args&&...);

  detail::task_state<T>* state_ = nullptr;
};

/// Runs f(args...) in a new goroutine and gives its task. As go() otherwise; allocates the task's state.
template <class F, class... Args>
  requires goroutine_function<F, Args...>
[[gnu::noinline]] task<std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>> spawn(
    go_options options, F&& f, Args&&... args) {
  using T = std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>;
  return task<T>(detail::start_task<T>(options.name, options.stack, __builtin_return_address(0),
                                       std::forward<F>(f), std::forward<Args>(args)...));
}

template <class F, class... Args>
  requires goroutine_function<F, Args...>
[[gnu::noinline]] task<std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>> spawn(
    F&& f, Args&&... args) {
  using T = std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>;
  return task<T>(detail::start_task<T>({}, 0, __builtin_return_address(0), std::forward<F>(f),
                                       std::forward<Args>(args)...));
}

/// Ends the calling goroutine: unwinds its stack (destructors run), then it is over. A task gets the
/// exception `gort::goroutine_exit_error`. On a foreign thread: fatal.
[[noreturn]] void goexit();

}  // namespace gort::inline v0
