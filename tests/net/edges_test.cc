// What a service meets seldom: peers that are gone, queues that are full, ports that meet themselves, paths that change hands.
// test: timeout=120
#include <fcntl.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <functional>

#include "gort/net.h"
#include "gort/os.h"
#include "gort/testing/bubble.h"
#include "gort/timer.h"
#include "tests/support/runtime_fixture.h"

using namespace std::chrono_literals;
namespace net = gort::net;
using gort::test::yield_until;

namespace {
std::function<void()> before_unlink;
}

// In the place of libc's: what somebody else could do at that moment.
extern "C" int unlink(const char* path) noexcept {
  if (before_unlink) std::exchange(before_unlink, nullptr)();
  return static_cast<int>(::syscall(SYS_unlink, path));
}

namespace {

class Edges : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(Edges);

std::pair<net::conn, net::conn> tcp_pair() {
  net::listener l = net::listen("127.0.0.1:0").value();
  net::conn a = net::dial(l.local_address()).value();
  net::conn b = l.accept().value();
  return {std::move(a), std::move(b)};
}

std::string temporary(const char* name) { return "/tmp/gort_edges_" + std::to_string(::getpid()) + name; }

// sendfile has no flag against SIGPIPE, whose default action is the end of the process.
TEST_P(Edges, SendfileToWhoIsGoneIsAnError) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const std::string path = temporary(".data");
    constexpr std::uint64_t kSize = 64 << 20;
    gort::os::file f = gort::os::file::open(path, gort::os::open_mode::read_write).value();
    ASSERT_TRUE(f.truncate(kSize));
    auto [a, b] = tcp_pair();
    std::uint64_t written = 0;
    auto sends = gort::spawn([&] { return a.sendfile(f.native_handle(), 0, kSize, &written); });
    std::vector<char> some(1 << 20);
    EXPECT_EQ(b.read_full(some).value(), some.size());
    ASSERT_TRUE(b.set_linger(0s));
    b.close();
    const auto r = sends.get();
    ASSERT_FALSE(r);
    EXPECT_TRUE(r.error() == std::errc::broken_pipe || r.error() == std::errc::connection_reset) << r.error().message();
    EXPECT_GE(written, some.size());
    EXPECT_LT(written, kSize);
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(a.sendfile(f.native_handle(), 0, kSize, &written));
    EXPECT_EQ(a.sendfile(f.native_handle(), 0, kSize, &written).error(), std::errc::broken_pipe);
    EXPECT_EQ(written, 0u);
    ::unlink(path.c_str());
  });
}

// The kernel does not let a non-blocking connect wait for it.
TEST_P(Edges, AFullUnixListenerIsWaitedFor) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const std::string path = "@gort_edges_" + std::to_string(::getpid());
    net::listener l = net::listen(path, {.backlog = 1}).value();
    std::vector<net::conn> queued;
    for (int i = 0; i < 2; ++i) queued.push_back(net::dial(path).value());
    {
      gort::with_timeout limit(20ms);
      EXPECT_EQ(net::dial(path).error(), std::errc::operation_canceled);
    }
    constexpr int kMore = 20;
    std::vector<gort::task<net::result<net::conn>>> dials;
    std::atomic<int> begun{0};
    for (int i = 0; i < kMore; ++i) {
      dials.push_back(gort::spawn([&] {
        ++begun;
        return net::dial(path);
      }));
    }
    EXPECT_TRUE(yield_until([&] { return begun == kMore; }));
    std::vector<net::conn> accepted;
    for (int i = 0; i < kMore + 2; ++i) accepted.push_back(l.accept().value());
    for (auto& d : dials) {
      const auto c = d.get();
      EXPECT_TRUE(c) << c.error().message();
    }
  });
}

/// A network of our own, in which the system has four ports to choose from. False: not allowed.
bool few_ports() {
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWNET) != 0) return false;
  const int any = ::socket(AF_INET, SOCK_DGRAM, 0);
  ifreq up{};
  std::strcpy(up.ifr_name, "lo");
  up.ifr_flags = IFF_UP | IFF_RUNNING;
  const bool is_up = ::ioctl(any, SIOCSIFFLAGS, &up) == 0;
  ::close(any);
  std::ofstream range("/proc/sys/net/ipv4/ip_local_port_range");
  return is_up && (range << "40000 40003\n").flush().good();
}

// Nobody listens on the port, but the system may choose just that one for who dials.
TEST_P(Edges, NobodyIsConnectedWithHimself) {
  if (!few_ports()) GTEST_SKIP() << "needs a network namespace";
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (int i = 0; i < 400; ++i) {
      const auto c = net::dial(net::address::loopback(static_cast<std::uint16_t>(40000 + i % 4)));
      ASSERT_FALSE(c) << "after " << i << ": " << c->local_address().to_string() << " to " << c->peer_address().to_string();
      ASSERT_EQ(c.error(), std::errc::connection_refused) << i;
    }
    const auto l = net::listen(net::address::loopback(40000), {.reuse_address = false});
    EXPECT_TRUE(l) << "nothing is left of those: " << l.error().message();
    // Who asks for it gets it.
    const net::address same = net::address::loopback(40001);
    EXPECT_TRUE(net::dial(same, {.local = same}));
  });
}

