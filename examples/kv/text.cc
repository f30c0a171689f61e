#include "text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace kv {

namespace {
char low(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
bool blank(char c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r') || c == '\0'; }
int hex(char c) noexcept {
  c = low(c);
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
}  // namespace

std::optional<std::int64_t> to_integer(std::string_view s) noexcept {
  const std::string_view digits = s.starts_with('-') ? s.substr(1) : s;
  if (digits.empty() || digits[0] < '0' || (digits[0] == '0' && s.size() > 1)) return std::nullopt;
  std::int64_t v = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v);
  if (error != std::errc() || end != s.data() + s.size()) return std::nullopt;
  return v;
}

namespace {
template <class T>
std::optional<T> to_real(std::string_view s) noexcept {
  if (s.starts_with('+') && !s.starts_with("+-")) s.remove_prefix(1);
  T v = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v);
  if (end != s.data() + s.size() || s.empty() || std::isnan(v)) return std::nullopt;
  if (error == std::errc::result_out_of_range) return std::nullopt;
  return v;
}
}  // namespace

std::optional<double> to_double(std::string_view s) noexcept { return to_real<double>(s); }
std::optional<long double> to_long_double(std::string_view s) noexcept {
  return to_real<long double>(s);
}

std::string from_long_double(long double d) {
  char room[5120];  // the largest has 4933 digits
  std::string_view text(room,
                        static_cast<std::size_t>(std::snprintf(room, sizeof room, "%.17Lf", d)));
  while (text.ends_with('0')) text.remove_suffix(1);
  if (text.ends_with('.')) text.remove_suffix(1);
  return text == "-0" ? "0" : std::string(text);
}

std::string from_double(double d) {
  if (std::isinf(d)) return d > 0 ? "inf" : "-inf";
  char text[64];
  // Whole numbers that a double holds exactly.
  if (std::fabs(d) < 1e17 && d == std::trunc(d)) {
    return {text, std::to_chars(text, text + sizeof text, static_cast<std::int64_t>(d)).ptr};
  }
  return {text, std::to_chars(text, text + sizeof text, d).ptr};
}

bool is_word(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return low(x) == y; });
}

std::string lower(std::string_view s) {
  std::string r(s);
  std::ranges::transform(r, r.begin(), low);
  return r;
}

std::string upper(std::string_view s) {
  std::string r(s);
  for (char& c : r) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  return r;
}

namespace {
/// One character against the pattern's first element, which is taken off. Not for *.
bool match_one(std::string_view& p, char c) noexcept {
  if (p[0] == '[') {
    std::size_t i = 1;
    const bool inverted = i < p.size() && p[i] == '^';
    if (inverted) ++i;
    bool found = false;
    for (; i < p.size() && p[i] != ']'; ++i) {
      if (p[i] == '\\' && i + 1 < p.size()) {
        found |= p[++i] == c;
      } else if (i + 2 < p.size() && p[i + 1] == '-') {
        const auto [a, b] = std::minmax(p[i], p[i + 2]);
        found |= a <= c && c <= b;
        i += 2;
      } else {
        found |= p[i] == c;
      }
    }
    p.remove_prefix(std::min(i + 1, p.size()));
    return found != inverted;
  }
  if (p[0] == '\\' && p.size() > 1)
    p.remove_prefix(1);
  else if (p[0] == '?')
    c = '?';
  const bool same = p[0] == c;
  p.remove_prefix(1);
  return same;
}
}  // namespace

bool matches(std::string_view pattern, std::string_view text) noexcept {
  // After a mismatch only the last * takes one character more: no pattern takes longer than both lengths' product.
  std::string_view retry_pattern, retry_text;
  bool star = false;
  for (;;) {
    if (!pattern.empty() && pattern[0] == '*') {
      pattern.remove_prefix(1);
      retry_pattern = pattern;
      retry_text = text;
      star = true;
      continue;
    }
    if (text.empty() && pattern.empty()) return true;
    if (!text.empty() && !pattern.empty() && match_one(pattern, text[0])) {
      text.remove_prefix(1);
      continue;
    }
    if (!star || retry_text.empty()) return false;
    retry_text.remove_prefix(1);
    pattern = retry_pattern;
    text = retry_text;
  }
}

bool split_words(std::string_view line, std::vector<std::string>& words) {
  words.clear();
  std::size_t i = 0;
  for (;;) {
    while (i < line.size() && blank(line[i])) ++i;
    if (i == line.size()) return true;
    std::string& word = words.emplace_back();
    while (i < line.size() && !blank(line[i])) {
      const char quote = line[i];
      if (quote != '"' && quote != '\'') {
        word += line[i++];
        continue;
      }
      for (++i; i < line.size() && line[i] != quote; ++i) {
        if (line[i] != '\\' || i + 1 == line.size()) {
          word += line[i];
        } else if (quote == '\'') {
          if (line[i + 1] == '\'') ++i;
          word += line[i];
        } else if (line[i + 1] == 'x' && i + 3 < line.size() && hex(line[i + 2]) >= 0 &&
                   hex(line[i + 3]) >= 0) {
          word += static_cast<char>(hex(line[i + 2]) * 16 + hex(line[i + 3]));
          i += 3;
        } else {
          constexpr std::string_view names = "nrtba", values = "\n\r\t\b\a";
          const auto at = names.find(line[++i]);
          word += at == names.npos ? line[i] : values[at];
        }
      }
      if (i == line.size()) return false;
      ++i;
      if (i < line.size() && !blank(line[i])) return false;
    }
  }
}

}  // namespace kv
