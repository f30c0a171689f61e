// gort: pollers over epoll.
#include "os/poll.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <ctime>

#include "os/linux/syscall.h"

#if !defined(SYS_epoll_pwait2)
#define SYS_epoll_pwait2 441
#endif

namespace gort::inline v0::os {

namespace {

constexpr std::int64_t kNanosPerSecond = 1'000'000'000;
constexpr std::int64_t kNanosPerMilli = 1'000'000;

// Set when the kernel, or the sandbox around us, turns out to be older than Linux 5.11: then timeouts are whole
// milliseconds, rounded up.
constinit atomic<bool> no_pwait2{false};

int control(int poller, int op, int fd, std::uint32_t events, std::uint64_t tag) noexcept {
  epoll_event e{};
  e.events = events;
  e.data.u64 = tag;
  return static_cast<int>(kernel::call(SYS_epoll_ctl, poller, op, fd, &e));
}

std::uint32_t edges(bool write) noexcept {
  return EPOLLIN | EPOLLRDHUP | EPOLLET | (write ? std::uint32_t{EPOLLOUT} : 0);
}

std::uint32_t what_of(std::uint32_t e) noexcept {
  std::uint32_t what = 0;
  if ((e & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) what |= kPollRead;
  if ((e & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) what |= kPollWrite;
  if ((e & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) what |= kPollEnd;
  return what;
}

long wait_millis(int poller, epoll_event* e, std::int64_t ns) noexcept {
  std::int64_t ms = ns < 0 ? -1 : ns / kNanosPerMilli + (ns % kNanosPerMilli != 0 ? 1 : 0);
  if (ms > 1'000'000'000) ms = 1'000'000'000;
  return kernel::call(SYS_epoll_pwait, poller, e, kPollBatch, static_cast<int>(ms), nullptr, 8);
}

long wait_nanos(int poller, epoll_event* e, std::int64_t ns) noexcept {
  if (ns <= 0 || no_pwait2.load(memory_order_relaxed)) return wait_millis(poller, e, ns);
  const timespec limit{.tv_sec = ns / kNanosPerSecond, .tv_nsec = ns % kNanosPerSecond};
  const long n = kernel::call(SYS_epoll_pwait2, poller, e, kPollBatch, &limit, nullptr, 8);
  // A sandbox that is older than the call says EPERM, which the call itself never does.
  if (n != -ENOSYS && n != -EPERM) return n;
  no_pwait2.store(true, memory_order_relaxed);
  return wait_millis(poller, e, ns);
}

}  // namespace

int poll_create() noexcept { return static_cast<int>(kernel::call(SYS_epoll_create1, EPOLL_CLOEXEC)); }

int poll_add(int poller, int fd, bool write, std::uint64_t tag) noexcept {
  return control(poller, EPOLL_CTL_ADD, fd, edges(write), tag);
}

int poll_modify(int poller, int fd, bool write, std::uint64_t tag) noexcept {
  return control(poller, EPOLL_CTL_MOD, fd, edges(write), tag);
}

int poll_add_level(int poller, int fd, std::uint64_t tag) noexcept {
  return control(poller, EPOLL_CTL_ADD, fd, EPOLLIN, tag);
}

int poll_remove(int poller, int fd) noexcept { return control(poller, EPOLL_CTL_DEL, fd, 0, 0); }

int poll_wait(int poller, PollEvent* events, std::int64_t timeout_ns) noexcept {
  epoll_event e[kPollBatch];
  const long n = wait_nanos(poller, e, timeout_ns);
  if (n < 0) return n == -EINTR ? 0 : static_cast<int>(n);
  for (long i = 0; i < n; ++i) events[i] = {e[i].data.u64, what_of(e[i].events)};
  return static_cast<int>(n);
}

int bell_create() noexcept { return static_cast<int>(kernel::call(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK)); }

void bell_ring(int bell) noexcept {
  const std::uint64_t one = 1;
  while (kernel::call(SYS_write, bell, &one, sizeof one) == -EINTR) {
  }
}

void bell_clear(int bell) noexcept {
  std::uint64_t count = 0;
  while (kernel::call(SYS_read, bell, &count, sizeof count) == -EINTR) {
  }
}

void fd_close(int fd) noexcept { kernel::call(SYS_close, fd); }

}  // namespace gort::inline v0::os
