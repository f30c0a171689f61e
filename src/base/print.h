// gort: formatted output without stdio, malloc or locale.
//
// A Printer gathers text in a fixed buffer and writes it with raw write(2) when it is full and when it
// dies: whole lines, as far as they are no longer than the buffer, so that neither another thread's text nor the
// end of the process comes into the middle of one. Usable anywhere in the core, in signal handlers and in fatal paths; one Printer, one thread.
//
//   Printer(2) << "fatal error: " << msg << " (P " << id << ")\n";
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "os/os.h"

namespace gort::inline v0::rt {

/// Wraps a number to be printed in hexadecimal, with 0x and at least `digits` digits.
struct Hex {
  std::uint64_t value;
  int digits = 1;
};

class Printer {
 public:
  explicit Printer(int fd) noexcept : fd_(fd) {}
  /// Prints into `out` instead, always zero-terminated, cut at n-1 characters.
  Printer(char* out, std::size_t n) noexcept : fd_(-1), out_(out), cap_(n) {
    if (cap_ > 0) out_[0] = '\0';
  }
  Printer(const Printer&) = delete;
  Printer& operator=(const Printer&) = delete;
  ~Printer() { flush(); }

  Printer& operator<<(const char* s) noexcept;
  Printer& operator<<(char c) noexcept {
    put(c);
    return *this;
  }
  Printer& operator<<(Hex h) noexcept;
  Printer& operator<<(const void* p) noexcept {
    return *this << Hex{reinterpret_cast<std::uintptr_t>(p)};
  }
  template <class I>
    requires std::is_integral_v<I>
  Printer& operator<<(I v) noexcept {
    if constexpr (std::is_signed_v<I>) {
      signed_number(v);
    } else {
      unsigned_number(v);
    }
    return *this;
  }
  /// An atomic of integers would turn into a char: load it.
  template <class T>
    requires std::is_class_v<T>
  Printer& operator<<(const T&) = delete;
  Printer& text(const char* s, std::size_t n) noexcept;
  void flush() noexcept;
  /// Characters produced so far (into a buffer: stored or cut off).
  std::size_t size() const noexcept { return total_; }

 private:
  void put(char c) noexcept;
  void write_lines() noexcept;
  void signed_number(std::int64_t v) noexcept;
  void unsigned_number(std::uint64_t v) noexcept;

  int fd_;
  char* out_ = nullptr;
  std::size_t cap_ = 0;
  std::size_t used_ = 0;
  std::size_t total_ = 0;
  char buf_[256];
};

}  // namespace gort::inline v0::rt
