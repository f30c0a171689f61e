#include "gort/os/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "api/cancellation.h"
#include "gort/blocking.h"
#include "gort/context.h"
#include "os/io.h"
#include "sched/entry.h"

namespace gort::inline v0::os {

namespace {

std::unexpected<std::error_code> fails(long negative) {
  return std::unexpected(std::error_code(static_cast<int>(-negative), std::system_category()));
}

// Not inlined: errno's address must not be kept over a call that changes the thread.
[[gnu::noinline]] long or_errno(long r) noexcept { return r < 0 ? -errno : r; }

/// What f gives, off the P, when no signal has interrupted it; -ECANCELED in a cancelled context.
template <class F>
long off_p(F f) {
  if (rt::is_cancelled(gort::detail::cancellation())) return -ECANCELED;
  return gort::blocking([&]() -> long {
    for (;;) {
      const long r = f();
      if (r != -EINTR) return r;
    }
  });
}

net::result<std::size_t> count_or(long r) {
  if (r < 0) return fails(r);
  return static_cast<std::size_t>(r);
}

net::result<void> done_or(long r) {
  if (r < 0) return fails(r);
  return {};
}

int flags_of(open_mode m) noexcept {
  switch (m) {
    case open_mode::read: return O_RDONLY;
    case open_mode::write: return O_WRONLY | O_CREAT | O_TRUNC;
    case open_mode::append: return O_WRONLY | O_CREAT | O_APPEND;
    case open_mode::read_write: return O_RDWR | O_CREAT;
    case open_mode::create_new: return O_WRONLY | O_CREAT | O_EXCL;
  }
  return O_RDONLY;
}

}  // namespace

net::result<file> file::open(std::string_view path, open_mode mode, unsigned permissions) {
  if (path.find('\0') != path.npos) return fails(-EINVAL);  // the rest would not be looked at
  const std::string p(path);
  const long fd = off_p([&] { return or_errno(::open(p.c_str(), flags_of(mode) | O_CLOEXEC, permissions)); });
  if (fd < 0) return fails(fd);
  return adopt(static_cast<int>(fd));
}

net::result<std::size_t> file::read_some(net::buffer b) {
  return count_or(off_p([&] { return io_read(fd_, b.data, b.size); }));
}

net::result<std::size_t> file::read_at(net::buffer b, std::uint64_t offset) {
  return count_or(off_p([&] { return io_pread(fd_, b.data, b.size, static_cast<std::int64_t>(offset)); }));
}

net::result<std::string> file::read_all() {
  std::string all;
  const net::result<std::uint64_t> n = size();
  std::size_t have = 0;
  all.resize(n ? static_cast<std::size_t>(*n) + 1 : 4096);
  for (;;) {
    const net::result<std::size_t> got = read_some(net::buffer(all.data() + have, all.size() - have));
    if (!got) return std::unexpected(got.error());
    if (*got == 0) break;
    have += *got;
    if (have == all.size()) all.resize(all.size() * 2);
  }
  all.resize(have);
  return all;
}

net::result<void> file::write_all(net::const_buffer b) {
  return done_or(off_p([&]() -> long {
    for (std::size_t done = 0; done < b.size;) {
      const long n = io_write(fd_, b.data + done, b.size - done);
      if (n < 0) return n;
      done += static_cast<std::size_t>(n);
    }
    return 0;
  }));
}

net::result<void> file::write_at(net::const_buffer b, std::uint64_t offset) {
  return done_or(off_p([&]() -> long {
    for (std::size_t done = 0; done < b.size;) {
      const long n = io_pwrite(fd_, b.data + done, b.size - done, static_cast<std::int64_t>(offset + done));
      if (n < 0) return n;
      done += static_cast<std::size_t>(n);
    }
    return 0;
  }));
}

net::result<void> file::sync() {
  return done_or(off_p([&] { return or_errno(::fsync(fd_)); }));
}

net::result<std::uint64_t> file::size() {
  struct stat st {};
  const long r = off_p([&] { return or_errno(::fstat(fd_, &st)); });
  if (r < 0) return fails(r);
  return static_cast<std::uint64_t>(st.st_size);
}

net::result<void> file::truncate(std::uint64_t size) {
  return done_or(off_p([&] { return or_errno(::ftruncate(fd_, static_cast<off_t>(size))); }));
}

net::result<void> file::close() {
  const int fd = std::exchange(fd_, -1);
  if (fd < 0) return {};
  if (rt::in_fork_child()) return done_or(or_errno(::close(fd)));
  // In a cancelled context, too.
  return done_or(gort::blocking([&] { return or_errno(::close(fd)); }));
}

net::result<std::string> read_file(std::string_view path) {
  net::result<file> f = file::open(path);
  if (!f) return std::unexpected(f.error());
  return f->read_all();
}

net::result<void> replace_file(std::string_view path, net::const_buffer contents, unsigned permissions) {
  if (rt::is_cancelled(gort::detail::cancellation())) return fails(-ECANCELED);
  if (path.find('\0') != path.npos) return fails(-EINVAL);
  const shield whole;  // what has begun is not interrupted between its steps
  const std::string name(path);
  std::string beside;
  net::result<file> f;
  do {  // one that is there is somebody else's, or what a dead process has left
    static os::atomic<std::uint64_t> number{0};
    beside = name + ".new." + std::to_string(::getpid()) + "." + std::to_string(number.fetch_add(1, os::memory_order_relaxed));
    f = file::open(beside, open_mode::create_new, permissions);
  } while (!f && f.error() == std::errc::file_exists);
  if (!f) return std::unexpected(f.error());
  const auto write = [&]() -> net::result<void> {
    if (auto r = f->write_all(contents); !r) return r;
    if (auto r = f->sync(); !r) return r;
    if (auto r = f->close(); !r) return r;
    return done_or(off_p([&] { return or_errno(::rename(beside.c_str(), name.c_str())); }));
  };
  net::result<void> r = write();
  if (!r) {
    gort::blocking([&] { return ::unlink(beside.c_str()); });
    return r;
  }
  // The name itself.
  const std::size_t slash = name.rfind('/');
  net::result<file> dir = file::open(slash == name.npos ? "." : name.substr(0, slash + 1));
  return dir ? dir->sync() : net::result<void>(std::unexpected(dir.error()));
}

}  // namespace gort::inline v0::os
