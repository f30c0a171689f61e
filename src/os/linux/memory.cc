// gort: address space, its pages, and guards.
#include <linux/mman.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "os/linux/parse.h"
#include "os/linux/syscall.h"
#include "os/os.h"

namespace gort::inline v0::os {
namespace {

// Linux 6.13; older headers do not have the names.
constexpr int kMadvGuardInstall = 102;
constexpr int kMadvGuardRemove = 103;

// A kernel that answered EINVAL once is not asked again.
constinit atomic<bool> cheap_guards_refused{false};

// How many more guards may split a mapping; negative: not yet known.
constinit atomic<std::int64_t> splits_left{-1};

void* map_anywhere(std::size_t bytes) noexcept {
  long r = kernel::call(SYS_mmap, nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return r < 0 && r >= -4095 ? nullptr : reinterpret_cast<void*>(r);
}

bool page_range(const void* p, std::size_t bytes) noexcept {
  std::size_t mask = page_size() - 1;
  return bytes != 0 && ((reinterpret_cast<std::uintptr_t>(p) | bytes) & mask) == 0;
}

// The kernel allows vm.max_map_count mappings per process (65,530 by default) and fails every mmap
// beyond, user code's included. A guard inside a mapping makes three of one, so it costs two. All
// guards together take at most a quarter of the count.
std::int64_t read_split_budget() noexcept {
  char text[32];
  std::int64_t maps = 65'530;
  if (read_file("/proc/sys/vm/max_map_count", text, sizeof text) > 0) {
    const char* p = text;
    parse_int(&p, &maps);
  }
  return maps / 4 / 2;
}

bool take_split() noexcept {
  std::int64_t left = splits_left.load(memory_order_relaxed);
  if (left < 0) {
    std::int64_t budget = read_split_budget();
    if (splits_left.compare_exchange_strong(left, budget, memory_order_relaxed)) left = budget;
  }
  while (left > 0) {
    if (splits_left.compare_exchange_weak(left, left - 1, memory_order_relaxed)) return true;
  }
  return false;
}

}  // namespace

std::size_t page_size() noexcept {
  static constinit atomic<std::size_t> known{0};
  std::size_t size = known.load(memory_order_relaxed);
  if (size == 0) {
    size = ::getauxval(AT_PAGESZ);
    known.store(size, memory_order_relaxed);
  }
  return size;
}

void* mem_map(std::size_t bytes, std::size_t align) noexcept {
  const std::size_t page = page_size();
  if (bytes == 0 || bytes % page != 0 || (align & (align - 1)) != 0) return nullptr;
  if (align < page) align = page;

  // The kernel places large mappings next to each other, so the second of two slabs of one size is
  // usually aligned as it comes.
  void* p = map_anywhere(bytes);
  if (p == nullptr) return nullptr;
  if ((reinterpret_cast<std::uintptr_t>(p) & (align - 1)) == 0) return p;
  mem_unmap(p, bytes);

  std::size_t wide;
  if (__builtin_add_overflow(bytes, align - page, &wide)) return nullptr;
  p = map_anywhere(wide);
  if (p == nullptr) return nullptr;
  const auto begin = reinterpret_cast<std::uintptr_t>(p);
  const std::uintptr_t first = (begin + align - 1) & ~(align - 1);
  const std::size_t before = first - begin;
  const std::size_t after = wide - before - bytes;
  if (before != 0) mem_unmap(p, before);
  if (after != 0) mem_unmap(reinterpret_cast<void*>(first + bytes), after);
  return reinterpret_cast<void*>(first);
}

void mem_unmap(void* p, std::size_t bytes) noexcept {
  // Unmapping the middle of a mapping makes two of it, and can fail for their number. The memory,
  // at least, must then go back.
  if (kernel::call(SYS_munmap, p, bytes) == -ENOMEM) mem_discard(p, bytes);
}

void mem_discard(void* p, std::size_t bytes) noexcept {
  kernel::call(SYS_madvise, p, bytes, MADV_DONTNEED);
}

void mem_no_huge_pages(void* p, std::size_t bytes) noexcept {
  // A kernel without huge pages refuses, and needs no telling.
  kernel::call(SYS_madvise, p, bytes, MADV_NOHUGEPAGE);
}

Guard mem_guard(void* p, std::size_t bytes, bool may_split) noexcept {
  if (!page_range(p, bytes)) return Guard::none;
  if (!cheap_guards_refused.load(memory_order_relaxed)) {
    long r = kernel::call(SYS_madvise, p, bytes, kMadvGuardInstall);
    if (r == 0) return Guard::cheap;
    if (r == -EINVAL) cheap_guards_refused.store(true, memory_order_relaxed);
    // Anything else is a shortage of the moment, or a range that is not ours.
  }
  if (!may_split || !take_split()) return Guard::none;
  if (kernel::call(SYS_mprotect, p, bytes, PROT_NONE) == 0) return Guard::mapping;
  splits_left.fetch_add(1, memory_order_relaxed);
  return Guard::none;
}

void mem_unguard(void* p, std::size_t bytes, Guard kind) noexcept {
  if (!page_range(p, bytes)) return;
  if (kind == Guard::cheap) {
    kernel::call(SYS_madvise, p, bytes, kMadvGuardRemove);
  } else if (kind == Guard::mapping) {
    if (kernel::call(SYS_mprotect, p, bytes, PROT_READ | PROT_WRITE) == 0) {
      splits_left.fetch_add(1, memory_order_relaxed);
    }
  }
}

std::size_t mem_resident_from_top(const void* lo, const void* hi) noexcept {
  // The answer is where the lowest resident page lies, so the search runs upward from lo. Searching
  // down from hi to the first gap would be shorter but wrong: large frames leave pages untouched.
  constexpr std::size_t kBatch = 256;  // 1 MiB of address space per call
  const std::size_t page = page_size();
  unsigned char resident[kBatch];
  std::uintptr_t at = reinterpret_cast<std::uintptr_t>(lo) & ~(page - 1);
  const auto end = reinterpret_cast<std::uintptr_t>(hi);
  while (at < end) {
    std::size_t pages = (end - at + page - 1) / page;
    if (pages > kBatch) pages = kBatch;
    if (kernel::call(SYS_mincore, at, pages * page, &resident[0]) != 0) return 0;
    for (std::size_t i = 0; i < pages; ++i) {
      if ((resident[i] & 1) == 0) continue;
      const std::uintptr_t lowest = at + i * page;
      const auto floor = reinterpret_cast<std::uintptr_t>(lo);
      return end - (lowest < floor ? floor : lowest);
    }
    at += pages * page;
  }
  return 0;
}

}  // namespace gort::inline v0::os
