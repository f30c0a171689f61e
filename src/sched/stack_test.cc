#include "sched/stack.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "os/linux/test_support.h"

namespace {

using namespace gort::rt;
using namespace gort::test;
using gort::os::Guard;

constexpr unsigned kGuardInstall = 102;
const std::size_t kPage = gort::os::page_size();

char* ptr(std::uintptr_t p) { return reinterpret_cast<char*>(p); }

std::vector<Stack> alloc_many(std::size_t bytes, std::size_t n) {
  std::vector<Stack> stacks(n);
  stacks.resize(stack_alloc_batch(bytes, stacks.data(), n));
  EXPECT_EQ(stacks.size(), n);
  return stacks;
}

void free_many(const std::vector<Stack>& stacks) { stack_free_batch(stacks.data(), stacks.size()); }

std::size_t slots_known(const StackStats& t) {
  return t.in_use + t.free_warm + t.free_cold + t.untouched;
}

bool same(const Stack& a, const Stack& b) {
  return a.lo == b.lo && a.hi == b.hi && a.colour == b.colour && a.guard == b.guard;
}

TEST(Stack, SizesRoundUpToPowersOfTwo) {
  EXPECT_EQ(stack_slot_bytes(0), kStackMin);
  EXPECT_EQ(stack_slot_bytes(1), kStackMin);
  EXPECT_EQ(stack_slot_bytes(kStackMin), kStackMin);
  EXPECT_EQ(stack_slot_bytes(kStackMin + 1), kStackDefault);
  EXPECT_EQ(stack_slot_bytes(kStackDefault), kStackDefault);
  EXPECT_EQ(stack_slot_bytes((1 << 20) - 1), std::size_t{1} << 20);
  EXPECT_EQ(stack_slot_bytes(kStackMax / 2 + 1), kStackMax);
  EXPECT_EQ(stack_slot_bytes(kStackMax), kStackMax);
  EXPECT_EQ(stack_slot_bytes(kStackMax + 1), 0u);
  EXPECT_EQ(stack_slot_bytes(SIZE_MAX), 0u);
  EXPECT_EQ(stack_class_of(0), 0);
  EXPECT_EQ(stack_class_of(kStackMax), kStackClasses - 1);
  EXPECT_EQ(stack_class_of(kStackMax + 1), -1);
  for (int c = 0; c < kStackClasses; ++c) {
    EXPECT_EQ(stack_class_of((kStackMin << c) - kStackGuard), c);  // of the usable size, too
  }
}

TEST(Stack, AbsurdSizesFailAndLeaveTheResultAlone) {
  Stack s;
  s.lo = 1;
  EXPECT_FALSE(stack_alloc(kStackMax + 1, &s));
  EXPECT_FALSE(stack_alloc(SIZE_MAX, &s));
  EXPECT_EQ(stack_alloc_batch(SIZE_MAX, &s, 1), 0u);
  EXPECT_EQ(stack_alloc_batch(kStackDefault, &s, 0), 0u);
  EXPECT_EQ(s.lo, 1u);
}

TEST(Stack, EverySizeIsUsableFromEndToEndAndGuarded) {
  for (std::size_t bytes = kStackMin; bytes <= kStackMax; bytes *= 2) {
    SCOPED_TRACE(bytes);
    Stack s;
    ASSERT_TRUE(stack_alloc(bytes, &s));
    EXPECT_TRUE(s);
    EXPECT_EQ(s.hi - s.lo, bytes - kStackGuard);
    EXPECT_EQ(s.hi % kPage, 0u);
    EXPECT_NE(s.guard, Guard::none);
    EXPECT_EQ(touch_faults_at(ptr(s.hi - 1), true), 0u);
    EXPECT_EQ(touch_faults_at(ptr(s.lo), true), 0u);
    for (std::uintptr_t below : {s.lo - 1, s.lo - kStackGuard / 2, s.lo - kStackGuard}) {
      Stack which;
      const std::uintptr_t fault = touch_faults_at(ptr(below), true);
      ASSERT_EQ(fault, below);
      EXPECT_EQ(stack_classify(fault, &which), StackAddr::guard);
      EXPECT_TRUE(same(which, s));
    }
    for (std::uintptr_t inside : {s.lo, s.lo + bytes / 3, s.hi - 1}) {
      Stack which;
      EXPECT_EQ(stack_classify(inside, &which), StackAddr::usable);
      EXPECT_TRUE(same(which, s));
    }
    EXPECT_TRUE(stack_canary_ok(s));
    stack_free(s);
  }
}

TEST(Stack, NoTwoOverlap) {
  std::vector<Stack> all;
  for (std::size_t bytes : {kStackMin, kStackDefault, kStackDefault * 4, std::size_t{64} << 20}) {
    auto some = alloc_many(bytes, bytes > kStackDefault * 4 ? 5 : 1000);
    all.insert(all.end(), some.begin(), some.end());
  }
  std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.lo < b.lo; });
  for (std::size_t i = 1; i < all.size(); ++i) ASSERT_LE(all[i - 1].hi, all[i].lo - kStackGuard);
  free_many(all);
}

