// Stacks come with the first dispatch, go with the end, and are neither lost nor promised twice.
#include "sched/stack_cache.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "base/sanitizer.h"
#include "os/linux/test_support.h"
#include "sched/sched.h"
#include "sched/spawn.h"
#include "sched/stack.h"
#include "tests/support/runtime_fixture.h"

namespace gort::rt {
namespace {

class StackCache : public gort::test::RuntimeTestAtProcs {
 protected:
  /// Claims in the Ps' accounts, when nobody runs.
  static std::uint64_t in_accounts() {
    std::uint64_t n = 0;
    for (std::int32_t i = 0; i < sched.nprocs; ++i) n += p_at(i)->claims;
    return n;
  }
  /// Stacks in all caches, when nobody runs.
  static std::uint64_t cached() {
    std::uint64_t n = sched.stacks.size();
    for (std::int32_t i = 0; i < sched.nprocs; ++i) n += p_at(i)->stacks.size();
    return n;
  }
  /// How often a goroutine has lost its P and got one again, when nobody runs.
  static std::uint64_t captive_slices() {
    std::uint64_t n = 0;
    for (std::int32_t i = 0; i < sched.nprocs; ++i) n += p_at(i)->captive_slices;
    return n;
  }
};
GORT_TEST_AT_PROCS(StackCache);

// 10,000 goroutines that never park run one after the other: each on the stack of the one before. But one whose slice ends
// keeps its stack meanwhile, and slices do end: main may need more than one on a busy machine, and from then on takes turns.
TEST_P(StackCache, ThoseThatNeverParkShareOneStack) {
  GORT_TEST_START(GetParam());
  static std::atomic<int> ran, more;
  static std::atomic<std::uintptr_t> used[64];
  ran = more = 0;
  for (auto& one : used) one = 0;
  const std::uint64_t captures_before = captive_slices();
  // Before main's first dispatch nothing of this class is in use (main's stack is of another).
  gort::run([] {
    for (int i = 0; i < 10'000; ++i) {
      gort::go([] {
        const std::uintptr_t lo = current_g()->stack.lo;
        const bool known = std::ranges::any_of(used, [&](std::atomic<std::uintptr_t>& one) {
          std::uintptr_t none = 0;
          return one.compare_exchange_strong(none, lo) || none == lo;
        });
        if (!known) ++more;
        ++ran;
      });
    }
    while (ran < 10'000) gort::this_goroutine::yield();
  });
  gort::test::expect_every_p_idle();
  const auto most = static_cast<std::uint64_t>(GetParam());
  const std::uint64_t captures = captive_slices() - captures_before;
  // A P takes eight from the pool at once. Under a sanitizer a goroutine has its stack before the last one has left
  // its own.
  EXPECT_LE(cached(), most * (san::watched() ? 16 : 8) + captures) << "10,000 runnable goroutines had stacks of their own";
  if (GetParam() == 1 && !san::watched()) {  // sanitizers tell goroutines apart by their switches
    const auto stacks = std::ranges::count_if(used, [](const auto& one) { return one != 0; });
    EXPECT_LE(static_cast<std::uint64_t>(stacks + more), 1 + captures) << "did not use the first one's";
  }
  EXPECT_EQ(stack_stats().in_use, cached()) << "main's has been given back as well";
}

TEST_P(StackCache, ClaimsBalanceAfterBursts) {
  GORT_TEST_START(GetParam());
  gort::run([] { gort::spawn([] {}).join(); });
  for (int burst = 0; burst < 4; ++burst) {
    gort::run([] {
      gort::semaphore gate(0);
      std::vector<gort::task<void>> tasks;
      for (int i = 0; i < 3'000; ++i) tasks.push_back(gort::spawn([&gate] { gate.acquire(); }));
      // Some that are made and taken back without a start.
      for (int i = 0; i < 500; ++i) gort::detail::new_goroutine(0);
      gate.release(3'000);
      for (auto& t : tasks) t.join();
    });
    gort::test::expect_every_p_idle();
    EXPECT_EQ(stack_stats().claimed, in_accounts()) << "nobody lives, so all claims are unused ones";
    EXPECT_LE(in_accounts(), 256u * static_cast<unsigned>(GetParam()));
  }
  // A closure whose move throws leaves neither goroutine nor claim.
  struct throws {
    throws() = default;
    throws(throws&&) { throw 1; }
    void operator()() {}
  };
  for (int i = 0; i < 1'000; ++i) {
    EXPECT_THROW(gort::go(throws{}), int);
    EXPECT_THROW(static_cast<void>(gort::spawn(throws{})), int);
  }
  gort::run([] {
    for (int i = 0; i < 1'000; ++i) EXPECT_THROW(gort::go(throws{}), int);
  });
  gort::test::expect_every_p_idle();
  EXPECT_EQ(stack_stats().claimed, in_accounts());
  EXPECT_EQ(gort::num_goroutine(), 0);
}

TEST_P(StackCache, TrimmingGivesTheUnusedOnesBack) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::semaphore gate(0);
    std::atomic<int> waiting{0};
    std::vector<gort::task<void>> tasks;
    for (int i = 0; i < 3'000; ++i) {
      tasks.push_back(gort::spawn([&] {
        ++waiting;
        gate.acquire();
      }));
    }
    while (waiting != 3'000) gort::this_goroutine::yield();
    gate.release(3'000);
    for (auto& t : tasks) t.join();
  });
  gort::test::expect_every_p_idle();
  // sysmon does the same once a second, and may have been here.
  stack_cache_trim();  // sets the mark
  for (int i = 0; i < 40 && stack_cache_trimmable(); ++i) stack_cache_trim();
  EXPECT_FALSE(stack_cache_trimmable());
  EXPECT_LE(cached(), 64u + 64u * static_cast<unsigned>(GetParam()));
  EXPECT_TRUE(gort::test::yield_until([] { return stack_stats().in_use == cached(); })) << "the rest is with the pool";
}

// ---- at the end of address space ------------------------------------------------------------------

/// No mapping of a size that matters can be made from here on.
bool no_more_address_space() {
  const rlimit now{static_cast<rlim_t>(test::status_kib("VmSize")) * 1024 + (std::size_t{512} << 10), RLIM_INFINITY};
  return setrlimit(RLIMIT_AS, &now) == 0;
}

Stack take(P* p) {
  Stack s;
  return p->stacks.pop(&s) ? s : stack_take_slow(p);
}

// What is claimed can be had, though it is claimed in one P's account and taken by another, while the first one keeps
// the stacks of goroutines that have ended there.
TEST(StackClaims, AreWorthAStackWhereverTheGoroutineRuns) {
#if defined(GORT_TEST_SANITIZED)
  GTEST_SKIP() << "sanitizers live on address space";
#endif
  EXPECT_EQ(test::in_child([] {
              static P one(0), other(1);
              Stack stacks[64];
              for (Stack& s : stacks) {
                if (!stack_claim_one(&one)) return 1;
                s = take(&one);
              }
              if (!no_more_address_space()) return 3;
              for (const Stack& s : stacks) {
                stack_unclaim_one(&one);
                stack_put(&one, s);
              }
              if (one.stacks.size() < 32) return 4;
              int claimed = 0;
              while (stack_claim_one(&one)) ++claimed;
              if (claimed < 64) return 5;
              for (int i = 0; i < claimed; ++i) take(&other);
              return one.claims == 0 ? 0 : 6;
            }),
            0);
}

// Claims in other Ps' accounts keep nobody from starting a goroutine: they are given back, by who runs at the next end of a
// goroutine of his, by who does not run at once.
TEST(StackClaims, AreNotKeptByThoseWhoDoNotNeedThem) {
#if defined(GORT_TEST_SANITIZED)
  GTEST_SKIP() << "sanitizers live on address space";
#endif
  EXPECT_EQ(test::in_child([] {
              static P one(0), other(1);
              // The other has all there are, but one of a goroutine that lives.
              if (!stack_claim_one(&other)) return 1;
              Stack s = take(&other);
              if (!no_more_address_space()) return 2;
              while (stack_claim(default_stack_bytes(), 1)) ++other.claims;
              const std::uint32_t all = other.claims;
              if (stack_claim_one(&one)) return 3;
              stack_unclaim_one(&other);
              stack_put(&other, s);
              if (other.claims != other.stacks.size()) return 4;
              std::uint32_t claimed = 0;
              while (stack_claim_one(&one)) ++claimed, take(&one);
              if (claimed + other.claims != all + 1) return 5;
              // It goes idle.
              sched.idle_p = &other;
              while (stack_claim_one(&one)) ++claimed, take(&one);
              return claimed == all + 1 ? 0 : 6;
            }),
            0);
}

}  // namespace
}  // namespace gort::rt
