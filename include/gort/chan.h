// gort: channels, through which goroutines and threads hand values to each other.
//
//   gort::chan<job> jobs(16);                  // room for 16; chan<job>(0) or gort::unbuffered: none
//   gort::go([=] {                             // a copy is another handle of the same channel
//     gort::closing done(jobs);                // closes it however this function is left
//     for (auto& row : rows) jobs.send(job(row));
//   });
//   for (job& j : jobs) work(j);               // until it is closed and empty
//
// An unbuffered channel is a meeting: send and recv return when both are there. A buffered one lets senders run ahead
// by its capacity. Values come out in the order in which they went in; who has waited longest is served first.
//
//   channel is     send           recv            try_send   try_recv   close    len
//   null           waits for ever waits for ever  full       empty      fatal    0
//   open, empty    goes in, or    waits           done*      empty      done     0
//                  waits
//   open, full     waits          takes           full       takes      done     cap
//   closed, rest   throws closed  takes           closed     takes      fatal    what is left
//   closed, empty  throws closed  nullopt         closed     closed     fatal    0
//   * unbuffered: only if somebody waits for it, else full. `fatal` ends the program with a traceback, since the
//     program's idea of who closes has been broken. Those who wait when it is closed wake in their order.
//
// Promised:
//   * sending is strong: a value is moved from only if it was delivered (or put into the buffer). A sender that finds
//     the channel closed, runs out of time or is cancelled has its value still.
//   * nothing is lost: if moving a T out throws in recv or the loop, the value is at the front again, for the next recv.
//   * what came before a send is visible after the recv that gets the value; what came before that recv is visible after
//     the send, if the channel is unbuffered; what came before close is visible to who finds it closed.
//   * no code of T's runs under a lock of the runtime's. detail/chan_element.h says how a T travels: small trivial types
//     and unique_ptr, shared_ptr, vector by bytes, without allocation; others in a box, one allocation each.
//
// Blocking calls (send, recv, their timed forms, the loop) throw gort::cancelled in a cancelled context, also if they
// could go on at once; they may change the goroutine's thread if they wait. try_*, close, len and cap never do either.
// All may be called from any thread; a foreign one blocks its thread. A channel may be a static object, and be used
// before the runtime starts. A value is destroyed by the last handle if nobody received it.
//
// A handle is one pointer. Different handles may be used at the same time, one handle too, as long as nobody assigns to
// it; const means as little as for a pointer. O(1) each, without allocation (boxes apart).
#pragma once

#include <chrono>
#include <cstddef>
#include <exception>
#include <expected>
#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "gort/cancelled.h"
#include "gort/config.h"
#include "gort/detail/chan_core.h"
#include "gort/detail/chan_element.h"
#include "gort/detail/fork.h"
#include "gort/select.h"

namespace gort::inline v0 {

/// What send throws: the channel has been closed. The value is still the caller's.
class closed : public std::exception {
 public:
  const char* what() const noexcept override { return "gort: send on a closed channel"; }
};

/// Why an operation that does not wait for ever has not taken place.
enum class chan_status : unsigned char {
  empty = 1,  ///< try_recv: nothing is there
  full,       ///< try_send: no room, nobody waits
  closed,     ///< for good: the other side has ended
  timeout,    ///< timed forms
};

inline constexpr std::ptrdiff_t unbuffered = 0;

namespace detail {

chan_status status_of(chan_end e, chan_status blocked);

/// The receiving half, of chan<T> and recv_chan<T>.
template <class Self, class T>
class receives {
  using e = element<T>;

 public:
  using value_type = T;

  /// The oldest value; waits for one. nullopt: closed, and nothing is left. Throws cancelled, and what moving a T throws.
  std::optional<T> recv() const {
    typename e::slot slot;
    switch (chan_recv(head(), slot.address())) {
      case chan_end::done: return e::take(head(), slot.address(), some);
      case chan_end::cancelled: throw_cancelled();
      default: return std::nullopt;
    }
  }

  /// As recv, if that need not wait: else empty or closed.
  std::expected<T, chan_status> try_recv() const {
    if (head() == nullptr || !head()->can_recv()) return std::unexpected(chan_status::empty);
    typename e::slot slot;
    return given(chan_try_recv(head(), slot.address()), slot, chan_status::empty);
  }

