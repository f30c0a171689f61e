// Single bits of strings.
#include <bit>

#include "command.h"

namespace kv {
namespace {

std::size_t offset(call& c) {
  const auto n = to_integer(c[2]);
  if (!n || *n < 0 || *n >= std::int64_t{512} << 23)
    throw general("bit offset is not an integer or out of range");
  return static_cast<std::size_t>(*n);
}
unsigned mask_of(std::size_t bit) { return 0x80u >> (bit % 8); }

void getbit(call& c) {
  const std::size_t bit = offset(c);
  const auto* s = c.db.read<string_object>(c[1]);
  const bool on = s != nullptr && bit / 8 < s->text.size() &&
                  (static_cast<unsigned char>(s->text[bit / 8]) & mask_of(bit)) != 0;
  c.out.integer(on);
}

void setbit(call& c) {
  const std::size_t bit = offset(c);
  if (c[3] != "0" && c[3] != "1") throw general("bit is not an integer or out of range");
  auto e = c.db.change_or_make<string_object>(c[1]);
  const std::size_t before = e->text.size();
  if (e->text.size() <= bit / 8) e->text.resize(bit / 8 + 1, '\0');
  const auto byte = static_cast<unsigned char>(e->text[bit / 8]);
  e->text[bit / 8] = static_cast<char>(c[3] == "1" ? byte | mask_of(bit) : byte & ~mask_of(bit));
  const bool was = (byte & mask_of(bit)) != 0;
  e.changed(e->text.size() != before || was != (c[3] == "1"));
  c.out.integer(was);
}

void bitcount(call& c) {
  if (c.size() != 2) throw general("only whole strings are counted");
  std::int64_t n = 0;
  if (const auto* s = c.db.read<string_object>(c[1])) {
    for (char b : s->text) n += std::popcount(static_cast<unsigned char>(b));
  }
  c.out.integer(n);
}

constexpr command kCommands[] = {
    {"getbit", 3, reads | fast, one_key, getbit},
    {"setbit", 4, writes | deny_oom, one_key, setbit},
    {"bitcount", -2, reads, one_key, bitcount},
};

}  // namespace

std::span<const command> bit_commands() { return kCommands; }

}  // namespace kv
