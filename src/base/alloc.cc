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

}  // namespace

void* persistent_alloc(std::size_t bytes, std::size_t align) noexcept {
  GORT_CHECK(align != 0 && (align & (align - 1)) == 0 && align <= 4096, "alignment is a power of two");
  LockGuard guard(persistent.lock);
  persistent.total.store(persistent.total.load(os::memory_order_relaxed) + bytes, os::memory_order_relaxed);
  if (bytes >= kChunk / 4) {
    const std::size_t page = os::page_size();
    void* p = os::mem_map((bytes + page - 1) / page * page, page);
    if (p == nullptr) fatal("out of address space for the runtime's own data");
    return p;
  }
  std::size_t pad = (0 - reinterpret_cast<std::uintptr_t>(persistent.at)) & (align - 1);
  if (persistent.at == nullptr || persistent.left < bytes + pad) {
    persistent.at = static_cast<std::byte*>(os::mem_map(kChunk, os::page_size()));
    if (persistent.at == nullptr) fatal("out of address space for the runtime's own data");
    persistent.left = kChunk;
    pad = 0;
  }
  std::byte* p = persistent.at + pad;
  persistent.at = p + bytes;
  persistent.left -= pad + bytes;
  return p;
}

std::size_t persistent_bytes() noexcept { return persistent.total.load(os::memory_order_relaxed); }

}  // namespace gort::inline v0::rt