  /// As recv, at most for `d` (not at all if it is not positive), or until `t` of any clock: else timeout or closed.
  template <class Rep, class Period>
  std::expected<T, chan_status> recv_for(const std::chrono::duration<Rep, Period>& d) const {
    typename e::slot slot;
    return given(chan_recv_for(head(), slot.address(), whole_ns(d)), slot, chan_status::timeout);
  }
  template <class Clock, class Duration>
  std::expected<T, chan_status> recv_until(const std::chrono::time_point<Clock, Duration>& t) const {
    typename e::slot slot;
    return given(chan_recv_for(head(), slot.address(), ns_until(t)), slot, chan_status::timeout);
  }

  /// A case of select: receives into `out`; nullopt there: closed. Both must outlive the select.
  select_case on_recv(std::optional<T>& out) const noexcept { return recv_case(std::addressof(out)); }
  /// The value is destroyed.
  select_case on_recv() const noexcept { return recv_case(nullptr); }

  /// An input iterator. A value is received by whoever asks for it, or whether there is one, not by the ++ before: so
  /// std::views::take(3) takes three. There is one value at a time, in the iterator itself.
  class iterator {
   public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    explicit iterator(const receives& from) noexcept : from_(&from) {}
    T& operator*() const {
      std::optional<T>& there = now();
      if (!there) __builtin_unreachable();  // the end has no value; said so that GCC does not warn of one not initialized
      return *there;
    }
    T* operator->() const { return std::addressof(**this); }
    iterator& operator++() {
      now().reset();
      received_ = false;
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& i, std::default_sentinel_t) { return !i.now(); }

   private:
    std::optional<T>& now() const {
      if (!received_) {
        from_->recv_into(now_);
        received_ = true;
      }
      return now_;
    }
    const receives* from_;
    mutable std::optional<T> now_;
    mutable bool received_ = false;
  };
  /// The handle must outlive the loop.
  iterator begin() const noexcept { return iterator(*this); }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  chan_head* head() const noexcept { return static_cast<const Self*>(this)->chan_handle::head(); }
  /// As recv; `out` is empty. The value is moved once, so that one which throws then is not lost; it need not be assignable.
  void recv_into(std::optional<T>& out) const {
    typename e::slot slot;
    switch (chan_recv(head(), slot.address())) {
      case chan_end::done:
        e::take(head(), slot.address(), [&out](auto&& v) { out.emplace(std::forward<decltype(v)>(v)); });
        return;
      case chan_end::cancelled: throw_cancelled();
      default: return;
    }
  }
  static constexpr auto some = [](auto&& got) {
    return std::optional<T>(std::in_place, std::forward<decltype(got)>(got));
  };

  std::expected<T, chan_status> given(chan_end end, typename e::slot& slot, chan_status blocked) const {
    if (end != chan_end::done) return std::unexpected(status_of(end, blocked));
    return e::take(head(), slot.address(), [](auto&& got) {
      return std::expected<T, chan_status>(std::in_place, std::forward<decltype(got)>(got));
    });
  }
  select_case recv_case(std::optional<T>* out) const noexcept {
    return select_case(head(), case_kind::recv, out, &recv_ops<T>);
  }
};

/// The sending half, of chan<T> and send_chan<T>.
template <class Self, class T>
class sends {
  using e = element<T>;
  using result = std::expected<void, chan_status>;

 public:
  /// Hands v over; waits for a receiver or for room. Throws closed and cancelled (v is untouched then), std::bad_alloc
  /// for types in boxes, and what copying a T throws.
  void send(T&& v) const { send_parcel(typename e::parcel(v)); }
  void send(const T& v) const
    requires std::copy_constructible<T>
  {
    send_parcel(typename e::copy_parcel(v));
  }

  /// As send, if that need not wait: else full or closed.
  result try_send(T&& v) const {
    if (head() == nullptr || !head()->can_send()) return std::unexpected(chan_status::full);
    return try_parcel(typename e::parcel(v));
  }
  result try_send(const T& v) const
    requires std::copy_constructible<T>
  {
    if (head() == nullptr || !head()->can_send()) return std::unexpected(chan_status::full);
    return try_parcel(typename e::copy_parcel(v));
  }

  /// As send, at most for `d` (not at all if it is not positive), or until `t` of any clock: else timeout or closed.
  template <class Rep, class Period>
  result send_for(T&& v, const std::chrono::duration<Rep, Period>& d) const {
    return timed_parcel(typename e::parcel(v), whole_ns(d));
  }
  template <class Rep, class Period>
    requires std::copy_constructible<T>
  result send_for(const T& v, const std::chrono::duration<Rep, Period>& d) const {
    return timed_parcel(typename e::copy_parcel(v), whole_ns(d));
  }
  template <class Clock, class Duration>
  result send_until(T&& v, const std::chrono::time_point<Clock, Duration>& t) const {
    return timed_parcel(typename e::parcel(v), ns_until(t));
  }
  template <class Clock, class Duration>
    requires std::copy_constructible<T>
  result send_until(const T& v, const std::chrono::time_point<Clock, Duration>& t) const {
    return timed_parcel(typename e::copy_parcel(v), ns_until(t));
  }

