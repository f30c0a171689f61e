// gort::pool: what is put is had again, nothing is lost or had twice.
#include <memory>

#include "tests/sync/sync.h"

#if defined(GORT_TESTING)
namespace gort::inline v0::detail {
void set_pool_age_for_test(std::int64_t ns) noexcept;  // of src/api/pool.cc
}
#endif

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

// Who clears waits for who is at a stock: nothing is left because of that.
TEST(PoolBeforeStart, ClearLeavesNothing) {
  {
    pool<Thing> p;
    std::atomic<bool> stop{false};
    std::atomic<int> had{0};
    std::thread user([&] {
      while (!stop) {
        p.put(p.get());
        ++had;
      }
    });
    for (int i = 0; i < 500; ++i) {
      std::vector<std::unique_ptr<Thing>> many;
      for (int k = 0; k < 8; ++k) many.push_back(p.get());
      for (auto& t : many) p.put(std::move(t));
      p.clear();
      EXPECT_LE(alive, 2) << "those of the user";
      for (const int now = had; had == now;) std::this_thread::yield();
    }
    stop = true;
    user.join();
  }
  EXPECT_EQ(alive, 0);
}

#if defined(GORT_TESTING)
// Scenario 106: what nobody needs is destroyed in two steps; until the second it can still be had.
TEST(PoolAge, WhatIsNotNeededGoesInTwoSteps) {
  run({.max_procs = 1}, [] {
    {
      pool<Thing> p;
      detail::set_pool_age_for_test(3'600'000'000'000);
      auto fill = [&](int n) {
        std::vector<std::unique_ptr<Thing>> many;
        for (int i = 0; i < n; ++i) many.push_back(p.get());
        for (auto& t : many) p.put(std::move(t));
      };
      fill(10);
      EXPECT_EQ(alive, 10);
      auto step = [&] {  // what is put when the age is reached is in the stock, and ages with it
        detail::set_pool_age_for_test(0);
        p.put(std::make_unique<Thing>());
        detail::set_pool_age_for_test(3'600'000'000'000);
      };
      step();
      EXPECT_EQ(alive, 11) << "victims now";
      {
        auto again = p.get();
      }  // one is used up
      {
        auto again = p.get();
      }  // a victim: none is made while there are some
      EXPECT_EQ(alive, 9);
      step();
      step();
      EXPECT_LE(alive, 3) << "but for the one at hand, and what was put since";
    }
    EXPECT_EQ(alive, 0);
    detail::set_pool_age_for_test(std::chrono::nanoseconds(pool<Thing>::kAge).count());
  });
}

// Also where each put finds room at hand, and never comes to the stock.
TEST(PoolAge, WhatIsNotNeededGoesWhileOneIsUsed) {
  run({.max_procs = 1}, [] {
    {
      pool<Thing> p;
      std::vector<std::unique_ptr<Thing>> many;
      for (int i = 0; i < 10; ++i) many.push_back(p.get());
      for (auto& t : many) p.put(std::move(t));
      EXPECT_EQ(alive, 10);
      detail::set_pool_age_for_test(0);
      for (int i = 0; i < 100; ++i) p.put(p.get());
      EXPECT_EQ(alive, 1);
      detail::set_pool_age_for_test(std::chrono::nanoseconds(pool<Thing>::kAge).count());
    }
    EXPECT_EQ(alive, 0);
  });
}
#endif

}  // namespace
