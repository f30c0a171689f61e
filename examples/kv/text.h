// Numbers, words and patterns in text, as Redis reads and writes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kv {

/// A whole number exactly as we would print it: no space, no '+', no leading zeros.
std::optional<std::int64_t> to_integer(std::string_view s) noexcept;
/// Any form that from_chars reads, with "inf" and a '+'; never NaN.
std::optional<double> to_double(std::string_view s) noexcept;
/// The same, as INCRBYFLOAT counts: with what is to be added, 0.1 + 0.2 is 0.3.
std::optional<long double> to_long_double(std::string_view s) noexcept;
/// Without an exponent; at most 17 digits behind the point, none of them an idle zero.
std::string from_long_double(long double d);
/// The shortest text that reads back as the same number; whole ones without a point.
std::string from_double(double d);

/// Whether `a` is `b` (which is lower case) in any case.
bool is_word(std::string_view a, std::string_view b) noexcept;
std::string lower(std::string_view s);
std::string upper(std::string_view s);

/// A glob: * ? [a-z] [^a] and \ before a character that means itself.
bool matches(std::string_view pattern, std::string_view text) noexcept;

/// A line into words, with "…\n\x41" and '…'. False: a quote has no end.
bool split_words(std::string_view line, std::vector<std::string>& words);

}  // namespace kv
