// The floor of bench/http once more, with io_uring in epoll's place: whether it wins is what this is for (docs/net.md). A
// thread and a ring per processor; accept and receive stay armed, received bytes lie in buffers that the kernel picks, an
// answer is one more entry, and one system call submits all of them and waits. As peers/epoll otherwise: not a server.
#include <arpa/inet.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

constexpr std::string_view kAnswer =
    "HTTP/1.1 200 OK\r\nDate: Sat, 01 Jan 2000 00:00:00 GMT\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "Content-Length: 14\r\n\r\nHello, World!\n";
constexpr unsigned kEntries = 4096;
constexpr unsigned kBuffers = 1024;
constexpr unsigned kBufferBytes = 4096;

int listen_on(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 || ::listen(fd, 4096) != 0) return -1;
  return fd;
}

/// Bytes of "\r\n\r\n" at the end of what has come, and answers on their way, which must stay where they are.
struct client {
  int matched = 0;
  std::string answers;
};

int heads_in(client& c, const char* p, int n) {
  constexpr char kEnd[] = "\r\n\r\n";
  int heads = 0;
  for (int i = 0; i < n; ++i) {
    c.matched = p[i] == kEnd[c.matched] ? c.matched + 1 : p[i] == '\r';
    if (c.matched == 4) ++heads, c.matched = 0;
  }
  return heads;
}

enum : std::uint64_t { accepts, receives, sends };

class loop {
 public:
  explicit loop(int listener) : listener_(listener) {}

  bool ready() {
    io_uring_params p{};
    p.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE;
    p.cq_entries = 4 * kEntries;
    if (const int r = io_uring_queue_init_params(kEntries, &ring_, &p); r < 0) return says("io_uring_queue_init", r);
    void* at = nullptr;
    if (::posix_memalign(&at, 4096, kBuffers * sizeof(io_uring_buf)) != 0) return false;
    buffers_ = static_cast<io_uring_buf_ring*>(at);
    io_uring_buf_reg reg{};
    reg.ring_addr = reinterpret_cast<std::uintptr_t>(at);
    reg.ring_entries = kBuffers;
    if (const int r = io_uring_register_buf_ring(&ring_, &reg, 0); r < 0) return says("io_uring_register_buf_ring", r);
    io_uring_buf_ring_init(buffers_);
    room_ = std::make_unique<char[]>(std::size_t{kBuffers} * kBufferBytes);
    for (unsigned i = 0; i < kBuffers; ++i) give_back(i);
    return true;
  }

  void serve() {
    arm_accept();
    for (;;) {
      if (io_uring_submit_and_wait(&ring_, 1) < 0) continue;
      unsigned head = 0;
      unsigned seen = 0;
      io_uring_cqe* done = nullptr;
      io_uring_for_each_cqe(&ring_, head, done) {
        ++seen;
        const int fd = static_cast<int>(done->user_data >> 2);
        switch (done->user_data & 3) {
          case accepts: accepted(done->res, done->flags); break;
          case receives: received(fd, done->res, done->flags); break;
          default: break;
        }
      }
      io_uring_cq_advance(&ring_, seen);
    }
  }

 private:
  static bool says(const char* what, int r) {
    std::fprintf(stderr, "%s: %s\n", what, std::strerror(-r));
    return false;
  }

  io_uring_sqe* entry() {
    io_uring_sqe* e = io_uring_get_sqe(&ring_);
    while (e == nullptr) {
      io_uring_submit(&ring_);
      e = io_uring_get_sqe(&ring_);
    }
    return e;
  }

  void arm_accept() {
    io_uring_sqe* e = entry();
    io_uring_prep_multishot_accept(e, listener_, nullptr, nullptr, SOCK_CLOEXEC);
    e->user_data = accepts;
  }

  void arm_receive(int fd) {
    io_uring_sqe* e = entry();
    io_uring_prep_recv_multishot(e, fd, nullptr, 0, 0);
    e->flags |= IOSQE_BUFFER_SELECT;
    e->buf_group = 0;
    e->user_data = static_cast<std::uint64_t>(fd) << 2 | receives;
  }

  void give_back(unsigned i) {
    io_uring_buf_ring_add(buffers_, room_.get() + std::size_t{i} * kBufferBytes, kBufferBytes,
                          static_cast<unsigned short>(i), io_uring_buf_ring_mask(kBuffers), 0);
    io_uring_buf_ring_advance(buffers_, 1);
  }

  void accepted(int fd, unsigned flags) {
    if ((flags & IORING_CQE_F_MORE) == 0) arm_accept();
    if (fd < 0) return;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    arm_receive(fd);
  }

  void received(int fd, int got, unsigned flags) {
    if (got <= 0) {
      if (got == -ENOBUFS) return arm_receive(fd);
      clients_.erase(fd);
      ::close(fd);
      return;
    }
    const unsigned at = flags >> IORING_CQE_BUFFER_SHIFT;
    client& c = clients_[fd];
    int heads = heads_in(c, room_.get() + std::size_t{at} * kBufferBytes, got);
    give_back(at);
    if (heads > 0) {
      // wrk sends no request before the answer to the last one has come whole: nothing is on its way now.
      c.answers.clear();
      for (; heads > 0; --heads) c.answers += kAnswer;
      io_uring_sqe* e = entry();
      io_uring_prep_send(e, fd, c.answers.data(), c.answers.size(), MSG_NOSIGNAL | MSG_WAITALL);
      e->flags |= IOSQE_CQE_SKIP_SUCCESS;
      e->user_data = static_cast<std::uint64_t>(fd) << 2 | sends;
    }
    if ((flags & IORING_CQE_F_MORE) == 0) arm_receive(fd);
  }

  int listener_;
  io_uring ring_{};
  io_uring_buf_ring* buffers_ = nullptr;
  std::unique_ptr<char[]> room_;
  std::unordered_map<int, client> clients_;
};

void serve(int listener) {
  loop l(listener);
  if (l.ready()) l.serve();
  std::exit(1);
}

}  // namespace

int main() {
  const int first = listen_on(0);
  sockaddr_in a{};
  socklen_t size = sizeof a;
  if (first < 0 || ::getsockname(first, reinterpret_cast<sockaddr*>(&a), &size) != 0) return 1;
  io_uring probe{};
  if (const int r = io_uring_queue_init(8, &probe, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN); r < 0) {
    std::printf("no io_uring here: %s\n", std::strerror(-r));
    return 2;
  }
  io_uring_queue_exit(&probe);
  std::printf("ready on 127.0.0.1:%d\n", ntohs(a.sin_port));
  std::fflush(stdout);
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < std::thread::hardware_concurrency(); ++i) {
    threads.emplace_back(serve, listen_on(ntohs(a.sin_port)));
  }
  serve(first);
}
