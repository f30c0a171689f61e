// gort: select waits for whichever of several channel operations can go on first, and does that one.
//
//   std::optional<job> j;
//   switch (gort::select(in.on_recv(j), out.on_send(r), gort::after(50ms))) {
//     case 0: if (!j) return; work(*j); break;       // nullopt: `in` is closed
//     case 1: ...                                    // r has been sent; otherwise it is untouched
//     case 2: ...                                    // neither for 50 ms
//   }
//
//   case                    is ready when                                      what it does
//   ch.on_recv(out)         a value is there, a sender waits, or it is closed  out = the value; nullopt: closed
//   ch.on_recv()            likewise                                           the value is dropped
//   ch.on_send(v)           there is room, a receiver waits, or it is closed   sends v; throws closed
//   ch.on_send(move(v))     likewise                                           v is moved from only if this case fired
//   gort::after(d)          d has passed since the call                        -
//   gort::otherwise         no channel's case is ready                         -
//
// The result is the index of the case that fired, in the order of the arguments; exactly one does. If several are ready,
// each is equally likely, so none starves. The channels are looked at as of one instant: if at each moment one of them is
// ready, `otherwise` does not fire. A null channel is never ready, so a case is switched off by making its channel null. The same
// channel may be in several cases, sending and receiving. Without cases it blocks for ever.
//
// Lists that are known at run time only: a span or vector of select_case. Cases refer to their channel's handle and to
// their variables; they may be used again.
//
// Blocks without polling, may change the goroutine's thread then, throws gort::cancelled in a cancelled context (unless
// there is an `otherwise`: such a select does not wait). Throws what the T of the case that fired throws. Allocates a box for
// each sending case whose T travels in one (chan.h), and otherwise nothing but, the first times that so many wait, a record
// per case: throws std::bad_alloc if there is no memory for that, and has done nothing then. O(cases), their sorting by address included
// for usual numbers. From any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <type_traits>

#include "gort/cancelled.h"
#include "gort/config.h"
#include "gort/detail/chan_head.h"
#include "gort/detail/deadline.h"

namespace gort::inline v0 {

/// One case: made by on_recv, on_send, after, otherwise. Default: never ready.
class select_case : private detail::case_data {
 public:
  select_case() noexcept = default;
  /// The makers' own.
  select_case(detail::chan_head* head, detail::case_kind kind_of, void* where, const detail::case_ops* how) noexcept {
    chan = head, kind = kind_of, target = where, ops = how;
  }
  static select_case plain(detail::case_kind kind_of, std::int64_t ns) noexcept {
    select_case c;
    c.kind = kind_of;
    c.wait_ns = ns;
    return c;
  }
  /// The library's.
  static detail::case_data& data(select_case& c) noexcept { return c; }
  static detail::case_data* data(std::span<select_case> cases) noexcept { return cases.data(); }
};
static_assert(sizeof(select_case) == sizeof(detail::case_data));

/// Fires when d has passed since select was called; at once if it is not positive.
template <class Rep, class Period>
select_case after(const std::chrono::duration<Rep, Period>& d) noexcept {
  return select_case::plain(detail::case_kind::timeout, detail::whole_ns(d));
}

namespace detail {
struct otherwise_t {
  operator select_case() const noexcept { return select_case::plain(case_kind::otherwise, 0); }
};
std::size_t select(case_data* cases, std::size_t n);
}  // namespace detail

/// Fires if no channel's case is ready; before an `after` that is due at once.
inline constexpr detail::otherwise_t otherwise;

/// The short form of the usual question: whether this case can fire now.
inline std::size_t select(select_case one, detail::otherwise_t) {
  detail::case_data& c = select_case::data(one);
  if (!detail::looks_ready(c)) return 1;
  select_case both[] = {one, otherwise};
  return detail::select(select_case::data(both), 2);
}

/// Waits for one of the cases, does it, gives its index.
template <class... Cases>
  requires(std::is_convertible_v<Cases, select_case> && ...)
std::size_t select(Cases&&... cases) {
  if constexpr (sizeof...(Cases) == 0) {
    return detail::select(nullptr, 0);
  } else {
    select_case all[] = {static_cast<Cases&&>(cases)...};
    return detail::select(select_case::data(all), sizeof...(Cases));
  }
}

/// The same for a list.
inline std::size_t select(std::span<select_case> cases) {
  return detail::select(select_case::data(cases), cases.size());
}

}  // namespace gort::inline v0
