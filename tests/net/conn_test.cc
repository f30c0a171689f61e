// Connections: bytes, ends, deadlines, cancellation, close, half close. Scenarios 75 (deadlines), 76 (waiters).
// test: timeout=120
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>

#include "gort/net.h"
#include "sched/sched.h"
#include "tests/support/runtime_fixture.h"

using namespace std::chrono_literals;
namespace net = gort::net;
using gort::test::yield_until;

namespace {

class Net : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(Net);

std::int64_t waiting() { return gort::rt::sched.net_waiting.load(); }

std::pair<net::conn, net::conn> pair() { return net::socket_pair().value(); }

/// A TCP connection: ours and the accepted one.
std::pair<net::conn, net::conn> tcp_pair() {
  net::listener l = net::listen("127.0.0.1:0").value();
  net::conn a = net::dial(l.local_address()).value();
  net::conn b = l.accept().value();
  return {std::move(a), std::move(b)};
}

TEST_P(Net, Echo) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    net::listener l = net::listen("127.0.0.1:0").value();
    auto server = gort::spawn([&] {
      net::conn c = l.accept().value();
      char buf[16];
      for (;;) {
        const auto n = c.read_some(buf);
        ASSERT_TRUE(n) << n.error().message();
        if (*n == 0) break;
        ASSERT_TRUE(c.write_all(std::string_view(buf, *n)));
      }
    });
    net::conn c = net::dial(l.local_address().to_string()).value();
    EXPECT_EQ(c.peer_address(), l.local_address());
    for (int i = 0; i < 100; ++i) {
      const std::string text = "hello " + std::to_string(i);
      ASSERT_TRUE(c.write_all(text));
      std::string got(text.size(), '?');
      EXPECT_EQ(c.read_full(got).value(), text.size());
      EXPECT_EQ(got, text);
    }
    ASSERT_TRUE(c.close_write());
    char one;
    EXPECT_EQ(c.read_some(net::buffer(&one, 1)).value(), 0u);
    server.get();
  });
  EXPECT_EQ(waiting(), 0);
}

// Much data both ways at once, through small buffers: every byte arrives, in order.
TEST_P(Net, MuchDataBothWays) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto [a, b] = tcp_pair();
    constexpr std::size_t kTotal = 4 << 20;
    const auto send = [](net::write_half w) {
      std::vector<std::uint32_t> v(kTotal / 4);
      std::iota(v.begin(), v.end(), 0u);
      ASSERT_TRUE(w.write_all(v));
    };
    const auto receive = [](net::read_half r) {
      std::vector<std::uint32_t> v(kTotal / 4);
      std::size_t have = 0;
      while (have < kTotal) {
        const auto n = r.read_some(net::buffer(v).from(have).first(65'537));
        ASSERT_TRUE(n && *n > 0);
        have += *n;
      }
      for (std::uint32_t i = 0; i < v.size(); ++i) ASSERT_EQ(v[i], i);
      char one;
      EXPECT_EQ(r.read_some(net::buffer(&one, 1)).value(), 0u);
    };
    auto [ar, aw] = std::move(a).split();
    auto [br, bw] = std::move(b).split();
    std::vector<gort::task<void>> all;
    all.push_back(gort::spawn(send, std::move(aw)));
    all.push_back(gort::spawn(send, std::move(bw)));
    all.push_back(gort::spawn(receive, std::move(ar)));
    all.push_back(gort::spawn(receive, std::move(br)));
    for (auto& t : all) t.get();
  });
  EXPECT_EQ(waiting(), 0);
}

