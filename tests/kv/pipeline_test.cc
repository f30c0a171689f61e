// Requests that come together: answered as if they had come one by one.
#include "pipeline.h"

#include <gtest/gtest.h>

#include <random>

#include "feed.h"

namespace {

using kv_test::feed;
using kv_test::request;

/// Each of these has its own way through a session: ordinary ones, lines as one types them, one with many arguments, one
/// that waits, transactions, unknown and wrong ones, a large answer (after which the session wants its answers written).
std::string any_request(std::mt19937& random) {
  const auto key = [&] { return "k" + std::to_string(random() % 40); };
  const auto number = [&] { return std::to_string(random() % 1000); };
  switch (random() % 20) {
    case 0: return "set " + key() + " typed\r\n";
    case 1: return "\r\n";
    case 2: {
      std::vector<std::string> words{"MSET"};
      for (int i = 0; i < 40; ++i) words.insert(words.end(), {key(), number()});
      return request(words);
    }
    case 3: return request({"BLPOP", "nothing-here", "1"});
    case 4: return request({"MULTI"}) + request({"INCR", "count"}) + request({"SET", key(), number()}) + request({"EXEC"});
    case 5: return request({"NO-SUCH-THING", key()});
    case 6: return request({"GET"});
    case 7: return request({"SET", "large", std::string(30'000, 'x')});
    case 8: return request({"GET", "large"}) + request({"GET", "large"}) + request({"GET", "large"});
    case 9: return request({"DEL", key()});
    case 10: return request({"RENAME", key(), key()});
    case 11: return request({"RPUSH", "list", number()}) + request({"LPOP", "list"});
    case 12: return request({"COPY", key(), key(), "REPLACE"});
    case 13: return request({"CLIENT", "REPLY", "SKIP"}) + request({"PING"});
    case 14: return request({"PING"});
    case 15: return request({"APPEND", key(), "more"});
    default: return random() % 2 == 0 ? request({"SET", key(), number()}) : request({"GET", key()});
  }
}

TEST(Pipeline, IsAnsweredAsRequestsOneByOne) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    kv::server one, all, cut;
    feed by_one(one), at_once(all), in_pieces(cut);
    std::string requests, expected;
    for (int i = 0; i < 60; ++i) {
      const std::string r = any_request(random);
      requests += r;
      expected += by_one.bytes(r);
    }
    ASSERT_EQ(at_once.bytes(requests), expected) << "round " << round;
    std::string got;
    for (std::size_t at = 0; at < requests.size();) {
      const std::size_t n = 1 + random() % (random() % 4 == 0 ? 20 : 3000);
      got += in_pieces.bytes(std::string_view(requests).substr(at, n));
      at += n;
    }
    ASSERT_EQ(got, expected) << "round " << round;
  }
}

TEST(Pipeline, WhatComesBehindAPasswordIsAllowed) {
  kv::server s;
  feed admin(s);
  EXPECT_EQ(admin("config set requirepass secret"), "OK");
  feed client(s);
  std::vector<std::string> many{"MSET"};  // more arguments than a stranger may send
  for (int i = 0; i < 40; ++i) many.insert(many.end(), {"k" + std::to_string(i), "v"});
  EXPECT_EQ(client.bytes(request({"PING"}) + request({"AUTH", "secret"}) + request(many) + request({"GET", "k39"})),
            "-NOAUTH Authentication required.\r\n+OK\r\n+OK\r\n$1\r\nv\r\n");
}

TEST(Pipeline, EndsWhereTheClientDoes) {
  for (const char* end : {"*1\r\n$4\r\nQUIT\r\n", "*x\r\n"}) {
    kv::server s;
    feed client(s);
    const std::string answer = client.bytes(request({"SET", "a", "1"}) + request({"GET", "a"}) + end + request({"DEL", "a"}));
    EXPECT_TRUE(answer.starts_with("+OK\r\n$1\r\n1\r\n")) << answer;
    EXPECT_TRUE(client.session.closing);
    feed other(s);
    EXPECT_EQ(other("get a"), "1") << "what stands behind the end is not executed";
  }
}

TEST(Pipeline, TheParserGoesBack) {
  kv::parser p;
  p.feed(request({"GET", "a"}) + request({"GET", "b"}) + "get c\r\n" + request({"GET", "d"}) + "*2\r\n$3\r\nGET\r\n$1");
  ASSERT_EQ(p.next(), kv::parser::command);
  EXPECT_TRUE(p.args_stay());
  const std::string_view first = p.args()[1];
  const std::size_t behind_a = p.place();
  for (const char* key : {"b", "c", "d"}) {
    ASSERT_EQ(p.next(), kv::parser::command);
    EXPECT_EQ(p.args()[1], key);
    EXPECT_EQ(p.args_stay(), *key != 'c') << "a line's words are good until the next request only";
  }
  EXPECT_EQ(p.next(), kv::parser::need_more);
  EXPECT_EQ(first, "a") << "good until room()";
  p.back_to(behind_a);
  for (const char* key : {"b", "c", "d"}) {
    ASSERT_EQ(p.next(), kv::parser::command);
    EXPECT_EQ(p.args()[1], key);
  }
  EXPECT_EQ(p.next(), kv::parser::need_more);
  p.feed("\r\ne\r\n");
  ASSERT_EQ(p.next(), kv::parser::command);
  EXPECT_EQ(p.args()[1], "e");
}

}  // namespace
