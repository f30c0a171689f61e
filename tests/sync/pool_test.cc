// gort::pool: what is put is had again, nothing is lost or had twice.
#include <memory>

#include "tests/sync/sync.h"

namespace {

using namespace gort;
using namespace gort::test;

using Pool = SyncTest;
GORT_TEST_AT_PROCS(Pool);

std::atomic<int> alive{0};

struct Thing {
  Thing() { ++alive; }
  ~Thing() { --alive; }
  bool used = false;
  int payload = 0;
};

TEST_P(Pool, TheLastOneFirst) {
  GORT_TEST_START(GetParam());
  run([] {
    {
      pool<Thing> p;
      auto a = p.get();
      Thing* const at = a.get();
      p.put(std::move(a));
      p.put(nullptr);
      if (num_procs() == 1) {
        EXPECT_EQ(p.get().get(), at);
      }
      int made = 0;
      pool<Thing> q([&] {
        ++made;
        return std::make_unique<Thing>();
      });
      for (int i = 0; i < 100; ++i) q.borrow()->payload = i;
      EXPECT_LE(made, num_procs() + 1);
      std::vector<std::unique_ptr<Thing>> many;
      for (int i = 0; i < 100; ++i) many.push_back(q.get());
      for (auto& t : many) q.put(std::move(t));
      EXPECT_LT(alive, 100) << "a stock is bounded";
      q.clear();
      EXPECT_LE(alive, 8);
    }
    EXPECT_EQ(alive, 0);
  });
}

TEST_P(Pool, NobodyHasWhatAnotherHas) {
  GORT_TEST_START(GetParam());
  run([] {
    {
      pool<Thing> p;
      const int rounds = 20000 / kSlowdown;
      auto work = [&] {
        for (int i = 0; i < rounds; ++i) {
          auto a = p.borrow();
          auto b = p.get();
          EXPECT_FALSE(a->used);
          EXPECT_FALSE(b->used);
          a->used = b->used = true;
          if (i % 32 == 0) this_goroutine::yield();
          a->used = b->used = false;
          p.put(std::move(b));
          if (i % 1000 == 0) p.clear();
        }
      };
      Threads threads(2, work);
      in_goroutines(6, work);
      threads.join();
    }
    EXPECT_EQ(alive, 0);
  });
}

TEST(PoolBeforeStart, ForeignThread) {
  {
    pool<Thing> p;
    p.put(p.get());
    auto t = p.borrow();
  }
  EXPECT_EQ(alive, 0);
}

}  // namespace
