// gort::condition_variable: nothing is lost, the lock is held again, any lock will do.
// test: labels=smoke timeout=120
#include <deque>

#include "tests/sync/sync.h"

namespace {

using namespace gort;
using namespace gort::test;
using namespace std::chrono_literals;

using Condition = SyncTest;
GORT_TEST_AT_PROCS(Condition);

constinit gort::condition_variable global;

TEST_P(Condition, Plain) {
  GORT_TEST_START(GetParam());
  run([] {
    global.notify_one();
    global.notify_all();
    gort::mutex m;
    bool ready = false;
    auto t = spawn([&] {
      std::unique_lock hold(m);
      global.wait(hold, [&] { return ready; });
      EXPECT_TRUE(hold.owns_lock());
      EXPECT_FALSE(m.try_lock());
    });
    until_waiting(1);
    {
      std::scoped_lock hold(m);
      ready = true;
    }
    global.notify_one();
    t.join();
    std::unique_lock hold(m);
    EXPECT_EQ(global.wait_for(hold, -1s), std::cv_status::timeout);
    EXPECT_FALSE(global.wait_for(hold, 0s, [] { return false; }));
    EXPECT_TRUE(global.wait_for(hold, 0s, [] { return true; }));
    EXPECT_EQ(global.wait_until(hold, std::chrono::steady_clock::now() - 1s), std::cv_status::timeout);
    EXPECT_FALSE(global.wait_until(hold, std::chrono::system_clock::now() - 1s, [] { return false; }));
  });
}

TEST_P(Condition, InTheOrderOfTheirComing) {
  GORT_TEST_START(GetParam());
  run([] {
    gort::mutex m;
    gort::condition_variable cv;
    std::vector<int> order;
    std::vector<task<void>> all;
    for (int i = 0; i < 10; ++i) {
      all.push_back(spawn([&, i] {
        std::unique_lock hold(m);
        cv.wait(hold);
        order.push_back(i);
      }));
      until_waiting(static_cast<std::uint64_t>(i) + 1);
    }
    for (int i = 0; i < 10; ++i) {
      cv.notify_one();
      all[static_cast<std::size_t>(i)].join();
      EXPECT_EQ(order.back(), i);
    }
    EXPECT_EQ(order.size(), 10u);
  });
}

/// A bounded queue of the classic kind. A lost notification leaves somebody asleep, and the test hangs.
template <class Lockable>
struct Queue {
  Lockable m;
  gort::condition_variable not_empty, not_full;
  std::deque<int> items;
  void put(int i) {
    std::unique_lock hold(m);
    while (items.size() >= 2) not_full.wait(hold);
    items.push_back(i);
    if (i % 2 == 0) hold.unlock();
    not_empty.notify_one();
  }
  int take() {
    std::unique_lock hold(m);
    while (items.empty()) not_empty.wait(hold);
    const int i = items.front();
    items.pop_front();
    not_full.notify_one();
    return i;
  }
};

template <class Lockable>
void producers_and_consumers() {
  run([] {
    Queue<Lockable> q;
    const int rounds = 10000 / kSlowdown;
    std::atomic<std::int64_t> sum{0};
    auto produce = [&] {
      for (int i = 1; i <= rounds; ++i) q.put(i);
    };
    auto consume = [&] {
      for (int i = 1; i <= rounds; ++i) sum += q.take();
    };
    Threads one(1, produce), other(1, consume);
    std::vector<task<void>> all;
    for (int i = 0; i < 3; ++i) {
      all.push_back(spawn(produce));
      all.push_back(spawn(consume));
    }
    for (auto& t : all) t.join();
    one.join();
    other.join();
    EXPECT_EQ(sum, std::int64_t{4} * rounds * (rounds + 1) / 2);
  });
}

TEST_P(Condition, NothingIsLost) {
  GORT_TEST_START(GetParam());
  producers_and_consumers<gort::mutex>();
}

/// A lock whose unlock waits: it is a semaphore with room for none.
class OddLock {
 public:
  void lock() { free_.acquire(); }
  void unlock() {
    free_.release();
    helper_.acquire();
    this_goroutine::yield();
    helper_.release();
  }

