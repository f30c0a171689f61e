// The poller beside everything else: scenarios 29 (parallelism with the poller), 48 (break), 75 (deadlines changed
// concurrently), 76 (waiters), 102 (deadlock), storms of signals, hogs, ten thousand connections.
// test: timeout=180
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <random>
#include <thread>

#include "base/fault.h"
#include "gort/net.h"
#include "gort/timer.h"
#include "sched/sched.h"
#include "tests/support/runtime_fixture.h"

using namespace std::chrono_literals;
namespace net = gort::net;
using ::testing::ExitedWithCode;
using gort::test::yield_until;

namespace {

class Poller : public gort::test::RuntimeTestAtProcs {};
class PollerOnTwo : public gort::test::RuntimeTest {};
GORT_TEST_AT_PROCS(Poller);

std::int64_t waiting() { return gort::rt::sched.net_waiting.load(); }

std::pair<net::conn, net::conn> pair() { return net::socket_pair().value(); }

/// A goroutine that waits for the network for as long as this lives.
class Waits {
 public:
  Waits() : ends_(pair()) {
    const std::int64_t before = waiting();
    task_ = gort::spawn([this] {
      char one[1];
      static_cast<void>(ends_.first.read_some(one));
    });
    EXPECT_TRUE(yield_until([=] { return waiting() > before; }));
  }
  ~Waits() { ends_.first.close(); }
  void something_comes() { EXPECT_TRUE(ends_.second.write_all("x")); }

 private:
  std::pair<net::conn, net::conn> ends_;
  gort::task<void> task_;
};

// Scenario 29: as many goroutines as Ps run at the same time, while the poller is slept in.
TEST_P(Poller, ParallelismWithThePoller) {
  GORT_TEST_NEEDS_SIGNALS();
  GORT_TEST_START(GetParam());
  gort::run([] {
    Waits w;
    const auto n = static_cast<unsigned>(GetParam());
    for (int round = 0; round < 3; ++round) {
      std::atomic<unsigned> baton = 0;
      std::vector<gort::task<void>> all;
      for (unsigned p = 0; p < n; ++p) {
        all.push_back(gort::spawn([&, p] {
          for (unsigned i = 0; i < 3; ++i) {
            while (baton.load() != n * i + p) gort::test::poll_for_tsan();
            baton.store(n * i + p + 1);
          }
        }));
      }
      for (auto& t : all) t.get();
    }
  });
}

// Scenario 48: the watcher sleeps in the poller for ever; a foreign thread sets a timer: that goes off.
void break_from_outside(std::atomic<bool>* fired) {
  gort::timer t(1ms);
  t.recv();
  *fired = true;
}

TEST_P(Poller, SleepIsBroken) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    Waits w;
    for (int i = 0; i < 50; ++i) {
      std::atomic<bool> fired = false;
      std::thread outside(break_from_outside, &fired);
      gort::blocking([&] { outside.join(); });
      EXPECT_TRUE(fired);
    }
  });
  EXPECT_EQ(waiting(), 0);
}

// Somebody else's goroutines wait in channels, everybody for something that comes in the end.
TEST_P(Poller, HogsDoNotKeepTheNetworkAway) {
  GORT_TEST_NEEDS_SIGNALS();
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::atomic<bool> stop = false;
    auto [a, b] = pair();
    auto echo = gort::spawn([&b] {
      char room[8];
      while (b.read_some(room).value_or(0) != 0) static_cast<void>(b.write_all("y"));
    });
    std::vector<gort::task<void>> hogs;
    for (int i = 0; i < GetParam(); ++i) {
      hogs.push_back(gort::spawn([&] {
        while (!stop.load(std::memory_order_relaxed)) {
        }
      }));
    }
    for (int i = 0; i < 10; ++i) {
      char room[8];
      ASSERT_TRUE(a.write_all("x"));
      ASSERT_EQ(a.read_some(room).value(), 1u);
    }
    stop = true;
    a.close();
    echo.get();
  });
}

// Ping-pong on a channel that never idles: the network gets its turn.
TEST_P(Poller, BusyChannelsDoNotKeepTheNetworkAway) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::atomic<bool> stop = false;
    gort::chan<int> there(0), back(0);
    std::vector<gort::task<void>> busy;
    busy.push_back(gort::spawn([&] {
      while (!stop) {
        there.send(1);
        back.recv();
      }
      there.close();
    }));
    busy.push_back(gort::spawn([&] {
      while (there.recv()) back.send(1);
    }));
    auto [a, b] = pair();
    auto echo = gort::spawn([&b] {
      char room[8];
      while (b.read_some(room).value_or(0) != 0) static_cast<void>(b.write_all("y"));
    });
    for (int i = 0; i < 20; ++i) {
      char room[8];
      ASSERT_TRUE(a.write_all("x"));
      ASSERT_EQ(a.read_some(room).value(), 1u);
    }
    stop = true;
    a.close();
    echo.get();
    for (auto& t : busy) t.get();
  });
}

