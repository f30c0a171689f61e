// SCAN, SSCAN, HSCAN, ZSCAN, KEYS: going over everything, a little at a time or at once.
#include <algorithm>
#include <charconv>

#include "command.h"
#include "zset.h"

namespace kv {
namespace {

struct request {
  std::uint64_t cursor = 0;
  std::int64_t count = 10;
  std::string_view pattern = "*", type;
  bool no_values = false;

  bool wants(std::string_view s) const { return pattern == "*" || matches(pattern, s); }
};

/// The cursor stands at args[i], options follow.
request parse(call& c, std::size_t i) {
  request r;
  const std::string_view s = c[i];
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), r.cursor);
  if (error != std::errc() || end != s.data() + s.size()) throw general("invalid cursor");
  for (++i; i < c.size(); i += 2) {
    if (is_word(c[0], "hscan") && c.is(i, "novalues")) {
      r.no_values = true;
      --i;
      continue;
    }
    if (i + 1 == c.size()) throw syntax_error();
    if (c.is(i, "match"))
      r.pattern = c[i + 1];
    else if (c.is(i, "count"))
      r.count = c.integer(i + 1);
    else if (c.is(i, "type") && is_word(c[0], "scan"))
      r.type = c[i + 1];
    else
      throw syntax_error();
    if (r.count < 1) throw syntax_error();
    r.count = std::min<std::int64_t>(r.count, 1 << 30);  // it is multiplied
  }
  return r;
}

void answer(call& c, std::uint64_t cursor, const std::vector<std::string>& found) {
  c.out.array(2);
  c.out.bulk(std::to_string(cursor));
  c.out.array(found.size());
  for (const std::string& s : found) c.out.bulk(s);
}

/// The cursor is the shard's number in its lowest six bits, and the table's cursor above them.
void scan(call& c) {
  const request r = parse(c, 1);
  std::vector<std::string> found;
  std::uint64_t in_shard = r.cursor >> 6;
  auto number = static_cast<unsigned>(r.cursor & (keyspace::kShards - 1));
  // Buckets are looked at until enough keys have been seen, whether they are wanted or not.
  std::int64_t seen = 0;
  std::int64_t empty_buckets = 0;
  while (number < keyspace::kShards && seen < r.count && empty_buckets < 10 * r.count) {
    c.db.with_shard(number, [&](shard& s) {
      do {
        const std::int64_t before = seen;
        in_shard = s.keys.scan(in_shard, [&](const key_node& n) {
          ++seen;
          if (n.value.expires != 0 && n.value.expires <= c.db.now) return;
          if (!r.type.empty() && !is_word(r.type, name_of(n.value.value->type()))) return;
          if (r.wants(n.key)) found.push_back(n.key);
        });
        empty_buckets += seen == before;
      } while (in_shard != 0 && seen < r.count && empty_buckets < 10 * r.count);
    });
    if (in_shard == 0) ++number;
  }
  answer(c, number == keyspace::kShards ? 0 : in_shard << 6 | number, found);
}

void keys(call& c) {
  std::vector<std::string> found;
  c.db.for_each_shard([&](shard& s) {
    s.keys.for_each([&](const key_node& n) {
      const bool gone = n.value.expires != 0 && n.value.expires <= c.db.now;
      if (!gone && (c[1] == "*" || matches(c[1], n.key))) found.push_back(n.key);
    });
  });
  c.out.array(found.size());
  for (const std::string& k : found) c.out.bulk(k);
}

/// Over a table within a value. f(node, found).
template <class T, class Table, class F>
void scan_value(call& c, Table T::* part, F&& f) {
  const request r = parse(c, 2);
  // A walk changes nothing, but is not const.
  auto* value = const_cast<T*>(c.db.read<T>(c[1]));
  std::vector<std::string> found;
  std::uint64_t cursor = r.cursor;
  if (value == nullptr) return answer(c, 0, found);
  std::int64_t seen = 0;
  do {
    cursor = (value->*part).scan(cursor, [&](const typename Table::node& n) {
      ++seen;
      if (r.wants(n.key)) f(r, n, found);
    });
  } while (cursor != 0 && seen < r.count);
  answer(c, cursor, found);
}

void sscan(call& c) {
  scan_value<set_object>(c, &set_object::members, [](const request&, const auto& n, auto& found) {
    found.push_back(n.key);
  });
}
void hscan(call& c) {
  scan_value<hash_object>(c, &hash_object::fields,
                          [](const request& r, const auto& n, auto& found) {
                            found.push_back(n.key);
                            if (!r.no_values) found.push_back(n.value);
                          });
}
void zscan(call& c) {
  scan_value<zset_object>(c, &zset_object::scores, [](const request&, const auto& n, auto& found) {
    found.push_back(n.key);
    found.push_back(from_double(n.value));
  });
}

constexpr command kCommands[] = {
    {"scan", -2, reads | all_keys, no_keys, scan}, {"keys", 2, reads | all_keys, no_keys, keys},
    {"sscan", -3, reads, one_key, sscan},          {"hscan", -3, reads, one_key, hscan},
    {"zscan", -3, reads, one_key, zscan},
};

}  // namespace

std::span<const command> scan_commands() { return kCommands; }

}  // namespace kv