TEST(Stack, LastFreedComesFirstWithItsTopPageAndNothingDeep) {
  auto stacks = alloc_many(kStackDefault, 3);
  Stack s = stacks[1];
  std::memset(ptr(s.lo), 1, s.hi - s.lo);
  EXPECT_EQ(stack_high_water(s), s.hi - s.lo);
  stack_free(s);
  Stack again;
  ASSERT_TRUE(stack_alloc(kStackDefault, &again));
  EXPECT_TRUE(same(again, s));
  EXPECT_EQ(ptr(s.hi)[-1], 1);  // warm
  const std::size_t kept = stack_high_water(s);
  EXPECT_GE(kept, kPage);
  EXPECT_LE(kept, std::max(kPage, std::size_t{16} << 10));
  free_many(stacks);
}

TEST(Stack, FreeStacksKeepABoundedAmountOfMemory) {
  const std::size_t n = 3000;
  auto stacks = alloc_many(kStackMin, n);
  for (auto& s : stacks) std::memset(ptr(s.hi - 32768), 1, 32768);
  free_many(stacks);
  std::size_t kept = 0;
  for (auto& s : stacks) kept += stack_high_water(s);
  EXPECT_GT(kept, 0u);
  EXPECT_LE(kept, std::size_t{1024 + 32} * (16 << 10));
  const StackStats before = stack_stats();
  EXPECT_GE(stack_release_free(), 1024u);
  const StackStats after = stack_stats();
  EXPECT_EQ(after.free_warm, 0u);
  EXPECT_EQ(after.free_cold, before.free_warm + before.free_cold);
  kept = 0;
  for (auto& s : stacks) kept += stack_high_water(s);
  EXPECT_EQ(kept, 0u);
}

TEST(Stack, ClassifiesWhatIsNoStack) {
  Stack which, s;
  int local = 0;
  auto heap = std::make_unique<int>(0);
  ASSERT_TRUE(stack_alloc(std::size_t{2} << 20, &s));
  for (std::uintptr_t p :
       {std::uintptr_t{0}, std::uintptr_t{1} << 26, ~std::uintptr_t{0}, std::uintptr_t{1} << 48,
        std::uintptr_t{1} << 63, reinterpret_cast<std::uintptr_t>(&local),
        reinterpret_cast<std::uintptr_t>(heap.get())}) {
    EXPECT_EQ(stack_classify(p, &which), StackAddr::not_a_stack) << p;
  }
  EXPECT_EQ(which.hi, 0u);
  // The slab begins at a multiple of 64 MiB with data about its slots; behind the last stack that
  // was handed out come slots that never were.
  const std::uintptr_t slab = s.lo & ~((std::uintptr_t{64} << 20) - 1);
  EXPECT_EQ(stack_classify(slab, &which), StackAddr::not_a_stack);
  EXPECT_EQ(stack_classify(s.hi, &which), StackAddr::not_a_stack);
  // Below the guard lies a page that belongs to nobody; below that another slot, or that data.
  EXPECT_EQ(stack_classify(s.lo - kStackGuard, &which), StackAddr::guard);
  EXPECT_TRUE(same(which, s));
  EXPECT_EQ(stack_classify(s.lo - kStackGuard - 1, &which), StackAddr::not_a_stack);
  EXPECT_EQ(stack_classify(s.lo - kStackGuard - kPage, &which), StackAddr::not_a_stack);
  stack_free(s);
  EXPECT_EQ(stack_classify(s.hi - 1, &which), StackAddr::usable);  // a stack still, only free
}

