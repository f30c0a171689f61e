// A session of gort-kv in memory: bytes in, bytes out, no sockets.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "resp_parser.h"
#include "server.h"
#include "session.h"

namespace kv_test {

/// An answer as one readable line: numbers and strings plain, "nil", "!ERR …", [a b], {k v}, <push>.
std::string render(std::string_view resp);

/// Words as a request: an array of bulk strings.
std::string request(const std::vector<std::string>& words);

class feed {
 public:
  explicit feed(kv::server& s) : session(s, "test", {}) {}

  /// Sends bytes; what came back.
  std::string bytes(std::string_view b) {
    parser.feed(b);
    while (session.run(parser) == kv::session::wants::flush) {
    }
    session.take_mail();
    return std::exchange(session.out.out, {});
  }
  /// Sends one request, given as one types it; the answer rendered.
  std::string operator()(std::string_view line);

  kv::session session;
  kv::parser parser;
};

}  // namespace kv_test
