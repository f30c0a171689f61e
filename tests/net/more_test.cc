// Datagrams, Unix sockets, descriptors that travel, dialing, names, options.
// test: timeout=120
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>

#include "api/net_socket.h"
#include "gort/net.h"
#include "gort/os.h"
#include "sched/sched.h"
#include "sched/spawn.h"
#include "tests/support/runtime_fixture.h"

using namespace std::chrono_literals;
namespace net = gort::net;
using gort::test::yield_until;

namespace {

class NetMore : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(NetMore);

std::int64_t waiting() { return gort::rt::sched.net_waiting.load(); }

std::string temporary(const char* name) {
  static int n = 0;
  return "/tmp/gort_test_" + std::to_string(::getpid()) + "_" + std::to_string(++n) + name;
}

TEST_P(NetMore, Addresses) {
  for (const char* text : {"127.0.0.1:80", "[::1]:6379", "[::]:0", "/run/x.sock", "@name"}) {
    EXPECT_EQ(net::address::parse(text).value().to_string(), text);
  }
  EXPECT_EQ(net::address::parse(":80").value().to_string(), "[::]:80");
  EXPECT_EQ(net::address::parse("1.2.3.4:5").value(), net::address::ipv4(0x01020304, 5));
  EXPECT_EQ(net::address::parse("1.2.3.4:5").value().with_port(6).port(), 6);
  for (const char* text : {"", "localhost:80", "1.2.3.4", "1.2.3:4", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:65536", "[::1:80", "::1:80x",
                           "[fe80::1%]:80", "[fe80::1%99999999999]:80"}) {
    EXPECT_EQ(net::address::parse(text).error(), std::errc::invalid_argument) << text;
  }
  for (const std::string_view text : {std::string_view("1.2.3.4\0.org:80", 15), std::string_view("[::1\0x]:80", 10)}) {
    EXPECT_EQ(net::address::parse(text).error(), std::errc::invalid_argument);
  }
  EXPECT_EQ(net::address::local(std::string(200, '/')).error(), std::errc::filename_too_long);
  EXPECT_EQ(net::address().to_string(), "");
}

TEST_P(NetMore, Datagrams) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (const std::string& where : {std::string("127.0.0.1:0"), temporary(".sock")}) {
      net::datagram s = net::bind_datagram(where).value();
      auto server = gort::spawn([&] {
        char room[16];
        for (;;) {
          const auto m = s.receive_from(room);
          if (!m) return m.error();
          EXPECT_EQ(m->truncated, m->size == sizeof room);
          EXPECT_TRUE(s.send_to(std::string_view(room, m->size), m->from));
        }
      });
      net::datagram c = net::dial_datagram(s.local_address()).value();
      char room[32];
      for (const std::string& text : {std::string("one"), std::string(), std::string(30, 'x')}) {
        ASSERT_TRUE(c.send(text));
        const std::size_t n = c.receive(room).value();
        EXPECT_EQ(std::string(room, n), text.substr(0, 16));
      }
      ASSERT_TRUE(c.set_read_deadline(gort::clock::now() + 5ms));
      EXPECT_EQ(c.receive(room).error(), std::errc::timed_out);
      s.close();
      EXPECT_EQ(server.get(), net::closed);
      if (where[0] == '/') {
        EXPECT_NE(::access(where.c_str(), F_OK), 0);
      }
    }
  });
  EXPECT_EQ(waiting(), 0);
}

TEST_P(NetMore, UnixListenersAndTheirPaths) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const std::string path = temporary(".sock");
    {
      net::listener l = net::listen(path).value();
      net::conn a = net::dial(path).value();
      net::conn b = l.accept().value();
      ASSERT_TRUE(a.write_all("x"));
      char one[1];
      EXPECT_EQ(b.read_some(one).value(), 1u);
      EXPECT_EQ(net::listen(path).error(), std::errc::address_in_use);
    }
    EXPECT_NE(::access(path.c_str(), F_OK), 0);
    // What an ended process has left behind is removed.
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    const net::address where = net::address::parse(path).value();
    ASSERT_EQ(::bind(fd, static_cast<const sockaddr*>(where.raw()), where.raw_size()), 0);
    ::close(fd);
    ASSERT_EQ(::access(path.c_str(), F_OK), 0);
    net::listener l = net::listen(path).value();
    net::listener abstract = net::listen("@gort_test_" + std::to_string(::getpid())).value();
    net::conn c = net::dial(abstract.local_address()).value();
  });
}

