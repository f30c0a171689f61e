// Commands, by what they answer. A case is a dialogue: what is typed, and the answer as feed.h renders it.
// test: labels=smoke
#include <gtest/gtest.h>

#include "feed.h"

namespace {

struct line {
  const char* typed;
  const char* answer;
};

void dialogue(std::initializer_list<line> lines) {
  kv::server s;
  kv_test::feed client(s);
  for (const line& l : lines) EXPECT_EQ(client(l.typed), l.answer) << "after: " << l.typed;
  // Whatever has been done: memory is counted to the byte.
  std::size_t bytes = 0, keys = 0;
  for (auto& shard : s.keys.shards) {
    keys += shard.keys.size();
    shard.keys.for_each([&](const kv::key_node& n) { bytes += kv::bytes_of(n); });
  }
  EXPECT_EQ(s.keys.bytes(), bytes);
  EXPECT_EQ(s.keys.size(), keys);
}

TEST(Commands, Strings) {
  dialogue({{"get a", "nil"},
            {"set a 1", "OK"},
            {"get a", "1"},
            {"set a 2 nx", "nil"},
            {"set b 2 xx", "nil"},
            {"set a 3 get", "1"},
            {"set a 4 nx xx", "!ERR syntax error"},
            {"setnx a 5", "0"},
            {"append a xyz", "4"},
            {"strlen a", "4"},
            {"getrange a 1 -1", "xyz"},
            {"getrange a -100 0", "3"},
            {"setrange b 3 x", "4"},
            {"mset x 1 y 2 z 3", "OK"},
            {"mget x y nope z", "[1 2 nil 3]"},
            {"msetnx n 1 x 2", "0"},
            {"get n", "nil"},
            {"mset a", "!ERR wrong number of arguments for 'mset' command"},
            {"getset x 7", "1"},
            {"getdel x", "7"},
            {"getdel x", "nil"},
            {"lpush l 1", "1"},
            {"get l", "!WRONGTYPE Operation against a key holding the wrong kind of value"},
            {"set l now-a-string", "OK"},
            {"get l", "now-a-string"},
            {"set e x ex 0", "!ERR invalid expire time in 'set' command"},
            {"object encoding l", "embstr"},
            {"object encoding y", "int"}});
}

// A string is written over the old one, unless somebody else sees that.
TEST(Commands, StringsInPlace) {
  dialogue({{"set a one", "OK"},
            {"copy a b", "1"},
            {"set a another,longer-than-a-short-string", "OK"},
            {"get b", "one"},
            {"set a short", "OK"},
            {"get a", "short"},
            {"rpush l 1", "1"},
            {"set l x ex 100", "OK"},
            {"set l y", "OK"},
            {"ttl l", "-1"},
            {"set a z get", "short"},
            {"get a", "z"}});
  kv::server s;
  kv_test::feed client(s);
  client.bytes(kv_test::request({"SET", "a", std::string(1 << 20, 'x')}));
  EXPECT_GT(s.keys.bytes(), 1u << 20);
  EXPECT_EQ(client("set a x"), "OK");
  EXPECT_LT(s.keys.bytes(), 1000u) << "a short string keeps no large one's memory";
}

TEST(Commands, Counters) {
  dialogue({{"incr a", "1"},
            {"incrby a 41", "42"},
            {"decrby a 2", "40"},
            {"decr a", "39"},
            {"set a 9223372036854775807", "OK"},
            {"incr a", "!ERR increment or decrement would overflow"},
            {"set a x", "OK"},
            {"incr a", "!ERR value is not an integer or out of range"},
            {"set f 10.5", "OK"},
            {"incrbyfloat f 0.1", "10.6"},
            {"incrbyfloat f x", "!ERR value is not a valid float"},
            {"set f 0.1", "OK"},
            {"incrbyfloat f 0.2", "0.3"},
            {"incrbyfloat f -0.3", "0"},
            {"incrbyfloat f 1e3", "1000"},
            {"incrbyfloat f 1e-20", "1000"},
            {"incrbyfloat f inf", "!ERR increment would produce NaN or Infinity"},
            {"hincrbyfloat h f 0.1", "0.1"},
            {"hincrbyfloat h f 0.2", "0.3"},
            {"hincrbyfloat h f x", "!ERR value is not a valid float"}});
}

TEST(Commands, Lists) {
  dialogue({{"rpush l a b c", "3"},
            {"lpush l z", "4"},
            {"lrange l 0 -1", "[z a b c]"},
            {"lrange l -2 100", "[b c]"},
            {"lrange l 3 1", "[]"},
            {"lindex l -1", "c"},
            {"lindex l 9", "nil"},
            {"lset l 0 y", "OK"},
            {"lset l 9 y", "!ERR index out of range"},
            {"linsert l before b x", "5"},
            {"linsert l after nope x", "-1"},
            {"lrange l 0 -1", "[y a x b c]"},
            {"lpos l b", "3"},
            {"lrem l 1 x", "1"},
            {"rpush d 1 2 1 3 1", "5"},
            {"lrem d -2 1", "2"},
            {"lrange d 0 -1", "[1 2 3]"},
            {"ltrim d 1 -1", "OK"},
            {"lrange d 0 -1", "[2 3]"},
            {"lpop d", "2"},
            {"rpop d 5", "[3]"},
            {"exists d", "0"},
            {"lpop d", "nil"},
            {"lpop d 2", "nil"},
            {"lmove l r left right", "y"},
            {"rpoplpush l l", "c"},
            {"lrange l 0 -1", "[c a b]"},
            {"rpoplpush r r", "y"},
            {"llen r", "1"},
            {"lmpop 2 none l right count 2", "[l [b a]]"},
            {"lpushx none x", "0"},
            {"rpushx l x", "2"},
            {"rpush p a b c b a b", "6"},
            {"lpos p b count 0", "[1 3 5]"},
            {"lpos p b rank -1", "5"},
            {"lpos p b rank 2 count 2", "[3 5]"}});
}

TEST(Commands, Hashes) {
  dialogue({{"hset h a 1 b 2", "2"},
            {"hset h a 3", "0"},
            {"hget h a", "3"},
            {"hget h x", "nil"},
            {"hmget h a x b", "[3 nil 2]"},
            {"hlen h", "2"},
            {"hexists h a", "1"},
            {"hincrby h a 4", "7"},
            {"hincrbyfloat h b 0.5", "2.5"},
            {"hstrlen h b", "3"},
            {"hsetnx h a 1", "0"},
            {"hsetnx h c 1", "1"},
            {"hdel h a b nope", "2"},
            {"hgetall h", "[c 1]"},
            {"hkeys h", "[c]"},
            {"hvals h", "[1]"},
            {"hrandfield h", "c"},
            {"hrandfield h -3", "[c c c]"},
            {"hrandfield h 3 withvalues", "[c 1]"},
            {"hscan h 0", "[0 [c 1]]"},
            {"hset h a", "!ERR wrong number of arguments for 'hset' command"},
            {"hdel h c", "1"},
            {"type h", "none"}});
}

TEST(Commands, Sets) {
  dialogue({{"sadd s a b c", "3"},
            {"sadd s a", "0"},
            {"scard s", "3"},
            {"sismember s a", "1"},
            {"smismember s a x", "[1 0]"},
            {"srem s a x", "1"},
            {"sadd t b", "1"},
            {"sinter s t", "[b]"},
            {"sdiff s t", "[c]"},
            {"sunionstore u s t", "2"},
            {"scard u", "2"},
            {"sintercard 2 s t", "1"},
            {"sintercard 2 s t limit 1", "1"},
            {"sinterstore u s none", "0"},
            {"exists u", "0"},
            {"smove s t c", "1"},
            {"smove s t nope", "0"},
            {"scard t", "2"},
            {"spop s", "b"},
            {"exists s", "0"},
            {"spop s", "nil"},
            {"srandmember none", "nil"},
            {"sadd one x", "1"},
            {"srandmember one -3", "[x x x]"},
            {"srandmember one 5", "[x]"},
            {"spop one 5", "[x]"},
            {"object encoding t", "listpack"}});
}

TEST(Commands, SortedSets) {
  dialogue(
      {{"zadd z 1 a 2 b 3 c", "3"},
       {"zadd z ch 5 a 2 b", "1"},
       {"zrange z 0 -1 withscores", "[b 2 c 3 a 5]"},
       {"zadd z nx 9 a", "0"},
       {"zadd z xx 9 new", "0"},
       {"zadd z gt 1 a", "0"},
       {"zadd z incr 1 a", "6"},
       {"zscore z a", "6"},
       {"zincrby z -4.5 a", "1.5"},
       {"zrank z a", "0"},
       {"zrevrank z a", "2"},
       {"zrank z x", "nil"},
       {"zcard z", "3"},
       {"zcount z (2 +inf", "1"},
       {"zmscore z a x", "[1.5 nil]"},
       {"zrangebyscore z -inf (3", "[a b]"},
       {"zrangebyscore z 0 9 limit 1 1", "[b]"},
       {"zrevrangebyscore z 9 0 limit 0 2", "[c b]"},
       {"zrange z 9 0 byscore rev limit 1 1", "[b]"},
       {"zrevrange z 0 0", "[c]"},
       {"zrange z 0 1 limit 0 1",
        "!ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"},
       {"zadd l 0 a 0 b 0 c 0 d", "4"},
       {"zrangebylex l [b (d", "[b c]"},
       {"zrangebylex l - +", "[a b c d]"},
       {"zrevrangebylex l + [c", "[d c]"},
       {"zlexcount l (a [c", "2"},
       {"zrangebylex l b c", "!ERR min or max not valid string range item"},
       {"zremrangebylex l [a [b", "2"},
       {"zremrangebyscore z 3 3", "1"},
       {"zremrangebyrank z 0 0", "1"},
       {"zpopmin z", "[b 2]"},
       {"exists z", "0"},
       {"zpopmax l 5", "[d 0 c 0]"},
       {"zadd x 1 a 2 b", "2"},
       {"zadd y 10 b 20 c", "2"},
       {"zunion 2 x y withscores", "[a 1 b 12 c 20]"},
       {"zinterstore i 2 x y weights 2 1 aggregate max", "1"},
       {"zscore i b", "10"},
       {"zdiff 2 x y", "[a]"},
       {"zintercard 2 x y", "1"},
       {"zintercard 0 x", "!ERR at least 1 input key is needed for 'zintercard' command"},
       {"zrangestore st y 0 0", "1"},
       {"zrange st 0 -1", "[b]"},
       {"zmpop 2 no y max", "[y [[c 20]]]"},
       {"zadd x nan a", "!ERR value is not a valid float"},
       {"zadd x +inf a", "0"},
       {"zincrby x -inf a", "!ERR resulting score is not a number (NaN)"}});
}

TEST(Commands, KeysAndExpiry) {
  dialogue({{"set a 1", "OK"},
            {"expire a 100", "1"},
            {"ttl a", "100"},
            {"rename a b", "OK"},
            {"ttl b", "100"},
            {"persist b", "1"},
            {"ttl b", "-1"},
            {"ttl a", "-2"},
            {"expire b 10 xx", "0"},
            {"expire b 10 nx", "1"},
            {"expire b 5 gt", "0"},
            {"expire b 5 lt", "1"},
            {"debug advance 4000", "OK"},
            {"exists b", "1"},
            {"debug advance 2000", "OK"},
            {"exists b", "0"},
            {"set a 1 px 50", "OK"},
            {"set a 2 keepttl", "OK"},
            {"debug advance 60", "OK"},
            {"get a", "nil"},
            {"set a 1 ex 10", "OK"},
            {"set a 2", "OK"},
            {"ttl a", "-1"},
            {"expire a -1", "1"},
            {"get a", "nil"},
            {"set a 1", "OK"},
            {"copy a c", "1"},
            {"append c 2", "2"},
            {"get a", "1"},
            {"copy a c", "0"},
            {"copy a c replace", "1"},
            {"get c", "1"},
            {"renamenx a c", "0"},
            {"del a c nope", "2"},
            {"dbsize", "0"},
            {"randomkey", "nil"},
            {"rename a b", "!ERR no such key"},
            {"set k v", "OK"},
            {"randomkey", "k"},
            {"keys *", "[k]"},
            {"type k", "string"},
            {"flushall", "OK"},
            {"scan 0", "[0 []]"},
            {"rpush s 3 1 2", "3"},
            {"sort s desc", "[3 2 1]"},
            {"sort s limit 1 1 store d", "1"},
            {"sadd words the quick brown fox jumps over a lazy dog", "9"},
            {"sort words by nosort store d2", "9"},
            {"lrange d2 0 -1", "[a brown dog fox jumps lazy over quick the]"},
            {"del words d2", "2"},
            {"lrange d 0 -1", "[2]"},
            {"touch s d x", "2"}});
}

TEST(Commands, ScanSeesEverything) {
  kv::server s;
  kv_test::feed client(s);
  std::set<std::string> keys, seen;
  for (int i = 0; i < 3000; ++i) keys.insert("key:" + std::to_string(i));
  for (const auto& k : keys) client("set " + k + " x");
  std::string cursor = "0";
  int calls = 0;
  do {
    std::string answer = client("scan " + cursor + " count 50 match key:*");
    const auto space = answer.find(' ');
    cursor = answer.substr(1, space - 1);
    std::vector<std::string> found;
    std::erase_if(answer, [](char c) { return c == '[' || c == ']'; });
    kv::split_words(std::string_view(answer).substr(space - 1), found);
    seen.insert(found.begin(), found.end());
    ASSERT_LT(++calls, 1000);
  } while (cursor != "0");
  EXPECT_EQ(seen, keys);
  EXPECT_GT(calls, 30);
}

TEST(Commands, WhatClientLibrariesAskFor) {
  kv::server s;
  kv_test::feed a(s), b(s);
  const std::string mine = "id=" + std::to_string(a.session.id) + " ", other = "id=" + std::to_string(b.session.id) + " ";
  const auto lists = [&](const std::string& how) {
    const std::string all = a("client list" + how);
    return std::pair(all.find(mine) != all.npos, all.find(other) != all.npos);
  };
  b("subscribe c");
  EXPECT_EQ(lists(""), std::pair(true, true));
  EXPECT_EQ(lists(" type normal"), std::pair(true, false));
  EXPECT_EQ(lists(" type pubsub"), std::pair(false, true));
  EXPECT_EQ(lists(" type replica"), std::pair(false, false));
  EXPECT_EQ(lists(" id " + std::to_string(b.session.id) + " 999"), std::pair(false, true));
  EXPECT_EQ(a("client list id x"), "!ERR Invalid client ID");
  EXPECT_EQ(a("client list type"), "!ERR syntax error");
  EXPECT_TRUE(a("client list type x").starts_with("!ERR Unknown client type"));
}

TEST(Commands, OddOrders) {
  dialogue({{"set s x", "OK"},
            {"smove nosuch s a", "0"},
            {"rpush l 2 1 3", "3"},
            {"sort l by nosort desc", "[2 1 3]"},
            {"zadd z 1 a 2 b", "2"},
            {"sort z by nosort desc", "[b a]"}});
}

TEST(Commands, Transactions) {
  dialogue({{"multi", "OK"},
            {"set a 1", "QUEUED"},
            {"incr a", "QUEUED"},
            {"lpush a x", "QUEUED"},
            {"get a", "QUEUED"},
            {"exec", "[OK 2 !WRONGTYPE Operation against a key holding the wrong kind of value 2]"},
            {"exec", "!ERR EXEC without MULTI"},
            {"multi", "OK"},
            {"nonsense", "!ERR unknown command 'nonsense', with args beginning with: "},
            {"exec", "!EXECABORT Transaction discarded because of previous errors."},
            {"multi", "OK"},
            {"multi", "!ERR MULTI calls can not be nested"},
            {"discard", "OK"},
            {"discard", "!ERR DISCARD without MULTI"},
            {"multi", "OK"},
            {"flushall", "QUEUED"},
            {"dbsize", "QUEUED"},
            {"keys *", "QUEUED"},
            {"publish c m", "QUEUED"},
            {"exec", "[OK 0 [] 0]"}});
}

TEST(Commands, Watch) {
  kv::server s;
  kv_test::feed a(s), b(s);
  const auto transaction = [&](std::string_view meanwhile) {
    a("watch k");
    b(meanwhile);
    a("multi");
    a("set done 1");
    return a("exec");
  };
  EXPECT_EQ(transaction("set other 1"), "[OK]");
  EXPECT_EQ(transaction("get k"), "[OK]");
  EXPECT_EQ(transaction("set k 1"), "nil");
  EXPECT_EQ(transaction("append k 1"), "nil");
  EXPECT_EQ(transaction("expire k 100"), "nil");
  EXPECT_EQ(transaction("del k"), "nil");
  EXPECT_EQ(transaction("lpush k 1"), "nil");
  EXPECT_EQ(transaction("flushall"), "nil");
  // What finds nothing to change changes nothing, whatever it looks for.
  for (std::string_view make : {"zadd k 1 a", "sadd k a", "hset k a 1", "rpush k a", "set k a"}) {
    EXPECT_EQ(transaction(make), "nil") << make;
    for (std::string_view nothing :
         {"zadd k 1 a", "zadd k xx 1 b", "zadd k nx 2 a", "zadd k incr 0 a", "zincrby k 0 a", "zrem k b", "zpopmin k 0",
          "zremrangebyrank k 5 6", "zremrangebyscore k 5 6", "zremrangebylex k [x [y", "sadd k a", "srem k b", "spop k 0",
          "hdel k b", "hsetnx k a 2", "lrem k 0 b", "linsert k before b c", "lpop k 0", "getex k persist", "persist k",
          "setbit k 1 1", "setrange k 0 ''", "expire k 1 xx", "setnx k b", "renamenx k k", "smove k k a"})
      EXPECT_EQ(transaction(nothing), "[OK]") << make << ", " << nothing;
    EXPECT_EQ(transaction("del k"), "nil") << make;
  }
  const auto changes = s.keys.sum(&kv::shard::changes);
  b("rpush k a");
  b("lrem k 0 b");
  EXPECT_EQ(s.keys.sum(&kv::shard::changes), changes + 1) << "nothing new to be saved";
  b("del k");
  a("watch k");
  b("set k 2");
  a("unwatch");
  a("multi");
  EXPECT_EQ(a("exec"), "[]");
  for (auto& shard : s.keys.shards) EXPECT_TRUE(shard.watched.empty());
}

TEST(Commands, WatchingAKeyAgainIsNothingMore) {
  kv::server s;
  kv_test::feed a(s);
  for (int i = 0; i < 100; ++i) a("watch k k k");
  EXPECT_EQ(a.session.transaction.watched_keys.size(), 1u);
  for (auto& shard : s.keys.shards) {
    for (const auto& [key, who] : shard.watched) EXPECT_EQ(who.size(), 1u);
  }
  a("set k 1");
  a("multi");
  EXPECT_EQ(a("exec"), "nil");
}

// Messages and what says that a subscription has begun or ended are no replies.
TEST(Commands, MessagesComeWithoutReplies) {
  kv::server s;
  kv_test::feed subscriber(s), publisher(s);
  for (const char* protocol : {"hello 2", "hello 3"}) {
    const bool three = protocol[6] == '3';
    const auto message = [&](std::string m) { return three ? "<" + m + ">" : "[" + m + "]"; };
    subscriber(protocol);
    EXPECT_EQ(subscriber("client reply off"), "");
    EXPECT_EQ(subscriber("subscribe c"), message("subscribe c 1"));
    EXPECT_EQ(subscriber("psubscribe c*"), message("psubscribe c* 2"));
    EXPECT_EQ(subscriber("subscribe"), "");  // an error is a reply
    EXPECT_EQ(subscriber("ping"), "");
    EXPECT_EQ(publisher("publish c m"), "2");
    EXPECT_EQ(kv_test::render(subscriber.bytes("")),
              message("message c m") + " " + message("pmessage c* c m"));
    EXPECT_EQ(subscriber("unsubscribe c"), message("unsubscribe c 1"));
    EXPECT_EQ(subscriber("punsubscribe c*"), message("punsubscribe c* 0"));
    EXPECT_EQ(subscriber("client reply on"), "OK");
    EXPECT_EQ(subscriber("client reply skip"), "");
    EXPECT_EQ(subscriber("subscribe c"), message("subscribe c 1"));
    EXPECT_EQ(subscriber("unsubscribe c"), message("unsubscribe c 0"));
  }
}

TEST(Commands, PubSub) {
  kv::server s;
  kv_test::feed subscriber(s), publisher(s);
  EXPECT_EQ(subscriber("subscribe news sport"), "[subscribe news 1] [subscribe sport 2]");
  EXPECT_EQ(subscriber("psubscribe n*"), "[psubscribe n* 3]");
  EXPECT_EQ(subscriber("get a"),
            "!ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
            "RESET are allowed in this context");
  EXPECT_EQ(publisher("publish news hello"), "2");
  EXPECT_EQ(publisher("publish nothing hello"), "1");
  EXPECT_EQ(publisher("publish other hello"), "0");
  EXPECT_EQ(subscriber("ping"),
            "[pong ] [message news hello] [pmessage n* news hello] [pmessage n* nothing hello]");
  EXPECT_EQ(publisher("pubsub numsub news x"), "[news 1 x 0]");
  publisher("hello 3");
  EXPECT_EQ(publisher("pubsub numsub news x"), "[news 1 x 0]") << "an array in RESP3, too";
  publisher("hello 2");
  EXPECT_EQ(publisher("pubsub channels"), "[news sport]");
  EXPECT_EQ(publisher("pubsub numpat"), "1");
  EXPECT_EQ(subscriber("unsubscribe news"), "[unsubscribe news 2]");
  EXPECT_EQ(subscriber("unsubscribe"), "[unsubscribe sport 1]");
  EXPECT_EQ(subscriber("punsubscribe"), "[punsubscribe n* 0]");
  EXPECT_EQ(subscriber("get a"), "nil");
  EXPECT_TRUE(s.channels.channels.empty());
}

// A client without subscriptions takes whatever comes for an answer.
TEST(Commands, NoMessageAfterTheEndOfItsSubscription) {
  kv::server s;
  kv_test::feed subscriber(s), publisher(s);
  EXPECT_EQ(subscriber("subscribe c"), "[subscribe c 1]");
  EXPECT_EQ(publisher("publish c before"), "1");
  kv::outgoing on_its_way;
  EXPECT_EQ(s.channels.collect("c", "late", on_its_way), 1);
  EXPECT_EQ(subscriber("unsubscribe c"), "[message c before] [unsubscribe c 0]");
  kv::deliver(on_its_way, 1 << 20);
  EXPECT_EQ(subscriber("ping"), "PONG");
}

// The numbers that are one step from an overflow.
TEST(Commands, Extremes) {
  dialogue(
      {{"rpush l a a b a", "4"},
       {"lrem l -9223372036854775808 a", "3"},
       {"lrange l 0 -1", "[b]"},
       {"scan 0 count 9223372036854775807", "[0 [l]]"},
       {"scan 0 count 1000000000000000000", "[0 [l]]"},
       {"pexpireat l 9223372036854775807", "1"},
       {"expiretime l", "9223372036854776"},
       {"persist l", "1"},
       {"incrbyfloat f +-5", "!ERR value is not a valid float"},
       {"incrbyfloat f +5", "5"},
       {"sintercard 9223372036854775807 a b",
        "!ERR Number of keys can't be greater than number of args"},
       {"lmpop 9223372036854775807 a left", "!ERR syntax error"},
       {"config set maxmemory 99999999999gb",
        "!ERR CONFIG SET failed (possibly related to argument 'maxmemory') - '99999999999gb' is "
        "no value for it"}});
}

// What is queued is bounded as one request is.
TEST(Commands, ATransactionIsBounded) {
  kv::server s;
  s.config.max_bulk = 0;
  kv_test::feed client(s);
  EXPECT_EQ(client("multi"), "OK");
  int queued = 0;
  const std::string set = "set k " + std::string(1000, 'v');
  while (queued < 10'000 && client(set) == "QUEUED") ++queued;
  EXPECT_LT(queued, 1100);
  EXPECT_EQ(client("exec"), "!EXECABORT Transaction discarded because of previous errors.");
  EXPECT_EQ(client("multi"), "OK");
  EXPECT_EQ(client("set k v"), "QUEUED");
  EXPECT_EQ(client("exec"), "[OK]");
}

TEST(Commands, ProtocolThree) {
  kv::server s;
  kv_test::feed client(s);
  EXPECT_TRUE(client("hello 3").starts_with("{server redis version"));
  client("hset h a 1");
  client("zadd z 1.5 m");
  EXPECT_EQ(client("hgetall h"), "{a 1}");
  EXPECT_EQ(client.bytes("zscore z m\r\n"), ",1.5\r\n");
  EXPECT_EQ(client.bytes("get nope\r\n"), "_\r\n");
  EXPECT_EQ(client("zrange z 0 -1 withscores"), "[[m 1.5]]");
  EXPECT_EQ(client("subscribe c"), "<subscribe c 1>");
  EXPECT_EQ(client("get nope"), "nil") << "subscribers may do everything";
  EXPECT_EQ(client("hello 9"), "!NOPROTO unsupported protocol version");
  // An answer of each kind, in both protocols.
  constexpr std::pair<const char*, std::string_view> kinds[] = {
      {"true", ":1\r\n#t\r\n"},
      {"false", ":0\r\n#f\r\n"},
      {"double", "$5\r\n3.141\r\n,3.141\r\n"},
      {"null", "$-1\r\n_\r\n"},
      {"set", "*3\r\n:0\r\n:1\r\n:2\r\n~3\r\n:0\r\n:1\r\n:2\r\n"},
      {"map",
       "*6\r\n:0\r\n:0\r\n:1\r\n:1\r\n:2\r\n:0\r\n%3\r\n:0\r\n#f\r\n:1\r\n#t\r\n:2\r\n#f\r\n"},
      {"verbatim",
       "$25\r\nThis is a verbatim\nstring\r\n=29\r\ntxt:This is a verbatim\nstring\r\n"}};
  client("unsubscribe");
  for (const auto& [kind, answers] : kinds) {
    std::string got;
    for (const char* protocol : {"hello 2", "hello 3"}) {
      client(protocol);
      got += client.bytes(kv_test::request({"debug", "protocol", kind}));
    }
    EXPECT_EQ(got, answers) << kind;
  }
}

TEST(Commands, ConnectionsAndConfig) {
  dialogue({{"ping", "PONG"},
            {"ping x", "x"},
            {"echo hi", "hi"},
            {"select 0", "OK"},
            {"select 1", "!ERR DB index is out of range"},
            {"client setname bob", "OK"},
            {"client getname", "bob"},
            {"client reply off", ""},
            {"ping", ""},
            {"client reply on", "OK"},
            {"client reply skip", ""},
            {"ping", ""},
            {"ping", "PONG"},
            {"config get maxmem*", "[maxmemory 0 maxmemory-policy noeviction]"},
            {"config set maxmemory 100kb", "OK"},
            {"config get maxmemory", "[maxmemory 102400]"},
            {"config set maxmemory x",
             "!ERR CONFIG SET failed (possibly related to argument 'maxmemory') - 'x' is no value "
             "for it"},
            {"config set nonsense x",
             "!ERR Unknown option or number of arguments for CONFIG SET - 'nonsense'"},
            {"command info get", "[[get 2 [readonly fast] 1 1 1 [] [] [] []]]"},
            {"command getkeys mset a 1 b 2", "[a b]"},
            {"command getkeys zunionstore d 2 a b", "[d a b]"},
            {"get", "!ERR wrong number of arguments for 'get' command"}});
}

// A value that a snapshot shares is cloned before it changes. The clone has no room to grow, and is smaller.
TEST(Commands, ClonesAreCounted) {
  kv::server s;
  kv_test::feed client(s);
  for (int i = 0; i < 50; ++i) {
    client("append text " + std::string(100, 'x'));
    client("hset hash field" + std::to_string(i) + " value");
  }
  for (int i = 0; i < 40; ++i) client("hdel hash field" + std::to_string(i));
  ++s.keys.epoch;  // as a snapshot's beginning
  s.keys.saving = true;
  client("append text x");
  client("hset hash x y");
  s.keys.saving = false;
  for (auto& shard : s.keys.shards) shard.for_snapshot = {};
  EXPECT_EQ(client("del text hash"), "2");
  EXPECT_EQ(s.keys.bytes(), 0u);
}

TEST(Commands, MaxMemory) {
  kv::server s;
  kv_test::feed client(s);
  client("config set maxmemory 100kb");
  int done = 0;
  while (client("set key" + std::to_string(done) + " " + std::string(100, 'x')) == "OK") ++done;
  EXPECT_GT(done, 300);
  EXPECT_EQ(client("set more 1"), "!OOM command not allowed when used memory > 'maxmemory'.");
  EXPECT_EQ(client("get key0"), std::string(100, 'x'));
  for (const char* policy : {"allkeys-lru", "allkeys-random"}) {
    client(std::string("config set maxmemory-policy ") + policy);
    for (int i = 0; i < 2000; ++i)
      ASSERT_EQ(client("set other" + std::to_string(i) + " " + std::string(100, 'x')), "OK");
    EXPECT_LT(s.keys.bytes(), 105'000u);
  }
  client("config set maxmemory-policy volatile-ttl");  // and nothing has a time to live
  int more = 0;  // in what the last victims have left
  while (more < 100 && client("set more" + std::to_string(more) + " " + std::string(100, 'x')) == "OK") ++more;
  EXPECT_LT(more, 10);
  EXPECT_EQ(client("set more " + std::string(1000, 'x')).substr(0, 4), "!OOM");
}

}  // namespace
