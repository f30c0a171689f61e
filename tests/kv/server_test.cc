// gort-kv as a process, with clients that behave badly.
// test: timeout=180
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

#include "feed.h"
#include "program.h"
#include "tests/support/runtime_fixture.h"

namespace {

using kv_test::client;
using kv_test::program;

TEST(Server, PipelinesAndLargeValues) {
  program p({"--save-at-end", "no"});
  ASSERT_TRUE(p.ready()) << p.output();
  client c(p.port());
  std::string in, out;
  for (int i = 0; i < 20'000; ++i) {
    in += kv_test::request({"INCR", "n"});
    out += ":" + std::to_string(i + 1) + "\r\n";
  }
  ASSERT_TRUE(c.send(in + "*1\r\n$4\r\nPING\r\n"));
  EXPECT_EQ(c.read_until("+PONG\r\n"), out + "+PONG\r\n");
  const std::string large(20 << 20, 'L');
  ASSERT_TRUE(c.send(kv_test::request({"SET", "large", large})));
  EXPECT_EQ(c.read_until("\r\n"), "+OK\r\n");
  ASSERT_TRUE(c.send(kv_test::request({"GET", "large"}) + kv_test::request({"PING"})));
  EXPECT_EQ(c.read_until("+PONG\r\n").size(), large.size() + 20);
}

TEST(Server, ProtocolErrorsEndTheConnectionAndNothingElse) {
  program p({"--save-at-end", "no", "--proto-max-bulk-len", "1mb"});
  ASSERT_TRUE(p.ready());
  for (const char* bad : {"*1\r\n:1\r\n", "*x\r\n", "*2\r\n$3\r\nGET\r\n$2000000\r\n"}) {
    client c(p.port());
    c.send(bad);
    EXPECT_TRUE(c.read_all().starts_with("-ERR Protocol error")) << bad;
  }
  client endless(p.port());
  endless.send(std::string(200 << 10, 'x'));  // a line without an end
  endless.read_all();
  client half(p.port());
  half.send("*2\r\n$3\r\nGE");  // a client that dies in the middle
  half = client();
  EXPECT_EQ(p("ping"), "PONG");
  EXPECT_NE(p("info stats").find("protocol_errors:4"), std::string::npos);
}

TEST(Server, WhoDoesNotReadIsDisconnected) {
  program p({"--save-at-end", "no", "--write-timeout", "1"});
  ASSERT_TRUE(p.ready());
  p("set large " + std::string(1 << 20, 'x'));
  client slow(p.port());
  std::string many;
  for (int i = 0; i < 100; ++i) many += kv_test::request({"GET", "large"});
  ASSERT_TRUE(slow.send(many));
  // Others are served meanwhile, until it is found out.
  while (p("info stats").find("slow_clients_closed:1") == std::string::npos) ::usleep(10'000);
  EXPECT_EQ(p("ping"), "PONG");
}

TEST(Server, SlowSubscriberIsDisconnected) {
  program p({"--save-at-end", "no"});
  ASSERT_TRUE(p.ready());
  client slow(p.port());
  ASSERT_EQ(slow("subscribe c"), "[subscribe c 1]");
  client second(p.port());
  ASSERT_EQ(second("subscribe c"), "[subscribe c 1]");
  const std::string text(100'000, 'm');
  int sent = 0;
  // `second` reads; `slow` does not, until its inbox is full.
  while (p("publish c " + text) == "2" && sent < 3000) {
    ++sent;
    second.read_until("\r\n");
  }
  EXPECT_LT(sent, 3000);
  EXPECT_EQ(p("ping"), "PONG");
}

// The time to read counts from the beginning of a write, however long ago the subscriber has said something.
/// How often the janitor has looked at all clients.
long sweeps(program& p) {
  const std::string stats = p("info stats");
  const std::size_t at = stats.find("client_sweeps:");
  return at == std::string::npos ? -1 : std::strtol(stats.c_str() + at + 14, nullptr, 10);
}

TEST(Server, OldSubscribersAreNotSlow) {
  program p({"--save-at-end", "no", "--write-timeout", "600"});
  ASSERT_TRUE(p.ready());
  client old(p.port()), waits(p.port());
  ASSERT_EQ(old("subscribe c"), "[subscribe c 1]");
  ASSERT_TRUE(waits.send(kv_test::request({"BLPOP", "list", "0"})));
  while (p("info clients").find("blocked_clients:1") == std::string::npos) ::usleep(10'000);
  ASSERT_EQ(p("debug advance 1000000"), "OK");
  const std::string text(32 << 20, 'm');  // more than sockets hold
  p("publish c " + text);
  p("rpush list " + text);
  const long before = sweeps(p);
  while (sweeps(p) < before + 2) ::usleep(10'000);  // a whole one of them after both began to wait
  EXPECT_GT(old.read_until("m\r\n").size(), text.size());
  EXPECT_GT(waits.read_until("m\r\n").size(), text.size());
  EXPECT_NE(p("info stats").find("slow_clients_closed:0"), std::string::npos);
}

#if !defined(GORT_TEST_ASAN) && !defined(GORT_TEST_TSAN)  // they need all of the address space
// One client's request for which there is no memory is the end of that connection, and of no other.
TEST(Server, NoMemoryForOneClient) {
  program p({"--save-at-end", "no"});
  ASSERT_TRUE(p.ready());
  ASSERT_EQ(p("ping"), "PONG");
  std::ifstream file("/proc/" + std::to_string(p.pid()) + "/statm");
  std::size_t pages = 0;
  ASSERT_TRUE(file >> pages);
  const rlim_t most = pages * 4096 + (256u << 20);
  const rlimit limit{most, most};
  ASSERT_EQ(::prlimit(p.pid(), RLIMIT_AS, &limit, nullptr), 0);
  client greedy(p.port());
  greedy.send("*2\r\n$4\r\nECHO\r\n$500000000\r\n" + std::string(400 << 20, 'x'));
  EXPECT_EQ(greedy.read_all(), "");
  EXPECT_EQ(p("ping"), "PONG");
  client next(p.port());
  EXPECT_EQ(next("ping"), "PONG");
}
#endif

// One huge request, or answer, does not make the connection a large one for good.
TEST(Server, LargeBuffersAreGivenBack) {
  program p({"--save-at-end", "no"});
  ASSERT_TRUE(p.ready());
  const std::string large(20 << 20, 'L');
  client c(p.port());
  ASSERT_TRUE(c.send(kv_test::request({"SET", "large", large})));
  EXPECT_EQ(c.read_until("\r\n"), "+OK\r\n");
  ASSERT_TRUE(c.send(kv_test::request({"GET", "large"}) + kv_test::request({"PING"})));
  EXPECT_EQ(c.read_until("+PONG\r\n").size(), large.size() + 20);
  EXPECT_EQ(c("ping"), "PONG");
  const std::string said = c("client info");
  const auto at = said.find("tot-mem=");
  ASSERT_NE(at, said.npos);
  EXPECT_LT(std::atol(said.c_str() + at + 8), 1 << 20) << said;
}

TEST(Server, MessagesArriveInOrder) {
  program p({"--save-at-end", "no"});
  ASSERT_TRUE(p.ready());
  client c(p.port());
  ASSERT_EQ(c("subscribe c"), "[subscribe c 1]");
  std::string expected;
  for (int i = 0; i < 500; ++i) {
    const std::string n = std::to_string(i);
    ASSERT_EQ(p("publish c " + n), "1");
    expected +=
        "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$" + std::to_string(n.size()) + "\r\n" + n + "\r\n";
  }
  c.send("PING\r\n");
  std::string got = c.read_until("$4\r\npong\r\n$0\r\n\r\n");
  EXPECT_TRUE(got.starts_with(expected) || got.find("pong") != got.npos);
  std::erase(got, '\0');
  EXPECT_EQ(got.size(), expected.size() + std::string("*2\r\n$4\r\npong\r\n$0\r\n\r\n").size());
}

TEST(Server, ManyIdleConnections) {
  rlimit files;
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
#if defined(GORT_TEST_TSAN)
  constexpr int kMost = 4'000;  // each has a goroutine, and TSan holds 8128
#else
  constexpr int kMost = 10'000;
#endif
  const int n = static_cast<int>(std::min<rlim_t>(kMost, files.rlim_cur - 100));
  program p({"--save-at-end", "no", "--maxclients", std::to_string(n + 1)});
  ASSERT_TRUE(p.ready());
  std::vector<client> all;
  for (int i = 0; i < n; ++i) {
    all.emplace_back(p.port());
    ASSERT_TRUE(all.back().connected()) << i;
  }
  for (int i = 0; i < n; i += 500) EXPECT_EQ(all[static_cast<std::size_t>(i)]("ping"), "PONG");
  while (p("info clients").find("connected_clients:" + std::to_string(n + 1)) == std::string::npos)
    ::usleep(10'000);
  client one_more(p.port());
  EXPECT_EQ(one_more.read_all(), "-ERR max number of clients reached\r\n");
  all.clear();
  while (p("info clients").find("connected_clients:1\r") == std::string::npos) ::usleep(10'000);
}

TEST(Server, HogsDoNotStopIt) {
  GORT_TEST_NEEDS_SIGNALS();
  program p({"--save-at-end", "no"}, {"GORT_MAXPROCS=2"});
  ASSERT_TRUE(p.ready());
  EXPECT_EQ(p("debug hog 4"), "OK");
  for (int i = 0; i < 50; ++i) ASSERT_EQ(p("incr n"), std::to_string(i + 1));
  EXPECT_NE(p("debug stacks").find("hog"), std::string::npos);
  EXPECT_TRUE(p("debug stopworld").starts_with("!ERR the world could not be stopped"));
  EXPECT_EQ(p("config set maxprocs 1"), "OK");
  EXPECT_EQ(p("ping"), "PONG");
  EXPECT_EQ(p("config set maxprocs 2"), "OK");
  EXPECT_EQ(p("debug hog 0"), "OK");
  EXPECT_NE(p("debug stopworld 1").substr(0, 1), "!");
}

TEST(Server, EndsWell) {
  GORT_TEST_NEEDS_SIGNALS();
  const kv_test::temporary dir;
  {
    program p({"--dir", dir.path});
    ASSERT_TRUE(p.ready());
    std::vector<client> others;
    for (int i = 0; i < 20; ++i) others.emplace_back(p.port());
    p("set a 1");
    p("debug hog 2");
    p.kill(SIGTERM);
    EXPECT_EQ(p.status(), 0) << p.output();
    EXPECT_EQ(others[3].read_all(), "");
  }
  {
    program p({"--dir", dir.path});
    ASSERT_TRUE(p.ready()) << p.output();
    EXPECT_EQ(p("get a"), "1");
    p("set a 2");
    p("shutdown nosave");
    EXPECT_EQ(p.status(), 0);
  }
  program p({"--dir", dir.path});
  ASSERT_TRUE(p.ready());
  EXPECT_EQ(p("get a"), "1");
}

TEST(Server, ASecondOneOnThePortSaysSo) {
  program p({"--save-at-end", "no"});
  ASSERT_TRUE(p.ready());
  program q({"--save-at-end", "no", "--port", std::to_string(p.port())});
  EXPECT_FALSE(q.ready());
  EXPECT_EQ(q.status(), 1);
  EXPECT_NE(q.output().find("cannot listen"), std::string::npos) << q.output();
}

}  // namespace
