// The file that snapshots are written to.
//
//   "GORTKV1\n"                                      8 bytes
//   time of the snapshot, ms since 1970              8 bytes, little-endian, as all numbers
//   records: type (1 byte: kv::type), expiry (8), key, value
//   0xff, number of records                          9 bytes
//   CRC-64 of everything before                      8 bytes
//
//   a string: its length (varint: 7 bits a byte, lowest first), its bytes
//   a list, set, hash, zset: number of elements (varint), then strings; field and value; member and score (8)
//
// The end mark and the checksum tell a file that was cut off, at whatever byte, from a whole one.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <string>
#include <string_view>

#include "object.h"

namespace kv::format {

inline constexpr std::string_view magic = "GORTKV1\n";

/// Continues `crc` (0 at first) over more bytes. CRC-64/XZ.
std::uint64_t checksum(std::uint64_t crc, std::string_view bytes) noexcept;

// These append to `out`.
void header(std::string& out, std::int64_t time_ms);
void record(std::string& out, std::string_view key, std::int64_t expires, const object& value);
void end_mark(std::string& out, std::uint64_t records);
void number(std::string& out, std::uint64_t n);

struct contents {
  std::int64_t time_ms = 0;
  std::uint64_t records = 0;
};
/// f(key, expires, value) for each record. Nothing is called before the whole file has been checked. An error says what
/// is wrong and where.
std::expected<contents, std::string> read(
    std::string_view file,
    const std::function<void(std::string_view, std::int64_t, ref<object>)>& f);

}  // namespace kv::format
