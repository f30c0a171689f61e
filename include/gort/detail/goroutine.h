// gort: how go, spawn and run reach the scheduler. Not for direct use.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

#include "gort/cancelled.h"
#include "gort/config.h"

namespace gort::inline v0 {

/// What task::get() throws when the goroutine ended by goexit() and so has no result.
class goroutine_exit_error : public std::runtime_error {
 public:
  goroutine_exit_error() : std::runtime_error("the goroutine ended by goexit") {}
};

namespace detail {

struct context_node;  // rt::Context

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
  /// Room for a closure in the goroutine's own record, or null if it is too large for that (64 bytes).
  void* closure_space(std::size_t bytes, std::size_t align) noexcept;
  void start(void (*fn)(void*), void* arg, std::string_view name, const void* created_by, bool main) noexcept;
  /// In this context, which the caller keeps alive until the goroutine has called goroutine_ends.
  void start_in(context_node* context, void (*fn)(void*), void* arg, std::string_view name,
                const void* created_by) noexcept;
  /// Given away, for a start by somebody else.
  void* release() noexcept { return std::exchange(g_, nullptr); }

 private:
  void* g_;
};

/// What a task is made of besides its frame: a goroutine that has not been started, and a context of the task's own,
/// derived from the caller's. Taken back unless started.
class new_task {
 public:
  /// Throws std::bad_alloc if there is no memory for a stack.
  explicit new_task(std::size_t stack_bytes);
  new_task(const new_task&) = delete;
  new_task& operator=(const new_task&) = delete;
  ~new_task();
  /// Room for the frame in the context's record, to be used as long as one holds a reference to that; null if it is too
  /// large (128 bytes), or a sanitizer watches: the heap is what those understand.
  void* frame_space(std::size_t bytes, std::size_t align) const noexcept;
  context_node* context() const noexcept { return context_; }
  /// The context's one reference is the frame's from now on.
  void start(void (*fn)(void*), void* frame, std::string_view name, const void* created_by) noexcept;

 private:
  void* g_;
  context_node* context_;
};

/// Last thing in user context: destroys goroutine_locals, leaves the context.
void goroutine_ends();

template <class Closure>
void run_closure(void* p) {
  auto* c = static_cast<Closure*>(p);
  // No catch-all: an exception that nobody handles must reach std::terminate with the stack still standing,
  // so that the traceback shows where it was thrown.
  try {
    (*c)();
  } catch (const goexit_signal&) {
  } catch (const cancelled&) {
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
  } catch (const cancelled&) {
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

/// What a task and its goroutine share. The word: running (0), done (1), detached (2), finishing (3), or the address
/// of the one waiter. Freed by whoever of the two lets go last, through `destroy`; null on a run's frame.
struct task_core {
  std::atomic<std::uintptr_t> word{0};
  void (*destroy)(task_core*) noexcept = nullptr;
};
enum class task_end : std::uint8_t { done, timeout, cancelled };
/// Blocks until the task's goroutine has finished, the deadline (monotonic nanoseconds, INT64_MAX: none) has come or,
/// if `heed`, the caller's context is cancelled.
task_end task_wait_until(task_core* t, std::int64_t deadline, bool heed) noexcept;
/// Throws gort::cancelled.
void task_wait(task_core* t);
inline void task_wait_anyway(task_core* t) noexcept {
  static_cast<void>(task_wait_until(t, std::numeric_limits<std::int64_t>::max(), false));
}
bool task_wait_for(task_core* t, std::int64_t deadline);
/// Of destructors: waits for the end, whatever happens. False: the goroutines of that epoch are left over (gort/run.h), and
/// that may have come while a foreign thread waited.
bool task_wait_in_epoch(task_core* t, std::uint32_t epoch) noexcept;
/// An epoch has ended.
void task_epoch_over() noexcept;
void task_cancel(context_node* c, std::error_code cause) noexcept;
void task_context_over(context_node* c) noexcept;
/// The goroutine has stored its result. True if it was detached: the goroutine frees the state.
bool task_finish(task_core* t) noexcept;
/// True if the goroutine has finished already: the caller frees the state.
bool task_detach(task_core* t) noexcept;
[[noreturn]] void task_misuse(const char* operation) noexcept;

/// Of a task that was spawned.
struct spawned_core : task_core {
  context_node* context = nullptr;
};
/// Of the destructor: cancels it and waits for the end, whatever happens. False: the goroutine is left over from an ended run, so that there
/// is nothing to wait for; the state is the goroutine's now.
bool task_leave(spawned_core* t) noexcept;

template <class T>
struct task_state : spawned_core {
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
struct task_state<T&> : spawned_core {
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
struct task_state<void> : spawned_core {
  std::exception_ptr error;
  template <class F>
  void run(F& f) {
    f();
  }
  void take() {
    if (error) std::rethrow_exception(std::exchange(error, nullptr));
  }
};

/// One piece of memory for all of a spawned goroutine: the callable and its arguments until it has run, the result
/// after that. A small one lies in its context's record: an allocator that is called for each is a fifth of the price of
/// spawn and join (row spawn_join_one).
template <class T, class F, class... Args>
struct task_frame final : task_state<T> {
  template <class G, class... A>
  explicit task_frame(G&& g, A&&... a) : call(std::in_place, std::forward<G>(g), std::forward<A>(a)...) {}

  static void destroy_here(task_core* t) noexcept {
    auto* self = static_cast<task_frame*>(t);
    context_node* c = self->context;
    self->~task_frame();
    task_context_over(c);
  }
  static void destroy_heap(task_core* t) noexcept {
    auto* self = static_cast<task_frame*>(t);
    context_node* c = self->context;
    delete self;
    task_context_over(c);
  }

  struct callable {
    template <class G, class... A>
    explicit callable(G&& g, A&&... a) : fn(std::forward<G>(g)), args(std::forward<A>(a)...) {}
    T operator()() {
      return std::apply([this](auto&... a) -> T { return std::invoke(std::move(fn), std::move(a)...); }, args);
    }
    F fn;
    std::tuple<Args...> args;
  };
  std::optional<callable> call;

  static void entry(void* p) {
    auto* self = static_cast<task_frame*>(p);
    try {
      self->run(*self->call);
    } catch (const goexit_signal&) {
      self->error = std::make_exception_ptr(goroutine_exit_error());
    } catch (...) {
      self->error = std::current_exception();
    }
    // The callable dies before the task is done: a joiner may rely on its destructors having run.
    self->call.reset();
    goroutine_ends();
    if (task_finish(self)) self->destroy(self);
  }
};

template <class T, class F, class... Args>
task_state<T>* start_task(std::string_view name, std::size_t stack, const void* created_by, F&& f,
                          Args&&... args) {
  using frame = task_frame<T, std::decay_t<F>, std::decay_t<Args>...>;
  new_task made(stack);
  frame* state = nullptr;
  if (void* at = made.frame_space(sizeof(frame), alignof(frame)); at != nullptr) {
    state = ::new (at) frame(std::forward<F>(f), std::forward<Args>(args)...);
    state->destroy = frame::destroy_here;
  } else {
    state = new frame(std::forward<F>(f), std::forward<Args>(args)...);
    state->destroy = frame::destroy_heap;
  }
  state->context = made.context();
  made.start(frame::entry, state, name, created_by);
  return state;
}

}  // namespace detail
}  // namespace gort::inline v0
