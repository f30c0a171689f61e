// Keys, whatever their values.
#include <algorithm>

#include "command.h"
#include "random.h"
#include "zset.h"

namespace kv {
namespace {

void del(call& c) {
  std::int64_t n = 0;
  for (std::string_view key : c.args.subspan(1)) n += c.db.erase(key);
  c.out.integer(n);
}

void exists(call& c) {
  std::int64_t n = 0;
  for (std::string_view key : c.args.subspan(1)) n += c.db.find(key) != nullptr;
  c.out.integer(n);
}

void type_(call& c) {
  key_node* n = c.db.peek(c[1]);
  c.out.simple(n == nullptr ? "none" : name_of(n->value.value->type()));
}

/// The value moves, with its time to live; a reference to it is all that is copied.
bool rename_to(call& c, bool replace) {
  key_node* n = c.db.find(c[1]);
  if (n == nullptr) throw no_such_key();
  if (!replace && c.db.find(c[2]) != nullptr) return false;
  if (c[1] == c[2]) return true;
  const ref<object> value = n->value.value;
  const std::int64_t expires = n->value.expires;
  c.db.erase(c[1]);
  c.db.put(c[2], value, expires);
  return true;
}
void rename_(call& c) {
  rename_to(c, true);
  c.out.ok();
}
void renamenx(call& c) { c.out.integer(rename_to(c, false)); }

void copy(call& c) {
  bool replace = false;
  for (std::size_t i = 3; i < c.size(); ++i) {
    if (c.is(i, "replace"))
      replace = true;
    else if (c.is(i, "db") && i + 1 < c.size() && c.integer(i + 1) == 0)
      ++i;
    else if (c.is(i, "db") && i + 1 < c.size())
      throw general("DB index is out of range");
    else
      throw syntax_error();
  }
  if (c[1] == c[2]) throw general("source and destination objects are the same");
  key_node* n = c.db.find(c[1]);
  if (n == nullptr || (!replace && c.db.find(c[2]) != nullptr)) return c.out.integer(0);
  // Both keys share one value, until one of them is changed.
  c.db.put(c[2], n->value.value, n->value.expires);
  c.out.integer(1);
}

void randomkey(call& c) {
  std::string key;
  bool found = false;
  // From a random shard on, the first that has one.
  const auto start = static_cast<unsigned>(random_bits());
  for (unsigned i = 0; i < keyspace::kShards && !found; ++i) {
    c.db.with_shard((start + i) % keyspace::kShards, [&](shard& s) {
      for (int tries = 0; tries < 100 && !found && !s.keys.empty(); ++tries) {
        key = s.keys.any(random_bits)->key;
        found = c.db.peek(key) != nullptr;
      }
    });
  }
  found ? c.out.bulk(key) : c.out.null();
}

void object_(call& c) {
  if (c.is(1, "help")) {
    c.out.array(1);
    return c.out.simple("OBJECT (ENCODING|FREQ|IDLETIME|REFCOUNT) <key>");
  }
  if (c.size() != 3)
    throw general("wrong number of arguments for 'object|" + lower(c[1]) + "' command");
  key_node* n = c.db.peek(c[2]);
  if (n == nullptr) return c.out.null();
  if (c.is(1, "encoding")) return c.out.bulk(n->value.value->encoding());
  if (c.is(1, "refcount")) return c.out.integer(1);
  if (c.is(1, "idletime")) return c.out.integer(c.db.now / 1000 - n->value.used);
  if (c.is(1, "freq"))
    throw general("An LFU maxmemory policy is not selected, access frequency not tracked.");
  throw general("unknown subcommand '" + std::string(c[1]) + "'. Try OBJECT HELP.");
}

void touch(call& c) { exists(c); }

/// SORT key [BY nosort] [LIMIT offset count] [ASC|DESC] [ALPHA] [STORE destination].
void sort(call& c) {
  bool descending = false, alpha = false, unsorted = false;
  std::int64_t offset = 0, count = -1;
  std::string_view store;
  for (std::size_t i = 2; i < c.size(); ++i) {
    if (c.is(i, "asc"))
      descending = false;
    else if (c.is(i, "desc"))
      descending = true;
    else if (c.is(i, "alpha"))
      alpha = true;
    else if (c.is(i, "limit") && i + 2 < c.size()) {
      offset = std::max<std::int64_t>(c.integer(i + 1), 0);
      count = c.integer(i + 2);
      i += 2;
    } else if (c.is(i, "store") && i + 1 < c.size())
      store = c[++i];
    else if (c.is(i, "by") && i + 1 < c.size() && c[i + 1].find('*') == c[i + 1].npos)
      unsorted = true, ++i;
    else if (c.is(i, "by") || c.is(i, "get"))
      throw general("SORT with patterns is not supported");
    else
      throw syntax_error();
  }
  std::vector<std::string> all;
  bool has_order = false;
  if (key_node* n = c.db.find(c[1])) {
    const object* o = n->value.value.get();
    if (o->type() == type::list) {
      const auto& items = static_cast<const list_object*>(o)->items;
      all.assign(items.begin(), items.end());
    } else if (o->type() == type::set) {
      static_cast<const set_object*>(o)->members.for_each(
          [&](const auto& m) { all.push_back(m.key); });
      // A set has no order that could be kept: what is stored is the same each time.
      if (unsorted && store.data() != nullptr) unsorted = false, alpha = true;
    } else if (o->type() == type::zset) {
      for (const auto& p : static_cast<const zset_object*>(o)->order) all.push_back(*p.member);
      has_order = true;
    } else {
      throw wrong_type();
    }
  }
  if (!unsorted && alpha) std::ranges::sort(all);
  if (!unsorted && !alpha) {
    for (const std::string& s : all) {
      if (!to_double(s)) throw general("One or more scores can't be converted into double");
    }
    std::ranges::sort(all, [](const std::string& a, const std::string& b) {
      const double x = *to_double(a), y = *to_double(b);
      return x != y ? x < y : a < b;
    });
  }
  // What is not sorted has no direction, sorted sets excepted.
  if (descending && (!unsorted || has_order)) std::ranges::reverse(all);
  const std::size_t from = std::min(static_cast<std::size_t>(offset), all.size());
  const std::size_t n =
      count < 0 ? all.size() - from : std::min(static_cast<std::size_t>(count), all.size() - from);
  const auto part = std::span(all).subspan(from, n);
  if (store.data() == nullptr) {
    c.out.array(n);
    for (const std::string& s : part) c.out.bulk(s);
    return;
  }
  auto list = make<list_object>();
  for (const std::string& s : part) list->push_back(s);
  if (n == 0)
    c.db.erase(store);
  else
    c.db.put(store, list);
  c.out.integer(static_cast<std::int64_t>(n));
}

constexpr command kCommands[] = {
    {"del", -2, writes, every_key, del},
    {"unlink", -2, writes | fast, every_key, del},
    {"exists", -2, reads | fast, every_key, exists},
    {"touch", -2, reads | fast, every_key, touch},
    {"type", 2, reads | fast, one_key, type_},
    {"rename", 3, writes, two_keys, rename_},
    {"renamenx", 3, writes | fast, two_keys, renamenx},
    {"copy", -3, writes | deny_oom, two_keys, copy},
    {"randomkey", 1, reads | all_keys, no_keys, randomkey},
    {"object", -2, reads, {2, 2, 1, 0}, object_},
    // Its target may be anywhere among the options.
    {"sort", -2, writes | deny_oom, every_key, sort},
};

}  // namespace

std::span<const command> key_commands() { return kCommands; }

}  // namespace kv
