// gort: timers: a channel that gets a time, once (timer) or again and again (ticker), or a function that is run later
// (after_func).
//
//   gort::timer patience(50ms);                         // a timeout that spans several waits
//   for (;;) {
//     std::optional<job> j;
//     if (gort::select(in.on_recv(j), patience.on_recv()) == 1) break;
//     ...
//   }
//   gort::ticker every(10s);                            // periodic work
//   for (auto when : every.channel()) flush(when);
//
//   gort::after_func(30s, [=] { session.expire(); });   // runs in a goroutine of its own
//
// For a single wait, recv_for, select with gort::after, or a context with a deadline is shorter.
//
//   a timer or after_func is    stop gives    reset gives    then it is
//   armed                       true          true           stopped / armed anew
//   gone off, value not taken   true          true           likewise: the value is taken back
//   gone off, taken or running  false         false          stopped / armed anew
//   stopped                     false         false          stopped / armed anew
//
// Promised:
//   * never too early; how late depends on who else runs: microseconds with an idle P, a time slice (10 ms) at most
//     beside goroutines that compute without calling gort.
//   * once stop or reset has returned, no value of the time before arrives: what was in the channel has been taken back,
//     what was on its way is dropped. Nobody has to drain the channel. A timer's channel shows len() 0 and cap() 0.
//   * ticks lie on the grid that starts with the ticker; a receiver that is slow loses ticks, and no two are stored.
//   * stop of an after_func does not wait for a function that is running; true means that it has not begun and will not.
// Not promised: an order among timers of the same time.
//
// None of these operations blocks or changes the thread; all may be called at the same time, from any thread, before the
// runtime starts too (they start it). Armed timers keep nobody alive: the end of the last gort::run is not delayed by
// timer and ticker, and functions of an ended run are not begun. A goroutine that waits for an armed one is no deadlock.
// Durations: rounded up to nanoseconds, not positive is at once, too long is never.
//
// Costs: arming O(log n) in the timers of a P; arming again for a later time and stopping O(1); one allocation
// for each, none later. The ideas and the rules of stop and reset are Go's (time package, 1.23).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "gort/chan.h"
#include "gort/clock.h"
#include "gort/config.h"
#include "gort/detail/deadline.h"
#include "gort/detail/goroutine.h"

namespace gort::inline v0 {

namespace detail {

struct chan_timer;  ///< src/api/timer.cc
void chan_timer_delete(chan_timer* t) noexcept;
/// What a timer's channel has beside it.
inline constexpr beside chan_timer_room{176};
/// Lies beside the channel, which lives longer.
chan_timer* chan_timer_new(const recv_chan<clock::time_point>& c, std::int64_t ns, bool periodic);
bool chan_timer_stop(chan_timer* t) noexcept;
bool chan_timer_reset(chan_timer* t, std::int64_t ns) noexcept;

struct chan_timer_deleter {
  void operator()(chan_timer* t) const noexcept { chan_timer_delete(t); }
};

}  // namespace detail

/// A channel that gets the time once, when it is up. Owns its arming: destroyed, it is stopped (handles of its channel
/// stay good and get nothing more). Movable, not copyable; a moved-from one can be destroyed and assigned to.
class [[nodiscard]] timer {
 public:
  using time_point = clock::time_point;

  /// Armed for `d` from now. Throws std::bad_alloc.
  template <class Rep, class Period>
  explicit timer(const std::chrono::duration<Rep, Period>& d)
      : view_(chan<time_point>(1, detail::chan_timer_room)), t_(detail::chan_timer_new(view_, detail::whole_ns(d), false)) {}
  timer(timer&&) noexcept = default;
  timer& operator=(timer&& other) noexcept {
    t_ = std::move(other.t_);  // first: it lies in the channel's memory
    view_ = std::move(other.view_);
    return *this;
  }

  /// Where the time arrives: the clock's when it went off. A copy may outlive the timer.
  const recv_chan<time_point>& channel() const noexcept { return view_; }
  /// channel().recv(), on_recv(), for short.
  time_point recv() const { return *view_.recv(); }
  select_case on_recv(std::optional<time_point>& out) const noexcept { return view_.on_recv(out); }
  select_case on_recv() const noexcept { return view_.on_recv(); }

  /// See the table. O(1).
  bool stop() noexcept { return detail::chan_timer_stop(t_.get()); }
  /// Arms it for `d` from now, whatever it was.
  template <class Rep, class Period>
  bool reset(const std::chrono::duration<Rep, Period>& d) noexcept {
    return detail::chan_timer_reset(t_.get(), detail::whole_ns(d));
  }

