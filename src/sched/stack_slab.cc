#include "sched/stack_slab.h"

#include "sched/stack.h"

namespace gort::inline v0::rt {
namespace {

constexpr unsigned kChunkShift = 26;
constexpr std::size_t kChunk = std::size_t{1} << kChunkShift;
// What the kernel hands out without being asked for more, on x86-64 and aarch64.
constexpr unsigned kAddressBits = 48;
constexpr std::size_t kChunks = std::size_t{1} << (kAddressBits - kChunkShift);

using Entry = os::atomic<StackSlab*>;
constinit os::atomic<Entry*> chunk_table{nullptr};

Entry* table_or_make() noexcept {
  Entry* table = chunk_table.load(os::memory_order_acquire);
  if (table != nullptr) return table;
  const std::size_t bytes = kChunks * sizeof(Entry);
  void* fresh = os::mem_map(bytes, os::page_size());
  if (fresh == nullptr) return nullptr;
  os::mem_no_huge_pages(fresh, bytes);
  // Zero bytes are null entries.
  if (chunk_table.compare_exchange_strong(table, static_cast<Entry*>(fresh),
                                          os::memory_order_acq_rel, os::memory_order_acquire)) {
    return static_cast<Entry*>(fresh);
  }
  os::mem_unmap(fresh, bytes);
  return table;
}

std::size_t header_bytes(std::size_t slots) noexcept {
  const std::size_t mask = os::page_size() - 1;
  return (sizeof(StackSlab) + slots * sizeof(StackSlot) + mask) & ~mask;
}

}  // namespace

StackSlab* stack_slab_map(unsigned shift, std::size_t want) noexcept {
  if (table_or_make() == nullptr) return nullptr;
  const std::size_t stride = (std::size_t{1} << shift) + os::page_size();
  const std::size_t least = header_bytes(1) + stride;
  void* p = nullptr;
  if (want < least) want = least;
  while ((p = os::mem_map(want, kChunk)) == nullptr) {
    if (want == least) return nullptr;
    want = want / 2 > least ? want / 2 & ~(os::page_size() - 1) : least;
  }
  const auto begin = reinterpret_cast<std::uintptr_t>(p);
  if (((begin + want) >> kAddressBits) != 0) {
    os::mem_unmap(p, want);
    return nullptr;
  }
  os::mem_no_huge_pages(p, want);
  auto* slab = static_cast<StackSlab*>(p);  // zeroed
  std::size_t count = want / stride;
  while (header_bytes(count) + count * stride > want) --count;
  slab->first = begin + header_bytes(count);
  slab->bytes = want;
  slab->count = static_cast<std::uint32_t>(count);
  slab->shift = static_cast<std::uint8_t>(shift);
  slab->stride = stride;
  return slab;
}

void stack_slab_unmap(StackSlab* slab) noexcept { os::mem_unmap(slab, slab->bytes); }

void stack_slab_publish(StackSlab* slab) noexcept {
  Entry* table = chunk_table.load(os::memory_order_acquire);
  const auto begin = reinterpret_cast<std::uintptr_t>(slab);
  for (std::size_t at = 0; at < slab->bytes; at += kChunk) {
    table[(begin + at) >> kChunkShift].store(slab, os::memory_order_release);
  }
}

StackSlab* stack_slab_of(std::uintptr_t addr) noexcept {
  if ((addr >> kAddressBits) != 0) return nullptr;
  Entry* table = chunk_table.load(os::memory_order_acquire);
  if (table == nullptr) return nullptr;
  StackSlab* slab = table[addr >> kChunkShift].load(os::memory_order_acquire);
  if (slab == nullptr || addr - reinterpret_cast<std::uintptr_t>(slab) >= slab->bytes)
    return nullptr;
  return slab;
}

}  // namespace gort::inline v0::rt
