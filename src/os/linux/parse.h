// gort: reading the kernel's text files: numbers and fields of zero-terminated lines. No locale, no
// allocation, no exceptions; strtol would touch errno.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gort::inline v0::os {

/// Reads a decimal number with an optional minus sign at *text and moves *text behind it. False,
/// with nothing changed, if there is none or it does not fit.
inline bool parse_int(const char** text, std::int64_t* out) noexcept {
  const char* p = *text;
  const bool negative = *p == '-';
  if (negative) ++p;
  if (*p < '0' || *p > '9') return false;
  std::int64_t value = 0;
  for (; *p >= '0' && *p <= '9'; ++p) {
    if (__builtin_mul_overflow(value, 10, &value)) return false;
    if (__builtin_add_overflow(value, *p - '0', &value)) return false;
  }
  *out = negative ? -value : value;
  *text = p;
  return true;
}

/// The beginning of the next blank-separated field, or the terminator.
inline const char* next_field(const char* p) noexcept {
  while (*p != '\0' && *p != ' ') ++p;
  while (*p == ' ') ++p;
  return p;
}

/// Whether the field at p (up to a blank or the end) is `word`.
inline bool field_is(const char* p, const char* word) noexcept {
  while (*word != '\0') {
    if (*p++ != *word++) return false;
  }
  return *p == ' ' || *p == '\0';
}

}  // namespace gort::inline v0::os
