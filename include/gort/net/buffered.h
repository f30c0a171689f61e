// gort: buffers around a connection: fewer system calls for protocols of small pieces.
//
//   auto [rd, wr] = std::move(c).split();
//   gort::net::buffered_reader in(rd);
//   gort::net::buffered_writer out(wr);
//   while (auto line = in.read_line()) {             // without "\r\n"; valid until the next read
//     answer(*line, out);
//     if (in.buffered() == 0 && !out.flush()) break;   // no more requests here already: answer now
//   }
//
// They refer to the stream, which must outlive them and stay where it is. For one goroutine each.
//
//   reader      asks the stream        when the buffer has less than the call needs, for as much as fits
//   writer      gives to the stream    when the buffer is full, at flush(); not when it is destroyed (errors would be lost)
//
// A stream is anything with read_some(buffer), or write_all(const_buffer), that gives net::result. After an error of the
// stream a writer refuses everything with that same error; a reader asks again.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#include "gort/net/buffer.h"
#include "gort/net/result.h"

namespace gort::inline v0::net {

template <class S>
concept readable_stream = requires(S& s, buffer b) {
  { s.read_some(b) } -> std::convertible_to<result<std::size_t>>;
};
template <class S>
concept writable_stream = requires(S& s, const_buffer b) {
  { s.write_all(b) } -> std::convertible_to<result<void>>;
};

template <readable_stream S>
class buffered_reader {
 public:
  /// The stream, and how many bytes are asked for at a time: also the longest line, and the longest peek.
  explicit buffered_reader(S& stream, std::size_t size = 16 * 1024)
      : stream_(&stream), room_(new std::byte[size]), size_(size) {}

  /// Bytes that are here already.
  std::size_t buffered() const noexcept { return end_ - begin_; }
  /// Those bytes. Valid until the next call that reads.
  std::string_view peek_buffered() const noexcept { return view(begin_, end_ - begin_); }
  std::size_t capacity() const noexcept { return size_; }

