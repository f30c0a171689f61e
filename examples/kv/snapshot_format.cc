#include "snapshot_format.h"

#include <array>
#include <cstring>

#include "zset.h"

namespace kv::format {

namespace {

constexpr std::uint64_t kPolynomial = 0xc96c5795d7870f42;  // ECMA-182, reversed

constexpr auto kTables = [] {
  std::array<std::array<std::uint64_t, 256>, 8> t{};
  for (unsigned i = 0; i < 256; ++i) {
    std::uint64_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = c & 1 ? c >> 1 ^ kPolynomial : c >> 1;
    t[0][i] = c;
  }
  for (unsigned i = 0; i < 256; ++i) {
    for (unsigned k = 1; k < 8; ++k) t[k][i] = t[k - 1][i] >> 8 ^ t[0][t[k - 1][i] & 255];
  }
  return t;
}();

constexpr unsigned char kEnd = 0xff;
constexpr std::size_t kTail = 1 + 8 + 8;

void varint(std::string& out, std::uint64_t n) {
  for (; n >= 128; n >>= 7) out += static_cast<char>(n | 128);
  out += static_cast<char>(n);
}
void text(std::string& out, std::string_view s) {
  varint(out, s.size());
  out += s;
}
void real(std::string& out, double d) {
  std::uint64_t bits;
  std::memcpy(&bits, &d, 8);
  number(out, bits);
}

/// Takes things off the front of a file; throws when there is not enough.
struct reader {
  std::string_view rest;

  struct bad {};
  std::string_view bytes(std::uint64_t n) {
    if (n > rest.size()) throw bad();
    const std::string_view b = rest.substr(0, n);
    rest.remove_prefix(n);
    return b;
  }
  std::uint64_t number() {
    std::uint64_t n;
    std::memcpy(&n, bytes(8).data(), 8);
    return n;
  }
  double real() {
    const std::uint64_t bits = number();
    double d;
    std::memcpy(&d, &bits, 8);
    return d;
  }
  std::uint64_t varint() {
    std::uint64_t n = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto b = static_cast<unsigned char>(bytes(1)[0]);
      n |= std::uint64_t{b & 127u} << shift;
      if (b < 128) return n;
    }
    throw bad();
  }
  std::string_view text() { return bytes(varint()); }
};

ref<object> value(reader& in, unsigned char t) {
  switch (static_cast<type>(t)) {
    case type::string:
      return make<string_object>(in.text());
    case type::list: {
      auto v = make<list_object>();
      for (auto n = in.varint(); n > 0; --n) v->push_back(in.text());
      return v;
    }
    case type::set: {
      auto v = make<set_object>();
      for (auto n = in.varint(); n > 0; --n) v->add(in.text());
      return v;
    }
    case type::hash: {
      auto v = make<hash_object>();
      for (auto n = in.varint(); n > 0; --n) {
        const std::string_view field = in.text();
        v->set(field, in.text());
      }
      return v;
    }
    case type::zset: {
      auto v = make<zset_object>();
      for (auto n = in.varint(); n > 0; --n) {
        const std::string_view member = in.text();
        v->set(member, in.real());
      }
      return v;
    }
  }
  throw reader::bad();
}

}  // namespace

std::uint64_t checksum(std::uint64_t crc, std::string_view s) noexcept {
  crc = ~crc;
  const auto* p = reinterpret_cast<const unsigned char*>(s.data());
  std::size_t n = s.size();
  for (; n >= 8; p += 8, n -= 8) {
    std::uint64_t w;
    std::memcpy(&w, p, 8);
    w ^= crc;
    crc = 0;
    for (unsigned k = 0; k < 8; ++k) crc ^= kTables[7 - k][w >> (8 * k) & 255];
  }
  for (; n > 0; ++p, --n) crc = crc >> 8 ^ kTables[0][(crc ^ *p) & 255];
  return ~crc;
}

void number(std::string& out, std::uint64_t n) {
  char b[8];
  std::memcpy(b, &n, 8);
  out.append(b, 8);
}

void header(std::string& out, std::int64_t time_ms) {
  out += magic;
  number(out, static_cast<std::uint64_t>(time_ms));
}

void record(std::string& out, std::string_view key, std::int64_t expires, const object& o) {
  out += static_cast<char>(o.type());
  number(out, static_cast<std::uint64_t>(expires));
  text(out, key);
  switch (o.type()) {
    case type::string:
      return text(out, static_cast<const string_object&>(o).text);
    case type::list: {
      const auto& items = static_cast<const list_object&>(o).items;
      varint(out, items.size());
      for (const std::string& s : items) text(out, s);
      return;
    }
    case type::set: {
      const auto& members = static_cast<const set_object&>(o).members;
      varint(out, members.size());
      return members.for_each([&](const auto& n) { text(out, n.key); });
    }
    case type::hash: {
      const auto& fields = static_cast<const hash_object&>(o).fields;
      varint(out, fields.size());
      return fields.for_each([&](const auto& n) {
        text(out, n.key);
        text(out, n.value);
      });
    }
    case type::zset: {
      const auto& scores = static_cast<const zset_object&>(o).scores;
      varint(out, scores.size());
      return scores.for_each([&](const auto& n) {
        text(out, n.key);
        real(out, n.value);
      });
    }
  }
}

void end_mark(std::string& out, std::uint64_t records) {
  out += static_cast<char>(kEnd);
  number(out, records);
}

std::expected<contents, std::string> read(
    std::string_view file,
    const std::function<void(std::string_view, std::int64_t, ref<object>)>& f) {
  const auto at = [&](std::size_t byte) {
    return " (byte " + std::to_string(byte) + " of " + std::to_string(file.size()) + ")";
  };
  if (!magic.starts_with(file.substr(0, magic.size())))
    return std::unexpected("it is no snapshot of gort-kv");
  if (file.size() < magic.size() + 8 + kTail)
    return std::unexpected("it is torn: too short" + at(file.size()));
  const std::string_view summed = file.substr(0, file.size() - 8);
  const bool right = reader{file.substr(summed.size())}.number() == checksum(0, summed);
  // A wrong checksum is explained: where do the records stop making sense?
  reader in{summed.substr(magic.size())};
  contents c;
  std::size_t begin = 0;
  try {
    c.time_ms = static_cast<std::int64_t>(in.number());
    for (;; ++c.records) {
      begin = summed.size() - in.rest.size();
      const auto t = static_cast<unsigned char>(in.bytes(1)[0]);
      if (t == kEnd) break;
      const auto expires = static_cast<std::int64_t>(in.number());
      const std::string_view key = in.text();
      ref<object> v = value(in, t);
      if (right) f(key, expires, std::move(v));
    }
    if (in.number() != c.records || !in.rest.empty()) throw reader::bad();
  } catch (const reader::bad&) {
    return std::unexpected("it is torn: it ends, or stops making sense, in record " +
                           std::to_string(c.records + 1) + at(begin));
  }
  if (!right)
    return std::unexpected("it is damaged: its checksum is wrong, although its " +
                           std::to_string(c.records) + " records can be read");
  return c;
}

}  // namespace kv::format
