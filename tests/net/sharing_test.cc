// Several who use one descriptor, and descriptors that do not behave as a TCP stream does.
// test: timeout=120
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>

#include "api/net_fd.h"
#include "gort/net.h"
#include "sched/sched.h"
#include "tests/support/runtime_fixture.h"

using namespace std::chrono_literals;
namespace net = gort::net;
namespace rt = gort::rt;
using gort::test::yield_until;

namespace {

class Sharing : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(Sharing);

/// Long enough to mean: it hangs.
gort::clock::time_point hang() { return gort::clock::now() + 10s; }

/// A descriptor's record over one end of a pair; the other end is `peer`. Somebody waits elsewhere meanwhile, so that
/// edges are told.
struct Pair {
  net::detail::fd_owner fd;
  int peer = -1;
  net::conn elsewhere, quiet;
  gort::task<void> waits;
  explicit Pair(int type, std::uint16_t kind) {
    std::tie(elsewhere, quiet) = net::socket_pair().value();
    waits = gort::spawn([this] {
      char one[1];
      static_cast<void>(elsewhere.read_some(one));
    });
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, fds), 0);
    peer = fds[1];
    fd = net::detail::own_fd(fds[0], kind).value();
    EXPECT_TRUE(net::detail::fd_set_deadline(fd.get(), net::detail::fd_side::read, hang()));
  }
  ~Pair() {
    ::close(peer);
    elsewhere.close();
  }
  std::uint32_t flags() const { return net::detail::desc(fd.get())->side[rt::kReadSide].flags.load(); }
  /// Sends that many messages or bytes and waits until the edge has been told.
  void send(std::initializer_list<std::string_view> messages) {
    const std::uint32_t before = flags();
    for (std::string_view m : messages) ASSERT_EQ(::send(peer, m.data(), m.size(), 0), std::ssize(m));
    ASSERT_TRUE(yield_until([&] { return flags() != before; }));
  }
};

/// Whatever has come by now is told to the records: pollers tell in the order in which things come.
void all_is_told() {
  Pair last(SOCK_STREAM, rt::kPollSocket);
  last.send({"x"});
}

// Two readers (or acceptors): both have found nothing and are about to wait when one edge comes for two messages. The first
// takes one of them; the other must not sleep beside the second.
TEST_P(Sharing, AnEdgeIsForEverybodyWhoIsAboutToWait) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    Pair p(SOCK_SEQPACKET, rt::kPollSocket);
    int attempts = 0;
    char room[8];
    const auto r = net::detail::attempt(p.fd.get(), rt::kReadSide, 0, [&](int fd) {
      const auto n = gort::os::io_recv(fd, room, sizeof room);
      if (attempts++ == 0) {
        EXPECT_EQ(n, -EAGAIN);
        p.send({"a", "b"});
        char other[8];
        EXPECT_EQ(net::detail::fd_read(p.fd.get(), {other, sizeof other}).value(), 1u);
      }
      return n;
    });
    EXPECT_EQ(r, 1) << "-110: it has slept beside a message";
    EXPECT_EQ(room[0], 'b');
  });
}

// A reader has emptied the stream, and says so late: more has come meanwhile, of which another reader has taken a part.
TEST_P(Sharing, WhatOneReaderHasEmptiedAnotherMayFindFull) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    Pair p(SOCK_STREAM, rt::kPollSocket | rt::kPollStream);
    p.send({"x"});
    char room[64];
    const auto r = net::detail::attempt(p.fd.get(), rt::kReadSide, sizeof room, [&](int fd) {
      const auto n = gort::os::io_recv(fd, room, sizeof room);
      p.send({"0123456789abcdefghij"});
      char other[10];
      EXPECT_EQ(net::detail::fd_read(p.fd.get(), {other, sizeof other}).value(), sizeof other);
      return n;
    });
    EXPECT_EQ(r, 1);
    EXPECT_EQ(net::detail::fd_read(p.fd.get(), {room, sizeof room}).value_or(0), 10u) << "the rest is there";
  });
}

// A Unix stream gives what came with descriptors alone: a short read does not mean that it is empty.
TEST_P(Sharing, AShortReadOfAUnixStreamIsNotItsEnd) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const std::string path = "/tmp/gort_sharing_" + std::to_string(::getpid());
    net::listener l = net::listen(path).value();
    net::conn dialed = net::dial(path).value();
    std::array<std::pair<net::conn, net::conn>, 2> pairs{std::pair{std::move(dialed), l.accept().value()},
                                                         net::socket_pair().value()};
    for (auto& [a, b] : pairs) {
      for (net::conn* reader : {&a, &b}) {
        net::conn& writer = reader == &a ? b : a;
        const int fds[] = {0};
        ASSERT_EQ(writer.write_with_fds("with", fds).value(), 4u);
        ASSERT_TRUE(writer.write_all("without"));
        ASSERT_TRUE(reader->set_read_deadline(hang()));
        all_is_told();
        char room[64];
        EXPECT_EQ(reader->read_some(room).value(), 4u);
        EXPECT_EQ(reader->read_some(room).value_or(0), 7u);
      }
    }
  });
}

// A pipe that keeps packets apart (O_DIRECT) gives one at a time.
TEST_P(Sharing, AShortReadOfAPacketPipeIsNotItsEnd) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    int fds[2];
    ASSERT_EQ(::pipe2(fds, O_DIRECT | O_CLOEXEC), 0);
    net::conn r = net::conn::adopt(fds[0]).value();
    net::conn w = net::conn::adopt(fds[1]).value();
    ASSERT_TRUE(w.write_all("one"));
    ASSERT_TRUE(w.write_all("three"));
    ASSERT_TRUE(r.set_read_deadline(hang()));
    all_is_told();
    char room[64];
    EXPECT_EQ(r.read_some(room).value(), 3u);
    EXPECT_EQ(r.read_some(room).value_or(0), 5u);
  });
}

// Somebody else has filled a Unix receiver's queue. The kernel tells a sender that is not connected nothing of its room, but
// each vain attempt is an edge of its own: who waited for those would never rest.
TEST_P(Sharing, AFullUnixReceiverIsWaitedFor) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const std::string path = "@gort_sharing_" + std::to_string(::getpid());
    net::datagram to = net::bind_datagram(path).value();
    net::datagram fills = net::dial_datagram(path).value();
    net::datagram late = net::bind_datagram(path + "_2").value();
    ASSERT_TRUE(fills.set_write_deadline(gort::clock::now() + 100ms));
    int sent = 0;
    while (fills.send("full")) ++sent;
    ASSERT_GT(sent, 0);
    ASSERT_TRUE(late.set_write_deadline(gort::clock::now() + 20ms));
    EXPECT_EQ(late.send_to("x", to.local_address()).error(), std::errc::timed_out);
    ASSERT_TRUE(late.set_write_deadline(hang()));
    auto sends = gort::spawn([&] { return late.send_to("late", to.local_address()); });
    const std::uint64_t polls = rt::sched.net_polls.load();
    gort::this_goroutine::sleep_for(300ms);
    EXPECT_LT(rt::sched.net_polls.load() - polls, 3000u) << "it does not rest";
    char room[16];
    ASSERT_TRUE(to.set_read_deadline(hang()));
    for (int i = 0; i < sent; ++i) EXPECT_EQ(to.receive_from(room).value().size, 4u);
    EXPECT_TRUE(sends.get());
    EXPECT_EQ(to.receive_from(room).value().from, late.local_address());
  });
}

}  // namespace