  /// A case of select: sends v, copied or, if the case fires, moved from. v must outlive the select.
  select_case on_send(T&& v) const noexcept {
    return select_case(head(), case_kind::send, std::addressof(v), &move_case<T>::ops);
  }
  select_case on_send(const T& v) const noexcept
    requires std::copy_constructible<T>
  {
    return select_case(head(), case_kind::send, const_cast<T*>(std::addressof(v)), &copy_case<T>::ops);
  }

  /// No more will be sent. Receivers get what is left, then nullopt; senders that wait throw closed. Never blocks. Fatal
  /// on a closed or null channel.
  void close() const { chan_close(head()); }

 private:
  chan_head* head() const noexcept { return static_cast<const Self*>(this)->chan_handle::head(); }

  template <class P>
  void send_parcel(P&& p) const {
    const chan_end end = chan_send(head(), p.address());
    if (end == chan_end::done) [[likely]] return p.delivered();
    p.kept();
    if (end == chan_end::cancelled) throw_cancelled();
    throw_chan_closed();
  }
  template <class P>
  result try_parcel(P&& p) const {
    return settled(p, chan_try_send(head(), p.address()), chan_status::full);
  }
  template <class P>
  result timed_parcel(P&& p, std::int64_t ns) const {
    return settled(p, chan_send_for(head(), p.address(), ns), chan_status::timeout);
  }
  template <class P>
  static result settled(P& p, chan_end end, chan_status blocked) {
    if (end == chan_end::done) [[likely]] {
      p.delivered();
      return {};
    }
    p.kept();
    return std::unexpected(status_of(end, blocked));
  }
};

}  // namespace detail

class timer;
class ticker;
template <class T>
class recv_chan;
template <class T>
class send_chan;

/// A handle of a channel: both halves. Default: null.
template <class T>
class chan : public detail::chan_handle, public detail::receives<chan<T>, T>, public detail::sends<chan<T>, T> {
  static_assert(std::is_object_v<T> && !std::is_const_v<T> && !std::is_array_v<T> && std::is_destructible_v<T>);

 public:
  chan() noexcept = default;
  /// A new channel with room for `capacity` values. Throws std::bad_alloc; a negative capacity is fatal. O(capacity).
  explicit chan(std::ptrdiff_t capacity) : chan(capacity, detail::beside{}) {}

 private:
  chan(std::ptrdiff_t capacity, detail::beside more)
      : chan_handle(detail::chan_make(
            capacity, detail::element<T>::size, [](void* element) noexcept { detail::element<T>::drop(element); }, more)) {}
  friend class timer;
  friend class ticker;
  friend class recv_chan<T>;
  friend class send_chan<T>;
};

/// A view of a channel that only receives, for signatures. It cannot close.
template <class T>
class recv_chan : public detail::chan_handle, public detail::receives<recv_chan<T>, T> {
 public:
  recv_chan() noexcept = default;
  recv_chan(const chan<T>& both) noexcept : chan_handle(both) {}
  recv_chan(chan<T>&& both) noexcept : chan_handle(std::move(both)) {}
};

/// A view of a channel that only sends, for signatures. It closes, since the sending side knows when it is done.
template <class T>
class send_chan : public detail::chan_handle, public detail::sends<send_chan<T>, T> {
 public:
  send_chan() noexcept = default;
  send_chan(const chan<T>& c) noexcept : chan_handle(c) {}
  send_chan(chan<T>&& c) noexcept : chan_handle(std::move(c)) {}
};

/// Closes a channel at the end of its scope, left by return or by exception. The one who closes holds it; a channel that
/// has been closed otherwise is a double close, and fatal.
template <class T>
class [[nodiscard]] closing {
 public:
  explicit closing(const chan<T>& c) noexcept : c_(c) {}
  explicit closing(const send_chan<T>& c) noexcept : c_(c) {}
  closing(const closing&) = delete;
  closing& operator=(const closing&) = delete;
  ~closing() {
    if (c_ && !detail::in_fork_child()) c_.close();
  }
  /// Somebody else will close it.
  void release() noexcept { c_ = send_chan<T>(); }

 private:
  send_chan<T> c_;
};

}  // namespace gort::inline v0
