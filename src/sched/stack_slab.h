// gort: the address space under the stacks. Used by stack.cc alone.
//
// A slab is one mapping: this header, one StackSlot per slot, then the slots, each with a page of address space
// before it that nobody uses. That page staggers them: slots a power of two apart would compete for the same few
// sets of the TLB, and their page-table entries for the same sets of the caches (row yield1000, docs/scheduler.md). What the pool must
// know about a slot (the free list's link, the guard's kind) is kept here and not in the slot,
// whose pages can then all go back while it is free. 16 bytes per stack.
//
// Slabs begin at multiples of 64 MiB and share no such chunk, so one table indexed by address / 64
// MiB finds any address's slab in two loads. The table covers 48 bits in 32 MiB of reserved space,
// of which one page serves 32 GiB of stacks. A sorted list would need a lock or a copy per slab.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/os.h"

namespace gort::inline v0::rt {

struct StackSlot {
  StackSlot* next;                ///< on a free list; the pool's lock guards it
  os::atomic<std::uint8_t> kind;  ///< 0: never handed out; else 1 + os::Guard
  bool in_use;                    ///< the pool's lock guards it
};
static_assert(sizeof(StackSlot) == 16);

struct StackSlab {
  std::uintptr_t first;            ///< address of the page before slot 0
  std::size_t bytes;               ///< of the whole mapping
  std::uint32_t count;             ///< slots
  std::uint8_t shift;              ///< a slot is 1 << shift bytes
  std::size_t stride;              ///< from slot to slot: a page more
  StackSlab* next_fresh;           ///< of the slabs with slots never used; the pool's lock guards it
  os::atomic<std::uint32_t> used;  ///< slots ever handed out: 0 .. used-1

  StackSlot* slots() noexcept { return reinterpret_cast<StackSlot*>(this + 1); }
  std::size_t slot_bytes() const noexcept { return std::size_t{1} << shift; }
  /// Of the slot with this index.
  std::uintptr_t slot_end(std::size_t index) const noexcept { return first + (index + 1) * stride; }
  /// The slot that an address from `first` on lies in, or in the page before; from `count` on: none.
  std::size_t index_of(std::uintptr_t addr) const noexcept { return (addr - first) / stride; }
};

/// Maps a slab of slots of 1 << shift bytes, of about `want` bytes, or of less if address space is
/// short, but of at least one slot. Null if not even that. Nobody else sees it yet.
StackSlab* stack_slab_map(unsigned shift, std::size_t want) noexcept;

/// Gives back a slab that was never published.
void stack_slab_unmap(StackSlab* slab) noexcept;

/// Makes the slab's addresses known to stack_slab_of, for ever.
void stack_slab_publish(StackSlab* slab) noexcept;

/// The slab that the address lies in (its header included), or null. Signal-safe.
StackSlab* stack_slab_of(std::uintptr_t addr) noexcept;

}  // namespace gort::inline v0::rt