TEST_P(NetMore, DescriptorsTravel) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto [a, b] = net::socket_pair().value();
    auto [r, w] = gort::os::pipe().value();
    const int fds[] = {r.native_handle(), w.native_handle()};
    auto receiver = gort::spawn([&b] {
      char room[64];
      std::vector<int> got;
      EXPECT_EQ(b.read_with_fds(room, &got).value(), 5u);
      EXPECT_EQ(got.size(), 2u);
      for (const int fd : got) EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
      return got;
    });
    EXPECT_EQ(a.write_with_fds("hello", fds).value(), 5u);
    const std::vector<int> got = receiver.get();
    ASSERT_EQ(got.size(), 2u);
    r.close();
    w.close();
    net::conn r2 = net::conn::adopt(got[0]).value();
    net::conn w2 = net::conn::adopt(got[1]).value();
    ASSERT_TRUE(w2.write_all("through"));
    w2.close();
    char room[64];
    EXPECT_EQ(r2.read_full(room).value(), 7u);
  });
}

TEST_P(NetMore, DialRefusedAndNames) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::string where;
    {
      net::listener l = net::listen("127.0.0.1:0").value();
      where = l.local_address().to_string();
    }
    EXPECT_EQ(net::dial(where).error(), std::errc::connection_refused);
    EXPECT_EQ(net::dial("no port").error(), std::errc::invalid_argument);
    // Which colon is the port's? Somebody who has forgotten the brackets, or the port, would be somewhere else.
    for (const char* text : {"::1:0", "2001:db8::1", "[::1", "[::1]x:80", "a:b:80"}) {
      const auto listening = net::listen(text);
      ASSERT_FALSE(listening) << text;
      EXPECT_EQ(listening.error(), std::errc::invalid_argument) << text;
      const auto dialed = net::dial(text);
      ASSERT_FALSE(dialed) << text;
      EXPECT_EQ(dialed.error(), std::errc::invalid_argument) << text;
    }
    EXPECT_EQ(net::resolve("127.0.0.1", 7).value().front().to_string(), "127.0.0.1:7");
    EXPECT_EQ(net::resolve("::1", 7).value().front().to_string(), "[::1]:7");
    net::listener l = net::listen("127.0.0.1:0").value();
    gort::with_cancel cancelled;
    cancelled.cancel();
    EXPECT_EQ(net::dial(l.local_address().to_string()).error(), std::errc::operation_canceled);
  });
}

TEST_P(NetMore, Localhost) {
  addrinfo* found = nullptr;
  if (::getaddrinfo("localhost", nullptr, nullptr, &found) != 0) GTEST_SKIP() << "this machine does not know localhost";
  ::freeaddrinfo(found);
  GORT_TEST_START(GetParam());
  gort::run([] {
    const auto names = net::resolve("localhost", 7);
    ASSERT_TRUE(names) << names.error().message();
    EXPECT_EQ(names->front().port(), 7);
    net::listener l = net::listen("127.0.0.1:0").value();
    auto c = net::dial("localhost:" + std::to_string(l.local_address().port()));  // after ::1, perhaps, which refuses
    ASSERT_TRUE(c) << c.error().message();
  });
}

TEST_P(NetMore, OptionsAndSendfile) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    net::listener l = net::listen("127.0.0.1:0").value();
    net::conn a = net::dial(l.local_address()).value();
    net::conn b = l.accept().value();
    for (net::conn* c : {&a, &b}) {
      int v = 0;
      socklen_t n = sizeof v;
      EXPECT_EQ(::getsockopt(c->native_handle(), IPPROTO_TCP, TCP_NODELAY, &v, &n), 0);
      EXPECT_NE(v, 0);
      EXPECT_EQ(::getsockopt(c->native_handle(), SOL_SOCKET, SO_KEEPALIVE, &v, &n), 0);
      EXPECT_NE(v, 0);
      EXPECT_TRUE(c->set_no_delay(false));
      EXPECT_TRUE(c->set_keep_alive(std::nullopt));
      EXPECT_TRUE(c->set_receive_buffer(1 << 16));
      EXPECT_TRUE(c->set_send_buffer(1 << 16));
    }
    auto [u, v] = net::socket_pair().value();
    EXPECT_FALSE(u.set_no_delay(true));

    const std::string path = temporary(".data");
    std::string text(3'000'000, ' ');
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i % 23);
    ASSERT_TRUE(gort::os::replace_file(path, text));
    auto sender = gort::spawn([&a, path, n = text.size()] {
      gort::os::file f = gort::os::file::open(path).value();
      EXPECT_EQ(a.sendfile(f.native_handle(), 1000, 10 * n).value(), n - 1000);
      EXPECT_TRUE(a.close_write());
    });
    std::string got(text.size(), '?');
    EXPECT_EQ(b.read_full(got).value(), text.size() - 1000);
    sender.get();
    EXPECT_EQ(got.substr(0, text.size() - 1000), text.substr(1000));
    ::unlink(path.c_str());
  });
}

