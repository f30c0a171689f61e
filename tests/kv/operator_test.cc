// gort-kv as a process, and what happens around it: signals, limits of the system, clients that come all at once.
// test: timeout=180
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "feed.h"
#include "program.h"
#include "tests/support/runtime_fixture.h"

namespace {

using kv_test::client;
using kv_test::program;

/// A number in INFO; -1: not there.
long number(program& p, const std::string& section, const std::string& name) {
  const std::string all = p("info " + section);
  const std::size_t at = all.find(name + ":");
  return at == all.npos ? -1 : std::strtol(all.c_str() + at + name.size() + 1, nullptr, 10);
}

TEST(Operator, TheTerminalMayGo) {
  GORT_TEST_NEEDS_SIGNALS();
  program p({"--save-at-end", "no"});
  ASSERT_TRUE(p.ready());
  ::kill(p.pid(), SIGHUP);
  ::kill(p.pid(), SIGPIPE);
  for (int i = 0; i < 20; ++i) ASSERT_EQ(p("ping"), "PONG");
}

// The soft limit of open files is commonly 1024; a server of 10,000 clients raises it.
TEST(Operator, MoreClientsThanTheShellAllows) {
  rlimit now;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &now), 0);
  constexpr rlim_t kFew = 200;
  if (now.rlim_max < 1000)
    GTEST_SKIP() << "no more than " << now.rlim_max << " open files are allowed here";
  const rlimit few = {kFew, now.rlim_max}, many = {1000, now.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  program p({"--save-at-end", "no"});
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &many), 0);
  ASSERT_TRUE(p.ready()) << p.output();
  std::vector<client> all;
  for (rlim_t i = 0; i < 2 * kFew; ++i) {
    all.emplace_back(p.port());
    ASSERT_EQ(all.back()("ping"), "PONG") << i;
  }
  const long most = number(p, "clients", "maxclients");
  EXPECT_GE(most, 2 * static_cast<long>(kFew));
  EXPECT_LE(most, static_cast<long>(now.rlim_max));
  EXPECT_TRUE(
      p("config set maxclients 1000000").starts_with(now.rlim_max > 1'000'064 ? "OK" : "!ERR"));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &now), 0);
}

