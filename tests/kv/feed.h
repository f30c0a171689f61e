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

  /// Sends bytes; what came back. The time of a command that waits is up at once.
  std::string bytes(std::string_view b) {
    using wants = kv::session::wants;
    parser.feed(b);
    for (wants w; (w = session.run(parser)) == wants::flush || w == wants::wait;) {
      if (w == wants::flush) continue;
      session.waiting->claim(kv::blocked::state::timed_out);
      session.end_wait();
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
