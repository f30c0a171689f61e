// The hash table and the sorted set against the standard library's.
// test: labels=smoke
#include "table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "zset.h"

namespace {

TEST(Table, LikeAMap) {
  std::mt19937 random(1);
  kv::table<int> t;
  std::map<std::string, int> model;
  for (int i = 0; i < 200'000; ++i) {
    const std::string key = std::to_string(random() % (i < 100'000 ? 5000 : 50));
    if (random() % 3 == 0) {
      EXPECT_EQ(t.erase(key), model.erase(key) == 1);
    } else {
      const auto [n, made] = t.find_or_insert(key);
      EXPECT_EQ(made, !model.contains(key));
      n->value = model[key] = i;
    }
    if (i % 10'000 == 0) {
      std::map<std::string, int> all;
      t.for_each([&](const auto& n) { all[n.key] = n.value; });
      ASSERT_EQ(all, model);
      const kv::table<int> copy(t);
      ASSERT_EQ(copy.size(), model.size());
    }
  }
}

TEST(Table, AWalkMissesNothingWhileTheTableGrowsAndShrinks) {
  for (unsigned seed = 0; seed < 8; ++seed) {
    std::mt19937 random(seed);
    kv::table<int> t;
    std::set<std::string> stay, seen;
    for (int i = 0; i < 500; ++i) stay.insert("stay" + std::to_string(i));
    for (const auto& k : stay) t.find_or_insert(k);
    std::uint64_t cursor = 0;
    int steps = 0;
    do {
      cursor = t.scan(cursor, [&](const auto& n) { seen.insert(n.key); });
      ++steps;
      // Thousands come and go between two steps, now and then.
      if (random() % 20 == 0) {
        for (int i = 0; i < 5000; ++i) t.find_or_insert("come" + std::to_string(i));
      } else if (random() % 10 == 0) {
        for (int i = 0; i < 5000; ++i) t.erase("come" + std::to_string(i));
      }
      ASSERT_LT(steps, 100'000);
    } while (cursor != 0);
    for (const auto& k : stay) ASSERT_TRUE(seen.contains(k)) << k << " seed " << seed;
  }
}

TEST(Table, AnyReachesEverything) {
  std::mt19937_64 random(3);
  kv::table<int> t;
  for (int i = 0; i < 100; ++i) t.find_or_insert(std::to_string(i));
  std::map<std::string, int> seen;
  for (int i = 0; i < 100'000; ++i) ++seen[t.any(random)->key];
  EXPECT_EQ(seen.size(), 100u);
  for (const auto& [key, n] : seen) EXPECT_NEAR(n, 1000, 200) << key;
}

TEST(Zset, LikeASetOfPairs) {
  std::mt19937 random(2);
  kv::zset_object z;
  std::set<std::pair<double, std::string>> model;
  std::map<std::string, double> scores;
  for (int i = 0; i < 50'000; ++i) {
    const std::string m = std::to_string(random() % 500);
    if (random() % 3 == 0) {
      if (scores.contains(m)) model.erase({scores[m], m});
      EXPECT_EQ(z.erase(m), scores.erase(m) == 1);
    } else {
      const double s = static_cast<double>(random() % 50);
      if (scores.contains(m)) model.erase({scores[m], m});
      EXPECT_EQ(z.set(m, s), !scores.contains(m));
      scores[m] = s;
      model.emplace(s, m);
    }
    if (!scores.empty() && i % 64 == 0) {
      const auto& [name, score] =
          *std::next(scores.begin(), static_cast<long>(random() % scores.size()));
      EXPECT_EQ(z.rank(name),
                static_cast<std::size_t>(std::distance(model.begin(), model.find({score, name}))));
    }
  }
  auto at = model.begin();
  for (const auto& p : z.order) {
    EXPECT_EQ(p.score, at->first);
    EXPECT_EQ(*p.member, at->second);
    ++at;
  }
  EXPECT_EQ(at, model.end());
}

}  // namespace
