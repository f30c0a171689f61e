// gort: reading and writing descriptors, by raw system calls.
//
// A result is a count, a descriptor or 0; an error is its negative number. Calls that are interrupted before they have
// done anything are made again. Nothing touches errno, which would be the wrong thread's after a goroutine has moved.
// Structures are the kernel's; their types are not named here, so that no header of libc comes with this one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/poll.h"

namespace gort::inline v0::os {

std::ptrdiff_t io_read(int fd, void* p, std::size_t n) noexcept;
std::ptrdiff_t io_write(int fd, const void* p, std::size_t n) noexcept;
/// `iov`: struct iovec[n].
std::ptrdiff_t io_readv(int fd, const void* iov, int n) noexcept;
std::ptrdiff_t io_writev(int fd, const void* iov, int n) noexcept;
std::ptrdiff_t io_pread(int fd, void* p, std::size_t n, std::int64_t offset) noexcept;
std::ptrdiff_t io_pwrite(int fd, const void* p, std::size_t n, std::int64_t offset) noexcept;
/// Sockets: without SIGPIPE, without waiting.
std::ptrdiff_t io_send(int fd, const void* p, std::size_t n) noexcept;
std::ptrdiff_t io_recv(int fd, void* p, std::size_t n) noexcept;
/// `message`: struct msghdr.
std::ptrdiff_t io_sendmsg(int fd, const void* message, int flags) noexcept;
std::ptrdiff_t io_recvmsg(int fd, void* message, int flags) noexcept;
/// A connection that waits, non-blocking and close-on-exec. `address`: struct sockaddr, or null.
int io_accept(int fd, void* address, std::uint32_t* size) noexcept;
/// -EINPROGRESS: it is under way. -EINTR is one of those: the connection goes on.
int io_connect(int fd, const void* address, std::uint32_t size) noexcept;
int io_shutdown(int fd, int how) noexcept;
/// Without SIGPIPE.
std::ptrdiff_t io_sendfile(int out, int in, std::int64_t* offset, std::size_t n) noexcept;

}  // namespace gort::inline v0::os
