// Hashes.
#include <algorithm>
#include <cmath>

#include "command.h"
#include "random.h"

namespace kv {
namespace {

using field_node = table<std::string>::node;

void hset(call& c) {
  if (c.size() % 2 != 0)
    throw general("wrong number of arguments for '" + lower(c[0]) + "' command");
  auto hash = c.db.change_or_make<hash_object>(c[1]);
  std::int64_t made = 0;
  for (std::size_t i = 2; i < c.size(); i += 2) made += hash->set(c[i], c[i + 1]);
  is_word(c[0], "hmset") ? c.out.ok() : c.out.integer(made);
}

void hsetnx(call& c) {
  const auto* old = c.db.read<hash_object>(c[1]);
  if (old != nullptr && old->get(c[2]) != nullptr) return c.out.integer(0);
  c.db.change_or_make<hash_object>(c[1])->set(c[2], c[3]);
  c.out.integer(1);
}

void hget(call& c) {
  const auto* hash = c.db.read<hash_object>(c[1]);
  c.out.bulk_or_null(hash == nullptr ? nullptr : hash->get(c[2]));
}

void hmget(call& c) {
  const auto* hash = c.db.read<hash_object>(c[1]);
  c.out.array(c.size() - 2);
  for (std::string_view field : c.args.subspan(2))
    c.out.bulk_or_null(hash == nullptr ? nullptr : hash->get(field));
}

void hdel(call& c) {
  auto hash = c.db.change<hash_object>(c[1]);
  std::int64_t gone = 0;
  if (hash) {
    for (std::string_view field : c.args.subspan(2)) gone += hash->erase(field);
  }
  hash.changed(gone > 0);
  c.out.integer(gone);
}

void hlen(call& c) {
  const auto* hash = c.db.read<hash_object>(c[1]);
  c.out.integer(hash == nullptr ? 0 : static_cast<std::int64_t>(hash->fields.size()));
}

void hexists(call& c) {
  const auto* hash = c.db.read<hash_object>(c[1]);
  c.out.integer(hash != nullptr && hash->get(c[2]) != nullptr);
}

void hstrlen(call& c) {
  const auto* hash = c.db.read<hash_object>(c[1]);
  const std::string* s = hash == nullptr ? nullptr : hash->get(c[2]);
  c.out.integer(s == nullptr ? 0 : static_cast<std::int64_t>(s->size()));
}

void hgetall(call& c) {
  const auto* hash = c.db.read<hash_object>(c[1]);
  c.out.map(hash == nullptr ? 0 : hash->fields.size());
  if (hash == nullptr) return;
  hash->fields.for_each([&](const field_node& n) {
    c.out.bulk(n.key);
    c.out.bulk(n.value);
  });
}

template <bool Keys>
void one_side(call& c) {
  const auto* hash = c.db.read<hash_object>(c[1]);
  c.out.array(hash == nullptr ? 0 : hash->fields.size());
  if (hash != nullptr)
    hash->fields.for_each([&](const field_node& n) { c.out.bulk(Keys ? n.key : n.value); });
}

void hincrby(call& c) {
  const std::int64_t by = c.integer(3);
  const auto* old = c.db.read<hash_object>(c[1]);
  std::int64_t n = 0;
  if (const std::string* s = old == nullptr ? nullptr : old->get(c[2])) {
    const auto v = to_integer(*s);
    if (!v) throw general("hash value is not an integer");
    n = *v;
  }
  if (__builtin_add_overflow(n, by, &n)) throw general("increment or decrement would overflow");
  c.db.change_or_make<hash_object>(c[1])->set(c[2], std::to_string(n));
  c.out.integer(n);
}

void hincrbyfloat(call& c) {
  const auto by = to_long_double(c[3]);
  if (!by) throw not_a_float();
  if (std::isinf(*by)) throw general("value is NaN or Infinity");
  const auto* old = c.db.read<hash_object>(c[1]);
  long double d = *by;
  if (const std::string* s = old == nullptr ? nullptr : old->get(c[2])) {
    const auto v = to_long_double(*s);
    if (!v) throw general("hash value is not a float");
    d += *v;
  }
  if (!std::isfinite(d)) throw general("increment would produce NaN or Infinity");
  const std::string text = from_long_double(d);
  c.db.change_or_make<hash_object>(c[1])->set(c[2], text);
  c.out.bulk(text);
}

void hrandfield(call& c) {
  const bool with_values = c.size() == 4 && c.is(3, "withvalues");
  if (c.size() > 4 || (c.size() == 4 && !with_values)) throw syntax_error();
  std::int64_t n = c.size() > 2 ? c.integer(2) : 1;
  if (n < -(INT64_MAX / 2)) throw general("value is out of range");
  // Random choice does not change the table, but its search is not const.
  auto* hash = const_cast<hash_object*>(c.db.read<hash_object>(c[1]));
  if (c.size() == 2)
    return hash == nullptr ? c.out.null() : c.out.bulk(hash->fields.any(random_bits)->key);
  if (hash == nullptr || n == 0) return c.out.array(0);
  std::vector<const field_node*> chosen;
  if (n < 0) {
    for (; n < 0; ++n) chosen.push_back(hash->fields.any(random_bits));
  } else {
    hash->fields.for_each([&](const field_node& f) { chosen.push_back(&f); });
    for (std::size_t i = 0; i < chosen.size(); ++i)
      std::swap(chosen[i], chosen[i + random_bits() % (chosen.size() - i)]);
    chosen.resize(std::min(chosen.size(), static_cast<std::size_t>(n)));
  }
  const bool pairs = with_values && c.out.protocol >= 3;
  c.out.array(chosen.size() * (with_values && !pairs ? 2 : 1));
  for (const field_node* f : chosen) {
    if (pairs) c.out.array(2);
    c.out.bulk(f->key);
    if (with_values) c.out.bulk(f->value);
  }
}

constexpr command kCommands[] = {
    {"hset", -4, writes | deny_oom | fast, one_key, hset},
    {"hmset", -4, writes | deny_oom | fast, one_key, hset},
    {"hsetnx", 4, writes | deny_oom | fast, one_key, hsetnx},
    {"hget", 3, reads | fast, one_key, hget},
    {"hmget", -3, reads | fast, one_key, hmget},
    {"hdel", -3, writes | fast, one_key, hdel},
    {"hlen", 2, reads | fast, one_key, hlen},
    {"hexists", 3, reads | fast, one_key, hexists},
    {"hstrlen", 3, reads | fast, one_key, hstrlen},
    {"hgetall", 2, reads, one_key, hgetall},
    {"hkeys", 2, reads, one_key, one_side<true>},
    {"hvals", 2, reads, one_key, one_side<false>},
    {"hincrby", 4, writes | deny_oom | fast, one_key, hincrby},
    {"hincrbyfloat", 4, writes | deny_oom | fast, one_key, hincrbyfloat},
    {"hrandfield", -2, reads, one_key, hrandfield},
};

}  // namespace

std::span<const command> hash_commands() { return kCommands; }

}  // namespace kv
