// gort: contexts: how work is told to stop, by when it must be done, and what it carries along.
//
// Every goroutine (and every foreign thread) has a *current context*. Blocking operations heed it: when it is
// cancelled they end, and throw gort::cancelled; I/O returns operation_canceled. Contexts form a tree: whoever
// cancels one cancels all that were derived from it. One does not pass them around, one installs them:
//
//   void handle(request r) {
//     gort::with_timeout limit(50ms);           // for everything below, in this scope
//     auto a = gort::spawn(ask_a, r);           // inherits it
//     auto b = ask_b(r);                        // so do calls
//     reply(a.get(), b);                        // cancelled after 50 ms, whatever it waits for
//   }
//
//   installer            the context that it installs until the end of its scope
//   with_cancel          can be cancelled by cancel()
//   with_timeout         … and is, after a duration
//   with_deadline        … and is, at a point in time
//   with_stop_token      … and is, when a std::stop_token's stop is requested
//   with_value<Key>      carries a value
//   with_context         another one than the current: a scope's, another goroutine's
//   shield               cannot be cancelled from outside: for saying goodbye
//
// An installer uninstalls what it has installed when it is destroyed. The first four also cancel it, so that nothing that
// was derived from it (a detached task, a callback) outlives the work unnoticed; with_value, with_context and shield leave that to
// who cancels otherwise. Installers belong to one goroutine and nest: one that is destroyed out of order, or by another goroutine,
// is a fatal error that says so.
//
//   who                                  begins in
//   spawn, scope::go                     a context derived from the starter's; values, deadline and shield included
//   go, callbacks of after_func          the background: nothing but the end of the run cancels it
//   gort::run's own goroutine            likewise
//   a foreign thread                     a background that nobody cancels
//
// What heeds cancellation and what does not: docs/context.md. In short: whatever can wait does, also if it need not
// wait this time; try_… forms, lock, unlock and close never do; nor does anything while an exception unwinds the stack
// (destructors work), or under a shield.
//
// Promised: a cancelled context stays so. What happened before cancel() is visible to who finds cancelled() or catches
// gort::cancelled. No user code runs in cancel(): callbacks get goroutines of their own. A child that is made while its
// parent is being cancelled is cancelled.
// Not promised: an order among those who are told.
//
// The idea: Go's context and Trio's cancel scopes; ambient, as the latter.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <system_error>
#include <type_traits>
#include <utility>

#include "gort/cancelled.h"
#include "gort/clock.h"
#include "gort/config.h"
#include "gort/detail/context.h"
#include "gort/detail/goroutine.h"
#include "gort/select.h"

namespace gort::inline v0 {

/// Base of keys: `struct user : gort::context_key<std::string> {};`. The key's type is its identity.
template <class T>
struct context_key {
  using type = T;
};

/// A handle: copies mean the same context. The context lives as long as a handle, or a goroutine in it, or a
/// context derived from it does. All members may be called by several threads at once; none blocks but wait().
class context {
 public:
  using clock = gort::clock;

