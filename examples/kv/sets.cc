// Sets.
#include <algorithm>

#include "command.h"
#include "random.h"

namespace kv {
namespace {

using member_node = table<nothing>::node;

void sadd(call& c) {
  auto set = c.db.change_or_make<set_object>(c[1]);
  std::int64_t added = 0;
  for (std::string_view m : c.args.subspan(2)) added += set->add(m);
  set.changed(added > 0);
  c.out.integer(added);
}

void srem(call& c) {
  auto set = c.db.change<set_object>(c[1]);
  std::int64_t gone = 0;
  if (set) {
    for (std::string_view m : c.args.subspan(2)) gone += set->erase(m);
  }
  set.changed(gone > 0);
  c.out.integer(gone);
}

void scard(call& c) {
  const auto* set = c.db.read<set_object>(c[1]);
  c.out.integer(set == nullptr ? 0 : static_cast<std::int64_t>(set->members.size()));
}

void sismember(call& c) {
  const auto* set = c.db.read<set_object>(c[1]);
  c.out.integer(set != nullptr && set->has(c[2]));
}

void smismember(call& c) {
  const auto* set = c.db.read<set_object>(c[1]);
  c.out.array(c.size() - 2);
  for (std::string_view m : c.args.subspan(2)) c.out.integer(set != nullptr && set->has(m));
}

void smembers(call& c) {
  const auto* set = c.db.read<set_object>(c[1]);
  c.out.set(set == nullptr ? 0 : set->members.size());
  if (set != nullptr) set->members.for_each([&](const member_node& n) { c.out.bulk(n.key); });
}

void smove(call& c) {
  const auto* source = c.db.read<set_object>(c[1]);
  if (source == nullptr) return c.out.integer(0);  // whatever the target is
  const auto* target = c.db.read<set_object>(c[2]);
  const bool has_it = target != nullptr && target->has(c[3]);
  const bool there = source->has(c[3]);
  if (there && c[1] != c[2]) {
    c.db.change<set_object>(c[1])->erase(c[3]);
    if (!has_it)
      c.db.change_or_make<set_object>(c[2])->add(c[3]);  // else it does not change: WATCH
  }
  c.out.integer(there);
}

void spop(call& c) {
  if (c.size() > 3) throw syntax_error();
  const std::int64_t n = c.size() == 3 ? to_integer(c[2]).value_or(-1) : 1;
  if (n < 0) throw general("value is out of range, must be positive");
  if (c.db.read<set_object>(c[1]) == nullptr) return c.size() == 3 ? c.out.set(0) : c.out.null();
  auto set = c.db.change<set_object>(c[1]);
  const std::size_t count = std::min(static_cast<std::size_t>(n), set->members.size());
  set.changed(count > 0);
  if (c.size() == 3) c.out.set(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::string m(set->members.any(random_bits)->key.text());
    c.out.bulk(m);
    set->erase(m);
  }
}

void srandmember(call& c) {
  if (c.size() > 3) throw syntax_error();
  std::int64_t n = c.size() == 3 ? c.integer(2) : 1;
  if (n < -(INT64_MAX / 2)) throw general("value is out of range");
  // Random choice does not change the table, but its search is not const.
  auto* set = const_cast<set_object*>(c.db.read<set_object>(c[1]));
  if (c.size() == 2)
    return set == nullptr ? c.out.null() : c.out.bulk(set->members.any(random_bits)->key);
  if (set == nullptr) return c.out.array(0);
  if (n < 0) {
    c.out.array(static_cast<std::size_t>(-n));
    for (; n < 0; ++n) c.out.bulk(set->members.any(random_bits)->key);
    return;
  }
  std::vector<const key_text*> chosen;
  set->members.for_each([&](const member_node& m) { chosen.push_back(&m.key); });
  const std::size_t count = std::min(chosen.size(), static_cast<std::size_t>(n));
  c.out.array(count);
  for (std::size_t i = 0; i < count; ++i) {
    std::swap(chosen[i], chosen[i + random_bits() % (chosen.size() - i)]);
    c.out.bulk(*chosen[i]);
  }
}

// Union, intersection and difference.

enum class algebra { join, meet, minus };

std::vector<const set_object*> sets_of(call& c, std::span<const std::string_view> keys) {
  std::vector<const set_object*> sets;
  for (std::string_view k : keys) sets.push_back(c.db.read<set_object>(k));
  return sets;
}

/// f(member) for each; f gives false to end it.
template <class F>
void intersect(std::vector<const set_object*> sets, F&& f) {
  if (std::ranges::find(sets, nullptr) != sets.end()) return;
  std::ranges::sort(sets, {}, [](const set_object* s) { return s->members.size(); });
  bool more = true;
  sets[0]->members.for_each([&](const member_node& n) {
    if (!more) return;
    for (std::size_t i = 1; i < sets.size(); ++i) {
      if (!sets[i]->has(n.key)) return;
    }
    more = f(n.key);
  });
}

ref<set_object> result_of(algebra a, const std::vector<const set_object*>& sets) {
  auto result = make<set_object>();
  switch (a) {
    case algebra::join:
      for (const set_object* s : sets) {
        if (s != nullptr) s->members.for_each([&](const member_node& n) { result->add(n.key); });
      }
      break;
    case algebra::meet:
      intersect(sets, [&](const std::string& m) { return result->add(m), true; });
      break;
    case algebra::minus:
      if (sets[0] == nullptr) break;
      sets[0]->members.for_each([&](const member_node& n) {
        const auto has = [&](const set_object* s) { return s != nullptr && s->has(n.key); };
        if (std::none_of(sets.begin() + 1, sets.end(), has)) result->add(n.key);
      });
  }
  return result;
}

template <algebra A>
void combine(call& c) {
  const auto result = result_of(A, sets_of(c, c.args.subspan(1)));
  c.out.set(result->members.size());
  result->members.for_each([&](const member_node& n) { c.out.bulk(n.key); });
}

template <algebra A>
void combine_store(call& c) {
  const auto result = result_of(A, sets_of(c, c.args.subspan(2)));
  const auto size = static_cast<std::int64_t>(result->members.size());
  if (size == 0)
    c.db.erase(c[1]);
  else
    c.db.put(c[1], result);
  c.out.integer(size);
}

void sintercard(call& c) {
  const auto keys = to_integer(c[1]).value_or(0);
  if (keys <= 0) throw general("numkeys should be greater than 0");
  const auto after = static_cast<std::size_t>(keys) + 2;
  if (after > c.size()) throw general("Number of keys can't be greater than number of args");
  std::int64_t limit = 0, n = 0;
  if (after + 2 == c.size() && c.is(after, "limit")) {
    limit = to_integer(c[after + 1]).value_or(-1);
    if (limit < 0) throw general("LIMIT can't be negative");
  } else if (after != c.size()) {
    throw syntax_error();
  }
  intersect(sets_of(c, c.args.subspan(2, static_cast<std::size_t>(keys))),
            [&](const std::string&) { return ++n != limit; });
  c.out.integer(n);
}

constexpr command kCommands[] = {
    {"sadd", -3, writes | deny_oom | fast, one_key, sadd},
    {"srem", -3, writes | fast, one_key, srem},
    {"scard", 2, reads | fast, one_key, scard},
    {"sismember", 3, reads | fast, one_key, sismember},
    {"smismember", -3, reads | fast, one_key, smismember},
    {"smembers", 2, reads, one_key, smembers},
    {"smove", 4, writes | fast, two_keys, smove},
    {"spop", -2, writes | fast, one_key, spop},
    {"srandmember", -2, reads, one_key, srandmember},
    {"sunion", -2, reads, every_key, combine<algebra::join>},
    {"sinter", -2, reads, every_key, combine<algebra::meet>},
    {"sdiff", -2, reads, every_key, combine<algebra::minus>},
    {"sunionstore", -3, writes | deny_oom, every_key, combine_store<algebra::join>},
    {"sinterstore", -3, writes | deny_oom, every_key, combine_store<algebra::meet>},
    {"sdiffstore", -3, writes | deny_oom, every_key, combine_store<algebra::minus>},
    {"sintercard", -3, reads, {0, 0, 0, 1}, sintercard},
};

}  // namespace

std::span<const command> set_commands() { return kCommands; }

}  // namespace kv