TEST(Operator, NoMoreClientsThanAllowedHoweverFastTheyCome) {
  program p({"--save-at-end", "no", "--maxclients", "5"}, {"GORT_MAXPROCS=1"});
  ASSERT_TRUE(p.ready());
  std::vector<client> all;
  for (int i = 0; i < 100; ++i) all.emplace_back(p.port());
  int served = 0;
  for (client& c : all) {
    c.send("*1\r\n$4\r\nPING\r\n");
    const std::string answer = c.read_until("\r\n");
    served += answer == "+PONG\r\n";
  }
  EXPECT_GE(served, 1);
  EXPECT_LE(served, 5);
  all.clear();
  while (number(p, "clients", "connected_clients") != 1) ::usleep(10'000);
  EXPECT_EQ(client(p.port())("ping"), "PONG") << "their places are free again";
}

// Slow is who reads nothing for --write-timeout, not who needs longer for a large answer.
TEST(Operator, WhoReadsSlowlyIsNotDisconnected) {
  program p({"--save-at-end", "no", "--write-timeout", "60"});
  ASSERT_TRUE(p.ready());
  const std::string large(64 << 20, 'x');
  ASSERT_EQ(p("set large " + large), "OK");
  client slow(p.port());
  const int little = 256 << 10;  // what the kernel may hold for it
  ::setsockopt(slow.fd(), SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
  ASSERT_TRUE(slow.send(kv_test::request({"GET", "large"})));
  std::vector<char> room(16 << 20);  // far more than sockets hold
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(::recv(slow.fd(), room.data(), room.size(), MSG_WAITALL),
              static_cast<ssize_t>(room.size()))
        << i;
    ASSERT_EQ(p("debug advance 35000"), "OK");
    const long before = number(p, "stats", "client_sweeps");
    while (number(p, "stats", "client_sweeps") < before + 2) ::usleep(10'000);
  }
  EXPECT_EQ(slow.read_until("x\r\n").size() + 2 * room.size(),
            large.size() + std::string("$67108864\r\n\r\n").size());
  EXPECT_EQ(number(p, "stats", "slow_clients_closed"), 0);
}

// So slowly that the server can write nothing more for several times --write-timeout: the kernel does not wake a writer before
// much of its buffer is free.
TEST(Operator, WhoReadsALittleNowAndThenIsNotDisconnected) {
  program p({"--save-at-end", "no", "--write-timeout", "60"});
  ASSERT_TRUE(p.ready());
  ASSERT_EQ(p("setrange large 16000000 x"), "16000001");
  client slow(p.port());
  const int little = 4 << 10;
  ::setsockopt(slow.fd(), SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
  ASSERT_TRUE(slow.send(kv_test::request({"GET", "large"})));
  std::vector<char> room(16 << 10);
  const auto time_passes = [&] {
    ASSERT_EQ(p("debug advance 40000"), "OK");
    const long before = number(p, "stats", "client_sweeps");
    while (number(p, "stats", "client_sweeps") < before + 2) ::usleep(10'000);
  };
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(::recv(slow.fd(), room.data(), room.size(), MSG_WAITALL),
              static_cast<ssize_t>(room.size()))
        << i;
    time_passes();
    ASSERT_EQ(number(p, "stats", "slow_clients_closed"), 0) << i;
  }
  for (int i = 0; i < 4 && number(p, "stats", "slow_clients_closed") == 0; ++i) time_passes();
  EXPECT_EQ(number(p, "stats", "slow_clients_closed"), 1) << "it reads nothing any more";
}

// A client's SAVE is not given up in the middle when the server ends: who waits for it would wait for ever.
TEST(Operator, EndsWhileAClientSaves) {
  GORT_TEST_NEEDS_SIGNALS();
  const kv_test::temporary dir;
  {
    program p({"--dir", dir.path});
    ASSERT_TRUE(p.ready());
    for (int i = 0; i < 3000; ++i) ASSERT_EQ(p("set k" + std::to_string(i) + " v"), "OK");
    ASSERT_EQ(p("debug save-delay 60000"), "OK");  // longer than clients are waited for at the end
    client saves(p.port());
    ASSERT_TRUE(saves.send(kv_test::request({"SAVE"})));
    while (number(p, "persistence", "rdb_bgsave_in_progress") != 1) ::usleep(1000);
    p.kill(SIGTERM);
    EXPECT_EQ(p.status(), 0) << p.output();
  }
  program p({"--dir", dir.path});
  ASSERT_TRUE(p.ready());
  EXPECT_EQ(p("dbsize"), "3000");
}

TEST(Operator, LargeMessagesDoNotPileUp) {
  program p({"--save-at-end", "no"});
  ASSERT_TRUE(p.ready());
  client slow(p.port());
  ASSERT_EQ(slow("subscribe c"), "[subscribe c 1]");
  const std::string text(1 << 20, 'm');
  int sent = 0;
  while (p("publish c " + text) == "1" && sent < 200) ++sent;
  EXPECT_LT(sent, 200) << "MiB; 32 may wait, as many are being written, and sockets hold some";
}

TEST(Operator, SavesByItself) {
  GORT_TEST_NEEDS_SIGNALS();
  const kv_test::temporary dir;
  {
    program p({"--dir", dir.path, "--save", "1 2"});
    ASSERT_TRUE(p.ready());
    EXPECT_EQ(p("config get save"), "[save 1 2]");
    p("set a 1");
    p("set b 2");
    while (number(p, "persistence", "rdb_changes_since_last_save") != 0) ::usleep(10'000);
    p.kill(SIGKILL);
  }
  program p({"--dir", dir.path});
  ASSERT_TRUE(p.ready()) << p.output();
  EXPECT_EQ(p("mget a b"), "[1 2]");
}

// Who asks for the end is told that nothing can be saved, as long as there is something to save.
TEST(Operator, ShutdownIsRefusedWhenItCannotSave) {
  GORT_TEST_NEEDS_SIGNALS();
  const kv_test::temporary dir;
  const std::string data = dir.path + "/data";
  ASSERT_EQ(::mkdir(data.c_str(), 0755), 0);
  program p({"--dir", data});
  ASSERT_TRUE(p.ready());
  p("set a 1");
  ASSERT_EQ(::rmdir(data.c_str()), 0);
  EXPECT_TRUE(p("shutdown").starts_with("!ERR Errors trying to SHUTDOWN: cannot create"));
  EXPECT_EQ(p("get a"), "1");
  ASSERT_EQ(::mkdir(data.c_str(), 0755), 0);
  p("shutdown");
  EXPECT_EQ(p.status(), 0) << p.output();
  program q({"--dir", data});
  ASSERT_TRUE(q.ready());
  EXPECT_EQ(q("get a"), "1");
  q("set a 2");
  EXPECT_EQ(q("save"), "OK");
  q("set a 3");
  q.kill(SIGTERM);
  EXPECT_EQ(q.status(), 0);
  program r({"--dir", data});
  ASSERT_TRUE(r.ready());
  EXPECT_EQ(r("get a"), "3") << "saved again, since it had changed";
}

// It may have been meant for another port, or not at all: the first one's snapshot does not suffer.
TEST(Operator, ASecondOneInTheDirectoryLeavesASaveAlone) {
  const kv_test::temporary dir;
  program p({"--dir", dir.path, "--save-at-end", "no"});
  ASSERT_TRUE(p.ready());
  for (int i = 0; i < 100; ++i) p("set key" + std::to_string(i) + " x");
  ASSERT_EQ(p("debug save-delay 20000"), "OK");
  ASSERT_EQ(p("bgsave"), "Background saving started");
  program q({"--dir", dir.path, "--save-at-end", "no"});
  ASSERT_TRUE(q.ready());
  ASSERT_EQ(number(p, "persistence", "rdb_bgsave_in_progress"), 1) << "it should have taken longer";
  ASSERT_EQ(p("debug save-delay 0"), "OK");
  while (number(p, "persistence", "rdb_bgsave_in_progress") != 0) ::usleep(10'000);
  EXPECT_NE(p("info persistence").find("rdb_last_bgsave_status:ok"), std::string::npos) << p.output();
  EXPECT_EQ(q.output().find("removed"), std::string::npos) << q.output();
}

TEST(Operator, WhatIsNoDirectoryAndWhatIsNoFile) {
  const kv_test::temporary dir;
  program missing({"--dir", dir.path + "/misspelt"});
  EXPECT_FALSE(missing.ready());
  EXPECT_EQ(missing.status(), 1);
  EXPECT_NE(missing.output().find("/misspelt: No such file"), std::string::npos) << missing.output();
  ASSERT_EQ(::mkfifo((dir.path + "/fifo").c_str(), 0600), 0);
  program fifo({"--dir", dir.path, "--dbfilename", "fifo"});
  EXPECT_FALSE(fifo.ready()) << "it does not wait for somebody who writes";
  EXPECT_EQ(fifo.status(), 1);
  program in_file({"--dir", dir.path + "/fifo"});
  EXPECT_FALSE(in_file.ready());
  EXPECT_NE(in_file.output().find("Not a directory"), std::string::npos) << in_file.output();
}

// A snapshot that is larger than files may be (ulimit -f) fails. The system's usual answer is to end the process.
TEST(Operator, FilesMayBeTooSmallForASnapshot) {
  GORT_TEST_NEEDS_SIGNALS();
  const kv_test::temporary dir;
  rlimit now;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &now), 0);
  const rlimit few = {64 << 10, now.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &few), 0);
  program p({"--dir", dir.path, "--save-at-end", "no"});
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &now), 0);
  ASSERT_TRUE(p.ready());
  ASSERT_EQ(p("set small x"), "OK");
  ASSERT_EQ(p("save"), "OK");
  ASSERT_EQ(p("set large " + std::string(200'000, 'x')), "OK");
  EXPECT_NE(p("save").find("File too large"), std::string::npos);
  EXPECT_EQ(p("strlen large"), "200000");
  program q({"--dir", dir.path, "--save-at-end", "no"});
  ASSERT_TRUE(q.ready()) << q.output();
  EXPECT_EQ(q("keys *"), "[small]") << "the last one that was whole";
}

// Client libraries send all of a pipeline before they read the first answer. Sockets have no room for all of either.
TEST(Operator, LongPipelinesNeedNotBeReadMeanwhile) {
  program p({"--save-at-end", "no"});
  ASSERT_TRUE(p.ready());
  ASSERT_EQ(p("set large " + std::string(1000, 'x')), "OK");
  client c(p.port());
  const int little = 64 << 10;
  ::setsockopt(c.fd(), SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
  const timeval patience = {20, 0};
  ::setsockopt(c.fd(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  constexpr int kRequests = 500'000;
  std::string all;
  for (int i = 0; i < kRequests; ++i) all += kv_test::request({"GET", "large"});
  ASSERT_TRUE(c.send(all + kv_test::request({"ECHO", "end"})));
  const std::string answers = c.read_until("$3\r\nend\r\n");
  EXPECT_EQ(answers.size(), kRequests * (std::string("$1000\r\n\r\n").size() + 1000) + std::string("$3\r\nend\r\n").size());
  EXPECT_EQ(c("get large").size(), 1000u);
}

}  // namespace
