// Snapshots: what is written is what was there at one instant; what was cut off is refused.
// test: labels=smoke timeout=180
#include <gort/gort.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "feed.h"
#include "snapshot_format.h"

namespace {

namespace fs = std::filesystem;

struct temporary {
  std::string path = testing::TempDir() + "gort_kv.XXXXXX";
  temporary() { EXPECT_NE(::mkdtemp(path.data()), nullptr); }
  ~temporary() { fs::remove_all(path); }
};

std::string slurp(const std::string& path) {
  std::ostringstream s;
  s << std::ifstream(path).rdbuf();
  return s.str();
}

/// All keys with their values, as text.
std::map<std::string, std::string> everything(kv::server& s) {
  std::map<std::string, std::string> all;
  for (auto& shard : s.keys.shards) {
    shard.keys.for_each([&](const kv::key_node& n) {
      std::string text;
      kv::format::record(text, "", n.value.expires, *n.value.value);
      // The order of a hash table's elements is its own: sorted bytes are good enough to compare.
      std::ranges::sort(text);
      all[n.key] = text;
    });
  }
  return all;
}

void fill(kv_test::feed& c) {
  c("set s hello");
  c("set e soon ex 1000");
  c("rpush l a b c");
  c("sadd set x y z");
  c("hset h f1 v1 f2 v2");
  c("zadd z 1.5 a -inf b 3 c");
  c("set \"\" empty-key");
  c("set bin \"\\x00\\xff\\r\\n\"");
}

TEST(Snapshot, Checksum) {
  EXPECT_EQ(kv::format::checksum(0, "123456789"), 0x995dc9bbdf1939faull);  // CRC-64/XZ
  const std::string s(1000, 'q');
  EXPECT_EQ(kv::format::checksum(kv::format::checksum(0, s.substr(0, 333)), s.substr(333)),
            kv::format::checksum(0, s));
}

TEST(Snapshot, ComesBack) {
  temporary dir;
  gort::run([&] {
    kv::server a, b;
    a.config.dir = b.config.dir = dir.path;
    kv_test::feed ca(a), cb(b);
    fill(ca);
    EXPECT_EQ(ca("save"), "OK");
    EXPECT_EQ(b.saves.load(cb.session.db).value(), 8u);
    EXPECT_EQ(everything(a), everything(b));
    EXPECT_GT(kv::to_integer(cb("ttl e")), 900);
    EXPECT_FALSE(fs::exists(dir.path + "/temp-" + std::to_string(::getpid()) + ".gkv"));
  });
}

TEST(Snapshot, CutAtEveryByteIsRefused) {
  temporary dir;
  gort::run([&] {
    kv::server a;
    a.config.dir = dir.path;
    kv_test::feed c(a);
    fill(c);
    ASSERT_EQ(c("save"), "OK");
    const std::string whole = slurp(a.saves.path());
    for (std::size_t n = 0; n < whole.size(); ++n) {
      int called = 0;
      const auto r =
          kv::format::read(std::string_view(whole).substr(0, n), [&](auto...) { ++called; });
      ASSERT_FALSE(r) << "cut at " << n;
      ASSERT_EQ(called, 0) << "nothing of it may be used";
      ASSERT_TRUE(r.error().starts_with("it is torn")) << r.error();
    }
    for (std::size_t n = 0; n < whole.size(); ++n) {
      std::string changed = whole;
      changed[n] = static_cast<char>(changed[n] ^ (1 << (n % 8)));
      int called = 0;
      ASSERT_FALSE(kv::format::read(changed, [&](auto...) { ++called; })) << "changed at " << n;
      ASSERT_EQ(called, 0);
    }
    // By way of the file: the server says so, has no keys, and the file stays.
    for (std::size_t n : {std::size_t{0}, whole.size() / 2, whole.size() - 1}) {
      std::ofstream(a.saves.path(), std::ios::trunc) << whole.substr(0, n);
      kv::server b;
      b.config.dir = dir.path;
      kv::access db(b.keys);
      EXPECT_FALSE(b.saves.load(db));
      EXPECT_EQ(b.keys.size(), 0u);
      EXPECT_EQ(fs::file_size(a.saves.path()), n);
    }
  });
}

TEST(Snapshot, ASaveThatFailsLeavesTheLastFile) {
  temporary dir;
  gort::run([&] {
    kv::server a;
    a.config.dir = dir.path;
    kv_test::feed c(a);
    fill(c);
    ASSERT_EQ(c("save"), "OK");
    const std::string before = slurp(a.saves.path());
    c("set more x");
    a.config.dir = dir.path + "/nowhere";
    EXPECT_TRUE(c("save").starts_with("!ERR cannot create"));
    EXPECT_EQ(slurp(dir.path + "/dump.gkv"), before);
    a.config.dir = dir.path;
    EXPECT_EQ(c("save"), "OK");
    EXPECT_NE(slurp(dir.path + "/dump.gkv"), before);
  });
}

// Money is moved between accounts, by transactions and inside collections, while snapshot after snapshot is taken: in
// each file none is missing.
TEST(Snapshot, IsOneInstant) {
  temporary dir;
  constexpr int kAccounts = 400, kMovers = 4, kRounds = 12;
  gort::run({.max_procs = 4}, [&] {
    kv::server a;
    a.config.dir = dir.path;
    {
      kv_test::feed c(a);
      for (int i = 0; i < kAccounts; ++i) c("set acc" + std::to_string(i) + " 1000");
      for (int i = 0; i < 20; ++i) {
        for (int k = 0; k < 200; ++k)
          c("hset pot" + std::to_string(i) + " f" + std::to_string(k) + " 10");
      }
    }
    std::atomic<bool> stop{false};
    gort::scope movers;
    for (int m = 0; m < kMovers; ++m) {
      movers.go([&, m] {
        kv_test::feed c(a);
        std::mt19937 random(static_cast<unsigned>(m));
        const auto n = [&](int below) {
          return std::to_string(random() % static_cast<unsigned>(below));
        };
        for (std::uint64_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
          const std::string sum = n(50);
          c("multi");
          c("decrby acc" + n(kAccounts) + " " + sum);
          if (i % 3 == 0)
            c("hincrby pot" + n(20) + " f" + n(200) + " " + sum);
          else
            c("incrby acc" + n(kAccounts) + " " + sum);
          EXPECT_NE(c("exec"), "nil");
          c("set noise" + n(1000) + " x");
          c("del noise" + n(1000));
          c("rpush list" + n(10) + " " + n(100));
          if (i % 16 == 0) gort::poll();
        }
      });
    }
    kv::access db(a.keys);
    a.saves.delay_us = 100;
    for (int round = 0; round < kRounds; ++round) {
      const auto r = a.saves.save(db);
      ASSERT_TRUE(r) << r.error();
      std::int64_t sum = 0, accounts = 0;
      const auto c = kv::format::read(
          slurp(a.saves.path()), [&](std::string_view key, std::int64_t, kv::ref<kv::object> v) {
            if (key.starts_with("acc")) {
              sum += *kv::to_integer(static_cast<kv::string_object&>(*v).text);
              ++accounts;
            } else if (key.starts_with("pot")) {
              static_cast<kv::hash_object&>(*v).fields.for_each(
                  [&](const auto& n) { sum += *kv::to_integer(n.value); });
              ++accounts;
            }
          });
      ASSERT_TRUE(c) << c.error();
      EXPECT_EQ(accounts, kAccounts + 20);
      EXPECT_EQ(sum, kAccounts * 1000 + 20 * 200 * 10) << "round " << round;
      EXPECT_GT(a.saves.keys_kept.load(), 0) << "nothing was changed meanwhile: this shows nothing";
    }
    stop = true;
    movers.join();
  });
}

}  // namespace
