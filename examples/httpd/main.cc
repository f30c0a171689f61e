// httpd: a small web server. HTTP/1.1 with keep-alive and pipelining; each connection is a goroutine that reads, answers
// and waits as if it had a thread to itself.
//
//   httpd [--bind 127.0.0.1:8080]        port 0: any that is free; it is printed
//
// SIGTERM and SIGINT end it: no new connections, requests that have come are answered, then it is over.
#include <gort/gort.h>
#include <gort/net.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>

#include "connection.h"

namespace {

using namespace std::chrono_literals;

/// A byte for each signal: a handler may do little more than write.
int end_pipe[2] = {-1, -1};
void on_signal(int) {
  const int saved = errno;
  static_cast<void>(!::write(end_pipe[1], "t", 1));
  errno = saved;
}

void accept_all(gort::net::listener& from, gort::scope& connections, const httpd::settings& s, httpd::statistics& stats) {
  for (;;) {
    auto c = from.accept_some();
    if (!c) {
      if (c.error() == gort::net::closed || c.error() == std::errc::operation_canceled) return;
      gort::this_goroutine::sleep_for(10ms);  // the system's trouble, for now
      continue;
    }
    // What one of them throws (no memory) would be the end of all: they share a scope.
    try {
      connections.go({.name = "connection"}, [&, c = std::move(*c)]() mutable {
        try {
          httpd::serve(std::move(c), s, stats);
        } catch (const std::exception&) {
          stats.refused.fetch_add(1, std::memory_order_relaxed);
        }
      });
    } catch (const std::bad_alloc&) {
      stats.refused.fetch_add(1, std::memory_order_relaxed);
    }
  }
}

int app(const std::string& where) {
  auto listening = gort::net::listen(where);
  auto end = gort::net::conn::adopt(end_pipe[0]);
  if (!listening || !end) {
    std::fprintf(stderr, "httpd: cannot listen on %s: %s\n", where.c_str(),
                 (!listening ? listening.error() : end.error()).message().c_str());
    return 1;
  }
  std::printf("httpd: ready on http://%s/\n", listening->local_address().to_string().c_str());
  std::fflush(stdout);

  const httpd::settings s;
  httpd::statistics stats;
  gort::scope connections;
  auto accepting = gort::spawn({.name = "accept"}, [&] { accept_all(*listening, connections, s, stats); });
  char byte = 0;
  static_cast<void>(end->read_some({&byte, 1}));
  listening->close();
  accepting.join();
  connections.cancel();  // who waits for a request stops waiting
  connections.join();
  std::printf("httpd: ended after %llu requests on %llu connections\n",
              static_cast<unsigned long long>(stats.requests.load()),
              static_cast<unsigned long long>(stats.connections.load()));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string where = "127.0.0.1:8080";
  if (argc == 3 && std::strcmp(argv[1], "--bind") == 0) {
    where = argv[2];
  } else if (argc != 1) {
    std::fprintf(stderr, "usage: httpd [--bind ADDRESS:PORT]\n");
    return 64;
  }
  if (::pipe(end_pipe) != 0) return 1;
  struct sigaction act = {};
  act.sa_handler = on_signal;
  act.sa_flags = SA_RESTART | SA_ONSTACK;
  ::sigaction(SIGTERM, &act, nullptr);
  ::sigaction(SIGINT, &act, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  return gort::run([&] { return app(where); });
}
