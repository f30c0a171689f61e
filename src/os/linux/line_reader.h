// gort: a text file line by line, whatever its length, in a fixed buffer.
//
//   LineReader lines("/proc/self/mountinfo");
//   while (const char* line = lines.next()) ...
#pragma once

#include <cstddef>

namespace gort::inline v0::os {

namespace kernel {
/// A descriptor (close-on-exec), or -errno.
int open_for_reading(const char* path) noexcept;
/// Bytes read, 0 at the end, or -errno; never EINTR.
std::ptrdiff_t read_some(int fd, char* buf, std::size_t n) noexcept;
void close(int fd) noexcept;
}  // namespace kernel

/// A file that cannot be opened has no lines. A line longer than 2 KiB is cut there: those of
/// mountinfo that are so long are overlay file systems, which nobody here asks about.
/// About 3 KiB: system stacks only.
class LineReader {
 public:
  explicit LineReader(const char* path) noexcept;
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  /// The next line without its end, zero terminated, valid until the following call; null at the
  /// end.
  const char* next() noexcept;

 private:
  bool fill() noexcept;

  int fd_;
  std::size_t at_ = 0;
  std::size_t have_ = 0;
  char chunk_[1024];
  char line_[2048];
};

}  // namespace gort::inline v0::os
