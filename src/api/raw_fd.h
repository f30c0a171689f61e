// gort: descriptors that gort makes, and closes by the kernel's call (os::fd_close).
//
// Made by the kernel's call, too: TSan follows what libc's functions make, and would take a number that the kernel gives
// out again for one descriptor that two use, since it has not seen the close.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace gort::inline v0 {

// As the functions of these names: -1 and errno. All close-on-exec; the pair is not to block.
inline int raw_pipe(int (&fds)[2]) noexcept { return static_cast<int>(::syscall(SYS_pipe2, fds, O_CLOEXEC)); }
inline int raw_socket(int domain, int type) noexcept {
  return static_cast<int>(::syscall(SYS_socket, domain, type | SOCK_CLOEXEC, 0));
}
inline int raw_socket_pair(int (&fds)[2]) noexcept {
  return static_cast<int>(::syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds));
}

}  // namespace gort::inline v0