// Whoever listens on the path next must not lose it to who listened before.
TEST_P(Edges, APathIsRemovedBeforeAnotherCanHaveIt) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const std::string path = temporary(".sock");
    net::listener first = net::listen(path).value();
    net::listener second;
    before_unlink = [&] {
      auto l = net::listen(path);
      if (l) second = *std::move(l);
    };
    first.close();
    EXPECT_FALSE(second.is_open()) << "somebody listened there, still";
    second = net::listen(path).value();
    first.close();
    EXPECT_TRUE(net::dial(path)) << "closing again removes nobody's path";
    second.close();
    EXPECT_NE(::access(path.c_str(), F_OK), 0);

    net::datagram one = net::bind_datagram(path).value();
    net::datagram two;
    before_unlink = [&] {
      auto d = net::bind_datagram(path);
      if (d) two = *std::move(d);
    };
    one.close();
    EXPECT_FALSE(two.is_open());
    EXPECT_TRUE(net::bind_datagram(path));
  });
}

// Others close it while the path is being removed, and while somebody accepts.
TEST_P(Edges, PathsAreClosedByMany) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const std::string path = temporary(".many");
    for (int i = 0; i < 50; ++i) {
      net::listener l = net::listen(path).value();
      gort::scope all;
      for (int k = 0; k < 3; ++k) {
        all.go([&] {
          while (l.accept()) {
          }
        });
        all.go([&] { l.close(); });
      }
      all.join();
      ASSERT_NE(::access(path.c_str(), F_OK), 0);
    }
  });
}

// Without descriptors for a long time: the end comes soon all the same, in the time of a bubble.
TEST_P(Edges, AcceptSomeSeesTheEndWhileItPauses) {
  GORT_TEST_START(GetParam());
  net::listener l = net::listen("127.0.0.1:0").value();
  net::conn a = net::dial(l.local_address()).value();
  gort::testing::bubble::run([&] {
    std::vector<int> all;
    rlimit before;
    ::getrlimit(RLIMIT_NOFILE, &before);
    const rlimit few{256, before.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &few);
    for (int fd; (fd = ::open("/dev/null", O_RDONLY)) >= 0;) all.push_back(fd);
    auto server = gort::spawn([&] { return l.accept_some(); });
    gort::this_goroutine::sleep_for(10s + 1ms);
    const auto closed = gort::clock::now();
    l.close();
    EXPECT_EQ(server.get().error(), net::closed);
    EXPECT_LE(gort::clock::now() - closed, 10ms);
    for (const int fd : all) ::close(fd);
    ::setrlimit(RLIMIT_NOFILE, &before);
  });
}

TEST_P(Edges, NoRoomForBytesIsNoWaitForDescriptors) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto [a, b] = net::socket_pair().value();
    ASSERT_TRUE(b.set_read_timeout(20ms));
    std::vector<int> fds;
    EXPECT_EQ(b.read_with_fds(net::buffer(), &fds).value(), 0u);
    const int sent[] = {a.native_handle()};
    ASSERT_TRUE(a.write_with_fds("x", sent));
    EXPECT_EQ(b.read_with_fds(net::buffer(), &fds).value(), 0u);
    EXPECT_TRUE(fds.empty());
    char one[1];
    ASSERT_TRUE(b.set_read_deadline(net::no_deadline));
    EXPECT_EQ(b.read_with_fds(one, &fds).value(), 1u);
    ASSERT_EQ(fds.size(), 1u) << "they are still there";
    ::close(fds[0]);
  });
}

class EdgesOnOne : public gort::test::RuntimeTest {};

// Without signals (and under TSan) goroutines are stopped at calls into gort only: each of these is one, although it does not wait.
TEST_F(EdgesOnOne, CallsThatNeedNotWaitArePlacesToBeStopped) {
  ::setenv("GORT_DEBUG", "asyncpreemptoff=1", 1);
  GORT_TEST_START(1);
  gort::run([] {
    auto [a, b] = net::socket_pair().value();
    auto [gone, peer] = net::socket_pair().value();
    net::listener l = net::listen("127.0.0.1:0").value();
    net::datagram d = net::bind_datagram("127.0.0.1:0").value();
    const net::address to = d.local_address();
    gort::os::file f = gort::os::file::open("/dev/zero").value();
    auto child = gort::os::start({.argv = {"sleep", "1000"}}).value();
    ASSERT_TRUE(gone.set_deadline(gort::clock::now()));
    peer.close();
    ASSERT_TRUE(l.set_accept_deadline(gort::clock::now()));
    char one[1];
    const std::pair<const char*, std::function<void()>> calls[] = {
        {"read and write", [&] { ASSERT_TRUE(a.write_all("x") && b.read_some(one)); }},
        {"vectors", [&] {
           const net::const_buffer out[] = {"x"};
           const net::buffer in[] = {one};
           ASSERT_TRUE(a.writev(out) && b.readv(in));
         }},
        {"datagrams", [&] { ASSERT_TRUE(d.send_to("x", to) && d.receive_from(one)); }},
        {"a deadline that has passed", [&] { ASSERT_FALSE(gone.read_some(one)); }},
        {"accept after its deadline", [&] { ASSERT_FALSE(l.accept()); }},
        {"closed", [&] { ASSERT_FALSE(peer.read_some(one)); }},
        {"options", [&] { ASSERT_TRUE(a.set_send_buffer(100'000)); }},
        {"addresses", [&] { ASSERT_NE(l.local_address(), net::address()); }},
        {"files", [&] { ASSERT_TRUE(f.read_some(one)); }},
        {"kill", [&] { ASSERT_TRUE(child.kill(0)); }},
    };
    for (const auto& [name, call] : calls) {
      bool begun = false, end = false;
      int late = 0;
      auto busy = gort::spawn([&, once = call] {
        const auto limit = gort::clock::now() + 10s;
        for (begun = true; !end && late == 0; late = gort::clock::now() > limit) once();
      });
      while (!begun) gort::this_goroutine::yield();
      end = true;
      busy.get();
      EXPECT_EQ(late, 0) << name;
    }
  });
}

}  // namespace