TEST_P(Net, VectorsAreWrittenAndReadInFull) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto [a, b] = pair();
    std::vector<std::string> pieces;
    std::string all;
    for (int i = 0; i < 300; ++i) {
      pieces.push_back(std::string(static_cast<std::size_t>(i * 37 % 4001), static_cast<char>('a' + i % 26)));
      all += pieces.back();
    }
    auto writer = gort::spawn([&] {
      std::vector<net::const_buffer> v(pieces.begin(), pieces.end());
      std::size_t written = 0;
      ASSERT_TRUE(a.writev(v, &written));
      EXPECT_EQ(written, all.size());
      a.close();
    });
    std::string got;
    for (;;) {
      char one[1000], two[3000];
      const net::buffer bs[] = {one, two};
      const std::size_t n = b.readv(bs).value();
      if (n == 0) break;
      got.append(one, std::min<std::size_t>(n, sizeof one));
      if (n > sizeof one) got.append(two, n - sizeof one);
    }
    writer.get();
    EXPECT_EQ(got, all);
  });
}

// Close while others wait: all of them come back, with net::closed; a second close does nothing.
TEST_P(Net, CloseWakesEverybody) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    net::listener l = net::listen("127.0.0.1:0").value();
    auto [a, b] = tcp_pair();
    std::vector<gort::task<std::error_code>> all;
    for (int i = 0; i < 4; ++i) all.push_back(gort::spawn([&] { return l.accept().error(); }));
    for (int i = 0; i < 3; ++i) {
      all.push_back(gort::spawn([&a] {
        char buf[8];
        return a.read_some(buf).error();
      }));
    }
    ASSERT_TRUE(yield_until([] { return waiting() == 7; }));
    l.close();
    a.close();
    l.close();
    a.close();
    for (auto& t : all) EXPECT_EQ(t.get(), net::closed);
    EXPECT_FALSE(a.is_open());
    EXPECT_EQ(a.native_handle(), -1);
    EXPECT_EQ(a.write_all("x").error(), net::closed);
    EXPECT_EQ(a.set_deadline(gort::clock::now()).error(), net::closed);
    char one[1];
    EXPECT_EQ(b.read_some(one).value(), 0u);
  });
  EXPECT_EQ(waiting(), 0);
}

TEST_P(Net, ResetIsAnError) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto [a, b] = tcp_pair();
    auto reader = gort::spawn([&b] {
      char buf[8];
      return b.read_some(buf).error();
    });
    ASSERT_TRUE(yield_until([] { return waiting() == 1; }));
    ASSERT_TRUE(a.set_linger(0s));
    a.close();
    EXPECT_EQ(reader.get(), std::errc::connection_reset);
    EXPECT_EQ(b.write_all("x").error(), std::errc::broken_pipe);
  });
}

// Scenario 75, deadlines: one that has passed acts at once, for data that is there too; changed while others wait, it counts
// for them; taken back, everything goes on.
TEST_P(Net, Deadlines) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto [a, b] = pair();
    char buf[8];
    ASSERT_TRUE(b.write_all("ab"));
    ASSERT_TRUE(a.set_read_deadline(gort::clock::now() - 1s));
    EXPECT_EQ(a.read_some(buf).error(), std::errc::timed_out);
    ASSERT_TRUE(a.set_read_deadline(net::no_deadline));
    EXPECT_EQ(a.read_some(buf).value(), 2u);

    const auto began = gort::clock::now();
    ASSERT_TRUE(a.set_read_timeout(20ms));
    EXPECT_EQ(a.read_some(buf).error(), std::errc::timed_out);
    EXPECT_GE(gort::clock::now() - began, 20ms);
    EXPECT_TRUE(a.write_all("not of writes"));

    ASSERT_TRUE(a.set_deadline(net::no_deadline));
    for (const auto deadline : {gort::clock::now() - 1ms, gort::clock::now() + 5ms}) {
      ASSERT_TRUE(a.set_read_deadline(gort::clock::now() + 1h));
      auto reader = gort::spawn([&a] {
        char room[8];
        return a.read_some(room).error();
      });
      ASSERT_TRUE(yield_until([] { return waiting() == 1; }));
      ASSERT_TRUE(a.set_read_deadline(deadline));
      EXPECT_EQ(reader.get(), std::errc::timed_out);
    }
    // Prolonged while somebody waits: the old time does not count.
    ASSERT_TRUE(a.set_read_timeout(30ms));
    auto reader = gort::spawn([&a] {
      char room[8];
      return a.read_some(room);
    });
    ASSERT_TRUE(a.set_read_deadline(net::no_deadline));
    gort::this_goroutine::sleep_for(60ms);
    ASSERT_TRUE(b.write_all("abc"));
    const auto n = reader.get();
    // (The first time may have passed before it was changed, on a busy machine.)
    if (n) {
      EXPECT_EQ(*n, 3u);
    }
  });
  EXPECT_EQ(waiting(), 0);
}

