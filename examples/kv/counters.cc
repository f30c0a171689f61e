// Numbers in strings.
#include <charconv>
#include <cmath>

#include "command.h"

namespace kv {
namespace {

void add(call& c, std::int64_t by) {
  const auto* s = c.db.read<string_object>(c[1]);
  std::int64_t n = 0;
  if (s != nullptr) {
    const auto v = to_integer(s->text);
    if (!v) throw not_an_integer();
    n = *v;
  }
  if (__builtin_add_overflow(n, by, &n)) throw general("increment or decrement would overflow");
  auto e = c.db.change_or_make<string_object>(c[1]);
  char text[24];
  e->text.assign(text, std::to_chars(text, text + sizeof text, n).ptr);
  c.out.integer(n);
}

void incr(call& c) { add(c, 1); }
void decr(call& c) { add(c, -1); }
void incrby(call& c) { add(c, c.integer(2)); }
void decrby(call& c) {
  const std::int64_t by = c.integer(2);
  if (by == INT64_MIN) throw general("decrement would overflow");
  add(c, -by);
}

void incrbyfloat(call& c) {
  const auto* s = c.db.read<string_object>(c[1]);
  const auto by = to_long_double(c[2]);
  if (!by) throw not_a_float();
  long double d = *by;
  if (s != nullptr) {
    const auto v = to_long_double(s->text);
    if (!v) throw not_a_float();
    d += *v;
  }
  if (!std::isfinite(d)) throw general("increment would produce NaN or Infinity");
  auto e = c.db.change_or_make<string_object>(c[1]);
  e->text = from_long_double(d);
  c.out.bulk(e->text);
}

constexpr unsigned kFlags = writes | deny_oom | fast;
constexpr command kCommands[] = {
    {"incr", 2, kFlags, one_key, incr},
    {"decr", 2, kFlags, one_key, decr},
    {"incrby", 3, kFlags, one_key, incrby},
    {"decrby", 3, kFlags, one_key, decrby},
    {"incrbyfloat", 3, kFlags, one_key, incrbyfloat},
};

}  // namespace

std::span<const command> counter_commands() { return kCommands; }

}  // namespace kv
