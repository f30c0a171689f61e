// gort: buffers of bytes, made from whatever lies in one piece: arrays, vectors, spans, strings.
//
//   char room[512];  c.read_some(room);          512 bytes may come
//   std::vector<std::byte> v(n);  c.read_some(v);
//   c.write_all("PONG\r\n");                     a literal: without its final zero
//   c.write_all(std::string_view(room, n));      part of an array of char: say how much, or it is taken as a C string
//
// They are views: what they point to must live until the call returns.
#pragma once

#include <concepts>
#include <cstddef>
#include <ranges>
#include <span>
#include <string_view>
#include <type_traits>

#include "gort/config.h"

namespace gort::inline v0::net {

namespace detail_buffer {
template <class R>
concept flat = std::ranges::contiguous_range<R> && std::ranges::sized_range<R> &&
               std::is_trivially_copyable_v<std::ranges::range_value_t<R>>;
template <class R>
concept writable = flat<R> && !std::is_const_v<std::remove_reference_t<std::ranges::range_reference_t<R>>>;
}  // namespace detail_buffer

/// Bytes to be written to.
struct buffer {
  std::byte* data = nullptr;
  std::size_t size = 0;

  constexpr buffer() noexcept = default;
  buffer(void* bytes, std::size_t how_many) noexcept : data(static_cast<std::byte*>(bytes)), size(how_many) {}
  template <class R>
    requires(detail_buffer::writable<R> && !std::same_as<std::remove_cvref_t<R>, buffer>)
  buffer(R&& r) noexcept
      : data(reinterpret_cast<std::byte*>(std::ranges::data(r))),
        size(std::ranges::size(r) * sizeof(std::ranges::range_value_t<R>)) {}

  buffer from(std::size_t n) const noexcept { return {data + n, size - n}; }  ///< without the first n <= size bytes
  buffer first(std::size_t n) const noexcept { return {data, n < size ? n : size}; }
};

/// Bytes to be read.
struct const_buffer {
  const std::byte* data = nullptr;
  std::size_t size = 0;

  constexpr const_buffer() noexcept = default;
  const_buffer(const void* bytes, std::size_t how_many) noexcept
      : data(static_cast<const std::byte*>(bytes)), size(how_many) {}
  const_buffer(buffer writable) noexcept : data(writable.data), size(writable.size) {}
  /// Strings, and what converts to one: arrays of char end at their first zero.
  template <class S>
    requires std::convertible_to<const S&, std::string_view>
  const_buffer(const S& s) noexcept {
    const std::string_view v = s;
    data = reinterpret_cast<const std::byte*>(v.data());
    size = v.size();
  }
  template <class R>
    requires(detail_buffer::flat<const R> && !std::convertible_to<const R&, std::string_view> &&
             !std::same_as<std::remove_cvref_t<R>, const_buffer> && !std::same_as<std::remove_cvref_t<R>, buffer>)
  const_buffer(const R& r) noexcept
      : data(reinterpret_cast<const std::byte*>(std::ranges::data(r))),
        size(std::ranges::size(r) * sizeof(std::ranges::range_value_t<const R>)) {}

  const_buffer from(std::size_t n) const noexcept { return {data + n, size - n}; }  ///< without the first n <= size bytes
  std::string_view text() const noexcept { return {reinterpret_cast<const char*>(data), size}; }
};

}  // namespace gort::inline v0::net
