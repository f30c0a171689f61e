// gort: files. A disk has no edges to wait for: each call goes through gort::blocking, so that the thread may sleep in the
// kernel while others use its processor. (Pipes and terminals: gort/os/pipe.h, net::conn::adopt.)
//
//   auto f = gort::os::file::open("/etc/hostname");
//   std::string all = f->read_all().value();
//
// Threads: read_at and write_at by any number at the same time; the others share the file's position. close() is for when
// nobody is in a call. A call in a cancelled context does nothing and gives operation_canceled; one that has begun is not
// interrupted. All of them may change the goroutine's thread. A path with a zero in it is refused (invalid_argument): the system
// would see its beginning only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "gort/config.h"
#include "gort/net/buffer.h"
#include "gort/net/result.h"

namespace gort::inline v0::os {

enum class open_mode : std::uint8_t {
  read,        ///< must exist
  write,       ///< made if need be, emptied
  append,      ///< made if need be; every write goes to the end
  read_write,  ///< made if need be
  create_new,  ///< for writing; file_exists if there is one
};

class [[nodiscard]] file {
 public:
  file() noexcept = default;
  file(file&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  file& operator=(file&& other) noexcept {
    if (this != &other) {
      static_cast<void>(close());
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~file() { static_cast<void>(close()); }

  static net::result<file> open(std::string_view path, open_mode mode = open_mode::read, unsigned permissions = 0644);
  /// Takes over a descriptor, which blocks.
  static file adopt(int fd) noexcept {
    file f;
    f.fd_ = fd;
    return f;
  }

  /// 0: the end.
  net::result<std::size_t> read_some(net::buffer b);
  net::result<std::size_t> read_at(net::buffer b, std::uint64_t offset);
  /// From the position to the end.
  net::result<std::string> read_all();
  net::result<void> write_all(net::const_buffer b);
  net::result<void> write_at(net::const_buffer b, std::uint64_t offset);
  /// Until it is on the disk (fsync).
  net::result<void> sync();
  net::result<std::uint64_t> size();
  net::result<void> truncate(std::uint64_t size);
  /// The error that the last writes have left behind, on some file systems. A second one does nothing.
  net::result<void> close();

  bool is_open() const noexcept { return fd_ >= 0; }
  int native_handle() const noexcept { return fd_; }

 private:
  int fd_ = -1;
};

net::result<std::string> read_file(std::string_view path);
/// Writes a new file beside it, syncs that and gives it the name: whoever opens the path finds the old or the new
/// contents in full, after a crash too. By any number at the same time: one of them is the last. A crash may leave a
/// file PATH.new.PID.N behind.
net::result<void> replace_file(std::string_view path, net::const_buffer contents, unsigned permissions = 0644);

}  // namespace gort::inline v0::os
