// Answers in RESP2 or RESP3, appended to a string. What only the newer protocol has is written to older clients as the
// nearest thing that they know: maps as flat arrays, doubles as strings.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "text.h"

namespace kv {

class reply {
 public:
  int protocol = 2;
  std::string out;

  void ok() { out += "+OK\r\n"; }
  void simple(std::string_view s) { line('+', s); }
  void error(std::string_view s);
  void integer(std::int64_t n) { header(':', n); }
  void boolean(bool b) { protocol >= 3 ? line('#', b ? "t" : "f") : integer(b); }
  void bulk(std::string_view s) {
    header('$', static_cast<std::int64_t>(s.size()));
    out.append(s).append("\r\n");
  }
  void real(double d) { protocol >= 3 ? line(',', from_double(d)) : bulk(from_double(d)); }
  void null() { out += protocol >= 3 ? "_\r\n" : "$-1\r\n"; }
  void null_array() { out += protocol >= 3 ? "_\r\n" : "*-1\r\n"; }
  void bulk_or_null(const std::string* s) { s != nullptr ? bulk(*s) : null(); }
  /// Text for people.
  void verbatim(std::string_view s);

  // Headers: that many elements (pairs, for a map) must follow.
  void array(std::size_t n) { header('*', static_cast<std::int64_t>(n)); }
  void map(std::size_t pairs) {
    protocol >= 3 ? header('%', static_cast<std::int64_t>(pairs)) : array(2 * pairs);
  }
  void set(std::size_t n) { header(protocol >= 3 ? '~' : '*', static_cast<std::int64_t>(n)); }
  void push(std::size_t n) { header(protocol >= 3 ? '>' : '*', static_cast<std::int64_t>(n)); }

 private:
  void line(char kind, std::string_view s) {
    out += kind;
    out.append(s).append("\r\n");
  }
  void header(char kind, std::int64_t n) {
    char text[24];
    text[0] = kind;
    char* end = std::to_chars(text + 1, text + 22, n).ptr;
    *end++ = '\r';
    *end++ = '\n';
    out.append(text, static_cast<std::size_t>(end - text));
  }
};

}  // namespace kv
