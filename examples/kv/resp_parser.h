// Requests out of a stream of bytes: the protocol RESP's arrays of bulk strings, and lines as one types them into
// telnet. Takes the bytes in pieces of any size and never looks at one twice.
//
//   parser p;
//   for (;;) {
//     switch (p.next()) {
//       case parser::command:   run(p.args()); break;
//       case parser::need_more: p.filled(read(p.room(16384))); break;
//       case parser::broken:    reply(p.error()); return;      // for good: nobody knows where the next request begins
//     }
//   }
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kv {

struct parser_limits {
  std::size_t inline_bytes = 64 << 10;   ///< a line
  std::size_t bulk_bytes = 512u << 20;   ///< one argument
  std::size_t args = 1 << 20;            ///< arguments of a request
  std::size_t request_bytes = 1u << 30;  ///< all of them together
};

class parser {
 public:
  enum status { command, need_more, broken };

  explicit parser(parser_limits limits = {}) : limits_(limits) {}

  /// At least n bytes to read into; args() end here.
  std::span<char> room(std::size_t n);
  /// The first n bytes of room() are input now.
  void filled(std::size_t n) noexcept { end_ += n; }
  void feed(std::string_view bytes);

  status next();
  /// From now on: no request that could cost anything. For clients that have not said the password yet.
  void only_small(bool on) noexcept { small_ = on; }
  /// The request that next() found: at least one argument. Good until the next call of room() or next().
  std::span<const std::string_view> args() const noexcept { return args_; }
  /// Whether args() are bytes of what has come, so that they stay good over next(), until room().
  bool args_stay() const noexcept { return stay_; }
  /// The place behind the request that next() found last.
  std::size_t place() const noexcept { return begin_ + drop_; }
  /// next() finds again what stood behind such a place. Not after room().
  void back_to(std::size_t place) noexcept;
  const std::string& error() const noexcept { return error_; }
  /// Bytes that have come and are no request yet.
  std::size_t waiting() const noexcept { return end_ - begin_; }
  /// Memory that it holds.
  std::size_t capacity() const noexcept {
    return buffer_.capacity() + pieces_.capacity() * sizeof(piece) +
           args_.capacity() * sizeof(std::string_view) + words_.capacity() * sizeof(std::string);
  }

 private:
  struct piece {
    std::size_t at, size;  // at: from begin_
  };
  enum { no_line = -1 };

  status next_array();
  status next_inline();
  /// A line's end behind `from`, or need_more.
  bool line_from(std::size_t from, std::string_view& line);
  bool too_long() const noexcept;
  status fail(std::string_view what);
  status done(std::size_t used);

  parser_limits limits_;
  bool small_ = false;
  bool stay_ = false;
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;  // what of it has not been dealt with
  std::size_t drop_ = 0;             // of that, the request that args_ show
  // Of the request in progress, from begin_:
  std::size_t at_ = 0;         // parsed up to here
  std::size_t searched_ = 0;   // no line end before this
  std::int64_t missing_ = -1;  // arguments to come; -1: the header has not
  std::int64_t bulk_ = -1;     // size of the argument to come; -1: its header has not
  std::vector<piece> pieces_;
  std::vector<std::string_view> args_;
  std::vector<std::string> words_;  // of a line: quotes have been taken away
  std::string error_;
};

}  // namespace kv
