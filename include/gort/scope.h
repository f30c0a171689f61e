// gort: a scope: goroutines that end before it does. The usual way to do things at the same time.
//
//   user u; prefs p;
//   gort::scope s;
//   s.go([&] { u = load_user(id); });      // may use what stands above the scope: they end before it
//   s.go([&] { p = load_prefs(id); });
//   s.join();                              // both have ended; the first exception is rethrown here
//
//   what happens                            what the scope does
//   join()                                  waits for all, rethrows the first exception of theirs
//   a goroutine ends by an exception        cancels the others (cause sibling_failed); they end at their next
//                                           blocking call
//   the joiner is cancelled                 cancels all (same cause), waits for them, then join() throws gort::cancelled
//   the scope is left without join()        cancels all and waits for them; what they threw is dropped
//   the context around it is cancelled      all are, for theirs is derived from it
//
//   a goroutine is left over (gort/run.h)   the scope's end does not wait for it: it never goes on
//
// So by return, by exception or by cancellation, nobody is left behind. A scope's goroutines live in its context;
// the body of the scope does not: it learns of a failure in join(). To have it end too, install the scope's context:
// `gort::with_context in(s.context());`.
//
// gort::cancelled that leaves a goroutine of a cancelled scope is how it was meant to end, and no error. In a scope
// that is not cancelled it is one (a timeout of the goroutine's own that it let pass).
//
// A scope whose goroutines have all ended well does not cancel its context: a task that one of them spawned, and gave to
// somebody outside, belongs to that one and goes on (errgroup's Wait would end it). What shall not outlive the scope
// is started by s.go.
//
// Promised: what the goroutines did is visible after join(). goexit() in one of them is a plain end.
// Not promised: that goroutines which block outside of gort, or compute without a call, end soon: the scope
// waits for them all the same.
// Threads: go(), cancel() and context() may be called from the scope's own goroutines and others while it lives; go() by others
// only where join() cannot be about to return (it is not running, or one of the scope's goroutines waits for the caller). join()
// and the destructor by one caller at a time, which may be a foreign thread (it blocks).
//
// The ideas: Trio's nurseries, Go's errgroup.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <string_view>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

#include "gort/config.h"
#include "gort/context.h"
#include "gort/detail/scope.h"
#include "gort/go.h"

namespace gort::inline v0 {

struct scope_options {
  /// At most so many goroutines of the scope at once; go() waits for a place (one of its own goroutines that does so keeps
  /// its place meanwhile: when all of them do, they wait for ever). 0: any number (2^31 and more are not told apart).
  std::uint32_t limit = 0;
};

class [[nodiscard]] scope {
 public:
  /// Its context is derived from the current one. Throws std::bad_alloc.
  scope() : core_(0) {}
  explicit scope(scope_options wanted) : core_(wanted.limit) {}
  scope(const scope&) = delete;
  scope& operator=(const scope&) = delete;
  /// Cancels what still runs and waits for it. That wait heeds no cancellation.
  ~scope() { detail::scope_leave(&core_); }

  /// Runs f(args...) in a new goroutine of the scope. Never blocks without a limit; with one, waits for a place, which may
  /// change the thread, and throws gort::cancelled in a cancelled context. In a cancelled scope the goroutine is
  /// started, and cancelled from the beginning. Throws std::bad_alloc and what copying the arguments throws.
  template <class F, class... Args>
    requires goroutine_function<F, Args...>
  [[gnu::noinline]] void go(go_options options, F&& f, Args&&... args) {
    check<F, Args...>();
    detail::start_scope_child(&core_, options.name, options.stack, __builtin_return_address(0), std::forward<F>(f),
                              std::forward<Args>(args)...);
  }
  template <class F, class... Args>
    requires goroutine_function<F, Args...>
  [[gnu::noinline]] void go(F&& f, Args&&... args) {
    check<F, Args...>();
    detail::start_scope_child(&core_, {}, 0, __builtin_return_address(0), std::forward<F>(f),
                              std::forward<Args>(args)...);
  }

  /// Waits until all goroutines of the scope have ended. Rethrows the first exception that left one of them; else
  /// throws gort::cancelled if the caller has been cancelled. The scope may be used again after a join() that
  /// did not throw. Under a shield the caller counts as not cancelled, as everywhere: whether its goroutines have been, by
  /// the context around the scope, says context().cancelled().
  void join() { detail::scope_join(&core_); }

  /// Cancels all of its goroutines. Any thread.
  void cancel(std::error_code cause = cancel_reason::cancelled) noexcept { detail::scope_cancel(&core_, cause); }

  /// The context in which its goroutines run.
  gort::context context() const noexcept { return detail::scope_context(&core_); }

 private:
  template <class F, class... Args>
  static consteval void check() {
    static_assert(std::is_void_v<std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>>,
                  "scope::go drops results: use gort::spawn, or make the function return void");
  }
  mutable detail::scope_core core_;
};

}  // namespace gort::inline v0
