// Sorted sets: a table from members to scores, and a tree in the order of (score, member) that knows ranks.
#pragma once

#include <ext/pb_ds/assoc_container.hpp>
#include <ext/pb_ds/tree_policy.hpp>

#include "object.h"

namespace kv {

struct zset_object final : object_of<zset_object, type::zset> {
  /// A place in the order. Its member is the table's key; null stands before all members of that score.
  struct place {
    double score;
    const key_text* member;
  };
  struct before {
    bool operator()(const place& a, const place& b) const noexcept {
      if (a.score != b.score) return a.score < b.score;
      if (a.member == nullptr || b.member == nullptr)
        return a.member == nullptr && b.member != nullptr;
      return a.member->text() < b.member->text();
    }
  };
  // libstdc++'s red-black tree whose nodes know the size of their subtrees: ranks in O(log n).
  using tree = __gnu_pbds::tree<place, __gnu_pbds::null_type, before, __gnu_pbds::rb_tree_tag,
                                __gnu_pbds::tree_order_statistics_node_update>;

  zset_object() = default;
  zset_object(const zset_object& o) : object_of(o), scores(o.scores) {
    scores.for_each([this](const table<double>::node& n) { order.insert({n.value, &n.key}); });
  }

  /// True: the member is new.
  bool set(std::string_view member, double score) {
    auto [n, made] = scores.find_or_insert(member);
    if (!made) {
      if (n->value == score) return false;
      order.erase({n->value, &n->key});
    }
    n->value = score;
    order.insert({score, &n->key});
    return made;
  }
  bool erase(std::string_view member) {
    auto* n = scores.find(member);
    if (n == nullptr) return false;
    order.erase({n->value, &n->key});
    scores.erase(n);
    return true;
  }
  const double* score(std::string_view member) const noexcept {
    const auto* n = scores.find(member);
    return n == nullptr ? nullptr : &n->value;
  }
  /// How many stand before it; size() if it is no member.
  std::size_t rank(std::string_view member) const noexcept {
    const auto* n = scores.find(member);
    return n == nullptr ? size() : order.order_of_key({n->value, &n->key});
  }
  std::size_t size() const noexcept { return scores.size(); }

  table<double> scores;
  tree order;

  std::size_t bytes() const noexcept override {
    return sizeof *this + scores.bytes() + scores.size() * 64;
  }
  bool empty() const noexcept override { return scores.empty(); }
  std::string_view encoding() const noexcept override {
    return scores.size() <= 128 ? "listpack" : "skiplist";
  }
};

}  // namespace kv