 private:
  gort::semaphore free_{1}, helper_{1};
};

TEST_P(Condition, NothingIsLostWithALockThatParks) {
  GORT_TEST_START(GetParam());
  producers_and_consumers<OddLock>();
}

// Everybody waits for each round; Go's BenchmarkCond.
TEST_P(Condition, NotifyAllReachesAll) {
  GORT_TEST_START(GetParam());
  run([] {
    gort::mutex m;
    gort::condition_variable cv;
    constexpr int kWaiters = 20;
    const int rounds = 500 / kSlowdown;
    int round = 0, there = 0;
    in_goroutines(kWaiters, [&] {
      std::unique_lock hold(m);
      for (int i = 0; i < rounds; ++i) {
        if (++there == kWaiters) {
          there = 0;
          ++round;
          cv.notify_all();
        } else {
          cv.wait(hold, [&] { return round > i; });
        }
      }
    });
    EXPECT_EQ(round, rounds);
  });
}

// A wait ends by cancellation while others are notified: each notification still reaches somebody.
TEST_P(Condition, CancelledWaitsTakeNoNotification) {
  GORT_TEST_START(GetParam());
  run([] {
    const int rounds = 1000 / kSlowdown;
    for (int i = 0; i < rounds; ++i) {
      gort::mutex m;
      gort::condition_variable cv;
      Source source;
      int tokens = 0;
      auto leaver = spawn([&] {
        return is_cancelled_in(source, [&] {
          std::unique_lock hold(m);
          cv.wait(hold, [&] { return tokens > 0; });
          --tokens;
        });
      });
      auto stayer = spawn([&] {
        std::unique_lock hold(m);
        cv.wait(hold, [&] { return tokens > 0; });
        --tokens;
      });
      until_waiting(2);
      auto canceller = spawn([&] { fire(source); });
      {
        std::scoped_lock hold(m);
        ++tokens;
      }
      cv.notify_one();
      canceller.join();
      if (!leaver.get()) {
        std::scoped_lock hold(m);
        ++tokens;
        cv.notify_one();
      }
      stayer.join();
      EXPECT_EQ(tokens, 0);
    }
  });
}

TEST_P(Condition, CancelledWithTheLockHeld) {
  GORT_TEST_START(GetParam());
  run([] {
    gort::mutex m;
    gort::condition_variable cv;
    Source source;
    auto t = spawn([&] {
      InContext in(source);
      std::unique_lock hold(m);
      EXPECT_THROW(cv.wait(hold), cancelled);
      EXPECT_TRUE(hold.owns_lock());
      EXPECT_FALSE(m.try_lock());
      bool asked = false;
      EXPECT_THROW(cv.wait(hold, [&] { return asked = true; }), cancelled);
      EXPECT_FALSE(asked);
      EXPECT_THROW(static_cast<void>(cv.wait_for(hold, 1h)), cancelled);
    });
    until_waiting(1);
    fire(source);
    t.join();
  });
}

// Scenario 106: who waits already is told, whoever else comes to wait just then.
TEST_P(Condition, Scenario106_NobodyStealsANotification) {
  GORT_TEST_START(GetParam());
  run([] {
    const int rounds = 1000 / kSlowdown;
    for (int i = 0; i < rounds; ++i) {
      gort::mutex m;
      gort::condition_variable cv;
      event locked;
      auto first = spawn([&] {
        std::unique_lock hold(m);
        locked.set();
        cv.wait(hold);
      });
      locked.wait();
      { std::scoped_lock it_waits(m); }
      bool done = false;
      auto all = spawn([&] { cv.notify_all(); });
      auto newcomer = spawn([&] {
        std::unique_lock hold(m);
        while (!done) cv.wait(hold);
      });
      first.join();
      {
        std::scoped_lock hold(m);
        done = true;
      }
      cv.notify_all();
      newcomer.join();
      all.join();
    }
  });
}

}  // namespace
