// What the floors of bench/http have in common: the socket, the answer, the search for the end of a head, a thread per
// processor. No timeouts, no limits, no bodies, no errors: they are not servers.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string_view>
#include <thread>
#include <vector>

namespace floors {

inline constexpr std::string_view kAnswer =
    "HTTP/1.1 200 OK\r\nDate: Sat, 01 Jan 2000 00:00:00 GMT\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "Content-Length: 14\r\n\r\nHello, World!\n";

/// A socket of its own for each thread, all with one port; 0: any. -1: it cannot be had.
inline int listen_on(std::uint16_t port, int flags) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 || ::listen(fd, 4096) != 0) return -1;
  return fd;
}

inline void no_delay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/// How many heads end in these bytes of a connection. `matched`: how much of an end the bytes before them ended with.
inline int heads_in(int& matched, const char* p, std::ptrdiff_t n) {
  constexpr char kEnd[] = "\r\n\r\n";
  int heads = 0;
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    matched = p[i] == kEnd[matched] ? matched + 1 : p[i] == '\r';
    if (matched == 4) ++heads, matched = 0;
  }
  return heads;
}

/// serve(listener) on each processor, for ever; says where, once `ready()` is 0. Its value otherwise, or 1.
template <class Ready, class Serve>
int run(int flags, Ready ready, Serve serve) {
  const int first = listen_on(0, flags);
  sockaddr_in a{};
  socklen_t size = sizeof a;
  if (first < 0 || ::getsockname(first, reinterpret_cast<sockaddr*>(&a), &size) != 0) return 1;
  if (const int r = ready(); r != 0) return r;
  std::printf("ready on 127.0.0.1:%d\n", ntohs(a.sin_port));
  std::fflush(stdout);
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < std::thread::hardware_concurrency(); ++i) {
    threads.emplace_back(serve, listen_on(ntohs(a.sin_port), flags));
  }
  serve(first);
  return 0;
}

}  // namespace floors
