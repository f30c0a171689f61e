#include "base/alloc.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "os/linux/test_support.h"

namespace rt = gort::v0::rt;

namespace {

bool is_zero(const void* p, std::size_t n) {
  const auto* b = static_cast<const unsigned char*>(p);
  return std::all_of(b, b + n, [](unsigned char c) { return c == 0; });
}

TEST(PersistentAlloc, AlignedZeroedAndDisjoint) {
  struct Piece {
    unsigned char* p;
    std::size_t n;
  };
  std::vector<Piece> pieces;
  const std::size_t before = rt::persistent_bytes();
  std::size_t sum = 0;
  for (const std::size_t align : {1, 2, 8, 64, 4096}) {
    // Over a chunk's end (1 MiB), and beyond the size from which a piece has its own mapping.
    for (const std::size_t n : {1, 3, 64, 1000, 40000, 200000, 262143, 262144, 3000000}) {
      auto* p = static_cast<unsigned char*>(rt::persistent_alloc(n, align));
      ASSERT_EQ(reinterpret_cast<std::uintptr_t>(p) % align, 0u) << n << ' ' << align;
      ASSERT_TRUE(is_zero(p, n)) << n << ' ' << align;
      std::memset(p, 0xab, n);  // the next one must still be zero
      pieces.push_back({p, n});
      sum += n;
    }
  }
  EXPECT_EQ(rt::persistent_bytes() - before, sum);
  std::ranges::sort(pieces, {}, &Piece::p);
  for (std::size_t i = 1; i < pieces.size(); ++i) {
    EXPECT_LE(pieces[i - 1].p + pieces[i - 1].n, pieces[i].p);
  }
}

TEST(PersistentAllocDeathTest, RefusesBadAlignment) {
  for (const std::size_t align : {0, 3, 8192}) {
    EXPECT_EXIT(rt::persistent_alloc(8, align), testing::ExitedWithCode(2), "alignment is a power of two");
  }
}

// The whole of what is there is used, and null is the answer to who can live with it.
TEST(PersistentAlloc, AtTheEndOfAddressSpace) {
#if defined(GORT_TEST_SANITIZED)
  GTEST_SKIP() << "sanitizers live on address space";
#endif
  EXPECT_EQ(gort::test::in_child([] {
              const rlimit most{static_cast<rlim_t>(gort::test::status_kib("VmSize") + 256) * 1024, RLIM_INFINITY};
              if (setrlimit(RLIMIT_AS, &most) != 0) return 1;
              int n = 0;
              while (rt::persistent_try_alloc(100'000, 8) != nullptr) ++n;
              const std::size_t bytes = rt::persistent_bytes();
              if (rt::persistent_try_alloc(100'000, 8) != nullptr || rt::persistent_bytes() != bytes) return 3;
              return n > 0 ? 0 : 4;
            }),
            0);
}

struct alignas(64) Line {
  unsigned char bytes[100];
};
struct alignas(8) Big {
  unsigned char bytes[20000];
};

TEST(FixAlloc, FreshIsZeroedAndAligned) {
  static rt::FixAlloc<Line> lines;
  static rt::FixAlloc<Big> bigs;
  std::set<void*> seen;
  for (int i = 0; i < 1000; ++i) {  // several chunks
    void* p = lines.alloc();
    EXPECT_TRUE(seen.insert(p).second);
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(p) % 64, 0u);
    ASSERT_TRUE(is_zero(p, sizeof(Line)));
    std::memset(p, 0xcd, sizeof(Line));
  }
  EXPECT_EQ(lines.in_use(), 1000u);
  void* a = bigs.alloc();
  void* b = bigs.alloc();
  std::memset(a, 1, sizeof(Big));
  EXPECT_TRUE(is_zero(b, sizeof(Big)));
}

TEST(FixAlloc, FreedStorageComesBackForTheSameTypeOnly) {
  struct A {
    std::uint64_t words[4];
  };
  struct B {
    std::uint64_t words[4];
  };
  static rt::FixAlloc<A> as;
  static rt::FixAlloc<B> bs;
  std::set<void*> first;
  for (int i = 0; i < 100; ++i) first.insert(as.alloc());
  auto* some = static_cast<A*>(*first.begin());
  some->words[3] = 77;
  for (void* p : first) as.free(static_cast<A*>(p));
  EXPECT_EQ(as.in_use(), 0u);
  EXPECT_EQ(some->words[3], 77u) << "old bytes stay, for racing readers";
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(first.contains(bs.alloc())) << "another type";
  std::set<void*> second;
  const std::size_t bytes = rt::persistent_bytes();
  for (int i = 0; i < 100; ++i) second.insert(as.alloc());
  EXPECT_EQ(second, first);
  EXPECT_EQ(rt::persistent_bytes(), bytes) << "nothing new was taken";
}

TEST(FixAlloc, ManyThreadsNeverShareAnObject) {
  struct Owned {
    std::atomic<std::uint64_t> spare;  // the free list's link lies here
    std::atomic<int> owner;
  };
  static rt::FixAlloc<Owned> owned;
  std::atomic<int> clashes{0};
  {
    std::vector<std::jthread> threads;
    for (int me = 1; me <= 4; ++me) {
      threads.emplace_back([&, me] {
        std::array<Owned*, 16> mine{};
        for (int i = 0; i < 20000; ++i) {
          Owned*& slot = mine[std::size_t(i) % mine.size()];
          if (slot != nullptr) {
            if (slot->owner.exchange(0) != me) ++clashes;
            owned.free(slot);
          }
          slot = static_cast<Owned*>(owned.alloc());
          if (slot->owner.exchange(me) != 0) ++clashes;
        }
      });
    }
  }
  EXPECT_EQ(clashes, 0);
  EXPECT_EQ(owned.in_use(), 4u * 16u);
}

}  // namespace
