#include "base/alloc.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::size_t kChunk = std::size_t{1} << 20;

struct Persistent {
  Mutex lock{LockRank::persistent};
  std::byte* at = nullptr;
  std::size_t left = 0;
  os::atomic<std::size_t> total{0};
};
constinit Persistent persistent;

/// Null: no address space.
void* persistent_get(std::size_t bytes, std::size_t align) noexcept {
  GORT_CHECK(align != 0 && (align & (align - 1)) == 0 && align <= 4096, "alignment is a power of two");
  LockGuard guard(persistent.lock);
  const std::size_t page = os::page_size();
  const std::size_t whole_pages = (bytes + page - 1) / page * page;
  void* result = nullptr;
  if (bytes >= kChunk / 4) {
    result = os::mem_map(whole_pages, page);
  } else {
    const std::size_t pad = (0 - reinterpret_cast<std::uintptr_t>(persistent.at)) & (align - 1);
    if (persistent.at != nullptr && persistent.left >= bytes + pad) {
      result = persistent.at + pad;
      persistent.left -= pad + bytes;
    } else if ((result = os::mem_map(kChunk, page)) != nullptr) {
      persistent.left = kChunk - bytes;
    } else {
      // Where address space is short, what is wanted now.
      if ((result = os::mem_map(whole_pages, page)) == nullptr) return nullptr;
      persistent.left = whole_pages - bytes;
    }
    persistent.at = static_cast<std::byte*>(result) + bytes;
  }
  if (result == nullptr) return nullptr;
  persistent.total.store(persistent.total.load(os::memory_order_relaxed) + bytes, os::memory_order_relaxed);
  return result;
}

[[noreturn, gnu::cold]] void fatal_no_memory() noexcept { fatal("out of address space for the runtime's own data"); }

void* or_do_without(void* memory) noexcept {
  if (memory == nullptr && fault(Fault::need_memory)) fatal_no_memory();
  return memory;
}

}  // namespace

void* persistent_try_alloc(std::size_t bytes, std::size_t align) noexcept {
  return or_do_without(fault(Fault::no_memory) ? nullptr : persistent_get(bytes, align));
}

void* persistent_alloc(std::size_t bytes, std::size_t align) noexcept {
  void* const p = persistent_get(bytes, align);
  if (p == nullptr) fatal_no_memory();
  return p;
}

void* try_map(std::size_t bytes) noexcept {
  return or_do_without(fault(Fault::no_memory) ? nullptr : os::mem_map(bytes, os::page_size()));
}

std::size_t persistent_bytes() noexcept { return persistent.total.load(os::memory_order_relaxed); }

}  // namespace gort::inline v0::rt
