#include "base/print.h"

namespace gort::inline v0::rt {

void Printer::put(char c) noexcept {
  ++total_;
  if (fd_ < 0) {
    if (used_ + 1 < cap_) {
      out_[used_++] = c;
      out_[used_] = '\0';
    }
    return;
  }
  if (used_ == sizeof buf_) write_lines();
  buf_[used_++] = c;
}

/// Makes room: all but the line that is not complete yet, unless there is nothing else.
void Printer::write_lines() noexcept {
  std::size_t n = used_;
  while (n > 0 && buf_[n - 1] != '\n') --n;
  if (n == 0) n = used_;
  os::write_all(fd_, buf_, n);
  used_ -= n;
  __builtin_memmove(buf_, buf_ + n, used_);
}

void Printer::flush() noexcept {
  if (fd_ < 0 || used_ == 0) return;
  os::write_all(fd_, buf_, used_);
  used_ = 0;
}

Printer& Printer::operator<<(const char* s) noexcept {
  if (s == nullptr) s = "(null)";
  while (*s != '\0') put(*s++);
  return *this;
}

Printer& Printer::text(const char* s, std::size_t n) noexcept {
  for (std::size_t i = 0; i < n; ++i) put(s[i]);
  return *this;
}

Printer& Printer::operator<<(Hex h) noexcept {
  char digits[16];
  int n = 0;
  do {
    digits[n++] = "0123456789abcdef"[h.value & 15];
    h.value >>= 4;
  } while (h.value != 0);
  put('0');
  put('x');
  for (int i = n; i < h.digits; ++i) put('0');
  while (n > 0) put(digits[--n]);
  return *this;
}

void Printer::unsigned_number(std::uint64_t v) noexcept {
  char digits[20];
  int n = 0;
  do {
    digits[n++] = static_cast<char>('0' + v % 10);
    v /= 10;
  } while (v != 0);
  while (n > 0) put(digits[--n]);
}

void Printer::signed_number(std::int64_t v) noexcept {
  if (v < 0) put('-');
  // Negation in unsigned arithmetic: right for the smallest value too.
  unsigned_number(v < 0 ? 0 - static_cast<std::uint64_t>(v) : static_cast<std::uint64_t>(v));
}

}  // namespace gort::inline v0::rt