 private:
  recv_chan<time_point> view_;
  std::unique_ptr<detail::chan_timer, detail::chan_timer_deleter> t_;  // before the channel goes
};

/// A channel that gets the time every `d`. A period that is not positive is fatal.
class [[nodiscard]] ticker {
 public:
  using time_point = clock::time_point;

  template <class Rep, class Period>
  explicit ticker(const std::chrono::duration<Rep, Period>& d)
      : view_(chan<time_point>(1, detail::chan_timer_room)), t_(detail::chan_timer_new(view_, detail::whole_ns(d), true)) {}
  ticker(ticker&&) noexcept = default;
  ticker& operator=(ticker&& other) noexcept {
    t_ = std::move(other.t_);  // first: it lies in the channel's memory
    view_ = std::move(other.view_);
    return *this;
  }

  const recv_chan<time_point>& channel() const noexcept { return view_; }
  time_point recv() const { return *view_.recv(); }
  select_case on_recv(std::optional<time_point>& out) const noexcept { return view_.on_recv(out); }
  select_case on_recv() const noexcept { return view_.on_recv(); }

  /// No more ticks; the channel stays open, so that nobody takes its end for a tick.
  void stop() noexcept { detail::chan_timer_stop(t_.get()); }
  /// A new period and a new grid, from now on.
  template <class Rep, class Period>
  void reset(const std::chrono::duration<Rep, Period>& d) noexcept {
    detail::chan_timer_reset(t_.get(), detail::whole_ns(d));
  }

 private:
  recv_chan<time_point> view_;
  std::unique_ptr<detail::chan_timer, detail::chan_timer_deleter> t_;
};

namespace detail {

/// A function and its timer. `run` may be called several times, at the same time too; `destroy` once; both outside the
/// runtime.
struct func_timer {
  void (*run)(func_timer*);
  void (*destroy)(func_timer*) noexcept;
  alignas(8) std::byte core[104];  ///< src/api/timer.cc
};
void func_timer_start(func_timer* t, std::int64_t ns, const void* created_by) noexcept;
void func_timer_release(func_timer* t) noexcept;
bool func_timer_stop(func_timer* t) noexcept;
bool func_timer_reset(func_timer* t, std::int64_t ns) noexcept;

template <class F>
struct func_timer_of final : func_timer {
  template <class G>
  explicit func_timer_of(G&& g) : f(std::forward<G>(g)) {
    run = [](func_timer* t) {
      try {
        static_cast<func_timer_of*>(t)->f();
      } catch (const goexit_signal&) {
      } catch (const cancelled&) {  // by the end of the run
      }
    };
    destroy = [](func_timer* t) noexcept { delete static_cast<func_timer_of*>(t); };
  }
  F f;
};

}  // namespace detail

/// A handle of what after_func has set up. Dropping it changes nothing: the function is run, unless it was stopped.
class func_handle {
 public:
  func_handle() noexcept = default;
  func_handle(func_handle&& other) noexcept : t_(std::exchange(other.t_, nullptr)) {}
  func_handle& operator=(func_handle&& other) noexcept {
    std::swap(t_, other.t_);
    return *this;
  }
  ~func_handle() {
    if (t_ != nullptr) detail::func_timer_release(t_);
  }

  /// True: the function will not be run. False: it has been begun, or it was stopped before. Does not wait for it.
  /// False on an empty handle.
  bool stop() noexcept { return t_ != nullptr && detail::func_timer_stop(t_); }
  /// Runs it (again) in `d` from now. If it is running, it may run twice at the same time: that is f's to stand.
  template <class Rep, class Period>
  bool reset(const std::chrono::duration<Rep, Period>& d) noexcept {
    return t_ != nullptr && detail::func_timer_reset(t_, detail::whole_ns(d));
  }

 private:
  explicit func_handle(detail::func_timer* adopted) noexcept : t_(adopted) {}
  template <class Rep, class Period, class F>
    requires std::is_invocable_v<std::decay_t<F>&>
  friend func_handle after_func(const std::chrono::duration<Rep, Period>&, F&&);
  detail::func_timer* t_ = nullptr;
};

/// Runs f() in a goroutine of its own (background context) in `d` from now. f is destroyed when it can no longer be run:
/// it has been, or was stopped, and the handle is gone; by whoever did the last of these. An exception that leaves f ends
/// the program, as with go. Throws std::bad_alloc, and what moving f throws. O(log n).
template <class Rep, class Period, class F>
  requires std::is_invocable_v<std::decay_t<F>&>
[[gnu::noinline]] func_handle after_func(const std::chrono::duration<Rep, Period>& d, F&& f) {
  auto* t = new detail::func_timer_of<std::decay_t<F>>(std::forward<F>(f));
  detail::func_timer_start(t, detail::whole_ns(d), __builtin_return_address(0));
  return func_handle(t);
}

}  // namespace gort::inline v0