// Tops a power of two apart would meet in the same sets of TLB and caches.
TEST(Stack, NeighboursAreStaggeredByAPage) {
  Stack s[2];
  ASSERT_EQ(stack_alloc_batch(std::size_t{1} << 23, s, 2), 2u);  // nobody else uses this size
  const std::uintptr_t apart = s[1].hi - s[0].hi;
  EXPECT_EQ(apart, (std::size_t{1} << 23) + kPage);
  EXPECT_EQ(s[1].hi - s[1].lo, (std::size_t{1} << 23) - kStackGuard);
  stack_free_batch(s, 2);
}

Stack recursing;

volatile int unreached = -1;

[[gnu::noinline]] int recurse(int depth) {
  volatile char frame[512];
  frame[depth % 512] = static_cast<char>(depth);
  if (depth == unreached) return 0;
  return recurse(depth + 1) + frame[(depth + 1) % 512];
}

TEST(Stack, RunawayRecursionFaultsInTheGuard) {
  EXPECT_EQ(in_child([] {
              static char handler_stack[128 << 10];
              stack_t alternate = {};
              alternate.ss_sp = handler_stack;
              alternate.ss_size = sizeof handler_stack;
              sigaltstack(&alternate, nullptr);
              struct sigaction action = {};
              action.sa_flags = SA_SIGINFO | SA_ONSTACK;
              action.sa_sigaction = [](int, siginfo_t* info, void*) {
                Stack which;
                const auto addr = reinterpret_cast<std::uintptr_t>(info->si_addr);
                if (stack_classify(addr, &which) != StackAddr::guard) _exit(1);
                _exit(same(which, recursing) ? 0 : 2);
              };
              sigaction(SIGSEGV, &action, nullptr);
              if (!stack_alloc(kStackDefault, &recursing)) return 3;
              ucontext_t here, there;
              getcontext(&there);
              there.uc_stack.ss_sp = ptr(recursing.lo);
              there.uc_stack.ss_size = stack_top(recursing) - recursing.lo;
              makecontext(&there, reinterpret_cast<void (*)()>(recurse), 1, 0);
              swapcontext(&here, &there);
              return 4;
            }),
            0);
}

TEST(Stack, HundredsOfThousandsCostAPageEachAndFewMappings) {
  constexpr std::size_t kMany = 200'000;
  std::vector<Stack> stacks(kMany);
  stack_release_free();
  const int maps = mapping_count();
  const long rss = status_kib("VmRSS");
  const StackStats before = stack_stats();
  ASSERT_EQ(stack_alloc_batch(kStackDefault, stacks.data(), kMany), kMany);
  if (stacks[0].guard != Guard::cheap) {
    free_many(stacks);
    GTEST_SKIP() << "Linux before 6.13: guards cost mappings, up to their bound";
  }
  for (auto& s : stacks) *reinterpret_cast<std::uint64_t*>(stack_top(s) - 8) = s.lo;
  EXPECT_LT(mapping_count() - maps, 100);
  const double each = static_cast<double>(status_kib("VmRSS") - rss) / kMany;
  std::printf("%.3f KiB resident per stack, %d mappings, %zu slabs\n", each, mapping_count() - maps,
              stack_stats().slabs - before.slabs);
#if !defined(GORT_TEST_SANITIZED)
  EXPECT_LE(each, 4.1 * static_cast<double>(kPage) / 4096);
#endif
  for (auto& s : stacks) {
    ASSERT_EQ(*reinterpret_cast<std::uint64_t*>(stack_top(s) - 8), s.lo);
    ASSERT_EQ(s.guard, Guard::cheap);
  }
  free_many(stacks);
  EXPECT_EQ(stack_stats().in_use, before.in_use);
#if !defined(GORT_TEST_SANITIZED)
  EXPECT_LT(status_kib("VmRSS") - rss, 30 << 10);  // the warm ones and 16 bytes per slot
#endif
  EXPECT_LT(mapping_count() - maps, 100);
}