bool somebody_sleeps() {
  bool any = false;
  gort::rt::for_each_g([&](const gort::rt::G* g) {
    any |= g->status.load() == gort::rt::GStatus::waiting && g->wait_reason == gort::rt::WaitReason::sleep;
  });
  return any;
}

// No descriptors left: accept says so, nothing is lost, and accept_some goes on when there is one.
TEST_P(NetMore, DescriptorsRunOut) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    net::listener l = net::listen("127.0.0.1:0").value();
    net::conn a = net::dial(l.local_address()).value();
    std::vector<int> all;
    rlimit before;
    ::getrlimit(RLIMIT_NOFILE, &before);
    const rlimit few{256, before.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &few);
    for (int fd; (fd = ::open("/dev/null", O_RDONLY)) >= 0;) all.push_back(fd);
    EXPECT_EQ(l.accept().error(), std::errc::too_many_files_open);
    EXPECT_EQ(net::dial(l.local_address()).error(), std::errc::too_many_files_open);
    EXPECT_EQ(net::socket_pair().error(), std::errc::too_many_files_open);
    auto server = gort::spawn([&] { return l.accept_some(); });
    ASSERT_TRUE(yield_until(somebody_sleeps)) << "it has been refused one, and tries again later";
    for (const int fd : all) ::close(fd);
    ::setrlimit(RLIMIT_NOFILE, &before);
    net::conn b = server.get().value();
    ASSERT_TRUE(a.write_all("x"));
    char one[1];
    EXPECT_EQ(b.read_some(one).value(), 1u);
  });
}

/// A listener whose queue is full: the kernel answers nobody who wants to connect.
struct Silent {
  int listens = ::socket(AF_INET, SOCK_STREAM, 0);
  std::vector<int> queued;
  net::address where;
  Silent() {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof a;
    EXPECT_EQ(::bind(listens, reinterpret_cast<sockaddr*>(&a), size), 0);
    EXPECT_EQ(::listen(listens, 0), 0);
    EXPECT_EQ(::getsockname(listens, reinterpret_cast<sockaddr*>(&a), &size), 0);
    where = net::address::from_raw(&a, size);
    for (int i = 0; i < 4; ++i) {  // more than it has room for
      queued.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
      ::connect(queued.back(), reinterpret_cast<sockaddr*>(&a), size);
    }
  }
  ~Silent() {
    ::close(listens);
    for (const int fd : queued) ::close(fd);
  }
};

// The next address is tried when one is silent for so long, and not before; at once when one refuses.
TEST_P(NetMore, HappyEyeballs) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    using net::detail::dial_first;
    const Silent silent;
    const net::dial_options patient{.stagger = 1h};
    net::listener l = net::listen("127.0.0.1:0").value();
    const net::address good = l.local_address();
    net::address refuses;
    {
      net::listener gone = net::listen("127.0.0.1:0").value();
      refuses = gone.local_address();
    }
    const auto began = gort::clock::now();
    net::conn c = dial_first({silent.where, good}, {.stagger = 50ms}).value();
    EXPECT_GE(gort::clock::now() - began, 50ms);
    EXPECT_EQ(c.peer_address(), good);
    net::conn d = dial_first({refuses, good}, patient).value();
    EXPECT_EQ(d.peer_address(), good);
    EXPECT_EQ(dial_first({refuses, refuses}, patient).error(), std::errc::connection_refused);
    {
      const gort::with_timeout limit(50ms);
      EXPECT_THROW(static_cast<void>(dial_first({silent.where, good}, patient)), gort::cancelled);
    }
    for (int i = 0; i < 2; ++i) EXPECT_TRUE(l.accept());
    {
      const gort::with_timeout limit(50ms);
      EXPECT_EQ(l.accept().error(), std::errc::operation_canceled) << "the last one has not got as far as that";
    }
    EXPECT_EQ(waiting(), 0) << "nobody goes on trying";
  });
}

// What is no name of a host is not resolved to something else.
TEST_P(NetMore, HostsAreNotPaths) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (const std::string_view host : {std::string_view("/run/x.sock"), std::string_view("@abstract"), std::string_view(""),
                                        std::string_view("127.0.0.1\0.org", 14), std::string_view("localhost\0.org", 14)}) {
      EXPECT_FALSE(net::resolve(host, 80)) << host;
    }
    EXPECT_EQ(net::resolve("::1", 80).value().front().to_string(), "[::1]:80");
  });
}

TEST_P(NetMore, DialInACancelledContextDoesNothing) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const std::string path = temporary(".sock");
    net::listener l = net::listen(path).value();
    gort::with_cancel c;
    c.cancel();
    EXPECT_EQ(net::dial(path).error(), std::errc::operation_canceled);
    const gort::shield _;
    ASSERT_TRUE(l.set_accept_deadline(gort::clock::now() + 20ms));
    EXPECT_EQ(l.accept().error(), std::errc::timed_out);
  });
}

}  // namespace