  /// As the stream's; what is buffered comes first, alone. A b larger than the buffer is read into directly.
  result<std::size_t> read_some(buffer b) {
    if (b.size == 0) return 0;
    if (buffered() == 0) {
      if (b.size >= size_) return stream_->read_some(b);
      const result<std::size_t> n = fill();
      if (!n || *n == 0) return n;
    }
    return take(b);
  }
  /// Fills b; fewer bytes: the end came before. *got: how many bytes b has, in the case of an error too.
  result<std::size_t> read_full(buffer b, std::size_t* got = nullptr) {
    std::size_t own = 0;
    std::size_t& have = got != nullptr ? *got : own;
    have = 0;
    while (have < b.size) {
      const result<std::size_t> n = read_some(b.from(have));
      if (!n) return n;
      if (*n == 0) break;
      have += *n;
    }
    return have;
  }
  /// Waits until n bytes are buffered (n <= capacity), and shows them: fewer: the end came before. They stay there.
  result<std::string_view> peek(std::size_t n) {
    if (n > size_) return std::unexpected(std::make_error_code(std::errc::message_size));
    while (buffered() < n) {
      const result<std::size_t> got = fill();
      if (!got) return std::unexpected(got.error());
      if (*got == 0) break;
    }
    return view(begin_, std::min(n, buffered()));
  }
  /// Asks the stream once for more than is buffered; how many more. 0: the end. no_buffer_space: the buffer is full.
  result<std::size_t> fill_more() {
    if (begin_ == 0 && end_ == size_) return std::unexpected(std::make_error_code(std::errc::no_buffer_space));
    return fill();
  }
  /// Drops n <= buffered() bytes.
  void consume(std::size_t n) noexcept {
    begin_ += n;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  /// Up to and including the first `delimiter`, without it. Valid until the next call. std::errc::message_size: none
  /// within the buffer's size. std::errc::no_message_available: the end came first. What is buffered stays there in both.
  result<std::string_view> read_until(char delimiter) {
    std::size_t looked = 0;
    for (;;) {
      if (buffered() > looked) {
        const void* at = std::memchr(room_.get() + begin_ + looked, delimiter, buffered() - looked);
        if (at != nullptr) {
          const std::size_t n = static_cast<std::size_t>(static_cast<const std::byte*>(at) - (room_.get() + begin_));
          const std::string_view v = view(begin_, n);
          begin_ += n + 1;  // not moved before the next call: v stays
          return v;
        }
      }
      looked = buffered();
      if (looked == size_) return std::unexpected(std::make_error_code(std::errc::message_size));
      const result<std::size_t> n = fill();
      if (!n) return std::unexpected(n.error());
      if (*n == 0) return std::unexpected(std::make_error_code(std::errc::no_message_available));
    }
  }
  /// A line, without its "\n" or "\r\n"; errors as read_until's. What is buffered at the end is a line that was not ended
  /// (peek_buffered shows it).
  result<std::string_view> read_line() {
    result<std::string_view> line = read_until('\n');
    if (line && !line->empty() && line->back() == '\r') line->remove_suffix(1);
    return line;
  }

  S& stream() noexcept { return *stream_; }

 private:
  std::string_view view(std::size_t from, std::size_t n) const noexcept {
    return {reinterpret_cast<const char*>(room_.get() + from), n};
  }
  std::size_t take(buffer b) noexcept {
    const std::size_t n = std::min(b.size, buffered());
    std::memcpy(b.data, room_.get() + begin_, n);
    consume(n);
    return n;
  }
  /// Once; there is room, or will be when the rest has moved to the front.
  result<std::size_t> fill() {
    if (begin_ == end_) begin_ = end_ = 0;
    if (end_ == size_ || (begin_ != 0 && size_ - end_ < size_ / 4)) {
      std::memmove(room_.get(), room_.get() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    const result<std::size_t> n = stream_->read_some(buffer(room_.get() + end_, size_ - end_));
    if (n) end_ += *n;
    return n;
  }

  S* stream_;
  std::unique_ptr<std::byte[]> room_;
  std::size_t size_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

template <writable_stream S>
class buffered_writer {
 public:
  explicit buffered_writer(S& stream, std::size_t size = 16 * 1024)
      : stream_(&stream), room_(new std::byte[size]), size_(size) {}

  /// Into the buffer, if need be by way of the stream. What is larger than the buffer goes to the stream directly.
  result<void> write(const_buffer b) {
    if (error_) return std::unexpected(*error_);
    if (b.size > size_ - used_) {
      if (auto r = flush(); !r) return r;
      if (b.size >= size_) return keep(stream_->write_all(b));
    }
    if (b.size != 0) std::memcpy(room_.get() + used_, b.data, b.size);
    used_ += b.size;
    return {};
  }
  result<void> write(char c) { return write(const_buffer(&c, 1)); }
  /// So that a buffered_writer is a stream itself.
  result<void> write_all(const_buffer b) { return write(b); }
  /// Gives all that is buffered to the stream.
  result<void> flush() {
    if (error_) return std::unexpected(*error_);
    if (used_ == 0) return {};
    const std::size_t n = std::exchange(used_, 0);
    return keep(stream_->write_all(const_buffer(room_.get(), n)));
  }
  /// Bytes that wait for a flush.
  std::size_t buffered() const noexcept { return used_; }
  std::size_t available() const noexcept { return size_ - used_; }
  S& stream() noexcept { return *stream_; }

 private:
  result<void> keep(result<void> r) {
    if (!r) error_ = r.error();
    return r;
  }

  S* stream_;
  std::unique_ptr<std::byte[]> room_;
  std::size_t size_;
  std::size_t used_ = 0;
  std::optional<std::error_code> error_;
};

}  // namespace gort::inline v0::net