TEST_P(Net, WriteDeadline) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto [a, b] = pair();
    ASSERT_TRUE(a.set_write_timeout(20ms));
    const std::vector<char> much(8 << 20);
    std::size_t written = 0;
    EXPECT_EQ(a.write_all(much, &written).error(), std::errc::timed_out);
    EXPECT_LT(written, much.size());
    std::vector<char> got(written);
    EXPECT_EQ(b.read_full(got).value(), written);
    ASSERT_TRUE(a.set_write_deadline(net::no_deadline));
    ASSERT_TRUE(a.write_all("on it goes"));
  });
}

// What was read before an error is not lost, nor counted twice.
TEST_P(Net, ReadFullSaysHowFarItCame) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto [a, b] = pair();
    char room[8] = {};
    std::size_t got = 99;
    ASSERT_TRUE(a.write_all("abc"));
    ASSERT_TRUE(b.set_read_timeout(20ms));
    EXPECT_EQ(b.read_full(room, &got).error(), std::errc::timed_out);
    EXPECT_EQ(std::string_view(room, got), "abc");
    net::buffered_reader in(b);
    ASSERT_TRUE(a.write_all("de"));
    ASSERT_TRUE(b.set_read_timeout(20ms));
    EXPECT_EQ(in.read_full(room, &got).error(), std::errc::timed_out);
    EXPECT_EQ(std::string_view(room, got), "de");
    ASSERT_TRUE(b.set_read_deadline(net::no_deadline));
    ASSERT_TRUE(a.write_all("f"));
    a.close();
    EXPECT_EQ(in.read_full(room, &got).value(), 1u);
    EXPECT_EQ(got, 1u);
  });
}

// A cancelled context: nothing is done; who waits comes back. Under a shield both work.
TEST_P(Net, Cancellation) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto [a, b] = pair();
    net::listener l = net::listen("127.0.0.1:0").value();
    char buf[8];
    {
      gort::with_timeout limit(20ms);
      EXPECT_EQ(a.read_some(buf).error(), std::errc::operation_canceled);
      EXPECT_EQ(l.accept().error(), std::errc::operation_canceled);
      EXPECT_EQ(a.write_all("x").error(), std::errc::operation_canceled);
      gort::shield s;
      EXPECT_TRUE(a.write_all("x"));
      EXPECT_EQ(b.read_some(buf).value(), 1u);
    }
    auto reader = gort::spawn([&a] {
      char room[8];
      return a.read_some(room).error();
    });
    ASSERT_TRUE(yield_until([] { return waiting() == 1; }));
    reader.cancel();
    EXPECT_EQ(reader.get(), std::errc::operation_canceled);
    ASSERT_TRUE(b.write_all("x"));
    EXPECT_EQ(a.read_some(buf).value(), 1u);
  });
  EXPECT_EQ(waiting(), 0);
}

// The end of the run ends waits too.
TEST_P(Net, EndOfRunEndsWaits) {
  GORT_TEST_START(GetParam());
  std::atomic<bool> cancelled = false;
  gort::run([&] {
    gort::go([&, p = std::make_shared<std::pair<net::conn, net::conn>>(pair())] {
      char buf[8];
      cancelled = p->first.read_some(buf).error() == std::errc::operation_canceled;
    });
    ASSERT_TRUE(yield_until([] { return waiting() == 1; }));
  });
  EXPECT_TRUE(cancelled);
  EXPECT_EQ(waiting(), 0);
}

