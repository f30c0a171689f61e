// gort: a scope's goroutines. Not for direct use.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>

#include "gort/config.h"
#include "gort/detail/context.h"
#include "gort/detail/goroutine.h"
#include "gort/semaphore.h"

namespace gort::inline v0::detail {

struct scope_core {
  explicit scope_core(std::uint32_t limit);

  task_core ended;                         ///< done when `pending` has come down to 0
  std::atomic<std::uint32_t> pending{1};   ///< goroutines that have not ended, and the scope itself until it joins
  std::atomic<bool> failed{false};         ///< `first` is taken
  bool limited;
  std::atomic<std::uint32_t> run_epoch{0};  ///< no earlier than that of any of its goroutines
  semaphore places;                        ///< free ones, if limited
  context_node* node;                      ///< the context of its goroutines
  std::exception_ptr first;                ///< written by who has set `failed`, read when all have ended
};

/// May wait for a place; throws gort::cancelled then.
void scope_child_begins(scope_core* s);
/// It was started.
void scope_child_begun(scope_core* s) noexcept;
/// It was not started after all.
void scope_child_not_begun(scope_core* s) noexcept;
/// In a catch block: keeps the exception if it is the first, and cancels the others.
void scope_child_failed(scope_core* s) noexcept;
/// The last thing that a goroutine does with the scope.
void scope_child_ended(scope_core* s) noexcept;
void scope_join(scope_core* s);
void scope_leave(scope_core* s) noexcept;
void scope_cancel(scope_core* s, std::error_code cause) noexcept;
context scope_context(const scope_core* s) noexcept;

template <class Call>
struct scope_child {
  scope_core* scope;
  Call call;

  static void run_here(void* p) {
    auto* self = static_cast<scope_child*>(p);
    scope_core* s = self->scope;
    self->run();
    self->~scope_child();
    goroutine_ends();
    scope_child_ended(s);
  }
  static void run_heap(void* p) {
    auto* self = static_cast<scope_child*>(p);
    scope_core* s = self->scope;
    self->run();
    delete self;
    goroutine_ends();
    scope_child_ended(s);
  }
  void run() {
    try {
      call();
    } catch (const goexit_signal&) {
    } catch (...) {
      scope_child_failed(scope);
    }
  }
};

template <class F, class... Args>
void start_scope_child(scope_core* s, std::string_view name, std::size_t stack, const void* created_by, F&& f,
                       Args&&... args) {
  using call = decltype(make_closure(std::forward<F>(f), std::forward<Args>(args)...));
  using child = scope_child<call>;
  scope_child_begins(s);
  struct undo {
    scope_core* s;
    ~undo() {
      if (s != nullptr) scope_child_not_begun(s);
    }
  } not_begun{s};
  new_goroutine g(stack);
  if (void* at = g.closure_space(sizeof(child), alignof(child)); at != nullptr) {
    ::new (at) child{s, make_closure(std::forward<F>(f), std::forward<Args>(args)...)};
    not_begun.s = nullptr;
    g.start_in(s->node, child::run_here, at, name, created_by);
    scope_child_begun(s);
  } else {
    auto* c = new child{s, make_closure(std::forward<F>(f), std::forward<Args>(args)...)};
    not_begun.s = nullptr;
    g.start_in(s->node, child::run_heap, c, name, created_by);
    scope_child_begun(s);
  }
}

}  // namespace gort::inline v0::detail
