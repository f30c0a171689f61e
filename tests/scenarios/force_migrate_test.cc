// GORT_DEBUG=forcemigrate=1: how often a goroutine is on another thread after each kind of call that may change it.
// test: needs=GORT_TESTING
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>

#include "sched/force_migrate.h"
#include "sched/invariants.h"
#include "tests/support/runtime_fixture.h"

namespace {

constexpr int kRounds = 400;

class ForceMigrate : public gort::test::RuntimeTestAtProcs {
 protected:
  void SetUp() override { gort::rt::force_migrate_on.store(true); }
  void TearDown() override {
    gort::rt::force_migrate_on.store(false);
    RuntimeTestAtProcs::TearDown();
  }
};
GORT_TEST_AT_PROCS(ForceMigrate);

[[gnu::noinline]] int thread_here() { return ::gettid(); }

/// In how many of kRounds calls the thread was another one afterwards.
int changes(const std::function<void()>& call) {
  int n = 0;
  for (int i = 0; i < kRounds; ++i) {
    const int before = thread_here();
    call();
    if (thread_here() != before) ++n;
  }
  return n;
}

struct Changes {
  int yields = 0;
  int polls = 0;
  int parks = 0;
  int calls = 0;  // ends of gort::blocking
};

/// A semaphore that another goroutine releases as soon as we wait for it.
int changes_by_parks() {
  gort::semaphore ping(0), pong(0);
  auto partner = gort::spawn([&] {
    for (int i = 0; i < kRounds; ++i) {
      ping.acquire();
      pong.release();
    }
  });
  const int n = changes([&] {
    ping.release();
    pong.acquire();
  });
  partner.join();
  return n;
}

Changes count_changes() {
  return gort::run([] {
    // Threads to go to are made after the start.
    while (gort::rt::check_ps().idle_m == 0) ::usleep(100);
    Changes c;
    c.yields = changes([] { gort::this_goroutine::yield(); });
    c.polls = changes([] { gort::poll(); });
    c.parks = changes_by_parks();
    c.calls = changes([] { gort::blocking([] {}); });
    std::printf("of %d: yields %d, polls %d, parks %d, blocking calls %d\n", kRounds, c.yields, c.polls, c.parks, c.calls);
    return c;
  });
}

// Not all: when no thread is idle, the goroutine stays.
constexpr int kNearlyAll = kRounds * 9 / 10;
constexpr int kRarely = kRounds / 10;

TEST_P(ForceMigrate, ChangesTheThreadNearlyAlways) {
  GORT_TEST_START(GetParam());
  const Changes c = count_changes();
  EXPECT_GE(c.yields, kNearlyAll);
  EXPECT_GE(c.polls, kNearlyAll);
  EXPECT_GE(c.calls, kNearlyAll);
  // With more Ps the partner may answer before we have parked, and then nothing changes threads.
  if (GetParam() == 1) {
    EXPECT_GE(c.parks, kNearlyAll);
  } else {
    EXPECT_GT(c.parks, 0);
  }
}

TEST_P(ForceMigrate, WithoutItTheThreadRarelyChanges) {
  gort::rt::force_migrate_on.store(false);
  if (GetParam() != 1) GTEST_SKIP() << "with several Ps, goroutines move for good reasons";
  GORT_TEST_START(GetParam());
  const Changes c = count_changes();
  EXPECT_LE(c.yields, kRarely);
  EXPECT_LE(c.polls, kRarely);
  EXPECT_LE(c.parks, kRarely);
  EXPECT_LE(c.calls, kRarely);
}

TEST_P(ForceMigrate, LeavesLockedGoroutinesWhereTheyAre) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::os_thread_lock lock;
    EXPECT_EQ(changes([] { gort::this_goroutine::yield(); }), 0);
    EXPECT_EQ(changes([] { gort::poll(); }), 0);
    EXPECT_EQ(changes([] { gort::blocking([] {}); }), 0);
    EXPECT_EQ(changes_by_parks(), 0);
  });
}

// A call into gort from inside gort::blocking must come back on the same thread.
TEST_P(ForceMigrate, LeavesCallsFromBlockingWhereTheyAre) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::blocking([] { EXPECT_EQ(changes([] { gort::this_goroutine::yield(); }), 0); });
  });
}

class ForceMigrateSetting : public gort::test::RuntimeTest {};

TEST_F(ForceMigrateSetting, ComesFromTheEnvironment) {
  ::setenv("GORT_DEBUG", "forcemigrate=1", 1);
  GORT_TEST_START(1);
  if (!gort::rt::force_migrate()) GTEST_SKIP() << "started with other settings: run it alone, as ctest does";
  EXPECT_GE(count_changes().yields, kNearlyAll);
}

}  // namespace