  /// A background that nobody cancels. The current one: this_goroutine::context().
  context() noexcept = default;
  context(const context& other) noexcept : node_(other.node_) { detail::context_ref(node_); }
  context(context&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  context& operator=(context other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~context() { detail::context_unref(node_); }

  /// Whether it has been cancelled. About 2 ns.
  bool cancelled() const noexcept;
  /// Why; empty while it has not been cancelled.
  std::error_code cause() const noexcept;
  /// The earliest deadline of it and those above it; nothing: none.
  std::optional<clock::time_point> deadline() const noexcept;

  /// The value that the innermost with_value<Key> has set, or null. Valid as long as a handle is held.
  /// O(contexts above it).
  template <class Key>
  const typename Key::type* value() const noexcept {
    return static_cast<const typename Key::type*>(
        detail::context_value(node_, detail::key_id<Key>()));
  }

  class callback;
  /// Runs f() in a goroutine of its own, in the background, once the context is cancelled; at once, if it is. The
  /// callback takes that back when it is destroyed. Throws std::bad_alloc. An exception that leaves f ends the program.
  template <class F>
    requires std::invocable<std::decay_t<F>&>
  [[nodiscard]] callback after_func(F&& f) const;

  /// A token whose stop is requested by the context's cancellation, from a goroutine of its own: soon after it. Of a
  /// context that nobody can cancel: one whose stop is not possible. Throws std::bad_alloc.
  std::stop_token stop_token() const;

  /// Blocks until this context is cancelled. Heeds the caller's own context: throws gort::cancelled if that is
  /// cancelled first; if it is the same one or below this one, too. Throws std::bad_alloc the first time.
  void wait() const;

  /// A case for select: ready as soon as this context is cancelled. (select heeds the caller's own context anyhow.)
  /// Throws std::bad_alloc the first time.
  select_case on_cancelled() const;

  friend bool operator==(const context&, const context&) noexcept = default;

 private:
  explicit context(detail::context_node* adopted) noexcept : node_(adopted) {}
  friend struct detail::context_access;
  detail::context_node* node_ = nullptr;
};

/// What after_func() has registered. Movable.
class [[nodiscard]] context::callback {
 public:
  callback() noexcept = default;
  callback(callback&& other) noexcept : reg_(std::exchange(other.reg_, nullptr)) {}
  callback& operator=(callback&& other) noexcept {
    callback taken(std::move(other));
    taken.swap(*this);
    return *this;
  }
  /// Takes it back; if the function has begun already, waits for its end (unless it is the function that calls
  /// this): afterwards nothing of it runs. That wait heeds no cancellation. A function that was left over at the end of
  /// its run never goes on, and is not waited for: so a callback may be a static object.
  ~callback();
  void swap(callback& other) noexcept { std::swap(reg_, other.reg_); }

  /// Takes it back. True: the function has not run and will not. False: it has begun, or ended, or there is none
  /// (stopped before, detached, empty). Does not wait.
  bool stop() noexcept;
  /// Lets it be: the function runs when the context is cancelled, if it ever is.
  void detach() && noexcept;

 private:
  explicit callback(detail::callback_core* adopted) noexcept : reg_(adopted) {}
  friend class context;
  detail::callback_core* reg_ = nullptr;
};

inline detail::context_node* detail::context_access::node(const context& c) noexcept {
  return c.node_;
}
inline context detail::context_access::adopt(context_node* c) noexcept { return context(c); }

namespace this_goroutine {
/// The current context of the calling goroutine or foreign thread.
gort::context context() noexcept;
/// Whether it is cancelled, and would be noticed here (no shield, no unwinding). For long computations.
bool cancelled() noexcept;
/// Throws gort::cancelled if cancelled().
void check_cancelled();
}  // namespace this_goroutine

/// Installs a context that can be cancelled. Throws std::bad_alloc, as all installers but shield do; about 50 ns with its end.
class [[nodiscard]] with_cancel : public detail::installer {
 public:
  with_cancel() : installer(detail::kind_cancel, detail::kNoDeadline) {}

  /// Cancels it and all that is derived from it. `cause` must not be empty. Any thread; the first one counts.
  /// O(contexts and goroutines below).
  void cancel(std::error_code cause = cancel_reason::cancelled) noexcept;
  /// To hand to somebody else.
  gort::context context() const noexcept;

 protected:
  explicit with_cancel(std::int64_t deadline_ns)
      : installer(detail::kind_cancel, deadline_ns) {}
};

/// Installs a context that is cancelled, with cause timed_out, after `d`; at once, if d is not positive. A deadline
/// above it that is earlier stays in force.
class [[nodiscard]] with_timeout : public with_cancel {
 public:
  template <class Rep, class Period>
  explicit with_timeout(std::chrono::duration<Rep, Period> d)
      : with_cancel(detail::deadline_in(d)) {}

  /// Whether it was this timeout that ended the context: not cancel(), and not a context above.
  bool expired() const noexcept;
};

/// Installs a context that is cancelled, with cause timed_out, at a time of any clock (judged when it is made).
class [[nodiscard]] with_deadline : public with_timeout {
 public:
  template <class Clock, class Duration>
  explicit with_deadline(std::chrono::time_point<Clock, Duration> at)
      : with_timeout(std::chrono::nanoseconds(detail::ns_until(at))) {}
};

/// Installs a context that is cancelled when the stop of `token` is requested, by the requesting thread.
class [[nodiscard]] with_stop_token : public with_cancel {
 public:
  explicit with_stop_token(std::stop_token heeded) : stop_(std::move(heeded), request{this}) {}

 private:
  struct request {
    with_stop_token* self;
    void operator()() const noexcept { self->cancel(); }
  };
  std::stop_callback<request> stop_;
};

/// Installs a context with a value of type Key::type, made from args.
template <class Key>
class [[nodiscard]] with_value : public detail::installer {
 public:
  /// Throws std::bad_alloc and what the value's constructor throws.
  template <class... Args>
    requires std::constructible_from<typename Key::type, Args...>
  explicit with_value(Args&&... args)
      : installer(detail::kind_value,
                  {detail::key_id<Key>(), new typename Key::type(std::forward<Args>(args)...),
                   [](void* p) noexcept { delete static_cast<typename Key::type*>(p); }}) {}
};

/// Installs `wanted` in place of the current context, to which it need not be related.
class [[nodiscard]] with_context : public detail::installer {
 public:
  explicit with_context(const context& wanted) : installer(detail::context_access::node(wanted)) {}
};

/// Installs a context that keeps the values but that nothing outside cancels, not even the end of the run. Throws nothing, so
/// that destructors can use it: without memory for a context it still shields the caller's own calls, but not what is started
/// meanwhile.
class [[nodiscard]] shield : public detail::installer {
 public:
  shield() noexcept : installer(detail::kind_shield, detail::kNoDeadline) {}
};

template <class F>
  requires std::invocable<std::decay_t<F>&>
context::callback context::after_func(F&& f) const {
  struct registered final : detail::callback_core {
    explicit registered(F&& from) : fn(std::forward<F>(from)) {}
    std::decay_t<F> fn;
  };
  auto reg = std::make_unique<registered>(std::forward<F>(f));
  reg->call = [](detail::callback_core* c) { std::invoke(static_cast<registered*>(c)->fn); };
  reg->destroy = [](detail::callback_core* c) noexcept { delete static_cast<registered*>(c); };
  detail::callback_register(node_, reg.get());
  return callback(reg.release());
}

}  // namespace gort::inline v0
