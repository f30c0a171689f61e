// Commands that wait (examples/kv/blocking.h), by clients of the program.
// test: timeout=180
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include "feed.h"
#include "program.h"
#include "tests/support/runtime_fixture.h"

namespace {

using kv_test::client;
using kv_test::request;

struct kv_program : kv_test::program {
  kv_program() : program({"--save-at-end", "no"}) { EXPECT_TRUE(ready()) << output(); }
  kv_test::program& self() { return *this; }
  /// Waits until so many clients wait.
  void await_blocked(int n) {
    const std::string want = "blocked_clients:" + std::to_string(n) + "\r\n";
    while (self()("info clients").find(want) == std::string::npos) ::usleep(1000);
  }
};

/// A client that has sent a command that waits.
client waits(kv_program& p, int blocked, const std::vector<std::string>& words) {
  client c(p.port());
  EXPECT_TRUE(c.send(request(words)));
  p.await_blocked(blocked);
  return c;
}
std::string answer(client& c) {
  std::string got;
  do {
    char room[4096];
    const ssize_t n = ::read(c.fd(), room, sizeof room);
    if (n <= 0) return "(no answer)";
    got.append(room, static_cast<std::size_t>(n));
  } while (kv_test::render(got).find("(incomplete)") != std::string::npos);
  return kv_test::render(got);
}

// A null array after the time is up, of those, too, that answer with an element: as Redis has it.
TEST(Blocking, TimesUp) {
  kv_program p;
  client c(p.port());
  for (const char* line : {"BLPOP q 0.01", "BLMOVE q r LEFT LEFT 0.01", "BRPOPLPUSH q r 0.01", "BLMPOP 0.01 1 q LEFT",
                           "BZPOPMIN q 0.01", "BZMPOP 0.01 1 q MIN"}) {
    ASSERT_TRUE(c.send(std::string(line) + "\r\n"));
    EXPECT_EQ(c.read_until("\r\n"), "*-1\r\n") << line;
  }
}

TEST(Blocking, WhoHasWaitedLongestIsServedFirst) {
  kv_program p;
  client first = waits(p, 1, {"BLPOP", "q", "0"});
  client second = waits(p, 2, {"BRPOP", "other", "q", "0"});
  client third = waits(p, 3, {"BLPOP", "q", "q", "0"});
  EXPECT_EQ(p("rpush q a b c d"), "4");
  EXPECT_EQ(p("lrange q 0 -1"), "[c]") << "served before anybody else looks";
  EXPECT_EQ(answer(first), "[q a]");
  EXPECT_EQ(answer(second), "[q d]");
  EXPECT_EQ(answer(third), "[q b]");
  p.await_blocked(0);
  EXPECT_EQ(p("lpush other x"), "1");
  EXPECT_EQ(p("llen other"), "1") << "nobody waits for it any more";
}

TEST(Blocking, WhatIsThereIsTakenAtOnce) {
  kv_program p;
  p("rpush b 1 2 3");
  EXPECT_EQ(p("blpop a b 0"), "[b 1]");
  EXPECT_EQ(p("brpop a b 0"), "[b 3]");
  EXPECT_EQ(p("blmove b c left right 0"), "2");
  EXPECT_EQ(p("exists b"), "0");
  EXPECT_EQ(p("blmpop 0 2 b c left count 5"), "[c [2]]");
  p("zadd z 1 one 2 two 3 three");
  EXPECT_EQ(p("bzpopmin y z 0"), "[z one 1]");
  EXPECT_EQ(p("bzpopmax y z 0"), "[z three 3]");
  EXPECT_EQ(p("bzmpop 0 1 z min"), "[z [[two 2]]]");
}

TEST(Blocking, TimeIsUp) {
  kv_program p;
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(p("blpop q 0.05"), "nil");
  EXPECT_GE(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(50));
  EXPECT_EQ(p("blmove q r left left 0.01"), "nil");
  EXPECT_EQ(p("bzpopmin q 0.01"), "nil");
  EXPECT_EQ(p("blpop q -1"), "!ERR timeout is negative");
  EXPECT_EQ(p("blpop q soon"), "!ERR timeout is not a float or out of range");
  EXPECT_EQ(p("blpop q 1e300"), "!ERR timeout is out of range");
  EXPECT_EQ(p("ping"), "PONG");
  p.await_blocked(0);
}

TEST(Blocking, Transactions) {
  kv_program p;
  p("multi");
  p("blpop q 0");
  p("blmove q r left left 0");
  EXPECT_EQ(p("exec"), "[nil nil]") << "does not wait";
  client c = waits(p, 1, {"BLPOP", "q", "0"});
  p("multi");
  p("rpush q a");
  p("del q");
  p("rpush q b c");
  EXPECT_EQ(p("exec"), "[1 1 2]");
  EXPECT_EQ(answer(c), "[q b]") << "of what is there when it ends";
  EXPECT_EQ(p("lrange q 0 -1"), "[c]");
}

TEST(Blocking, MovesAreServedOneAfterTheOther) {
  kv_program p;
  client last = waits(p, 1, {"BLPOP", "c", "0"});
  client middle = waits(p, 2, {"BLMOVE", "b", "c", "LEFT", "RIGHT", "0"});
  client first = waits(p, 3, {"BRPOPLPUSH", "a", "b", "0"});
  EXPECT_EQ(p("rpush a x"), "1");
  EXPECT_EQ(answer(first), "x");
  EXPECT_EQ(answer(middle), "x");
  EXPECT_EQ(answer(last), "[c x]");
  EXPECT_EQ(p("dbsize"), "0");
}

TEST(Blocking, OnlyWhatWasWaitedFor) {
  kv_program p;
  p("set s text");
  EXPECT_TRUE(p("blpop s 0").starts_with("!WRONGTYPE"));
  client list = waits(p, 1, {"BLPOP", "k", "0"});
  client zset = waits(p, 2, {"BZPOPMIN", "k", "0"});
  p("set k text");
  p("del k");
  EXPECT_EQ(p("zadd k 5 five"), "1");
  EXPECT_EQ(answer(zset), "[k five 5]");
  client move = waits(p, 2, {"BLMOVE", "m", "s", "LEFT", "LEFT", "0"});
  EXPECT_EQ(p("rpush m x"), "1");
  EXPECT_TRUE(answer(move).starts_with("!WRONGTYPE"));
  EXPECT_EQ(p("lrange m 0 -1"), "[x]");
  EXPECT_EQ(p("rename m k"), "OK");
  EXPECT_EQ(answer(list), "[k x]") << "made by a rename";
}

TEST(Blocking, TheClientGoes) {
  kv_program p;
  client c = waits(p, 1, {"BLPOP", "q", "0"});
  c = client();
  p.await_blocked(0);
  EXPECT_EQ(p("rpush q a"), "1");
  EXPECT_EQ(p("llen q"), "1") << "nobody has taken it";
}

TEST(Blocking, RequestsBehindItWait) {
  kv_program p;
  client c(p.port());
  ASSERT_TRUE(c.send(request({"PING"}) + request({"BLPOP", "q", "0"}) + request({"PING", "one"})));
  EXPECT_EQ(c.read_until("\r\n"), "+PONG\r\n") << "what came before is answered";
  p.await_blocked(1);
  ASSERT_TRUE(c.send(request({"PING", "two"})));
  p("rpush q a");
  EXPECT_EQ(c.read_until("two\r\n"), "*2\r\n$1\r\nq\r\n$1\r\na\r\n$3\r\none\r\n$3\r\ntwo\r\n");
  EXPECT_EQ(c("ping"), "PONG");
}

TEST(Blocking, Unblocked) {
  kv_program p;
  client c(p.port());
  const std::string id = c("client id");
  EXPECT_EQ(p("client unblock " + id), "0");
  for (const char* how : {"", " timeout", " error"}) {
    ASSERT_TRUE(c.send(request({"BLPOP", "q", "0"})));
    p.await_blocked(1);
    EXPECT_EQ(p("client unblock " + id + how), "1");
    EXPECT_EQ(answer(c), *how == ' ' && how[1] == 'e'
                             ? "!UNBLOCKED client unblocked via CLIENT UNBLOCK"
                             : "nil");
  }
}

TEST(Blocking, TheServerEnds) {
  GORT_TEST_NEEDS_SIGNALS();
  kv_program p;
  client c = waits(p, 1, {"BLPOP", "q", "0"});
  p.kill(SIGTERM);
  EXPECT_EQ(p.status(), 0) << p.output();
}

// Everything that is pushed is popped once, whatever ends the waits: elements, time, or both at once.
TEST(Blocking, NothingIsLostOrTwice) {
  kv_program p;
  constexpr int kEach = 2000, kProducers = 2, kConsumers = 6;
  std::atomic<int> popped{0};
  std::vector<std::vector<std::string>> got(kConsumers);
  std::vector<std::thread> all;
  for (int i = 0; i < kConsumers; ++i) {
    all.emplace_back([&, i] {
      client c(p.port());
      const std::string how = i % 3 == 0   ? "blpop q r 0.001"
                              : i % 3 == 1 ? "brpop r q 0.01"
                                           : "blmove q done left right 0.002";
      while (popped.load() < kEach * kProducers) {
        const std::string a = c(how);
        if (a == "nil") continue;
        ASSERT_NE(a, "(no answer)");
        got[static_cast<std::size_t>(i)].push_back(i % 3 == 2 ? a : a.substr(3, a.size() - 4));
        ++popped;
      }
    });
  }
  for (int i = 0; i < kProducers; ++i) {
    all.emplace_back([&, i] {
      client c(p.port());
      for (int k = 0; k < kEach; ++k) {
        const std::string what = std::to_string(i) + "-" + std::to_string(k);
        if (k % 5 == 0) {
          c("multi");
          c("rpush r " + what);
          c("exec");
        } else {
          c((k % 2 == 0 ? "rpush q " : "lpush q ") + what);
        }
      }
    });
  }
  for (std::thread& t : all) t.join();
  std::set<std::string> different;
  std::size_t n = 0;
  for (const auto& g : got) {
    n += g.size();
    different.insert(g.begin(), g.end());
  }
  EXPECT_EQ(n, std::size_t{kEach * kProducers});
  EXPECT_EQ(different.size(), n);
  p.await_blocked(0);
}

}  // namespace
