// The hash table and the sorted set against the standard library's.
// test: labels=smoke
#include "table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <random>
#include <set>

#include "feed.h"
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

// What a client can do to a table whose hash it knows: all its keys in one chain.

/// Keys that std::hash puts into bucket 0 of every table with up to 4096 buckets, as a client finds them at home.
std::vector<std::string> flood(std::size_t n) {
  std::vector<std::string> keys;
  for (int i = 0; keys.size() < n; ++i) {
    std::string k = std::to_string(i);
    if (std::hash<std::string_view>{}(k) % 4096 == 0) keys.push_back(std::move(k));
  }
  return keys;
}

template <class V, class Hash>
std::size_t longest_chain(kv::table<V, Hash>& t) {
  std::size_t longest = 0;
  std::uint64_t cursor = 0;
  do {
    std::size_t n = 0;  // scan() shows one bucket
    cursor = t.scan(cursor, [&](const auto&) { ++n; });
    longest = std::max(longest, n);
  } while (cursor != 0);
  return longest;
}

TEST(Flood, AKnownHashMakesOneLongChain) {
  kv::table<int, std::hash<std::string_view>> t;
  for (const std::string& k : flood(1000)) t.find_or_insert(k);
  EXPECT_EQ(longest_chain(t), 1000u);
}

TEST(Flood, NoKeyedTableHasLongChains) {
  const std::vector<std::string> keys = flood(1000);
  kv::table<int> t;
  for (const std::string& k : keys) t.find_or_insert(k);
  EXPECT_LT(longest_chain(t), 16u);  // by chance, in a full table: 10^-11

  // All that clients can fill: the keyspace, hashes, sets, sorted sets, the keys that are watched and waited for.
  kv::server s;
  kv_test::feed client(s);
  for (const std::string& k : keys) {
    client("set " + k + " x");
    client("hset {h} " + k + " x");
    client("sadd {s} " + k);
    client("zadd {z} 1 " + k);
    client("watch " + k);
  }
  kv::access db(s.keys);
  EXPECT_LT(longest_chain(db.change<kv::hash_object>("{h}")->fields), 16u);
  EXPECT_LT(longest_chain(db.change<kv::set_object>("{s}")->members), 16u);
  EXPECT_LT(longest_chain(db.change<kv::zset_object>("{z}")->scores), 16u);
  for (auto& shard : s.keys.shards) {
    EXPECT_LT(shard.keys.size(), 100u);  // 16 on average
    EXPECT_LT(longest_chain(shard.keys), 16u);
    for (std::size_t i = 0; i < shard.watched.bucket_count(); ++i)
      EXPECT_LT(shard.watched.bucket_size(i), 16u);
  }
}

// Reference values: the paper's appendix for 2-4; for 1-3 and the key 0, Rust's DefaultHasher.
TEST(Hash, IsSipHash) {
  char text[15];
  for (int i = 0; i < 15; ++i) text[i] = static_cast<char>(i);
  const kv::hash_key paper{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  EXPECT_EQ((kv::siphash<2, 4>(paper, {text, 15})), 0xa129ca6149be45e5);
  EXPECT_EQ(kv::siphash({}, ""), 0xd1fba762150c532c);
  EXPECT_EQ(kv::siphash({}, "a"), 0x407448d2b89b1813);
  EXPECT_EQ(kv::siphash({}, "hello world"), 0xb1b1f2e707e4ac8a);
  EXPECT_EQ(kv::siphash({}, "key:000000012345"), 0x286cb3dfebab533d);
}

TEST(Hash, EachKeyIsAnother) {
  const kv::hash_key a = kv::hash_key::random(), b = kv::hash_key::random();
  EXPECT_NE(kv::siphash(a, "key"), kv::siphash(b, "key"));
  EXPECT_TRUE(kv::process_key.k0 != 0 || kv::process_key.k1 != 0);
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
