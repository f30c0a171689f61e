#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "os/linux/test_support.h"
#include "os/os.h"

namespace {

using namespace gort::os;
using namespace gort::test;

constexpr unsigned kGuardInstall = 102;
const std::size_t kPage = page_size();

std::uintptr_t address(const void* p) { return reinterpret_cast<std::uintptr_t>(p); }

TEST(OsMemory, MapIsAlignedZeroedAndWritable) {
  for (std::size_t align = 1; align <= (std::size_t{1} << 30); align <<= 5) {
    const std::size_t bytes = 3 * kPage;
    auto* p = static_cast<unsigned char*>(mem_map(bytes, align));
    ASSERT_NE(p, nullptr) << align;
    EXPECT_EQ(address(p) % align, 0u);
    for (std::size_t i = 0; i < bytes; ++i) ASSERT_EQ(p[i], 0);
    std::memset(p, 0xA5, bytes);
    mem_unmap(p, bytes);
    EXPECT_EQ(touch_faults_at(p, false), address(p));
  }
}

TEST(OsMemory, AlignmentLeavesNothingBehind) {
  const long before = status_kib("VmSize");
  std::vector<void*> maps;
  for (int i = 0; i < 20; ++i) maps.push_back(mem_map(kPage, 64 << 20));
  EXPECT_LT(status_kib("VmSize") - before, 1024);
  for (void* p : maps) mem_unmap(p, kPage);
}

TEST(OsMemory, RefusesWhatItCannotDo) {
  EXPECT_EQ(mem_map(0, 1), nullptr);
  EXPECT_EQ(mem_map(kPage + 1, 1), nullptr);
  EXPECT_EQ(mem_map(kPage, 3 * kPage), nullptr);
  EXPECT_EQ(mem_map(std::size_t{1} << 62, kPage), nullptr);
  EXPECT_EQ(mem_map(~kPage + 1, 1 << 30), nullptr);
  EXPECT_EQ(mem_map(kPage, std::size_t{1} << 63), nullptr);
}

TEST(OsMemory, ReservesMoreThanTheMachineHas) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "TSan leaves no 4 TiB of addresses";
#endif
  const std::size_t huge = std::size_t{1} << 42;  // 4 TiB
  void* p = mem_map(huge, std::size_t{1} << 26);
  ASSERT_NE(p, nullptr);
  static_cast<char*>(p)[huge - 1] = 1;
  mem_unmap(p, huge);
}

TEST(OsMemory, DiscardedPagesReadAsZero) {
  auto* p = static_cast<unsigned char*>(mem_map(4 * kPage, 1));
  std::memset(p, 1, 4 * kPage);
  mem_discard(p + kPage, 2 * kPage);
  EXPECT_EQ(p[kPage - 1], 1);
  EXPECT_EQ(p[kPage], 0);
  EXPECT_EQ(p[3 * kPage - 1], 0);
  EXPECT_EQ(p[3 * kPage], 1);
  mem_unmap(p, 4 * kPage);
}

TEST(OsMemory, ResidentFromTopFindsTheLowestTouchedPage) {
  const std::size_t pages = 1000;  // several batches
  auto* p = static_cast<char*>(mem_map(pages * kPage, 1));
  mem_no_huge_pages(p, pages * kPage);
  char* hi = p + pages * kPage;
  EXPECT_EQ(mem_resident_from_top(p, hi), 0u);
  hi[-1] = 1;
  EXPECT_EQ(mem_resident_from_top(p, hi), kPage);
  p[500 * kPage + 17] = 1;  // a hole lies between
  EXPECT_EQ(mem_resident_from_top(p, hi), 500 * kPage);
  p[0] = 1;
  EXPECT_EQ(mem_resident_from_top(p, hi), pages * kPage);
  EXPECT_EQ(mem_resident_from_top(p + 8, hi - 8),
            pages * kPage - 16);  // never more than asked about
  EXPECT_EQ(mem_resident_from_top(hi, hi), 0u);
  mem_discard(p, (pages - 1) * kPage);
  EXPECT_EQ(mem_resident_from_top(p, hi), kPage);
  mem_unmap(p, pages * kPage);
  EXPECT_EQ(mem_resident_from_top(p, hi), 0u);
}

void expect_guarded(char* p, std::size_t bytes) {
  for (char* at : {p, p + 1, p + bytes / 2, p + bytes - 1}) {
    EXPECT_EQ(touch_faults_at(at, false), address(at));
    EXPECT_EQ(touch_faults_at(at, true), address(at));
  }
}

/// A guard in the middle of a mapping: what is in it faults, its neighbours live.
void check_guard(bool may_split, Guard expected) {
  auto* p = static_cast<char*>(mem_map(48 * kPage, 1));
  std::memset(p, 7, 48 * kPage);
  Guard kind = mem_guard(p + 16 * kPage, 16 * kPage, may_split);
  ASSERT_EQ(kind, expected);
  if (kind != Guard::none) {
    expect_guarded(p + 16 * kPage, 16 * kPage);
    EXPECT_EQ(p[16 * kPage - 1], 7);
    EXPECT_EQ(p[32 * kPage], 7);
    mem_discard(p, 48 * kPage);
    expect_guarded(p + 16 * kPage, 16 * kPage);  // giving memory back leaves guards standing
    mem_unguard(p + 16 * kPage, 16 * kPage, kind);
  }
  EXPECT_EQ(touch_faults_at(p + 16 * kPage, true), 0u);
  EXPECT_EQ(touch_faults_at(p + 32 * kPage - 1, true), 0u);
  mem_unmap(p, 48 * kPage);
}

