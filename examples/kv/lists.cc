// Lists.
#include "lists.h"

#include <algorithm>

namespace kv {

void push(list_object& l, end where, std::string_view s) {
  where == end::front ? l.push_front(s) : l.push_back(s);
}
std::string pop(list_object& l, end where) {
  return where == end::front ? l.pop_front() : l.pop_back();
}

end end_of(const call& c, std::size_t i) {
  if (c.is(i, "left")) return end::front;
  if (c.is(i, "right")) return end::back;
  throw syntax_error();
}

void move_element(access& db, reply& out, std::string_view from_key, std::string_view to_key,
                  end from, end to) {
  // Its type is looked at before anything is taken.
  static_cast<void>(db.read<list_object>(to_key));
  std::string s;
  {
    auto source = db.change<list_object>(from_key);
    s = pop(*source, from);
    // The last element of a list that is source and target at once: the list stays.
    if (from_key == to_key) push(*source, to, s);
  }
  if (from_key != to_key) push(*db.change_or_make<list_object>(to_key), to, s);
  out.bulk(s);
}

void pop_many(reply& out, list_object& l, end where, std::int64_t n) {
  n = std::min(n, static_cast<std::int64_t>(l.items.size()));
  out.array(static_cast<std::size_t>(n));
  for (; n > 0; --n) out.bulk(pop(l, where));
}

many_keys::many_keys(const call& c, std::size_t counted) : count(1) {
  const std::int64_t n = to_integer(c[counted]).value_or(0);
  if (n <= 0) throw general("numkeys should be greater than 0");
  where = counted + 1 + static_cast<std::size_t>(n);
  if (n >= static_cast<std::int64_t>(c.size()) || where >= c.size()) throw syntax_error();
  keys = c.args.subspan(counted + 1, static_cast<std::size_t>(n));
  if (c.size() == where + 3 && c.is(where + 1, "count"))
    count = to_integer(c[where + 2]).value_or(0);
  else if (c.size() != where + 1)
    throw syntax_error();
  if (count <= 0) throw general("count should be greater than 0");
}

namespace {

template <end Where>
void push_new(call& c) {
  auto list = c.db.change_or_make<list_object>(c[1]);
  for (std::string_view s : c.args.subspan(2)) push(*list, Where, s);
  c.out.integer(static_cast<std::int64_t>(list->items.size()));
}

template <end Where>
void push_if_there(call& c) {
  auto list = c.db.change<list_object>(c[1]);
  if (!list) return c.out.integer(0);
  for (std::string_view s : c.args.subspan(2)) push(*list, Where, s);
  c.out.integer(static_cast<std::int64_t>(list->items.size()));
}

template <end Where>
void pop_some(call& c) {
  std::int64_t n = 1;
  if (c.size() > 3) throw general("wrong number of arguments for '" + lower(c[0]) + "' command");
  if (c.size() == 3 && ((n = to_integer(c[2]).value_or(-1)) < 0))
    throw general("value is out of range, must be positive");
  if (c.db.read<list_object>(c[1]) == nullptr)
    return c.size() == 3 ? c.out.null_array() : c.out.null();
  if (n == 0) return c.out.array(0);
  auto list = c.db.change<list_object>(c[1]);
  if (c.size() == 2) return c.out.bulk(pop(*list, Where));
  pop_many(c.out, *list, Where, n);
}

void move(call& c, end from, end to) {
  if (c.db.read<list_object>(c[1]) == nullptr) return c.out.null();
  move_element(c.db, c.out, c[1], c[2], from, to);
}
void lmove(call& c) { move(c, end_of(c, 3), end_of(c, 4)); }
void rpoplpush(call& c) { move(c, end::back, end::front); }

void lmpop(call& c) {
  const many_keys m(c, 1);
  const end from = end_of(c, m.where);
  for (std::string_view key : m.keys) {
    auto list = c.db.change<list_object>(key);
    if (!list) continue;
    c.out.array(2);
    c.out.bulk(key);
    return pop_many(c.out, *list, from, m.count);
  }
  c.out.null_array();
}

void llen(call& c) {
  const auto* list = c.db.read<list_object>(c[1]);
  c.out.integer(list == nullptr ? 0 : static_cast<std::int64_t>(list->items.size()));
}

/// Positions as clients write them (negative: from the end) into [from, to), within the list.
std::pair<std::size_t, std::size_t> range(std::int64_t from, std::int64_t to, std::size_t size) {
  const auto n = static_cast<std::int64_t>(size);
  if (from < 0) from = std::max<std::int64_t>(from + n, 0);
  if (to < 0) to += n;
  to = std::min(to, n - 1);
  if (from > to) return {0, 0};
  return {static_cast<std::size_t>(from), static_cast<std::size_t>(to + 1)};
}

void lrange(call& c) {
  const std::int64_t first = c.integer(2), last = c.integer(3);
  const auto* list = c.db.read<list_object>(c[1]);
  const auto [from, to] = range(first, last, list == nullptr ? 0 : list->items.size());
  c.out.array(to - from);
  for (std::size_t i = from; i < to; ++i) c.out.bulk(list->items[i]);
}

void ltrim(call& c) {
  const std::int64_t first = c.integer(2), last = c.integer(3);
  if (auto list = c.db.change<list_object>(c[1])) {
    auto& items = list->items;
    const auto [from, to] = range(first, last, items.size());
    items.erase(items.begin() + static_cast<std::ptrdiff_t>(to), items.end());
    items.erase(items.begin(), items.begin() + static_cast<std::ptrdiff_t>(from));
    list->recount();
  }
  c.out.ok();
}

/// An index from the front, or -1.
std::int64_t position(std::int64_t i, std::size_t size) {
  const auto n = static_cast<std::int64_t>(size);
  if (i < 0) i += n;
  return i >= 0 && i < n ? i : -1;
}

void lindex(call& c) {
  const std::int64_t i = c.integer(2);
  const auto* list = c.db.read<list_object>(c[1]);
  const std::int64_t at = list == nullptr ? -1 : position(i, list->items.size());
  c.out.bulk_or_null(at < 0 ? nullptr : &list->items[static_cast<std::size_t>(at)]);
}

void lset(call& c) {
  const auto* old = c.db.read<list_object>(c[1]);
  if (old == nullptr) throw no_such_key();
  const std::int64_t at = position(c.integer(2), old->items.size());
  if (at < 0) throw general("index out of range");
  auto list = c.db.change<list_object>(c[1]);
  std::string& s = list->items[static_cast<std::size_t>(at)];
  list->text_bytes -= heap_bytes(s);
  s = c[3];
  list->text_bytes += heap_bytes(s);
  c.out.ok();
}

void linsert(call& c) {
  const bool before = c.is(2, "before");
  if (!before && !c.is(2, "after")) throw syntax_error();
  auto list = c.db.change<list_object>(c[1]);
  if (!list) return c.out.integer(0);
  auto at = std::ranges::find(list->items, c[3]);
  list.changed(at != list->items.end());
  if (at == list->items.end()) return c.out.integer(-1);
  list->text_bytes += heap_bytes(*list->items.insert(before ? at : at + 1, std::string(c[4])));
  c.out.integer(static_cast<std::int64_t>(list->items.size()));
}

void lrem(call& c) {
  // -n must exist.
  std::int64_t n = std::max(c.integer(2), -INT64_MAX), removed = 0;
  auto list = c.db.change<list_object>(c[1]);
  if (!list) return c.out.integer(0);
  auto& items = list->items;
  const auto gone = [&](const std::string& s) {
    return s == c[3] && (n == 0 || removed < std::abs(n)) && ++removed != 0;
  };
  if (n >= 0) {
    items.erase(std::remove_if(items.begin(), items.end(), gone), items.end());
  } else {
    items.erase(items.begin(), std::remove_if(items.rbegin(), items.rend(), gone).base());
  }
  list->recount();
  list.changed(removed > 0);
  c.out.integer(removed);
}

void lpos(call& c) {
  std::int64_t rank = 1, count = -1, most = 0;
  for (std::size_t i = 3; i < c.size(); i += 2) {
    if (i + 1 == c.size()) throw syntax_error();
    if (c.is(i, "rank")) {
      rank = c.integer(i + 1);
      if (rank == INT64_MIN) throw general("value is out of range");
    } else if (c.is(i, "count"))
      count = c.integer(i + 1);
    else if (c.is(i, "maxlen"))
      most = c.integer(i + 1);
    else
      throw syntax_error();
    if (!c.is(i, "rank") && c.integer(i + 1) < 0) throw general(upper(c[i]) + " can't be negative");
  }
  if (rank == 0)
    throw general(
        "RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use "
        "negative to start from the end of the list");
  const auto* list = c.db.read<list_object>(c[1]);
  const auto size = list == nullptr ? 0 : static_cast<std::int64_t>(list->items.size());
  std::vector<std::int64_t> found;
  const std::int64_t looks = most > 0 ? std::min(most, size) : size;
  std::int64_t to_skip = std::abs(rank) - 1;
  for (std::int64_t k = 0; k < looks; ++k) {
    const std::int64_t i = rank > 0 ? k : size - 1 - k;
    if (list->items[static_cast<std::size_t>(i)] != c[2] || to_skip-- > 0) continue;
    found.push_back(i);
    if (count < 0 || static_cast<std::int64_t>(found.size()) == count) break;
  }
  if (count < 0) return found.empty() ? c.out.null() : c.out.integer(found[0]);
  c.out.array(found.size());
  for (std::int64_t i : found) c.out.integer(i);
}

constexpr command kCommands[] = {
    {"lpush", -3, writes | deny_oom | fast, one_key, push_new<end::front>},
    {"rpush", -3, writes | deny_oom | fast, one_key, push_new<end::back>},
    {"lpushx", -3, writes | deny_oom | fast, one_key, push_if_there<end::front>},
    {"rpushx", -3, writes | deny_oom | fast, one_key, push_if_there<end::back>},
    {"lpop", -2, writes | fast, one_key, pop_some<end::front>},
    {"rpop", -2, writes | fast, one_key, pop_some<end::back>},
    {"lmove", 5, writes | deny_oom, two_keys, lmove},
    {"rpoplpush", 3, writes | deny_oom, two_keys, rpoplpush},
    {"lmpop", -4, writes, {0, 0, 0, 1}, lmpop},
    {"llen", 2, reads | fast, one_key, llen},
    {"lrange", 4, reads, one_key, lrange},
    {"ltrim", 4, writes, one_key, ltrim},
    {"lindex", 3, reads, one_key, lindex},
    {"lset", 4, writes | deny_oom, one_key, lset},
    {"linsert", 5, writes | deny_oom, one_key, linsert},
    {"lrem", 4, writes, one_key, lrem},
    {"lpos", -3, reads, one_key, lpos},
};

}  // namespace

std::span<const command> list_commands() { return kCommands; }

}  // namespace kv
