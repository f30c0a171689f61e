// Pages of stacks that parked goroutines do not use any more are given back.
// test: needs=GORT_UNSANITIZED
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstring>
#include <vector>

#include "gort/gort.h"
#include "sched/sched.h"

namespace {

constexpr std::size_t kDeep = 128 << 10;

[[gnu::noinline]] int be_deep(int seed) {
  volatile char room[kDeep];
  std::memset(const_cast<char*>(room), seed, sizeof room);
  return room[seed] + room[kDeep - 1];
}

struct Sleeper {
  std::atomic<gort::rt::G*> g{nullptr};
  gort::semaphore go_on{0};
  gort::task<int> task;
};

std::size_t resident(const Sleeper& s) { return gort::rt::stack_high_water(s.g.load()->stack); }

TEST(ParkedStacks, AreTrimmedAfterAWhile) {
  gort::run({.max_procs = 2}, [] {
    std::vector<Sleeper> sleepers(100);
    for (Sleeper& s : sleepers) {
      s.task = gort::spawn([&s] {
        int kept = be_deep(7);
        s.g = gort::rt::current_g();
        s.go_on.acquire();
        return kept + be_deep(9);  // the pages come back, zero or not
      });
    }
    for (Sleeper& s : sleepers) {
      while (s.g == nullptr || s.g.load()->status.load() != gort::rt::GStatus::waiting) gort::this_goroutine::yield();
      EXPECT_GE(resident(s), kDeep);
      s.g.load()->waiting_since.fetch_sub(10);  // sysmon sees ten seconds go by
    }
    // sysmon's next rounds: one a second.
    for (Sleeper& s : sleepers) {
      while (resident(s) > (16 << 10)) gort::blocking([] { ::usleep(10'000); });
    }
    for (Sleeper& s : sleepers) {
      s.go_on.release();
      EXPECT_EQ(s.task.get(), 2 * 7 + 2 * 9);
    }
  });
}

}  // namespace