TEST(Stack, HugePagesAreRefusedForEverySlab) {
  Stack s;
  ASSERT_TRUE(stack_alloc(kStackDefault, &s));
  std::ifstream smaps("/proc/self/smaps");
  bool inside = false;
  bool refused = false;
  for (std::string line; std::getline(smaps, line);) {
    unsigned long lo, hi;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &lo, &hi) == 2) inside = lo <= s.lo && s.lo < hi;
    if (inside && line.rfind("VmFlags:", 0) == 0) refused = line.find(" nh") != std::string::npos;
  }
  EXPECT_TRUE(refused);
  stack_free(s);
}

TEST(Stack, TopsSpreadOverTheCacheAndStayInTheFirstPage) {
  auto stacks = alloc_many(kStackDefault, 1600);
  std::map<std::uintptr_t, int> offsets;
  for (auto& s : stacks) {
    EXPECT_EQ(stack_top(s) % 64, 0u);
    EXPECT_LE(stack_top(s), s.hi);
    EXPECT_GE(stack_top(s), s.hi - 1024);
    ++offsets[s.hi - stack_top(s)];
  }
  EXPECT_EQ(offsets.size(), std::size_t{kStackColours});
  for (auto& [offset, n] : offsets) {
    EXPECT_GT(n, 50) << offset;
    EXPECT_LT(n, 200) << offset;
  }
  free_many(stacks);
}

TEST(Stack, StatsAddUp) {
  Stack first;
  ASSERT_TRUE(stack_alloc(kStackMin, &first));
  const StackStats a = stack_stats();
  auto stacks = alloc_many(kStackMin, 100);
  const StackStats b = stack_stats();
  EXPECT_EQ(b.in_use, a.in_use + 100);
  EXPECT_EQ(b.in_use_bytes, a.in_use_bytes + 100 * kStackMin);
  if (b.slabs == a.slabs) {
    EXPECT_EQ(slots_known(b), slots_known(a));
    EXPECT_EQ(b.reserved_bytes, a.reserved_bytes);
  }
  free_many(stacks);
  const StackStats c = stack_stats();
  EXPECT_EQ(c.in_use, a.in_use);
  EXPECT_EQ(slots_known(c), slots_known(b));
  EXPECT_EQ(c.in_use + c.free_warm + c.free_cold,
            c.guards_cheap + c.guards_mapping + c.guards_none);
  EXPECT_LE(slots_known(c) * kStackMin, c.reserved_bytes);
  stack_free(first);
}

TEST(Stack, GivesBackWhatAParkedGoroutineDoesNotUse) {
  Stack s;
  ASSERT_TRUE(stack_alloc(kStackDefault, &s));
  auto fill = [&] { std::memset(ptr(s.lo), 1, s.hi - s.lo); };
  fill();
  const std::uintptr_t sp = s.hi - 5 * kPage + 1000;
  stack_discard_below(s, sp);
  EXPECT_EQ(stack_high_water(s), 5 * kPage);
  EXPECT_EQ(ptr(sp)[0], 1);
  EXPECT_EQ(ptr(sp)[-128], 1);
  EXPECT_EQ(ptr(s.hi - 5 * kPage)[-1], 0);
  fill();
  stack_discard_below(s, s.hi - 5 * kPage + 127);  // its red zone reaches into the next page
  EXPECT_EQ(stack_high_water(s), 6 * kPage);
  fill();
  stack_discard_below(s, s.lo);
  stack_discard_below(s, s.lo + 200);
  EXPECT_EQ(stack_high_water(s), s.hi - s.lo);
  stack_discard_below(s, s.hi);
  EXPECT_EQ(stack_high_water(s), kPage);
  EXPECT_EQ(touch_faults_at(ptr(s.lo - 1), true), s.lo - 1);
  stack_free(s);
}

