// gort::shared_mutex: exclusion, phases, foreign threads.
// test: timeout=120
#include <shared_mutex>

#include "tests/sync/sync.h"

namespace {

using namespace gort;
using namespace gort::test;
using namespace std::chrono_literals;

using SharedMutex = SyncTest;
GORT_TEST_AT_PROCS(SharedMutex);

constinit gort::shared_mutex global;
static_assert(sizeof(gort::shared_mutex) == 4);

TEST_P(SharedMutex, Plain) {
  GORT_TEST_START(GetParam());
  run([] {
    gort::shared_mutex m;
    m.lock_shared();
    EXPECT_TRUE(m.try_lock_shared());
    EXPECT_FALSE(m.try_lock());
    EXPECT_FALSE(m.try_lock_for(-1s));
    m.unlock_shared();
    m.unlock_shared();
    EXPECT_TRUE(m.try_lock());
    EXPECT_FALSE(m.try_lock_shared());
    EXPECT_FALSE(m.try_lock_shared_for(0s));
    EXPECT_FALSE(m.try_lock());
    m.unlock();
    std::shared_lock reads(m);
    std::shared_lock global_reads(global);
  });
}

struct State {
  gort::shared_mutex m;
  std::atomic<int> readers{0}, writers{0};
  std::int64_t a = 0, b = 0;

  void use(int i) {
    if (i % 5 == 0) {
      std::unique_lock hold(m);
      EXPECT_EQ(writers.fetch_add(1), 0);
      EXPECT_EQ(readers, 0);
      ++a;
      if (i % 50 == 0) this_goroutine::yield();
      ++b;
      writers.fetch_sub(1);
    } else {
      std::shared_lock hold(m);
      readers.fetch_add(1);
      EXPECT_EQ(writers, 0);
      EXPECT_EQ(a, b);
      if (i % 49 == 0) this_goroutine::yield();
      readers.fetch_sub(1);
    }
  }
};

TEST_P(SharedMutex, ReadersOrOneWriter) {
  GORT_TEST_START(GetParam());
  run([] {
    State s;
    const int rounds = 10000 / kSlowdown;
    auto work = [&] {
      for (int i = 0; i < rounds; ++i) s.use(i);
    };
    Threads threads(2, work);
    in_goroutines(6, work);
    threads.join();
    EXPECT_EQ(s.a, 8 * rounds / 5);
  });
}

// A writer that waits keeps new readers out; readers that wait get in before the next writer.
TEST_P(SharedMutex, Phases) {
  GORT_TEST_START(GetParam());
  run([] {
    gort::shared_mutex m;
    std::vector<int> order;
    std::mutex order_lock;
    auto note = [&](int n) {
      std::scoped_lock hold(order_lock);
      order.push_back(n);
    };
    m.lock_shared();
    auto writer1 = spawn([&] {
      std::unique_lock hold(m);
      note(1);
      until_waiting(3);
    });
    until_waiting(1);
    EXPECT_FALSE(m.try_lock_shared()) << "a writer waits";
    std::vector<task<void>> readers;
    for (int i = 0; i < 2; ++i) {
      readers.push_back(spawn([&] {
        std::shared_lock hold(m);
        note(2);
      }));
    }
    until_waiting(3);
    auto writer2 = spawn([&] {
      std::unique_lock hold(m);
      note(3);
    });
    until_waiting(4);
    m.unlock_shared();
    writer1.join();
    for (auto& r : readers) r.join();
    writer2.join();
    EXPECT_EQ(order, (std::vector<int>{1, 2, 2, 3}));
  });
}

// Readers in turns, so that there is always one: the writer gets in all the same.
TEST_P(SharedMutex, ReadersDoNotKeepAWriterOut) {
  GORT_TEST_START(GetParam());
  run([] {
    gort::shared_mutex m;
    std::atomic<bool> written{false};
    std::atomic<int> holds{0};
    std::vector<task<void>> readers;
    for (int i = 0; i < 4; ++i) {
      readers.push_back(spawn([&] {
        while (!written) {
          std::shared_lock hold(m);
          ++holds;
          for (int k = 0; k < 3; ++k) this_goroutine::yield();
          --holds;
        }
      }));
    }
    while (holds == 0) this_goroutine::yield();
    m.lock();
    written = true;
    m.unlock();
    for (auto& r : readers) r.join();
  });
}

TEST_P(SharedMutex, DestroyedByTheLastUser) {
  GORT_TEST_START(GetParam());
  run([] {
    struct Shared {
      gort::shared_mutex m;
      std::atomic<int> users;
    };
    const int rounds = 3000 / kSlowdown;
    for (int i = 0; i < rounds; ++i) {
      auto* s = new Shared{{}, 3};
      auto use = [s](bool reads) {
        bool last = false;
        if (reads) {
          s->m.lock_shared();
          this_goroutine::yield();
          s->m.unlock_shared();
          s->m.lock();
          last = --s->users == 0;
          s->m.unlock();
        } else {
          s->m.lock();
          this_goroutine::yield();
          last = --s->users == 0;
          s->m.unlock();
        }
        if (last) delete s;
      };
      auto a = spawn(use, false);
      auto b = spawn(use, true);
      use(i % 2 == 0);
      a.join();
      b.join();
    }
  });
}

// Scenario 92: any number of readers at the same time, each waiting until all are in.
TEST_P(SharedMutex, Scenario92_ParallelReaders) {
  GORT_TEST_START(GetParam());
  run([] {
    for (int readers : {1, 3, 4, 10}) {
      gort::shared_mutex m;
      latch all_in(readers);
      in_goroutines(readers, [&] {
        std::shared_lock hold(m);
        all_in.arrive_and_wait();
      });
      EXPECT_TRUE(m.try_lock());
      m.unlock();
    }
  });
}

/// Readers and writers in turns, one of `every` turns a writer's; goroutines and threads.
void hammer(int every) {
  run([=] {
    gort::shared_mutex m;
    std::atomic<int> inside{0};  // readers count 1, a writer 10'000
    std::int64_t written = 0;
    std::atomic<std::int64_t> writes{0};
    const int rounds = 5000 / kSlowdown;
    std::atomic<int> first{0};
    auto work = [&] {
      int turn = first += 7;
      for (int i = 0; i < rounds; ++i, ++turn) {
        if (turn % every == 0) {
          std::unique_lock hold(m);
          EXPECT_EQ(inside.fetch_add(10'000), 0);
          ++written;
          ++writes;
          inside -= 10'000;
        } else {
          std::shared_lock hold(m);
          EXPECT_LT(inside.fetch_add(1), 10'000);
          if (turn % 16 == 0) this_goroutine::yield();
          --inside;
        }
      }
    };
    Threads threads(2, work);
    in_goroutines(10, work);
    threads.join();
    EXPECT_EQ(written, writes);
  });
}

TEST_P(SharedMutex, Scenario92_HammerOneWriteInTen) {
  GORT_TEST_START(GetParam());
  hammer(10);
}

TEST_P(SharedMutex, Scenario92_HammerOneWriteInAHundred) {
  GORT_TEST_START(GetParam());
  hammer(100);
}

}  // namespace
