// gort: how a value of type T travels through a channel. Not for direct use.
//
//   T                                              travels as        under the channel's lock
//   trivially copyable or bytewise movable,        its bytes         a copy of at most 64 bytes
//     at most 64 bytes, alignment at most 16
//   else, moves without throwing                   a box, by move    a pointer
//   else, can be copied                            a box, by copy    a pointer
//   else                                           a box, by move    a pointer
//
// So no code of T's runs under the channel's lock. A box is one allocation per value.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "gort/config.h"
#include "gort/detail/chan_head.h"

namespace gort::inline v0 {

/// Whether a T may be moved by copying its bytes and then forgetting the source: no part of it points to another
/// part, and nobody else knows its address. Specialize it for your own types (they must be default constructible
/// without throwing) and channels of them need no allocation per value.
template <class T>
inline constexpr bool enable_bytewise_move = std::is_trivially_copyable_v<T>;
template <class T>
inline constexpr bool enable_bytewise_move<std::unique_ptr<T>> = true;
template <class T>
inline constexpr bool enable_bytewise_move<std::shared_ptr<T>> = true;
template <class T>
inline constexpr bool enable_bytewise_move<std::weak_ptr<T>> = true;
#if !defined(_GLIBCXX_DEBUG)  // whose iterators know their vectors
template <class T>
inline constexpr bool enable_bytewise_move<std::vector<T>> = !std::is_same_v<T, bool>;
#endif

namespace detail {

template <class T>
inline constexpr bool travels_by_bytes =
    enable_bytewise_move<T> && sizeof(T) <= chan_inline_max && alignof(T) <= chan_inline_align &&
    (std::is_trivially_copyable_v<T> || std::is_nothrow_default_constructible_v<T>);

/// Puts a boxed value that its receiver could not move out back to the front. `box` begins with a link.
void chan_give_back(chan_head* c, void* box) noexcept;

/// Bytes.
template <class T>
struct element {
  static constexpr std::size_t size = std::is_empty_v<T> && std::is_trivially_copyable_v<T> ? 0 : sizeof(T);
  static constexpr bool trivial = std::is_trivially_copyable_v<T>;

  /// Where a receiver wants the bytes.
  struct slot {
    alignas(T) std::byte bytes[sizeof(T)];
    void* address() noexcept { return bytes; }
  };
  static T* at(void* slot) noexcept { return std::launder(static_cast<T*>(slot)); }
  /// The value in the slot, which is empty afterwards; `make` is what to do with it.
  template <class Make>
  static auto take(chan_head*, void* slot, Make&& make) {
    struct guard {
      T* value;
      ~guard() { value->~T(); }
    } value{at(slot)};
    return make(std::move(*value.value));
  }
  static void drop(void* slot) noexcept { at(slot)->~T(); }

  /// What send copies from, while the value is still the sender's.
  class parcel {
   public:
    explicit parcel(T& v) noexcept : v_(std::addressof(v)) {}
    void* address() noexcept { return v_; }
    /// Its bytes are gone: what stays behind is as good as moved from.
    void delivered() noexcept {
      if constexpr (!trivial) std::construct_at(v_);
    }
    void kept() noexcept {}

   private:
    T* v_;
  };
  /// Of a value that stays.
  class copy_parcel {
   public:
    explicit copy_parcel(const T& v) : v_(v) {}
    void* address() noexcept { return const_cast<T*>(std::addressof(v_)); }
    void delivered() noexcept {
      if constexpr (!trivial) std::construct_at(std::addressof(v_));
    }
    void kept() noexcept {}

   private:
    std::conditional_t<trivial, const T&, T> v_;
  };
};

/// Boxes.
template <class T>
  requires(!travels_by_bytes<T>)
struct element<T> {
  struct box {
    template <class U>
    explicit box(U&& u) : value(std::forward<U>(u)) {}
    void* link = nullptr;  // the channel's: of values that were given back
    T value;
  };
  static constexpr std::size_t size = sizeof(box*);
  static constexpr bool trivial = false;
  static constexpr bool by_copy = !std::is_nothrow_move_constructible_v<T> && std::is_copy_constructible_v<T>;

