// Ranges of sorted sets: by rank, by score, by member.
#include <algorithm>
#include <optional>
#include <tuple>

#include "command.h"
#include "zset.h"

namespace kv {
namespace {

using place = zset_object::place;

enum class by { rank, score, lex };

/// What a client has asked for, and from it the ranks [from, to) that it means in a set.
struct range {
  by what = by::rank;
  bool reverse = false;
  std::string_view low,
      high;  ///< as written; reversed ranges by score and member are written from high to low
  std::int64_t offset = 0, count = -1;
  bool scores = false;

  void check() const;
  std::pair<std::size_t, std::size_t> in(const zset_object* z) const;
};

/// "(1.5": 1.5 not included.
struct score_bound {
  double score;
  bool open;
};
score_bound to_score(std::string_view s) {
  const bool open = s.starts_with('(');
  const auto v = to_double(open ? s.substr(1) : s);
  if (!v) throw general("min or max is not a float");
  return {*v, open};
}

/// "[a", "(a", "-", "+". `end`: -1 before, 1 behind all members.
struct lex_bound {
  std::string_view text;
  bool open = false;
  int end = 0;
};
lex_bound to_lex(std::string_view s) {
  if (s == "-") return {{}, false, -1};
  if (s == "+") return {{}, false, 1};
  if (s.empty() || (s[0] != '(' && s[0] != '['))
    throw general("min or max not valid string range item");
  return {s.substr(1), s[0] == '(', 0};
}

/// How many members stand before the first for which `inside` is true; they are ordered by it.
template <class F>
std::size_t rank_where(const zset_object& z, F&& inside) {
  std::size_t from = 0, to = z.size();
  while (from < to) {
    const std::size_t middle = (from + to) / 2;
    if (inside(*z.order.find_by_order(middle)))
      to = middle;
    else
      from = middle + 1;
  }
  return from;
}

void range::check() const {
  if (what == by::rank && (!to_integer(low) || !to_integer(high))) throw not_an_integer();
  if (what == by::score) to_score(low), to_score(high);
  if (what == by::lex) to_lex(low), to_lex(high);
}

std::pair<std::size_t, std::size_t> range::in(const zset_object* z) const {
  if (z == nullptr) return {0, 0};
  std::size_t from = 0, to = 0;
  if (what == by::rank) {
    const auto size = static_cast<std::int64_t>(z->size());
    std::int64_t a = *to_integer(low), b = *to_integer(high);
    if (a < 0) a = std::max<std::int64_t>(a + size, 0);
    if (b < 0) b += size;
    b = std::min(b, size - 1);
    if (a > b) return {0, 0};
    if (reverse) std::tie(a, b) = std::pair(size - 1 - b, size - 1 - a);
    return {static_cast<std::size_t>(a), static_cast<std::size_t>(b + 1)};
  }
  if (what == by::score) {
    const score_bound a = to_score(low), b = to_score(high);
    from = rank_where(
        *z, [&](const place& p) { return a.open ? p.score > a.score : p.score >= a.score; });
    to = rank_where(
        *z, [&](const place& p) { return b.open ? p.score >= b.score : p.score > b.score; });
  } else {
    const lex_bound a = to_lex(low), b = to_lex(high);
    const auto bound = [&](const lex_bound& l, bool past) {
      if (l.end != 0) return l.end < 0 ? std::size_t{0} : z->size();
      return rank_where(
          *z, [&](const place& p) { return past ? *p.member > l.text : *p.member >= l.text; });
    };
    from = bound(a, a.open);
    to = bound(b, !b.open);
  }
  if (from >= to || offset < 0) return {0, 0};
  // LIMIT counts in the direction of the answer.
  const std::size_t size = to - from;
  const std::size_t skip = std::min(static_cast<std::size_t>(offset), size);
  const std::size_t n =
      count < 0 ? size - skip : std::min(static_cast<std::size_t>(count), size - skip);
  return reverse ? std::pair{to - skip - n, to - skip} : std::pair{from + skip, from + skip + n};
}

/// f(place) in the answer's order.
template <class F>
void for_each_in(const zset_object& z, const range& r, std::pair<std::size_t, std::size_t> ranks,
                 F&& f) {
  const auto [from, to] = ranks;
  if (from == to) return;
  auto at = z.order.find_by_order(r.reverse ? to - 1 : from);
  for (std::size_t i = from; i < to; ++i) {
    f(*at);
    if (i + 1 < to) r.reverse ? --at : ++at;
  }
}

/// Options behind the bounds, which stand at `i` and i + 1.
range parse(call& c, std::size_t i, by what, bool reverse, bool any_order) {
  range r{.what = what, .reverse = reverse, .low = c[i], .high = c[i + 1]};
  bool limit = false;
  for (i += 2; i < c.size(); ++i) {
    if (c.is(i, "withscores"))
      r.scores = true;
    else if (c.is(i, "limit") && i + 2 < c.size()) {
      r.offset = c.integer(i + 1);
      r.count = c.integer(i + 2);
      limit = true;
      i += 2;
    } else if (any_order && c.is(i, "byscore"))
      r.what = by::score;
    else if (any_order && c.is(i, "bylex"))
      r.what = by::lex;
    else if (any_order && c.is(i, "rev"))
      r.reverse = true;
    else
      throw syntax_error();
  }
  if (limit && r.what == by::rank) {
    throw general(
        "syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
  }
  if (r.scores && r.what == by::lex)
    throw general("syntax error, WITHSCORES not supported in combination with BYLEX");
  if (r.reverse && r.what != by::rank) std::swap(r.low, r.high);
  r.check();
  return r;
}

void answer(call& c, const range& r) {
  const auto* zset = c.db.read<zset_object>(c[1]);
  const auto ranks = r.in(zset);
  const std::size_t n = ranks.second - ranks.first;
  const bool pairs = r.scores && c.out.protocol >= 3;
  c.out.array(r.scores && !pairs ? 2 * n : n);
  if (zset == nullptr) return;
  for_each_in(*zset, r, ranks, [&](const place& p) {
    if (pairs) c.out.array(2);
    c.out.bulk(*p.member);
    if (r.scores) c.out.real(p.score);
  });
}

void zrange(call& c) { answer(c, parse(c, 2, by::rank, false, true)); }
void zrevrange(call& c) { answer(c, parse(c, 2, by::rank, true, false)); }
template <by What, bool Reverse>
void zrange_by(call& c) {
  answer(c, parse(c, 2, What, Reverse, false));
}

void zrangestore(call& c) {
  const range r = parse(c, 3, by::rank, false, true);
  if (r.scores) throw syntax_error();
  const auto* source = c.db.read<zset_object>(c[2]);
  auto result = make<zset_object>();
  if (source != nullptr) {
    for_each_in(*source, r, r.in(source), [&](const place& p) { result->set(*p.member, p.score); });
  }
  const auto size = static_cast<std::int64_t>(result->size());
  if (size == 0)
    c.db.erase(c[1]);
  else
    c.db.put(c[1], result);
  c.out.integer(size);
}

template <by What>
void zcount(call& c) {
  const range r{.what = What, .low = c[2], .high = c[3]};
  r.check();
  const auto [from, to] = r.in(c.db.read<zset_object>(c[1]));
  c.out.integer(static_cast<std::int64_t>(to - from));
}

template <by What>
void zremrange(call& c) {
  const range r{.what = What, .low = c[2], .high = c[3]};
  r.check();
  auto zset = c.db.change<zset_object>(c[1]);
  if (!zset) return c.out.integer(0);
  std::vector<std::string> gone;
  for_each_in(*zset, r, r.in(&*zset), [&](const place& p) { gone.push_back(*p.member); });
  for (const std::string& m : gone) zset->erase(m);
  zset.changed(!gone.empty());
  c.out.integer(static_cast<std::int64_t>(gone.size()));
}

constexpr command kCommands[] = {
    {"zrange", -4, reads, one_key, zrange},
    {"zrevrange", -4, reads, one_key, zrevrange},
    {"zrangebyscore", -4, reads, one_key, zrange_by<by::score, false>},
    {"zrevrangebyscore", -4, reads, one_key, zrange_by<by::score, true>},
    {"zrangebylex", -4, reads, one_key, zrange_by<by::lex, false>},
    {"zrevrangebylex", -4, reads, one_key, zrange_by<by::lex, true>},
    {"zrangestore", -5, writes | deny_oom, two_keys, zrangestore},
    {"zcount", 4, reads | fast, one_key, zcount<by::score>},
    {"zlexcount", 4, reads | fast, one_key, zcount<by::lex>},
    {"zremrangebyrank", 4, writes, one_key, zremrange<by::rank>},
    {"zremrangebyscore", 4, writes, one_key, zremrange<by::score>},
    {"zremrangebylex", 4, writes, one_key, zremrange<by::lex>},
};

}  // namespace

std::span<const command> zset_range_commands() { return kCommands; }

}  // namespace kv
