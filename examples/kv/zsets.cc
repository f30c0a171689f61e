// Sorted sets: members and scores. Ranges are in zset_ranges.cc, unions and the like in zset_algebra.cc.
#include <algorithm>
#include <cmath>

#include "lists.h"
#include "random.h"

namespace kv {

void pop_many(reply& out, zset_object& z, std::size_t n, bool max, bool pairs) {
  for (; n > 0; --n) {
    const auto at = max ? std::prev(z.order.end()) : z.order.begin();
    const std::string member = *at->member;
    if (pairs) out.array(2);
    out.bulk(member);
    out.real(at->score);
    z.erase(member);
  }
}

namespace {

void zadd(call& c) {
  bool nx = false, xx = false, gt = false, lt = false, ch = false, incr = false;
  std::size_t i = 2;
  for (; i < c.size(); ++i) {
    if (c.is(i, "nx"))
      nx = true;
    else if (c.is(i, "xx"))
      xx = true;
    else if (c.is(i, "gt"))
      gt = true;
    else if (c.is(i, "lt"))
      lt = true;
    else if (c.is(i, "ch"))
      ch = true;
    else if (c.is(i, "incr"))
      incr = true;
    else
      break;
  }
  if (i == c.size() || (c.size() - i) % 2 != 0) throw syntax_error();
  if (nx && xx) throw general("XX and NX options at the same time are not compatible");
  if ((gt && lt) || (nx && (gt || lt)))
    throw general("GT, LT, and/or NX options at the same time are not compatible");
  if (incr && c.size() - i > 2)
    throw general("INCR option supports a single increment-element pair");
  std::vector<double> scores;
  for (std::size_t k = i; k < c.size(); k += 2) scores.push_back(c.real(k));
  if (c.db.read<zset_object>(c[1]) == nullptr && xx) return incr ? c.out.null() : c.out.integer(0);

  auto zset = c.db.change_or_make<zset_object>(c[1]);
  std::int64_t added = 0, changed = 0;
  for (std::size_t k = 0; k < scores.size(); ++k) {
    const std::string_view member = c[i + 2 * k + 1];
    const double* old = zset->score(member);
    double score = scores[k] + (incr && old != nullptr ? *old : 0);
    if (std::isnan(score)) throw general("resulting score is not a number (NaN)");
    const bool refused = old == nullptr ? xx : nx || (gt && score <= *old) || (lt && score >= *old);
    if (!refused) {
      changed += old != nullptr && *old != score;
      added += zset->set(member, score);
    }
    zset.changed(added + changed > 0);
    if (incr) return refused ? c.out.null() : c.out.real(score);
  }
  c.out.integer(ch ? added + changed : added);
}

void zincrby(call& c) {
  const double by = c.real(2);
  auto zset = c.db.change_or_make<zset_object>(c[1]);
  const double* old = zset->score(c[3]);
  const double score = by + (old != nullptr ? *old : 0);
  if (std::isnan(score)) throw general("resulting score is not a number (NaN)");
  zset.changed(old == nullptr || *old != score);
  zset->set(c[3], score);
  c.out.real(score);
}

void zrem(call& c) {
  auto zset = c.db.change<zset_object>(c[1]);
  std::int64_t gone = 0;
  if (zset) {
    for (std::string_view m : c.args.subspan(2)) gone += zset->erase(m);
  }
  zset.changed(gone > 0);
  c.out.integer(gone);
}

void zcard(call& c) {
  const auto* zset = c.db.read<zset_object>(c[1]);
  c.out.integer(zset == nullptr ? 0 : static_cast<std::int64_t>(zset->size()));
}

void score_or_null(reply& out, const double* score) {
  score != nullptr ? out.real(*score) : out.null();
}

void zscore(call& c) {
  const auto* zset = c.db.read<zset_object>(c[1]);
  score_or_null(c.out, zset == nullptr ? nullptr : zset->score(c[2]));
}

void zmscore(call& c) {
  const auto* zset = c.db.read<zset_object>(c[1]);
  c.out.array(c.size() - 2);
  for (std::string_view m : c.args.subspan(2))
    score_or_null(c.out, zset == nullptr ? nullptr : zset->score(m));
}

template <bool Reverse>
void zrank(call& c) {
  const bool with_score = c.size() == 4 && c.is(3, "withscore");
  if (c.size() > 4 || (c.size() == 4 && !with_score)) throw syntax_error();
  const auto* zset = c.db.read<zset_object>(c[1]);
  const std::size_t rank = zset == nullptr ? 0 : zset->rank(c[2]);
  if (zset == nullptr || rank == zset->size())
    return with_score ? c.out.null_array() : c.out.null();
  if (with_score) c.out.array(2);
  c.out.integer(static_cast<std::int64_t>(Reverse ? zset->size() - 1 - rank : rank));
  if (with_score) c.out.real(*zset->score(c[2]));
}

template <bool Max>
void zpop(call& c) {
  if (c.size() > 3) throw syntax_error();
  const std::int64_t n = c.size() == 3 ? to_integer(c[2]).value_or(-1) : 1;
  if (n < 0) throw general("value is out of range, must be positive");
  auto zset = c.db.change<zset_object>(c[1]);
  if (!zset) return c.out.array(0);
  const std::size_t count = std::min(static_cast<std::size_t>(n), zset->size());
  zset.changed(count > 0);
  const bool pairs = c.size() == 3 && c.out.protocol >= 3;
  c.out.array(pairs ? count : 2 * count);
  pop_many(c.out, *zset, count, Max, pairs);
}

void zmpop(call& c) {
  const many_keys m(c, 1);
  if (!c.is(m.where, "min") && !c.is(m.where, "max")) throw syntax_error();
  for (std::string_view key : m.keys) {
    auto zset = c.db.change<zset_object>(key);
    if (!zset) continue;
    const std::size_t count = std::min(static_cast<std::size_t>(m.count), zset->size());
    c.out.array(2);
    c.out.bulk(key);
    c.out.array(count);
    return pop_many(c.out, *zset, count, c.is(m.where, "max"), true);
  }
  c.out.null_array();
}

void zrandmember(call& c) {
  const bool with_scores = c.size() == 4 && c.is(3, "withscores");
  if (c.size() > 4 || (c.size() == 4 && !with_scores)) throw syntax_error();
  std::int64_t n = c.size() > 2 ? c.integer(2) : 1;
  if (n < -(INT64_MAX / 2)) throw general("value is out of range");
  const auto* zset = c.db.read<zset_object>(c[1]);
  if (c.size() == 2) {
    return zset == nullptr
               ? c.out.null()
               : c.out.bulk(*zset->order.find_by_order(random_bits() % zset->size())->member);
  }
  if (zset == nullptr || n == 0) return c.out.array(0);
  std::vector<zset_object::place> chosen;
  if (n < 0) {
    for (; n < 0; ++n) chosen.push_back(*zset->order.find_by_order(random_bits() % zset->size()));
  } else {
    chosen.assign(zset->order.begin(), zset->order.end());
    for (std::size_t i = 0; i < chosen.size(); ++i)
      std::swap(chosen[i], chosen[i + random_bits() % (chosen.size() - i)]);
    chosen.resize(std::min(chosen.size(), static_cast<std::size_t>(n)));
  }
  const bool pairs = with_scores && c.out.protocol >= 3;
  c.out.array(chosen.size() * (with_scores && !pairs ? 2 : 1));
  for (const auto& p : chosen) {
    if (pairs) c.out.array(2);
    c.out.bulk(*p.member);
    if (with_scores) c.out.real(p.score);
  }
}

constexpr command kCommands[] = {
    {"zadd", -4, writes | deny_oom | fast, one_key, zadd},
    {"zincrby", 4, writes | deny_oom | fast, one_key, zincrby},
    {"zrem", -3, writes | fast, one_key, zrem},
    {"zcard", 2, reads | fast, one_key, zcard},
    {"zscore", 3, reads | fast, one_key, zscore},
    {"zmscore", -3, reads | fast, one_key, zmscore},
    {"zrank", -3, reads | fast, one_key, zrank<false>},
    {"zrevrank", -3, reads | fast, one_key, zrank<true>},
    {"zpopmin", -2, writes | fast, one_key, zpop<false>},
    {"zpopmax", -2, writes | fast, one_key, zpop<true>},
    {"zmpop", -4, writes, {0, 0, 0, 1}, zmpop},
    {"zrandmember", -2, reads, one_key, zrandmember},
};

}  // namespace

std::span<const command> zset_commands() { return kCommands; }

}  // namespace kv
