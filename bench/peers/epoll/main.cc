// The floor of bench/http: what the kernel alone costs. A thread per processor, each with a listening socket of its own
// and an epoll; it looks for the empty line at the end of a head and writes the same bytes for each that it finds. No timeouts,
// no limits, no bodies, no errors: not a server.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

constexpr std::string_view kAnswer =
    "HTTP/1.1 200 OK\r\nDate: Sat, 01 Jan 2000 00:00:00 GMT\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "Content-Length: 14\r\n\r\nHello, World!\n";

int listen_on(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 || ::listen(fd, 4096) != 0) return -1;
  return fd;
}

/// Bytes of "\r\n\r\n" at the end of what has come, per connection.
struct client {
  int matched = 0;
};

int heads_in(client& c, const char* p, ssize_t n) {
  constexpr char kEnd[] = "\r\n\r\n";
  int heads = 0;
  for (ssize_t i = 0; i < n; ++i) {
    c.matched = p[i] == kEnd[c.matched] ? c.matched + 1 : p[i] == '\r';
    if (c.matched == 4) ++heads, c.matched = 0;
  }
  return heads;
}

void serve(int listener) {
  const int ep = ::epoll_create1(EPOLL_CLOEXEC);
  const auto add = [ep](int fd) {
    epoll_event e{.events = EPOLLIN | EPOLLET, .data = {.fd = fd}};
    ::epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
  };
  add(listener);
  std::unordered_map<int, client> clients;
  std::string answers;
  char room[16384];
  for (;;) {
    epoll_event events[128];
    const int n = ::epoll_wait(ep, events, 128, -1);
    for (int i = 0; i < n; ++i) {
      const int fd = events[i].data.fd;
      if (fd == listener) {
        for (int c; (c = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
          const int on = 1;
          ::setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
          add(c);
        }
        continue;
      }
      const ssize_t got = ::read(fd, room, sizeof room);
      if (got <= 0) {
        clients.erase(fd);
        ::close(fd);
        continue;
      }
      answers.clear();
      for (int heads = heads_in(clients[fd], room, got); heads > 0; --heads) answers += kAnswer;
      if (!answers.empty() && ::write(fd, answers.data(), answers.size()) < 0) ::shutdown(fd, SHUT_RDWR);
    }
  }
}

}  // namespace

int main() {
  const int first = listen_on(0);
  sockaddr_in a{};
  socklen_t size = sizeof a;
  if (first < 0 || ::getsockname(first, reinterpret_cast<sockaddr*>(&a), &size) != 0) return 1;
  std::printf("ready on 127.0.0.1:%d\n", ntohs(a.sin_port));
  std::fflush(stdout);
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < std::thread::hardware_concurrency(); ++i) {
    threads.emplace_back(serve, listen_on(ntohs(a.sin_port)));
  }
  serve(first);
}
