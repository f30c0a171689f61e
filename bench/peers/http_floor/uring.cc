// The floor of bench/http once more, with io_uring in epoll's place: whether it wins is what this is for (docs/net.md). A
// thread and a ring per processor; accept and receive stay armed, received bytes lie in buffers that the kernel picks, an
// answer is one more entry, and one system call submits all of them and waits.
#include <liburing.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <unordered_map>

#include "floor.h"

namespace {

constexpr unsigned kEntries = 4096;
constexpr unsigned kBuffers = 1024;
constexpr unsigned kBufferBytes = 4096;

struct client {
  int matched = 0;      // of the end of a head
  std::string answers;  // on their way: they must stay where they are
};

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
    floors::no_delay(fd);
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
    int heads = floors::heads_in(c.matched, room_.get() + std::size_t{at} * kBufferBytes, got);
    give_back(at);
    if (heads > 0) {
      // wrk sends no request before the answer to the last one has come whole: nothing is on its way now.
      c.answers.clear();
      for (; heads > 0; --heads) c.answers += floors::kAnswer;
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

/// Whether this kernel lets us: 0, or 2.
int probe() {
  io_uring ring{};
  if (const int r = io_uring_queue_init(8, &ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN); r < 0) {
    std::printf("no io_uring here: %s\n", std::strerror(-r));
    return 2;
  }
  io_uring_queue_exit(&ring);
  return 0;
}

}  // namespace

int main() {
  return floors::run(0, probe, serve);
}
