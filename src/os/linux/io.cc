// gort: reading and writing descriptors.
#include "os/io.h"

#include <sys/socket.h>

#include <cerrno>

#include "os/linux/no_sigpipe.h"
#include "os/linux/syscall.h"

namespace gort::inline v0::os {

namespace {

template <class... Args>
long again(long nr, Args... args) noexcept {
  long r;
  while ((r = kernel::call(nr, args...)) == -EINTR) {
  }
  return r;
}

}  // namespace

std::ptrdiff_t io_read(int fd, void* p, std::size_t n) noexcept { return again(SYS_read, fd, p, n); }
std::ptrdiff_t io_write(int fd, const void* p, std::size_t n) noexcept { return again(SYS_write, fd, p, n); }
std::ptrdiff_t io_readv(int fd, const void* iov, int n) noexcept { return again(SYS_readv, fd, iov, n); }
std::ptrdiff_t io_writev(int fd, const void* iov, int n) noexcept { return again(SYS_writev, fd, iov, n); }
std::ptrdiff_t io_pread(int fd, void* p, std::size_t n, std::int64_t offset) noexcept {
  return again(SYS_pread64, fd, p, n, offset);
}
std::ptrdiff_t io_pwrite(int fd, const void* p, std::size_t n, std::int64_t offset) noexcept {
  return again(SYS_pwrite64, fd, p, n, offset);
}
std::ptrdiff_t io_send(int fd, const void* p, std::size_t n) noexcept {
  return again(SYS_sendto, fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT, nullptr, 0);
}
std::ptrdiff_t io_recv(int fd, void* p, std::size_t n) noexcept {
  return again(SYS_recvfrom, fd, p, n, MSG_DONTWAIT, nullptr, nullptr);
}
std::ptrdiff_t io_sendmsg(int fd, const void* message, int flags) noexcept {
  return again(SYS_sendmsg, fd, message, flags | MSG_NOSIGNAL | MSG_DONTWAIT);
}
std::ptrdiff_t io_recvmsg(int fd, void* message, int flags) noexcept {
  return again(SYS_recvmsg, fd, message, flags | MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
}
int io_accept(int fd, void* address, std::uint32_t* size) noexcept {
  return static_cast<int>(again(SYS_accept4, fd, address, size, SOCK_NONBLOCK | SOCK_CLOEXEC));
}
int io_connect(int fd, const void* address, std::uint32_t size) noexcept {
  const long r = kernel::call(SYS_connect, fd, address, size);
  return r == -EINTR ? -EINPROGRESS : static_cast<int>(r);
}
int io_shutdown(int fd, int how) noexcept { return static_cast<int>(kernel::call(SYS_shutdown, fd, how)); }
std::ptrdiff_t io_sendfile(int out, int in, std::int64_t* offset, std::size_t n) noexcept {
  NoSigpipe quiet;  // there is no flag for it
  const long r = again(SYS_sendfile, out, in, offset, n);
  // It may have come behind the first of several pieces, too.
  if (r != static_cast<long>(n)) quiet.take();
  return r;
}

}  // namespace gort::inline v0::os