TEST(Stack, ManyThreadsLoseNoneAndShareNone) {
  const StackStats before = stack_stats();
  constexpr int kThreads = 8;
  std::vector<std::thread> threads;
  gort::os::atomic<int> wrong{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([t, &wrong] {
      unsigned random = 12345u + static_cast<unsigned>(t);
      std::vector<Stack> mine;
      auto mark = [&](const Stack& s) -> std::uint64_t& {
        return *reinterpret_cast<std::uint64_t*>(stack_top(s) - 64);
      };
      for (int i = 0; i < 3000; ++i) {
        random = random * 1103515245u + 12345u;
        Stack some[40];
        const std::size_t n = random >> 16 & 31;
        if ((random >> 8 & 3) < 2 && mine.size() < 300) {
          const std::size_t got =
              stack_alloc_batch((random & 4) != 0 ? kStackMin : kStackDefault, some, n);
          if (got != n) wrong.fetch_add(1);
          for (std::size_t k = 0; k < got; ++k) {
            mark(some[k]) = static_cast<std::uint64_t>(t + 1) << 32 | some[k].lo >> 16;
            mine.push_back(some[k]);
          }
        } else {
          const std::size_t m = std::min(n, mine.size());
          for (std::size_t k = 0; k < m; ++k) {
            std::swap(mine[(random >> 4) % mine.size()], mine.back());
            const Stack& s = mine.back();
            if (mark(s) != (static_cast<std::uint64_t>(t + 1) << 32 | s.lo >> 16))
              wrong.fetch_add(1);
            some[k] = s;
            mine.pop_back();
          }
          stack_free_batch(some, m);
        }
        if (i % 500 == 0) stack_release_free();
      }
      free_many(mine);
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(wrong.load(), 0);
  const StackStats after = stack_stats();
  EXPECT_EQ(after.in_use, before.in_use);
  EXPECT_EQ(after.in_use + after.free_warm + after.free_cold,
            after.guards_cheap + after.guards_mapping + after.guards_none);
  // Taking every free stack of both sizes gives no address twice.
  std::set<std::uintptr_t> seen;
  auto small = alloc_many(kStackMin, 4000), normal = alloc_many(kStackDefault, 4000);
  for (auto& s : small) EXPECT_TRUE(seen.insert(s.lo).second);
  for (auto& s : normal) EXPECT_TRUE(seen.insert(s.lo).second);
  free_many(small);
  free_many(normal);
}

TEST(Stack, ExhaustedAddressSpaceIsFalseNotDeath) {
  EXPECT_EQ(in_child([] {
              // Other tests' slabs count too: begin from what there is.
              const rlim_t room = static_cast<rlim_t>(status_kib("VmSize")) * 1024 + (512 << 20);
              rlimit limit = {room, room};
              if (setrlimit(RLIMIT_AS, &limit) != 0) return 1;
              const std::size_t size = std::size_t{8} << 20;
              static Stack stacks[1000];
              const std::size_t got = stack_alloc_batch(size, stacks, 1000);
              // 64 MiB slabs first, then ever smaller ones: nearly all of the 512 MiB gets used.
              // One slab's alignment, at most, stays out of reach.
              if (got < 40 || got > 80) return 2;
              Stack one;
              one.lo = 77;
              if (stack_alloc(size, &one) || stack_alloc_batch(size, &one, 1) != 0) return 3;
              if (one.lo != 77) return 4;
              for (std::size_t i = 0; i < got; ++i) *ptr(stacks[i].lo) = 1;
              stack_free(stacks[0]);
              if (!stack_alloc(size, &one) || one.lo != stacks[0].lo) return 5;
              return stack_stats().in_use_bytes >= got * size ? 0 : 6;
            }),
            0);
}

TEST(Stack, WithoutCheapGuardsThereAreSomeAndThenCanaries) {
  EXPECT_EQ(in_child([] {
              if (!forbid_madvise(kGuardInstall)) return 1;
              const StackStats before = stack_stats();
              static Stack stacks[40'000];
              const std::size_t size = std::size_t{512} << 10;
              std::size_t bound = 0;
              std::ifstream("/proc/sys/vm/max_map_count") >> bound;
              const int maps = mapping_count();
              if (stack_alloc_batch(size, stacks, 40'000) != 40'000) return 2;
              const StackStats now = stack_stats();
              std::size_t kinds[3] = {};
              Stack guarded, bare, which;
              for (auto& s : stacks) {
                ++kinds[static_cast<int>(s.guard)];
                if (s.guard == Guard::mapping) guarded = s;
                if (s.guard == Guard::none) bare = s;
              }
              // Cheap ones are those that an earlier test left.
              const std::size_t split = kinds[static_cast<int>(Guard::mapping)];
              const std::size_t none = kinds[static_cast<int>(Guard::none)];
              if (now.guards_mapping - before.guards_mapping != split) return 3;
              if (now.guards_none - before.guards_none != none) return 4;
              if (split < 1000 || none < 1000) return 5;
              if (static_cast<std::size_t>(mapping_count() - maps) > bound / 4 + 100) return 14;
              if (touch_faults_at(ptr(guarded.lo - 1), true) != guarded.lo - 1) return 6;
              if (!stack_canary_ok(guarded) || !stack_canary_ok(bare)) return 7;
              std::memset(ptr(bare.lo), 0xFF, bare.hi - bare.lo);  // all of it may be used
              if (!stack_canary_ok(bare)) return 8;
              stack_discard_below(bare, stack_top(bare));
              if (!stack_canary_ok(bare)) return 9;
              *ptr(bare.lo - 1) = 1;
              if (stack_canary_ok(bare)) return 10;
              if (stack_classify(bare.lo - 1, &which) != StackAddr::guard || !same(which, bare))
                return 11;
              stack_free(bare);
              Stack again;
              if (!stack_alloc(size, &again) || again.lo != bare.lo) return 12;
              if (!stack_canary_ok(again)) return 13;  // the next owner did not overflow
              return 0;
            }),
            0);
}

TEST(Stack, CanaryCostsNoMemory) {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "sanitizers use memory for what is looked at";
#endif
  EXPECT_EQ(in_child([] {
              if (!forbid_madvise(kGuardInstall)) return 1;
              static Stack stacks[30'000];
              if (stack_alloc_batch(kStackDefault * 2, stacks, 30'000) != 30'000) return 2;
              const long rss = status_kib("VmRSS");
              for (auto& s : stacks) {
                if (!stack_canary_ok(s)) return 3;
              }
              return status_kib("VmRSS") - rss < 4000 ? 0 : 4;
            }),
            0);
}

TEST(StackDeathTest, FreeingWhatIsNotInUse) {
  Stack s;
  ASSERT_TRUE(stack_alloc(kStackDefault, &s));
  stack_free(s);
  EXPECT_DEATH(stack_free(s), "freed twice");
  Stack local;
  local.lo = reinterpret_cast<std::uintptr_t>(&local);
  local.hi = local.lo + kStackDefault;
  EXPECT_DEATH(stack_free(local), "not a goroutine stack");
  s.hi -= 8;
  EXPECT_DEATH(stack_free(s), "not a goroutine stack");
}

}  // namespace