// Scenario 75, ConcurrentSetDeadline and ReadWriteDeadlineRace: deadlines are changed by many while others read and write;
// at the end all is as the last one has said.
TEST_P(Poller, DeadlinesAreChangedByMany) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto [a, b] = pair();
    std::atomic<bool> stop = false;
    std::vector<gort::task<void>> all;
    for (unsigned g = 0; g < 4; ++g) {
      all.push_back(gort::spawn([&, g] {
        std::mt19937 random(g);
        for (int i = 0; i < 500; ++i) {
          const auto t = gort::clock::now() + std::chrono::microseconds(static_cast<int>(random() % 400) - 100);
          ASSERT_TRUE(random() % 2 == 0 ? a.set_read_deadline(t) : a.set_deadline(t));
          if (random() % 4 == 0) gort::this_goroutine::sleep_for(50us);
        }
      }));
    }
    auto reader = gort::spawn([&] {
      char room[64];
      while (!stop) {
        const auto n = a.read_some(room);
        if (!n) {
          EXPECT_EQ(n.error(), std::errc::timed_out);
          gort::this_goroutine::yield();
        }
      }
    });
    auto writer = gort::spawn([&] {
      for (int i = 0; i < 150; ++i) {  // few enough to fit: perhaps the reader's time is over for good
        ASSERT_TRUE(b.write_all("x"));
        if (i % 8 == 0) gort::this_goroutine::sleep_for(20us);
      }
    });
    for (auto& t : all) t.get();
    writer.get();
    stop = true;
    ASSERT_TRUE(a.set_deadline(gort::clock::now() - 1s));
    reader.get();
    ASSERT_TRUE(a.set_deadline(net::no_deadline));
    ASSERT_TRUE(b.write_all("x"));
    char room[1024];
    EXPECT_GT(a.read_some(room).value(), 0u);
  });
  EXPECT_EQ(waiting(), 0);
}

// Close races with everything: nobody is lost, descriptors go back.
TEST_P(Poller, CloseRacesWithReadsAndWrites) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (int round = 0; round < 300; ++round) {
      auto [a, b] = pair();
      std::vector<gort::task<void>> all;
      for (int i = 0; i < 2; ++i) {
        all.push_back(gort::spawn([&a] {
          char room[8];
          while (a.read_some(room).value_or(0) != 0) {
          }
        }));
      }
      all.push_back(gort::spawn([&a] {
        while (a.write_all(std::string(1000, 'x'))) {
        }
      }));
      all.push_back(gort::spawn([&b] {
        while (b.write_all("y")) gort::this_goroutine::yield();
      }));
      for (int i = 0; i < round % 7; ++i) gort::this_goroutine::yield();
      std::thread outside;
      if (round % 3 == 0) outside = std::thread([&a] { a.close(); });
      a.close();
      b.close();
      for (auto& t : all) t.get();
      if (outside.joinable()) gort::blocking([&] { outside.join(); });
    }
  });
  EXPECT_EQ(waiting(), 0);
}

std::atomic<int> storms{0};

// EINTR is never seen.
TEST_P(Poller, SignalStorm) {
  GORT_TEST_START(GetParam());
  struct sigaction a {};
  a.sa_handler = [](int) { storms.fetch_add(1); };
  a.sa_flags = SA_ONSTACK;  // calls are not restarted
  ASSERT_EQ(::sigaction(SIGUSR2, &a, nullptr), 0);
  std::atomic<bool> stop = false;
  std::thread storm([&] {
    while (!stop) {
      ::kill(::getpid(), SIGUSR2);
      std::this_thread::sleep_for(50us);
    }
  });
  gort::run([] {
    net::listener l = net::listen("127.0.0.1:0").value();
    for (int i = 0; i < 100 || storms == 0; ++i) {  // the storm's thread may come late
      net::conn c = net::dial(l.local_address()).value();
      net::conn d = l.accept().value();
      const std::string text(100'000, 'x');
      auto writer = gort::spawn([&] { ASSERT_TRUE(c.write_all(text)); });
      std::string got(text.size(), '?');
      ASSERT_EQ(d.read_full(got).value(), text.size());
      writer.get();
    }
  });
  stop = true;
  storm.join();
  EXPECT_GT(storms, 0);
}

TEST_P(Poller, AThousandConnections) {
  GORT_TEST_START(GetParam());
  rlimit r;
  ::getrlimit(RLIMIT_NOFILE, &r);
  r.rlim_cur = r.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &r);
#if defined(GORT_TEST_TSAN)
  const int n = 50;  // two thousand goroutines take TSan minutes
#else
  const int n = r.rlim_max >= 4096 ? 1000 : 100;
#endif
  gort::run([n] {
    net::listener l = net::listen("127.0.0.1:0").value();
    auto server = gort::spawn([&] {
      gort::scope all;
      for (int i = 0; i < n; ++i) {
        all.go([c = l.accept().value()]() mutable {
          char room[64];
          while (const std::size_t k = c.read_some(room).value()) ASSERT_TRUE(c.write_all(net::const_buffer(room, k)));
        });
      }
      all.join();
    });
    std::atomic<int> answered = 0;
    {
      gort::scope all;
      for (int i = 0; i < n; ++i) {
        all.go([&, i] {
          net::conn c = net::dial(l.local_address()).value();
          char room[8];
          for (int k = 0; k < 5; ++k) {
            ASSERT_TRUE(c.write_all(std::to_string(i)));
            ASSERT_GT(c.read_some(room).value(), 0u);
            ++answered;
          }
        });
      }
      all.join();
    }
    server.get();
    EXPECT_EQ(answered, 5 * n);
  });
  EXPECT_EQ(waiting(), 0);
}

