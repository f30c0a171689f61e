// Unions, intersections and differences of sorted sets (and sets, whose members score 1).
#include <algorithm>
#include <cmath>
#include <map>

#include "command.h"
#include "zset.h"

namespace kv {
namespace {

enum class algebra { join, meet, minus };
enum class aggregate { sum, min, max };

/// One of the sources: a sorted set, a set, or nothing.
struct source {
  const zset_object* zset = nullptr;
  const set_object* set = nullptr;
  double weight = 1;

  template <class F>
  void for_each(F&& f) const {
    if (zset != nullptr)
      zset->scores.for_each([&](const table<double>::node& n) { f(n.key, weighted(n.value)); });
    if (set != nullptr)
      set->members.for_each([&](const table<nothing>::node& n) { f(n.key, weighted(1)); });
  }
  double weighted(double score) const {
    const double d = score * weight;
    return std::isnan(d) ? 0 : d;
  }
};

struct request {
  std::vector<source> sources;
  aggregate how = aggregate::sum;
  bool scores = false;
};

request parse(call& c, std::size_t count_at, algebra a, bool store) {
  const auto keys = c.integer(count_at);
  if (keys < 1) throw general("at least 1 input key is needed for '" + lower(c[0]) + "' command");
  const std::size_t first = count_at + 1;
  if (static_cast<std::size_t>(keys) > c.size() - first) throw syntax_error();
  request r;
  for (std::string_view key : c.args.subspan(first, static_cast<std::size_t>(keys))) {
    source& s = r.sources.emplace_back();
    key_node* n = c.db.find(key);
    if (n == nullptr) continue;
    const object* o = n->value.value.get();
    if (o->type() == type::zset)
      s.zset = static_cast<const zset_object*>(o);
    else if (o->type() == type::set)
      s.set = static_cast<const set_object*>(o);
    else
      throw wrong_type();
  }
  for (std::size_t i = first + r.sources.size(); i < c.size(); ++i) {
    if (!store && c.is(i, "withscores")) {
      r.scores = true;
    } else if (a != algebra::minus && c.is(i, "weights") && i + r.sources.size() < c.size()) {
      for (source& s : r.sources) {
        const auto w = to_double(c[++i]);
        if (!w) throw general("weight value is not a float");
        s.weight = *w;
      }
    } else if (a != algebra::minus && c.is(i, "aggregate") && i + 1 < c.size()) {
      ++i;
      if (c.is(i, "sum"))
        r.how = aggregate::sum;
      else if (c.is(i, "min"))
        r.how = aggregate::min;
      else if (c.is(i, "max"))
        r.how = aggregate::max;
      else
        throw syntax_error();
    } else {
      throw syntax_error();
    }
  }
  return r;
}

double combined(aggregate how, double a, double b) {
  if (how == aggregate::min) return std::min(a, b);
  if (how == aggregate::max) return std::max(a, b);
  const double sum = a + b;
  return std::isnan(sum) ? 0 : sum;
}

ref<zset_object> result_of(algebra a, const request& r) {
  struct seen {
    double score = 0;
    std::size_t times = 0;
    bool first = false;
  };
  table<seen> all;
  for (std::size_t i = 0; i < r.sources.size(); ++i) {
    r.sources[i].for_each([&](const std::string& member, double score) {
      seen& s = all.find_or_insert(member).first->value;
      s.score = s.times == 0 ? score : combined(r.how, s.score, score);
      s.first |= i == 0;
      ++s.times;
    });
  }
  auto result = make<zset_object>();
  all.for_each([&](const table<seen>::node& n) {
    const bool in = a == algebra::join ||
                    (a == algebra::meet && n.value.times == r.sources.size()) ||
                    (a == algebra::minus && n.value.first && n.value.times == 1);
    if (in) result->set(n.key, n.value.score);
  });
  return result;
}

template <algebra A>
void combine(call& c) {
  const request r = parse(c, 1, A, false);
  const auto result = result_of(A, r);
  const bool pairs = r.scores && c.out.protocol >= 3;
  c.out.array(result->size() * (r.scores && !pairs ? 2 : 1));
  for (const auto& p : result->order) {
    if (pairs) c.out.array(2);
    c.out.bulk(*p.member);
    if (r.scores) c.out.real(p.score);
  }
}

template <algebra A>
void combine_store(call& c) {
  const auto result = result_of(A, parse(c, 2, A, true));
  const auto size = static_cast<std::int64_t>(result->size());
  if (size == 0)
    c.db.erase(c[1]);
  else
    c.db.put(c[1], result);
  c.out.integer(size);
}

void zintercard(call& c) {
  const auto keys = to_integer(c[1]).value_or(0);
  if (keys <= 0) throw general("at least 1 input key is needed for 'zintercard' command");
  const auto after = static_cast<std::size_t>(keys) + 2;
  if (after > c.size()) throw general("Number of keys can't be greater than number of args");
  std::int64_t limit = 0;
  call sources{c.client, c.srv, c.db, c.out, c.args.first(after)};
  if (after + 2 == c.size() && c.is(after, "limit")) {
    limit = to_integer(c[after + 1]).value_or(-1);
    if (limit < 0) throw general("LIMIT can't be negative");
  } else if (after != c.size()) {
    throw syntax_error();
  }
  const auto n = static_cast<std::int64_t>(
      result_of(algebra::meet, parse(sources, 1, algebra::meet, true))->size());
  c.out.integer(limit > 0 ? std::min(n, limit) : n);
}

constexpr key_places kCounted = {0, 0, 0, 1}, kStored = {1, 1, 1, 2};
constexpr command kCommands[] = {
    {"zunion", -3, reads, kCounted, combine<algebra::join>},
    {"zinter", -3, reads, kCounted, combine<algebra::meet>},
    {"zdiff", -3, reads, kCounted, combine<algebra::minus>},
    {"zunionstore", -4, writes | deny_oom, kStored, combine_store<algebra::join>},
    {"zinterstore", -4, writes | deny_oom, kStored, combine_store<algebra::meet>},
    {"zdiffstore", -4, writes | deny_oom, kStored, combine_store<algebra::minus>},
    {"zintercard", -3, reads, kCounted, zintercard},
};

}  // namespace

std::span<const command> zset_algebra_commands() { return kCommands; }

}  // namespace kv
