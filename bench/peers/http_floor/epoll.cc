// The floor of bench/http: what the kernel alone costs. A thread per processor, each with a listening socket of its own
// and an epoll; it looks for the empty line at the end of a head and writes the same bytes for each that it finds.
#include <sys/epoll.h>

#include <string>
#include <unordered_map>

#include "floor.h"

namespace {

void serve(int listener) {
  const int ep = ::epoll_create1(EPOLL_CLOEXEC);
  const auto add = [ep](int fd) {
    epoll_event e{.events = EPOLLIN | EPOLLET, .data = {.fd = fd}};
    ::epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
  };
  add(listener);
  std::unordered_map<int, int> matched;  // per connection
  std::string answers;
  char room[16384];
  for (;;) {
    epoll_event events[128];
    const int n = ::epoll_wait(ep, events, 128, -1);
    for (int i = 0; i < n; ++i) {
      const int fd = events[i].data.fd;
      if (fd == listener) {
        for (int c; (c = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
          floors::no_delay(c);
          add(c);
        }
        continue;
      }
      const ssize_t got = ::read(fd, room, sizeof room);
      if (got <= 0) {
        matched.erase(fd);
        ::close(fd);
        continue;
      }
      answers.clear();
      for (int heads = floors::heads_in(matched[fd], room, got); heads > 0; --heads) answers += floors::kAnswer;
      if (!answers.empty() && ::write(fd, answers.data(), answers.size()) < 0) ::shutdown(fd, SHUT_RDWR);
    }
  }
}

}  // namespace

int main() {
  return floors::run(SOCK_NONBLOCK, [] { return 0; }, serve);
}
