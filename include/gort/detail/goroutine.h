// gort: how go, spawn and run reach the scheduler. Not for direct use.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "gort/config.h"

namespace gort::inline v0 {

/// What task::get() throws when the goroutine ended by goexit() and so has no result.
class goroutine_exit_error : public std::runtime_error {
 public:
  goroutine_exit_error() : std::runtime_error("the goroutine ended by goexit") {}
};

namespace detail {

/// What goexit() throws to unwind. Not a std::exception, so that catch (std::exception&) does not see it.
struct goexit_signal {};

/// A goroutine that has been made but not started; taken back unless started.
class new_goroutine {
 public:
  /// Throws std::bad_alloc if there is no memory for a stack.
  explicit new_goroutine(std::size_t stack_bytes);
  new_goroutine(const new_goroutine&) = delete;
  new_goroutine& operator=(const new_goroutine&) = delete;
  ~new_goroutine();
  /// Room for a closure on the new stack, or null if it is too large for that.
  void* closure_space(std::size_t bytes, std::size_t align) noexcept;
  void start(void (*fn)(void*), void* arg, std::string_view name, const void* created_by, bool main) noexcept;

 private:
  void* g_;
  std::uintptr_t top_ = 0;
};

/// Last thing in user context: destroys goroutine_locals.
void goroutine_ends();

template <class Closure>
void run_closure(void* p) {
  auto* c = static_cast<Closure*>(p);
  // No catch-all: an exception that nobody handles must reach std::terminate with the stack still standing,
  // so that the traceback shows where it was thrown.
  try {
    (*c)();
  } catch (const goexit_signal&) {
  }
  c->~Closure();
  goroutine_ends();
}

template <class Closure>
void run_heap_closure(void* p) {
  auto* c = static_cast<Closure*>(p);
  try {
    (*c)();
  } catch (const goexit_signal&) {
  }
  delete c;
  goroutine_ends();
}

template <class F, class... Args>
auto make_closure(F&& f, Args&&... args) {
  return [fn = std::decay_t<F>(std::forward<F>(f)),
          tup = std::tuple<std::decay_t<Args>...>(std::forward<Args>(args)...)]() mutable {
    std::apply([&fn](auto&... a) { static_cast<void>(std::invoke(std::move(fn), std::move(a)...)); }, tup);
  };
}

template <class F, class... Args>
void start_goroutine(std::string_view name, std::size_t stack, const void* created_by, F&& f, Args&&... args) {
  using closure = decltype(make_closure(std::forward<F>(f), std::forward<Args>(args)...));
  new_goroutine g(stack);
  if (void* at = g.closure_space(sizeof(closure), alignof(closure)); at != nullptr) {
    ::new (at) closure(make_closure(std::forward<F>(f), std::forward<Args>(args)...));
    g.start(run_closure<closure>, at, name, created_by, false);
  } else {
    auto* c = new closure(make_closure(std::forward<F>(f), std::forward<Args>(args)...));
    g.start(run_heap_closure<closure>, c, name, created_by, false);
  }
}

/// The join word of a task: running (0), done (1), detached (2), or the address of the one waiter.
struct task_core {
  std::atomic<std::uintptr_t> word{0};
};
/// Blocks until the task's goroutine has finished.
void task_wait(task_core* t);
/// The goroutine has stored its result. True if it was detached: the goroutine frees the state.
bool task_finish(task_core* t) noexcept;
/// True if the goroutine has finished already: the caller frees the state.
bool task_detach(task_core* t) noexcept;
[[noreturn]] void task_misuse(const char* operation) noexcept;

template <class T>
struct task_state : task_core {
  std::optional<T> value;
  std::exception_ptr error;
  template <class F>
  void run(F& f) {
    value.emplace(f());
  }
  T take() {
    if (error) std::rethrow_exception(std::exchange(error, nullptr));
    return std::move(*value);
  }
};
template <class T>
struct task_state<T&> : task_core {
  T* value = nullptr;
  std::exception_ptr error;
  template <class F>
  void run(F& f) {
    value = std::addressof(f());
  }
  T& take() {
    if (error) std::rethrow_exception(std::exchange(error, nullptr));
    return *value;
  }
};
template <>
struct task_state<void> : task_core {
  std::exception_ptr error;
  template <class F>
  void run(F& f) {
    f();
  }
  void take() {
    if (error) std::rethrow_exception(std::exchange(error, nullptr));
  }
};

template <class T, class F, class... Args>
task_state<T>* start_task(std::string_view name, std::size_t stack, const void* created_by, F&& f,
                          Args&&... args) {
  auto state = std::make_unique<task_state<T>>();
  auto body = [s = state.get(), fn = std::decay_t<F>(std::forward<F>(f)),
               tup = std::tuple<std::decay_t<Args>...>(std::forward<Args>(args)...)]() mutable {
    {
      // The callable dies before the task is done: a joiner may rely on its destructors having run.
      auto own_fn = std::move(fn);
      auto own_args = std::move(tup);
      auto call = [&]() -> T {
        return std::apply(
            [&own_fn](auto&... a) -> T { return std::invoke(std::move(own_fn), std::move(a)...); }, own_args);
      };
      try {
        s->run(call);
      } catch (const goexit_signal&) {
        s->error = std::make_exception_ptr(goroutine_exit_error());
      } catch (...) {
        s->error = std::current_exception();
      }
    }
    if (task_finish(s)) delete s;
  };
  start_goroutine(name, stack, created_by, std::move(body));
  return state.release();
}

}  // namespace detail
}  // namespace gort::inline v0
