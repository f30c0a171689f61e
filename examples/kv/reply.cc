#include "reply.h"

#include <algorithm>

namespace kv {

void reply::error(std::string_view s) {
  out += '-';
  // It may quote what a client has sent: that must not end the line.
  const std::size_t from = out.size();
  out += s;
  std::replace_if(
      out.begin() + static_cast<std::ptrdiff_t>(from), out.end(),
      [](char c) { return c == '\r' || c == '\n'; }, ' ');
  out += "\r\n";
}

void reply::verbatim(std::string_view s) {
  if (protocol < 3) return bulk(s);
  header('=', static_cast<std::int64_t>(s.size() + 4));
  out.append("txt:").append(s).append("\r\n");
}

}  // namespace kv
