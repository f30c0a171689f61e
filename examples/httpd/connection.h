// A connection of the web server, and what it answers.
#pragma once

#include <gort/net.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

#include "request.h"

namespace httpd {

struct settings {
  limits most;
  std::chrono::seconds idle{60};     ///< that a client may be silent between two requests
  std::chrono::seconds receive{10};  ///< that it may take to send one
  std::chrono::seconds send{30};     ///< that it may take to read the answers
};

struct statistics {
  std::atomic<std::uint64_t> connections{0}, open{0}, requests{0}, refused{0};
};

struct response {
  int status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string extra = {};  ///< further header lines, each with its end
  std::string body = {};
};

/// Serves one connection to its end: keep-alive, pipelining, one goroutine. When its context is cancelled, the request
/// that has come is still answered.
void serve(gort::net::conn c, const settings& s, statistics& stats);

}  // namespace httpd