/// Whether this kernel has cheap guards, found out the way the implementation does.
bool kernel_has_cheap_guards() {
  void* p = mem_map(kPage, 1);
  Guard kind = mem_guard(p, kPage, false);
  mem_unmap(p, kPage);
  return kind == Guard::cheap;
}

TEST(OsGuard, CheapOnesFaultAndCostNoMapping) {
  if (!kernel_has_cheap_guards()) GTEST_SKIP() << "Linux before 6.13";
  check_guard(false, Guard::cheap);
  constexpr int kGuards = 10'000;
  const std::size_t slot = 20 * kPage;
  auto* p = static_cast<char*>(mem_map(kGuards * slot, 1));
  ASSERT_NE(p, nullptr);
  const int before = mapping_count();
  for (int i = 0; i < kGuards; ++i) {
    ASSERT_EQ(mem_guard(p + i * slot, 16 * kPage, true), Guard::cheap);
  }
  EXPECT_EQ(mapping_count(), before);
  expect_guarded(p + (kGuards - 1) * slot, 16 * kPage);
  EXPECT_EQ(touch_faults_at(p + (kGuards - 1) * slot + 16 * kPage, true), 0u);
  mem_unmap(p, kGuards * slot);
}

TEST(OsGuard, RefusesUnalignedRanges) {
  auto* p = static_cast<char*>(mem_map(2 * kPage, 1));
  EXPECT_EQ(mem_guard(p + 1, kPage, true), Guard::none);
  EXPECT_EQ(mem_guard(p, kPage - 1, true), Guard::none);
  EXPECT_EQ(mem_guard(p, 0, true), Guard::none);
  EXPECT_EQ(touch_faults_at(p, true), 0u);
  mem_unmap(p, 2 * kPage);
}

TEST(OsGuard, OldKernelSplitsMappingsWithinABound) {
  // The child's exit code is the number of the step that failed.
  EXPECT_EQ(in_child([] {
              if (!forbid_madvise(kGuardInstall)) return 1;
              check_guard(false, Guard::none);
              check_guard(true, Guard::mapping);
              if (testing::Test::HasFailure()) return 2;

              constexpr int kSlots = 60'000;
              auto* p = static_cast<char*>(mem_map(std::size_t{kSlots} * 2 * kPage, 1));
              const int before = mapping_count();
              int split = 0;
              for (; split < kSlots; ++split) {
                if (mem_guard(p + std::size_t(split) * 2 * kPage, kPage, true) != Guard::mapping)
                  break;
              }
              char text[32];
              read_file("/proc/sys/vm/max_map_count", text, sizeof text);
              const int bound = std::atoi(text) / 4;
              const int added = mapping_count() - before;
              if (split < 100 || split == kSlots) return 3;
              if (added > bound || added < bound - 3) return 4;
              // Past the bound: none, and none is no error. One given back can be had again.
              if (mem_guard(p, kPage, true) != Guard::none) return 5;
              mem_unguard(p, kPage, Guard::mapping);
              if (touch_faults_at(p, true) != 0) return 6;
              if (mem_guard(p, kPage, true) != Guard::mapping) return 7;
              if (mem_guard(p + std::size_t(split) * 2 * kPage, kPage, true) != Guard::none)
                return 8;
              return 0;
            }),
            0);
}

TEST(OsGuard, SurvivesFork) {
  auto* p = static_cast<char*>(mem_map(kPage, 1));
  if (mem_guard(p, kPage, true) == Guard::none) GTEST_SKIP();
  EXPECT_EQ(in_child([p] { return touch_faults_at(p, true) == address(p) ? 0 : 1; }), 0);
  mem_unmap(p, kPage);
}

TEST(OsMemory, NoHugePagesIsSetInTheKernel) {
  const std::size_t bytes = 8 << 20;
  auto* p = static_cast<char*>(mem_map(bytes, 2 << 20));
  mem_no_huge_pages(p, bytes);
  p[0] = 1;
  std::ifstream smaps("/proc/self/smaps");
  bool inside = false;
  bool flagged = false;
  for (std::string line; std::getline(smaps, line);) {
    std::uintptr_t lo, hi;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &lo, &hi) == 2)
      inside = lo <= address(p) && address(p) < hi;
    if (inside && line.rfind("VmFlags:", 0) == 0) flagged = line.find(" nh") != std::string::npos;
  }
  EXPECT_TRUE(flagged);
  mem_unmap(p, bytes);
}

TEST(OsMemory, NoAddressSpaceIsNull) {
  EXPECT_EQ(in_child([] {
              const rlim_t room = static_cast<rlim_t>(status_kib("VmSize")) * 1024 + (1 << 30);
              rlimit small = {room, room};
              if (setrlimit(RLIMIT_AS, &small) != 0) return 1;
              if (mem_map(std::size_t{1} << 31, 1) != nullptr) return 2;
              void* p = mem_map(kPage, 1);
              if (p == nullptr) return 3;
              // A failed alignment must not leave its wide mapping behind.
              for (int i = 0; i < 10; ++i) {
                if (mem_map(kPage, std::size_t{1} << 31) != nullptr) return 4;
              }
              return mem_map(std::size_t{256} << 20, 1) != nullptr ? 0 : 5;
            }),
            0);
}

}  // namespace