// A foreign thread may do all of this as well: it blocks.
TEST_P(Net, ForeignThreads) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto [a, b] = tcp_pair();
    std::thread t([&a] {
      char buf[8];
      for (int i = 0; i < 100; ++i) {
        ASSERT_EQ(a.read_some(buf).value(), 1u);
        ASSERT_TRUE(a.write_all("y"));
      }
    });
    char one[1];
    for (int i = 0; i < 100; ++i) {
      ASSERT_TRUE(b.write_all("x"));
      ASSERT_EQ(b.read_some(one).value(), 1u);
    }
    t.join();
  });
  EXPECT_EQ(waiting(), 0);
}

TEST_P(Net, HalvesEndTheirSide) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto [a, b] = tcp_pair();
    const int fd = a.native_handle();
    {
      auto [r, w] = std::move(a).split();
      EXPECT_EQ(a.native_handle(), -1);
      { const net::write_half gone = std::move(w); }
      char buf[8];
      EXPECT_EQ(b.read_some(buf).value(), 0u);
      ASSERT_TRUE(b.write_all("x"));
      EXPECT_EQ(r.read_some(buf).value(), 1u);
      EXPECT_EQ(r.native_handle(), fd);
      EXPECT_EQ(w.write_all("x").error(), net::closed);
    }
    ASSERT_TRUE(yield_until([&] { return !b.write_all("x"); }));
  });
}

TEST_P(Net, AdoptAndRelease) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto [a, b] = pair();
    const int fd = std::move(a).release().value();
    EXPECT_FALSE(a.is_open());
    net::conn again = net::conn::adopt(fd).value();
    ASSERT_TRUE(again.write_all("x"));
    char buf[8];
    EXPECT_EQ(b.read_some(buf).value(), 1u);
    auto reader = gort::spawn([&b] {
      char room[8];
      return b.read_some(room).value();
    });
    ASSERT_TRUE(yield_until([] { return waiting() == 1; }));
    EXPECT_EQ(std::move(b).release().error(), std::errc::device_or_resource_busy);
    ASSERT_TRUE(again.write_all("yz"));
    EXPECT_EQ(reader.get(), 2u);
    EXPECT_EQ(net::conn::adopt(-1).error(), std::errc::bad_file_descriptor);
  });
}

TEST_P(Net, Buffered) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto [a, b] = pair();
    net::buffered_reader in(a, 64);
    net::buffered_writer out(b, 64);
    ASSERT_TRUE(out.write("one\r\ntwo\n"));
    ASSERT_TRUE(out.write(std::string(200, 'x')));
    ASSERT_TRUE(out.write('\n'));
    EXPECT_EQ(out.buffered(), 1u);
    ASSERT_TRUE(out.flush());
    EXPECT_EQ(in.read_line().value(), "one");
    EXPECT_EQ(in.peek(3).value(), "two");
    EXPECT_EQ(in.read_line().value(), "two");
    EXPECT_EQ(in.read_line().error(), std::errc::message_size);
    std::string x(200, '?');
    EXPECT_EQ(in.read_full(x).value(), 200u);
    EXPECT_EQ(x, std::string(200, 'x'));
    EXPECT_EQ(in.read_line().value(), "");
    ASSERT_TRUE(out.write("last"));
    ASSERT_TRUE(out.flush());
    b.close();
    EXPECT_EQ(in.read_line().error(), std::errc::no_message_available);
    EXPECT_EQ(in.peek_buffered(), "last");
    EXPECT_EQ(out.write("x").has_value(), true);
    EXPECT_EQ(out.flush().error(), net::closed);
    EXPECT_EQ(out.write("x").error(), net::closed);
  });
}

}  // namespace