  struct slot {
    void* bytes = nullptr;
    void* address() noexcept { return &bytes; }
  };
  static box* at(void* slot) noexcept { return static_cast<box*>(*static_cast<void**>(slot)); }
  template <class Make>
  static auto take(chan_head* c, void* slot, Make&& make) {
    std::unique_ptr<box> b(at(slot));
    if constexpr (std::is_nothrow_move_constructible_v<T>) {
      return make(std::move(b->value));
    } else {
      try {
        return make(std::move_if_noexcept(b->value));
      } catch (...) {
        chan_give_back(c, b.release());  // nothing is lost: the next receive gets it
        throw;
      }
    }
  }
  static void drop(void* slot) noexcept { delete at(slot); }

  static box* pack(T& v) { return new box(std::move_if_noexcept(v)); }
  /// Not delivered: the value goes back to where it was. Throws only what a T that can be moved alone, and not without
  /// throwing, throws a second time.
  static void unpack(T& v, void* packed) {
    const std::unique_ptr<box> b(static_cast<box*>(packed));
    if constexpr (by_copy) {
      return;  // it never left
    } else if constexpr (std::is_nothrow_move_constructible_v<T> && !std::is_nothrow_move_assignable_v<T>) {
      std::destroy_at(std::addressof(v));
      std::construct_at(std::addressof(v), std::move(b->value));
    } else {
      static_assert(std::is_move_assignable_v<T>, "gort::chan<T>: T moves only, and may throw then, so it must be "
                    "assignable too: a value that is not sent is moved back. Or send std::unique_ptr<T>");
      v = std::move(b->value);
    }
  }

  class parcel {
   public:
    explicit parcel(T& v) : v_(v), box_(pack(v)) {}
    void* address() noexcept { return &box_; }
    void delivered() noexcept {}
    void kept() { unpack(v_, box_); }

   private:
    T& v_;
    void* box_;
  };
  class copy_parcel {
   public:
    explicit copy_parcel(const T& v) : box_(new box(v)) {}
    void* address() noexcept { return &box_; }
    void delivered() noexcept {}
    void kept() noexcept { delete static_cast<box*>(box_); }

   private:
    void* box_;
  };
};

// ---- cases of a select -------------------------------------------------------------------------

/// A receiving case. Its target: a std::optional<T>*, or null.
template <class T>
inline constexpr case_ops recv_ops{
    nullptr,
    [](case_data& fired) {
      auto* target = static_cast<std::optional<T>*>(fired.target);
      if (!fired.delivered) {
        if (target != nullptr) target->reset();
      } else if (target == nullptr) {
        element<T>::drop(fired.slot);
      } else {
        element<T>::take(fired.chan, fired.slot,
                         [target](auto&& got) { target->emplace(std::forward<decltype(got)>(got)); });
      }
    },
    nullptr, false, false};

/// A sending case that moves from its target, a T*.
template <class T>
struct move_case {
  using e = element<T>;
  static void prepare(case_data& c) {
    if constexpr (travels_by_bytes<T>) {
      c.slot = c.target;
    } else {
      c.slot = ::new (static_cast<void*>(c.storage)) void*(e::pack(*static_cast<T*>(c.target)));
    }
  }
  static void fired(case_data& c) {
    if constexpr (travels_by_bytes<T> && !e::trivial) std::construct_at(static_cast<T*>(c.target));
  }
  static void lost(case_data& c) {
    if constexpr (!travels_by_bytes<T>) e::unpack(*static_cast<T*>(c.target), e::at(c.slot));
  }
  static constexpr case_ops ops{prepare, travels_by_bytes<T> && e::trivial ? nullptr : fired, lost, !travels_by_bytes<T>,
                                travels_by_bytes<T>};
};

/// A sending case that copies its target, a const T*.
template <class T>
struct copy_case {
  using e = element<T>;
  static void prepare(case_data& c) {
    const T& v = *static_cast<const T*>(c.target);
    if constexpr (travels_by_bytes<T> && e::trivial) {
      c.slot = c.target;
    } else if constexpr (travels_by_bytes<T>) {
      c.slot = ::new (static_cast<void*>(c.storage)) T(v);
    } else {
      c.slot = ::new (static_cast<void*>(c.storage)) void*(new typename e::box(v));
    }
  }
  static void lost(case_data& c) {
    if constexpr (!travels_by_bytes<T> || !e::trivial) e::drop(c.slot);
  }
  static constexpr case_ops ops{prepare, nullptr, lost, false, travels_by_bytes<T> && e::trivial};
};

}  // namespace detail
}  // namespace gort::inline v0
