// gort::mutex: exclusion, waiting, foreign threads, lifetime.
// test: labels=smoke timeout=120
#include <memory>

#include "tests/sync/sync.h"

namespace {

using namespace gort;
using namespace gort::test;
using namespace std::chrono_literals;

using Mutex = SyncTest;
GORT_TEST_AT_PROCS(Mutex);

constinit gort::mutex global;

static_assert(sizeof(gort::mutex) <= 16);

TEST_P(Mutex, Plain) {
  GORT_TEST_START(GetParam());
  std::scoped_lock outside(global);
  run([] {
    gort::mutex m;
    m.lock();
    EXPECT_FALSE(m.try_lock());
    m.unlock();
    EXPECT_TRUE(m.try_lock());
    m.unlock();
    std::unique_lock hold(m);
    EXPECT_TRUE(hold.owns_lock());
    EXPECT_FALSE(m.try_lock_for(-1s));
  });
}

struct Counter {
  gort::mutex m;
  std::int64_t n = 0;
  bool inside = false;
  void add(int i) {
    if (i % 7 == 0) {
      if (!m.try_lock()) m.lock();
    } else {
      m.lock();
    }
    EXPECT_FALSE(inside);
    inside = true;
    ++n;
    if (i % 64 == 0) this_goroutine::yield();
    inside = false;
    m.unlock();
    if (i % 100 == 0) this_goroutine::yield();
  }
};

TEST_P(Mutex, OneAtATime) {
  GORT_TEST_START(GetParam());
  run([] {
    Counter c;
    const int rounds = 20000 / kSlowdown;
    in_goroutines(8, [&] {
      for (int i = 0; i < rounds; ++i) c.add(i);
    });
    EXPECT_EQ(c.n, 8 * rounds);
  });
}

TEST_P(Mutex, OneAtATimeWithForeignThreads) {
  GORT_TEST_START(GetParam());
  run([] {
    Counter c;
    const int rounds = 10000 / kSlowdown;
    auto work = [&] {
      for (int i = 0; i < rounds; ++i) c.add(i);
    };
    Threads threads(3, work);
    in_goroutines(4, work);
    threads.join();
    EXPECT_EQ(c.n, 7 * rounds);
  });
}

// Few threads of many at a time get to a short critical section: queues, wakes and handovers all the time.
TEST_P(Mutex, HeldOverParks) {
  GORT_TEST_START(GetParam());
  run([] {
    gort::mutex m;
    gort::semaphore never_more_than_one(1);
    const int rounds = 300 / kSlowdown + 1;
    in_goroutines(50, [&] {
      for (int i = 0; i < rounds; ++i) {
        std::scoped_lock hold(m);
        EXPECT_TRUE(never_more_than_one.try_acquire());
        this_goroutine::yield();
        never_more_than_one.release();
      }
    });
  });
}

TEST_P(Mutex, TwoInAnyOrder) {
  GORT_TEST_START(GetParam());
  run([] {
    gort::mutex a, b;
    const int rounds = 3000 / kSlowdown;
    int n = 0;
    auto one = spawn([&] {
      for (int i = 0; i < rounds; ++i) {
        std::scoped_lock hold(a, b);
        ++n;
      }
    });
    for (int i = 0; i < rounds; ++i) {
      std::scoped_lock hold(b, a);
      ++n;
    }
    one.join();
    EXPECT_EQ(n, 2 * rounds);
  });
}

// Unlock keeps the thread and the processor, also where it hands over.
TEST_P(Mutex, UnlockNeverYields) {
  GORT_TEST_START(GetParam());
  run([] {
    gort::mutex m;
    std::atomic<int> got{0};
    m.lock();
    std::vector<task<void>> all;
    for (int i = 0; i < 3; ++i) {
      all.push_back(spawn([&] {
        std::scoped_lock hold(m);
        ++got;
      }));
    }
    until_waiting(3);
    if (num_procs() == 1) {
      m.unlock();
      EXPECT_EQ(got, 0);
    } else {
      const auto* before = rt::self_m();
      m.unlock();
      EXPECT_EQ(rt::self_m(), before);
    }
    for (auto& t : all) t.join();
    EXPECT_EQ(got, 3);
  });
}

// The last user destroys it while the unlock before is perhaps still returning: under ASan, a use after free.
TEST_P(Mutex, DestroyedByTheLastUser) {
  GORT_TEST_START(GetParam());
  run([] {
    struct Shared {
      gort::mutex m;
      int users;
    };
    const int rounds = 3000 / kSlowdown;
    for (int i = 0; i < rounds; ++i) {
      auto* s = new Shared{{}, 3};
      auto use = [s] {
        s->m.lock();
        const bool last = --s->users == 0;
        if (s->users == 1) this_goroutine::yield();
        s->m.unlock();
        if (last) delete s;
      };
      auto a = spawn(use);
      auto b = spawn(use);
      use();
      a.join();
      b.join();
    }
  });
}

// Scenario 106: one that holds it nearly always, and ten that want it; all get it. (10 s in the original; a hang here.)
TEST_P(Mutex, Scenario106_TenLockersDespiteAHog) {
  GORT_TEST_START(GetParam());
  run([] {
    gort::mutex m;
    std::atomic<bool> stop{false};
    auto hog = spawn([&] {
      while (!stop) {
        m.lock();
        spin_for(100'000);
        test::poll_for_tsan();  // where nobody waits, neither lock nor unlock calls gort
        m.unlock();
      }
    });
    in_goroutines(10, [&] {
      for (int i = 0; i < 3; ++i) {
        this_goroutine::sleep_for(std::chrono::microseconds(100));
        m.lock();
        m.unlock();
      }
    });
    stop = true;
    hog.join();
  });
}

}  // namespace
