// What who runs gort-kv relies on, in memory: passwords, limits, settings, counts.
// test: labels=smoke
#include <gtest/gtest.h>

#include "feed.h"

namespace {

using kv_test::feed;
using kv_test::render;

std::string info(feed& client, const std::string& name) {
  const std::string all = client("info");
  const std::size_t at = all.find("\n" + name + ":");
  if (at == all.npos) return "(none)";
  const std::size_t from = at + name.size() + 2;
  return all.substr(from, all.find('\r', from) - from);
}

TEST(Admin, APasswordIsAskedFor) {
  kv::server s;
  feed before(s);
  EXPECT_TRUE(
      before("auth secret").starts_with("!ERR AUTH <password> called without any password"));
  EXPECT_EQ(before("config set requirepass secret"), "OK");
  EXPECT_EQ(before("config get requirepass"), "[requirepass secret]");
  EXPECT_EQ(before("set a 1"), "OK") << "who is in stays in";

  feed c(s);
  for (const char* line : {"get a", "ping", "subscribe c", "client list", "debug sleep 0", "multi"})
    EXPECT_EQ(c(line), "!NOAUTH Authentication required.") << line;
  EXPECT_TRUE(c("hello 3").starts_with("!NOAUTH HELLO must be called"));
  EXPECT_EQ(c.session.out.protocol, 2);
  for (const char* line : {"auth wrong!", "auth secre", "auth secrets", "auth nobody secret",
                           "hello 3 auth default x", "auth \"\""})
    EXPECT_EQ(c(line), "!WRONGPASS invalid username-password pair or user is disabled.") << line;
  EXPECT_EQ(c("get a"), "!NOAUTH Authentication required.");
  EXPECT_EQ(c("auth secret"), "OK");
  EXPECT_EQ(c("get a"), "1");
  EXPECT_EQ(c("reset"), "RESET");
  EXPECT_EQ(c("get a"), "!NOAUTH Authentication required.");
  EXPECT_TRUE(c("hello 3 auth default secret setname bob").starts_with("{server redis"));
  EXPECT_EQ(c("client getname"), "bob");

  feed quits(s);
  EXPECT_EQ(quits("quit"), "OK");
}

// Who has not said the password yet can make the server hold nothing large.
TEST(Admin, WithoutThePasswordRequestsAreSmall) {
  kv::server s;
  feed admin(s);
  admin("config set requirepass secret");
  feed many(s), large(s), allowed(s);
  EXPECT_EQ(render(many.bytes("*11\r\n")), "!ERR Protocol error: unauthenticated multibulk length");
  EXPECT_EQ(render(large.bytes("*2\r\n$16385\r\n")),
            "!ERR Protocol error: unauthenticated bulk length");
  EXPECT_EQ(render(allowed.bytes("AUTH secret\r\n*1048576\r\n")), "OK");
  EXPECT_FALSE(allowed.session.closing);
}

// A page in a browser can send a request to a port of this machine; its body must not be taken for commands.
TEST(Admin, ABrowserIsHungUpOn) {
  for (const char* first : {"POST / HTTP/1.1\r\n", "Host: localhost:7379\r\n"}) {
    kv::server s;
    feed browser(s), client(s);
    browser.bytes(std::string(first) + "\r\nSET a 1\r\n");
    EXPECT_TRUE(browser.session.closing) << first;
    EXPECT_EQ(client("get a"), "nil") << first;
  }
}

TEST(Admin, WhatExecNeedsMayBeGone) {
  kv::server s;
  feed c(s), other(s);
  c("set a 1");
  c("multi");
  c("set b 1");
  c("get a");
  other("config set maxmemory 1");
  EXPECT_TRUE(c("exec").starts_with("!EXECABORT Transaction discarded because of: OOM"));
  EXPECT_EQ(c("exec"), "!ERR EXEC without MULTI");
  c("multi");
  c("get a");
  c("del a");
  EXPECT_EQ(c("exec"), "[1 1]") << "needs no memory";
  EXPECT_EQ(c("get b"), "nil");
}

// One key among 64 shards is found each time, not with some luck.
TEST(Admin, WhatMayGoIsFound) {
  for (int round = 0; round < 200; ++round) {
    kv::server s;
    feed c(s);
    c("set stays 1");
    c("set goes" + std::to_string(round) + " 1 ex 100");
    c("config set maxmemory-policy volatile-random");
    c("config set maxmemory 1");
    EXPECT_EQ(c("set more 1").substr(0, 4), "!OOM");
    ASSERT_EQ(info(c, "evicted_keys"), "1");
  }
}

TEST(Admin, KillsOnlyWhoIsMeant) {
  kv::server s;
  feed c(s), normal(s), subscriber(s);
  subscriber("subscribe c");
  EXPECT_EQ(c("client kill type replica"), "0");
  EXPECT_EQ(c("client kill type master"), "0");
  EXPECT_EQ(c("client kill type pubsub"), "1");
  EXPECT_EQ(c("client kill type normal"), "1");
  EXPECT_EQ(c("client kill user nobody skipme no"), "0");
  EXPECT_EQ(c("client kill type slow skipme yes"), "!ERR Unknown client type 'slow'");
  EXPECT_EQ(c("client kill skipme maybe type normal"), "!ERR syntax error");
}

TEST(Admin, SettingsMeanWhatTheySay) {
  kv::server s;
  feed c(s);
  EXPECT_TRUE(c("config set save-at-end true").starts_with("!ERR CONFIG SET failed"));
  EXPECT_EQ(c("config get save-at-end"), "[save-at-end yes]");
  EXPECT_EQ(c("config set save-at-end no"), "OK");
  EXPECT_EQ(c("config get save"), "[save ]");
  for (const char* bad : {"1", "x 1", "1 x", "0 1", "900 1 300"})
    EXPECT_TRUE(
        c("config set save \"" + std::string(bad) + "\"").starts_with("!ERR CONFIG SET failed"))
        << bad;
  EXPECT_EQ(c("config set save \"900 1 60 100\""), "OK");
  EXPECT_EQ(c("config get save"), "[save 900 1 60 100]");
  EXPECT_EQ(c("config set save \"\""), "OK");
  EXPECT_EQ(c("config get save"), "[save ]");
  EXPECT_EQ(c("config set pubsub-buffer-limit 1mb"), "OK");
  // All or none.
  EXPECT_TRUE(c("config set maxmemory 5mb timeout 7 maxmemory 6mb port 1")
                  .starts_with("!ERR CONFIG SET failed"));
  EXPECT_EQ(c("config get maxmemory timeout"), "[maxmemory 0 timeout 0]");
  EXPECT_EQ(c("config set maxmemory 5mb timeout 7"), "OK");
  EXPECT_EQ(c("config get maxmemory timeout"), "[maxmemory 5242880 timeout 7]");
}

TEST(Admin, HitsAndMissesAreCounted) {
  kv::server s;
  feed c(s);
  c("set a 1");
  c("set a 2 xx");
  c("incr a");
  EXPECT_EQ(info(c, "keyspace_hits") + " " + info(c, "keyspace_misses"), "0 0")
      << "what writes does not count";
  c("get a");
  c("mget a b c");
  c("hget h f");
  c("multi");
  c("get a");
  c("set a 1");
  c("exists a x");
  c("exec");
  EXPECT_EQ(info(c, "keyspace_hits") + " " + info(c, "keyspace_misses"), "4 4");
  EXPECT_EQ(info(c, "maxmemory_policy"), "noeviction");
  c("config resetstat");
  EXPECT_EQ(info(c, "keyspace_hits") + " " + info(c, "keyspace_misses"), "0 0");
}

TEST(Admin, KeysGoOnlyWhenLookedAtIfAskedTo) {
  kv::server s;
  feed c(s);
  kv::access db(s.keys);
  c("set a 1 px 10");
  c("debug set-active-expire 0");
  c("debug advance 100");
  s.expire_some(db);
  EXPECT_EQ(c("dbsize"), "1");
  EXPECT_EQ(c("get a"), "nil");
  c("set a 1 px 10");
  c("debug set-active-expire 1");
  c("debug advance 100");
  s.expire_some(db);
  EXPECT_EQ(c("dbsize"), "0");
}

// Bytes count, not only messages: a slow subscriber of large messages is found out before they fill the memory.
TEST(Admin, AnInboxHasRoomForSoManyBytes) {
  kv::server s;
  s.config.pubsub_buffer = 1000;
  feed subscriber(s), publisher(s);
  int hung_up = 0;
  subscriber("subscribe c");
  subscriber.session.subscriber->too_slow = [&] { ++hung_up; };
  EXPECT_EQ(publisher("publish c " + std::string(5000, 'x')), "1");
  EXPECT_EQ(hung_up, 0) << "one may be as large as it likes";
  publisher("publish c y");
  EXPECT_EQ(hung_up, 1);
  subscriber.bytes("");
  EXPECT_EQ(subscriber.session.subscriber->bytes, 0u);
  for (int i = 0; i < 3; ++i) publisher("publish c " + std::string(100, 'x'));
  EXPECT_EQ(hung_up, 1);
  subscriber("unsubscribe c");
  EXPECT_EQ(subscriber.session.subscriber->bytes, 0u);
}

}  // namespace
