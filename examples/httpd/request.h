// A request as the parser (http_parser, a C library) has understood it, and the limits that it keeps.
#pragma once

#include <http_parser.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace httpd {

struct limits {
  std::size_t head = 16 << 10;  ///< bytes of request line and headers
  std::size_t body = 1 << 20;
};

/// One request after the other, from bytes as they come.
///
///   state        means                                        next
///   idle         nothing of the next request has come         feed
///   receiving    a part of it has                             feed
///   complete     all of it: look at it, then next()           next
///   failed       `status` says why; the connection must end   -
class request {
 public:
  enum class state { idle, receiving, complete, failed };

  explicit request(const limits& most);
  request(const request&) = delete;
  request& operator=(const request&) = delete;

  /// Takes bytes up to the end of the request; how many. What comes behind it is the next one's.
  std::size_t feed(std::string_view bytes);
  /// The connection has ended. Complete if that was a proper end of the request.
  void end_of_stream() { feed_end(); }
  void next();

  state now() const noexcept { return state_; }
  int failure() const noexcept { return failure_; }  ///< an HTTP status
  bool keeps_alive() const noexcept { return keeps_alive_; }
  bool is_old() const noexcept { return parser_.http_minor == 0; }  ///< HTTP/1.0
  /// It waits with its body until it is told to go on ("Expect: 100-continue"). True once.
  bool wants_continue() noexcept;

  std::string_view method() const noexcept;
  std::string_view path() const noexcept;  ///< of the target, without the query
  const std::string& target() const noexcept { return target_; }
  const std::string& body() const noexcept { return body_; }

 private:
  static request& of(http_parser* p) { return *static_cast<request*>(p->data); }
  static int on_begin(http_parser* p);
  static int on_url(http_parser* p, const char* at, std::size_t n);
  static int on_field(http_parser* p, const char* at, std::size_t n);
  static int on_value(http_parser* p, const char* at, std::size_t n);
  static int on_head(http_parser* p);
  static int on_chunk(http_parser* p);
  static int on_body(http_parser* p, const char* at, std::size_t n);
  static int on_complete(http_parser* p);
  bool head_grows(std::size_t n);
  /// Bytes behind a chunk's data: its end, as far as they are there.
  bool ends_chunk(const char* at);
  int fail(int status);
  void feed_end();

  static const http_parser_settings kSettings;
  limits most_;
  http_parser parser_;
  state state_ = state::idle;
  int failure_ = 400;
  bool keeps_alive_ = false;
  bool wants_continue_ = false;
  bool in_value_ = false;  // the last piece of a header was of its value, which may be empty
  int hosts_ = 0;                     // headers "Host"
  std::uint64_t chunk_ = 0;           // bytes of data that the chunk still has
  int chunk_end_ = 0;                 // of \r\n behind them, to come
  const char* fed_to_ = nullptr;      // the end of what feed has been given
  std::size_t head_ = 0;  // bytes of it so far
  std::string target_, field_, value_, body_;
};

}  // namespace httpd
