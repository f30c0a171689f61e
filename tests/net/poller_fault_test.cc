// What happens without the poller's protective measures.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/fault.h"
#include "gort/net.h"
#include "gort/timer.h"
#include "gort/world.h"
#include "net/poller.h"
#include "sched/entry.h"
#include "sched/watch.h"
#include "tests/support/runtime_fixture.h"

using namespace std::chrono_literals;
namespace net = gort::net;
namespace rt = gort::rt;
using gort::test::yield_until;

namespace {

class PollerFaults : public gort::test::RuntimeTest {};

/// Whether a thread of ours is in epoll_wait(2), in the kernel's own words.
bool one_sleeps_in_epoll() {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(task.path() / "syscall");
    long number = -1;
    if (file >> number && (number == SYS_epoll_pwait || number == 441)) return true;  // 441: epoll_pwait2
  }
  return false;
}

std::int64_t waiting() { return rt::sched.net_waiting.load(); }

/// A foreign thread sets a timer while the watcher sleeps in the poller without a time limit, and no bell rings: whether
/// the timer lies for long.
bool stays_lying() {
  bool lies = false;
  gort::run([&] {
    auto [a, b] = net::socket_pair().value();
    std::atomic<bool> fired = false;
    std::thread outside;
    auto reader = gort::spawn([&a] {
      char one[1];
      return a.read_some(one).value();
    });
    ASSERT_TRUE(yield_until([] { return waiting() == 1; }));
    outside = std::thread([&, w = b.native_handle()] {
      // kForever is what it says before it looks at the timers once more.
      // And that all Ps are idle: who still searches with one would come by the timer when it is due, and run it.
      while (rt::sched.watch_until.load() != rt::kForever || rt::sched.npidle.load() != rt::sched.nprocs.load() ||
             !one_sleeps_in_epoll()) {
        std::this_thread::yield();
      }
      rt::set_fault(rt::Fault::net_break, true);
      std::thread sets([&] {
        gort::timer t(1ms);
        t.recv();
        fired = true;
      });
      std::this_thread::sleep_for(300ms);
      lies = !fired;
      rt::set_fault(rt::Fault::net_break, false);
      EXPECT_EQ(::send(w, "x", 1, 0), 1);
      sets.join();
    });
    EXPECT_EQ(reader.get(), 1u);
    gort::blocking([&] { outside.join(); });
    EXPECT_TRUE(fired);
  });
  return lies;
}

// Scenario 48 without the bell. (With it: tests/net/poller_test.cc, SleepIsBroken.)
TEST_F(PollerFaults, WithoutTheBellTimersStayLying) {
  GORT_TEST_START(2);
  EXPECT_TRUE(stays_lying());
}

/// A descriptor's record over one end of a socket pair; the other end is `peer`.
struct Raw {
  rt::PollDesc* d = nullptr;
  int peer = -1;
  Raw() {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    peer = fds[1];
    const rt::RuntimeEntry entry;
    EXPECT_EQ(rt::poll_open(fds[0], 0, false, &d), 0);
  }
  ~Raw() {
    ::close(peer);
    if (d == nullptr) return;
    const rt::RuntimeEntry entry;
    rt::poll_unshare(d);
  }
  std::uint32_t flags() const { return d->side[rt::kReadSide].flags.load(); }
};

rt::PollEnd wait_for(rt::PollDesc* d, std::uint32_t seen) {
  const rt::RuntimeEntry entry;
  return rt::poll_wait(d, rt::kReadSide, seen, nullptr);
}

// An edge that came between the attempt and the wait.
TEST_F(PollerFaults, AnEdgeBeforeTheWaitIsNotLost) {
  GORT_TEST_START(2);
  gort::run([] {
    Raw keeps_polling, r;
    auto other = gort::spawn([&] { wait_for(keeps_polling.d, keeps_polling.flags()); });
    for (const bool fault : {false, true}) {
      const std::uint32_t seen = r.flags();
      ASSERT_EQ(::send(r.peer, "x", 1, 0), 1);
      ASSERT_TRUE(yield_until([&] { return r.flags() != seen; }));
      rt::set_fault(rt::Fault::net_ready, fault);
      std::atomic<bool> woken = false;
      auto waits = gort::spawn([&] {
        EXPECT_EQ(wait_for(r.d, seen), rt::PollEnd::ready);
        woken = true;
      });
      if (!fault) {
        waits.get();
        continue;
      }
      gort::this_goroutine::sleep_for(200ms);
      EXPECT_FALSE(woken);
      rt::set_fault(rt::Fault::net_ready, false);
      ASSERT_EQ(::send(r.peer, "x", 1, 0), 1);
      waits.get();
    }
    ASSERT_EQ(::send(keeps_polling.peer, "x", 1, 0), 1);
    other.get();
  });
}

// An event that was fetched before its descriptor was closed, and is told when the record has another one.
TEST_F(PollerFaults, ALateEventIsNobodys) {
  GORT_TEST_START(2);
  gort::run([] {
    for (const bool fault : {false, true}) {
      std::uint64_t tag = 0;
      rt::PollDesc* before = nullptr;
      {
        Raw r;
        tag = rt::poll_tag(r.d);
        before = r.d;
      }
      Raw r;
      ASSERT_EQ(r.d, before);
      rt::set_fault(rt::Fault::net_stale, fault);
      gort::waiter* chain = nullptr;
      {
        const rt::RuntimeEntry entry;
        rt::poll_tell({tag, gort::os::kPollRead | gort::os::kPollEnd}, &chain);
      }
      rt::set_fault(rt::Fault::net_stale, false);
      EXPECT_EQ(chain, nullptr);
      EXPECT_EQ(r.flags(), fault ? rt::kSideEdge | rt::kSideEnded : 0u);
    }
  });
}

// Its calls are system calls that need not wait: nothing in them enters the runtime.
TEST_F(PollerFaults, WhoNeverHasToWaitIsStoppedAllTheSame) {
  GORT_TEST_START(2);
  gort::run([] {
    auto [a, b] = net::socket_pair().value();
    for (const bool fault : {true, false}) {
      rt::set_fault(rt::Fault::net_serve, fault);
      std::atomic<bool> begun = false, end = false;
      auto busy = gort::spawn([&] {
        char one[1];
        while (!end) {
          ASSERT_TRUE(a.write_all("x"));
          ASSERT_EQ(b.read_some(one).value(), 1u);
          begun = true;
        }
      });
      ASSERT_TRUE(yield_until([&] { return begun.load(); }));
      EXPECT_EQ(static_cast<bool>(gort::stop_world("test", fault ? 200ms : 20s)), !fault);
      end = true;
      busy.get();
    }
  });
}

}  // namespace
