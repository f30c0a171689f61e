// gort: the little file access that reports and start-up need, by raw system calls.
#include <fcntl.h>
#include <poll.h>

#include <cerrno>
#include <cstddef>
#include <ctime>

#include "os/linux/line_reader.h"
#include "os/linux/no_sigpipe.h"
#include "os/linux/syscall.h"
#include "os/os.h"

namespace gort::inline v0::os {

namespace {

// A write of so many bytes does not wait where poll says that there is room: POSIX's PIPE_BUF.
constexpr std::size_t kWrittenAtOnce = 4096;
constexpr int kMostRefused = 1000;

// Nobody has read for a whole second: until there is room again nothing is waited for.
constinit atomic<bool> nobody_reads{false};

// Waits until a full descriptor takes data again, at most a second. A report must not lose its middle because
// somebody has made its pipe non-blocking; nor must it wait for ever for whoever has stopped to read the
// program's error output, with the world half stopped, or instead of dying.
bool wait_writable(int fd) noexcept {
  pollfd one{.fd = fd, .events = POLLOUT, .revents = 0};
  timespec limit{.tv_sec = nobody_reads.load(memory_order_relaxed) ? 0 : 1, .tv_nsec = 0};
  long r;
  // The kernel writes the time left back to `limit`.
  while ((r = kernel::call(SYS_ppoll, &one, 1, &limit, nullptr, 0)) == -EINTR) {
  }
  nobody_reads.store(r == 0, memory_order_relaxed);
  return r != 0;  // an error: the write will tell
}

}  // namespace

void write_all(int fd, const char* data, std::size_t n) noexcept {
  if (fd < 0) return;  // poll would wait
  NoSigpipe quiet;
  for (int refused = 0; n > 0;) {
    if (!wait_writable(fd)) return;
    const long r = kernel::call(SYS_write, fd, data, n < kWrittenAtOnce ? n : kWrittenAtOnce);
    if (r == -EINTR) continue;
    if (r == -EAGAIN && ++refused < kMostRefused) continue;
    if (r == -EPIPE) quiet.take();
    if (r <= 0) return;
    data += r;
    n -= static_cast<std::size_t>(r);
  }
}

void fill_standard_fds() noexcept {
  for (int fd = 0; fd <= 2; ++fd) {
    // The lowest free number is this one, for those below it are open. Children shall have it as well: no O_CLOEXEC.
    if (kernel::call(SYS_fcntl, fd, F_GETFD, 0) == -EBADF) kernel::call(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR, 0);
  }
}

namespace kernel {

int open_for_reading(const char* path) noexcept {
  long fd;
  while ((fd = call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0)) == -EINTR) {
  }
  return static_cast<int>(fd);
}

std::ptrdiff_t read_some(int fd, char* buf, std::size_t n) noexcept {
  long r;
  while ((r = call(SYS_read, fd, buf, n)) == -EINTR) {
  }
  return r;
}

void close(int fd) noexcept { call(SYS_close, fd); }

}  // namespace kernel

std::ptrdiff_t read_file(const char* path, char* buf, std::size_t n) noexcept {
  if (n == 0) return -EINVAL;
  int fd = kernel::open_for_reading(path);
  if (fd < 0) return fd;
  std::size_t have = 0;
  std::ptrdiff_t r = 0;
  while (have < n - 1 && (r = kernel::read_some(fd, buf + have, n - 1 - have)) > 0) {
    have += static_cast<std::size_t>(r);
  }
  kernel::close(fd);
  buf[have] = '\0';
  return r < 0 ? r : static_cast<std::ptrdiff_t>(have);
}

LineReader::LineReader(const char* path) noexcept : fd_(kernel::open_for_reading(path)) {}

LineReader::~LineReader() {
  if (fd_ >= 0) kernel::close(fd_);
}

bool LineReader::fill() noexcept {
  std::ptrdiff_t r = fd_ < 0 ? 0 : kernel::read_some(fd_, chunk_, sizeof chunk_);
  at_ = 0;
  have_ = r > 0 ? static_cast<std::size_t>(r) : 0;
  return have_ > 0;
}

const char* LineReader::next() noexcept {
  std::size_t length = 0;
  bool any = false;
  for (;;) {
    if (at_ == have_ && !fill()) break;
    any = true;
    char c = chunk_[at_++];
    if (c == '\n') break;
    if (length < sizeof line_ - 1) line_[length++] = c;
  }
  line_[length] = '\0';
  return any ? line_ : nullptr;
}

}  // namespace gort::inline v0::os
