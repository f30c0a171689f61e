// gort: something that is done once, whoever comes first.
//
//   constinit gort::once_flag loaded;
//   gort::call_once(loaded, [] { load(); });
//
//   gort::once_value config([] { return parse("/etc/app.conf"); });    // Go's OnceValue
//   use(config());
//
// The contract of std::once_flag and std::call_once: one call of the function completes; who comes while it runs waits for it;
// if it ends by an exception, that one is thrown to its caller and the next one who waits, or comes, tries again.
//
//   never    the first caller runs it
//   running  others wait, without holding a thread (a foreign thread blocks)
//   done     all return at once: one load, inline
//
// Promised: what the function did is visible to all who return from call_once. call_once may change the thread if it
// waits. The function may park. The wait for another's call is not cancelled by a context.
// Not promised: recursion. A function that calls call_once of its own flag waits for ever, and the deadlock report
// shows it.
#pragma once

#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

#include "gort/config.h"
#include "gort/detail/sync_words.h"

namespace gort::inline v0 {

namespace detail {
/// True: the caller is the one, and calls once_end.
bool once_begin(word32& word) noexcept;
void once_end(word32& word, bool completed) noexcept;
}  // namespace detail

class once_flag {
 public:
  constexpr once_flag() noexcept = default;
  once_flag(const once_flag&) = delete;
  once_flag& operator=(const once_flag&) = delete;

 private:
  template <class F, class... Args>
  friend void call_once(once_flag& flag, F&& f, Args&&... args);
  template <class F>
  friend class once_value;
  bool done() const noexcept { return word_.load(std::memory_order_acquire) == detail::kOnceDone; }

  detail::word32 word_{detail::kOnceNever};
};

namespace detail {

/// Out of the way of those who come later.
template <class F, class... Args>
[[gnu::noinline, gnu::cold]] void once_call(word32& word, F&& f, Args&&... args) {
  if (!once_begin(word)) return;
  struct ending {
    word32& word;
    bool completed = false;
    ~ending() { once_end(word, completed); }
  } end{word};
  std::invoke(std::forward<F>(f), std::forward<Args>(args)...);
  end.completed = true;
}

}  // namespace detail

template <class F, class... Args>
void call_once(once_flag& flag, F&& f, Args&&... args) {
  if (flag.done()) [[likely]] return;
  detail::once_call(flag.word_, std::forward<F>(f), std::forward<Args>(args)...);
}

/// The result of a function that is called at most once successfully: at the first use, by whoever comes first.
template <class F>
class once_value {
 public:
  using value_type = std::decay_t<std::invoke_result_t<F&>>;

  constexpr explicit once_value(F f) noexcept(std::is_nothrow_move_constructible_v<F>) : f_(std::move(f)) {}
  once_value(const once_value&) = delete;
  once_value& operator=(const once_value&) = delete;

  /// The value; lives as long as this object. Throws what the function throws; then the next call tries again.
  const value_type& operator()() {
    call_once(flag_, [this] { value_.emplace(std::invoke(f_)); });
    return *value_;
  }

 private:
  once_flag flag_;
  F f_;
  std::optional<value_type> value_;
};

}  // namespace gort::inline v0