/// Another process: connects so often, says something on each connection and waits for the answers, twice. Raw calls only.
[[noreturn]] void talk(int port_from, int n) {
  std::uint16_t port = 0;
  if (::read(port_from, &port, sizeof port) != sizeof port) ::_exit(2);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::vector<int> all;
  for (int i = 0; i < n; ++i) {
    all.push_back(::socket(AF_INET, SOCK_STREAM, 0));
    if (::connect(all.back(), reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) ::_exit(3);
  }
  for (int round = 0; round < 2; ++round) {
    for (const int fd : all) {
      if (::send(fd, "x", 1, 0) != 1) ::_exit(4);
    }
    char one = 0;
    for (const int fd : all) {
      if (::recv(fd, &one, 1, 0) != 1 || one != 'x') ::_exit(5);
    }
  }
  ::_exit(0);
}

// 10,000 connections are open at once, on two Ps. The other ends are in another process, for the descriptors' sake.
TEST_F(PollerOnTwo, TenThousandConnections) {
#if defined(GORT_TEST_TSAN)
  const int n = 50;
#elif defined(GORT_TEST_ASAN)
  const int n = 1000;
#else
  const int n = 10'000;
#endif
  rlimit r;
  ::getrlimit(RLIMIT_NOFILE, &r);
  r.rlim_cur = r.rlim_max;
  if (r.rlim_max < static_cast<rlim_t>(n) + 200 || ::setrlimit(RLIMIT_NOFILE, &r) != 0) {
    GTEST_SKIP() << "RLIMIT_NOFILE allows " << r.rlim_max << " descriptors";
  }
  GORT_TEST_START(2);
  int port_to[2];
  ASSERT_EQ(::pipe(port_to), 0);
  const pid_t child = ::fork();
  if (child == 0) talk(port_to[0], n);
  gort::run([&] {
    net::listener l = net::listen("127.0.0.1:0").value();
    const std::uint16_t port = l.local_address().port();
    ASSERT_EQ(::write(port_to[1], &port, sizeof port), static_cast<ssize_t>(sizeof port));
    gort::scope all;
    for (int i = 0; i < n; ++i) {
      all.go([c = l.accept().value()]() mutable {
        char room[8];
        while (const std::size_t k = c.read_some(room).value()) ASSERT_TRUE(c.write_all(net::const_buffer(room, k)));
      });
    }
    all.join();
  });
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "the other side's exit status, times 256";
  EXPECT_EQ(waiting(), 0);
}

// Scenarios 76 and 102: who waits for the network is no deadlock; when nobody does any more, the rest is one.
class PollerDeadlock : public gort::test::RuntimeTestAtProcs {
 protected:
  void SetUp() override {
#if defined(GORT_TEST_TSAN)
    GTEST_SKIP() << "TSan's own thread counts as foreign: it could call in";
#endif
  }
  void TearDown() override {}
};
GORT_TEST_AT_PROCS(PollerDeadlock);

TEST_P(PollerDeadlock, NotWhileSomebodyWaitsForTheNetwork) {
  EXPECT_EXIT(
      {
        int fds[2];
        ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        if (::fork() == 0) {
          ::usleep(2'200'000);  // a suspicion is looked into at once, and each second
          [[maybe_unused]] const auto n = ::write(fds[1], "x", 1);
          ::_exit(0);
        }
        gort::start({.max_procs = GetParam()});
        gort::run([&] {
          net::conn c = net::conn::adopt(fds[0]).value();
          char one[1];
          if (c.read_some(one).value() == 1) [[maybe_unused]] const auto n = ::write(2, "alive\n", 6);
          gort::chan<int>(0).recv();
        });
      },
      ExitedWithCode(2), "^alive\nfatal error: all goroutines are asleep - deadlock!\n");
}

TEST_P(PollerDeadlock, WhenNobodyWaitsForTheNetworkAnyMore) {
  EXPECT_EXIT(
      {
        gort::start({.max_procs = GetParam()});
        gort::run([] {
          auto [a, b] = pair();
          gort::go([c = std::move(a)]() mutable {
            char one[1];
            static_cast<void>(c.read_some(one));
          });
          ASSERT_TRUE(yield_until([] { return waiting() == 1; }));
          b.close();
          gort::chan<int>(0).recv();
        });
      },
      ExitedWithCode(2), "^fatal error: all goroutines are asleep - deadlock!\n");
}

}  // namespace
