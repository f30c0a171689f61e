// The core of channels with waiters of the test's own: order, tickets, waits that have ended.
#include "sync/chan.h"

#include <gtest/gtest.h>

#include <vector>

#include "sched/entry.h"
#include "sync/select.h"

namespace {

using namespace gort;
using namespace gort::rt;

std::vector<int> woken;

struct Waiting {
  waiter w;
  WaitState state;
  int number;
  int value = 0;

  Waiting(Chan& c, ChanQueue& q, int n, bool races) : number(n), value(n) {
    w.ready = [](waiter* self) noexcept { woken.push_back(reinterpret_cast<Waiting*>(self)->number); };
    w.key = &value;
    w.ticket = kChanQueued;
    state.wake = &w;
    if (races) {
      wait_open(state, false);
      wait_commit(state);
      w.state = &state;
    }
    LockGuard guard(c.lock);
    push(q, &w);
  }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
};

struct IntChan : Chan {
  explicit IntChan(std::size_t n) {
    size = sizeof(int);
    cap = n;
    ring = reinterpret_cast<std::byte*>(values);
  }
  int values[8] = {};
};

TEST(ChanCore, CloseWakesInOrderReceiversFirst) {
  RuntimeEntry entry;
  woken.clear();
  IntChan c(0);
  Waiting s1(c, c.sendq, 4, false), r1(c, c.recvq, 1, true), r2(c, c.recvq, 2, false), s2(c, c.sendq, 5, true),
      r3(c, c.recvq, 3, true);
  EXPECT_TRUE(chan_close(&c));
  EXPECT_EQ(woken, (std::vector{1, 2, 3, 4, 5}));
  for (Waiting* w : {&s1, &r1, &r2, &s2, &r3}) EXPECT_EQ(w->w.ticket, kChanClosed);
  EXPECT_FALSE(chan_close(&c));
}

TEST(ChanCore, WaitsThatHaveEndedAreDropped) {
  RuntimeEntry entry;
  woken.clear();
  IntChan c(0);
  Waiting r1(c, c.recvq, 1, true), r2(c, c.recvq, 2, true), r3(c, c.recvq, 3, false);
  EXPECT_EQ(wait_win(r1.state, 1, WaitEnd::timeout), Won::parked);
  int seven = 7;
  EXPECT_EQ(chan_try_send(&c, &seven), ChanEnd::done);
  EXPECT_EQ(woken, std::vector{2});
  EXPECT_EQ(r1.w.ticket, kChanDropped);
  EXPECT_EQ(r2.w.ticket, kChanDelivered);
  EXPECT_EQ(r2.value, 7);
  EXPECT_EQ(wait_end(r1.state), WaitEnd::timeout) << "nobody touched it";
  EXPECT_EQ(wait_end(r2.state), WaitEnd::done);
  EXPECT_EQ(chan_try_send(&c, &seven), ChanEnd::done);
  EXPECT_EQ(r3.value, 7);
  EXPECT_EQ(chan_try_send(&c, &seven), ChanEnd::would_block);
}

TEST(ChanCore, AReceiverLetsTheOldestSenderIntoTheRing) {
  RuntimeEntry entry;
  woken.clear();
  IntChan c(2);
  for (int v : {10, 11}) EXPECT_EQ(chan_try_send(&c, &v), ChanEnd::done);
  Waiting s1(c, c.sendq, 12, true), s2(c, c.sendq, 13, false);
  EXPECT_EQ(wait_win(s1.state, 1, WaitEnd::cancelled), Won::parked);
  for (int expected : {10, 11, 13}) {
    int got = 0;
    EXPECT_EQ(chan_try_recv(&c, &got), ChanEnd::done);
    EXPECT_EQ(got, expected);
  }
  EXPECT_EQ(woken, std::vector{13});
  EXPECT_FALSE(c.can_recv());
  EXPECT_TRUE(c.can_send());
}

TEST(ChanCore, AnyNodeLeavesTheQueue) {
  RuntimeEntry entry;
  IntChan c(0);
  Waiting a(c, c.recvq, 1, false), b(c, c.recvq, 2, false), d(c, c.recvq, 3, false);
  remove(c.recvq, &b.w);
  remove(c.recvq, &d.w);
  EXPECT_EQ(pop(c.recvq), &a.w);
  EXPECT_EQ(pop(c.recvq), nullptr);
  EXPECT_TRUE(empty(c.recvq));
  push(c.recvq, &d.w);
  EXPECT_EQ(pop(c.recvq), &d.w);
}

}  // namespace
