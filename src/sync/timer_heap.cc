#include "sync/timer_heap.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::uint32_t first_slot(std::uint32_t segment) noexcept {
  return segment == 0 ? 0 : TimerHeap::kFirstSlots << (segment - 1);
}
constexpr std::uint32_t slots_of(std::uint32_t segment) noexcept {
  return segment == 0 ? TimerHeap::kFirstSlots : TimerHeap::kFirstSlots << (segment - 1);
}

std::size_t bytes_of(std::uint32_t segment) noexcept {
  const std::size_t page = os::page_size();
  return (slots_of(segment) * sizeof(TimerHeap::Entry) + page - 1) / page * page;
}

}  // namespace

void TimerHeap::put(std::uint32_t slot, Entry e) noexcept {
  at(slot) = e;
  e.timer->slot = slot;
}

void TimerHeap::sift_up(std::uint32_t slot, Entry e) noexcept {
  while (slot != kRoot) {
    const std::uint32_t parent = slot / 4 + 2;
    const Entry p = at(parent);
    if (p.key <= e.key) break;
    put(slot, p);
    slot = parent;
  }
  put(slot, e);
}

void TimerHeap::sift_down(std::uint32_t slot, Entry e) noexcept {
  for (;;) {
    const std::uint32_t child = 4 * (slot - 2);
    if (child >= end) break;
    const std::uint32_t last = child + 4 < end ? child + 4 : end;
    const Entry* c = &at(child);  // four in one segment: both begin at multiples of four
    std::uint32_t least = child;
    std::int64_t key = c[0].key;
    for (std::uint32_t i = child + 1; i < last; ++i) {
      if (c[i - child].key < key) {
        key = c[i - child].key;
        least = i;
      }
    }
    if (e.key <= key) break;
    put(slot, c[least - child]);
    slot = least;
  }
  put(slot, e);
}

void TimerHeap::grow() noexcept {
  GORT_CHECK(segments < kSegments, "a heap of 2^30 timers is full");
  void* memory = os::mem_map(bytes_of(segments), os::page_size());
  if (memory == nullptr) fatal("out of memory for timers");
  const auto biased = reinterpret_cast<std::uintptr_t>(memory) - first_slot(segments) * sizeof(Entry);
  base[segments] = reinterpret_cast<Entry*>(biased);
  ++segments;
}

void TimerHeap::shrink() noexcept {
  const std::uint32_t last = segments - 1;
  os::mem_unmap(base[last] + first_slot(last), bytes_of(last));
  base[last] = nullptr;
  --segments;
}

void TimerHeap::push(Timer* t, std::int64_t key) noexcept {
  if (segments == 0 || end == first_slot(segments - 1) + slots_of(segments - 1)) grow();
  t->key.store(key, os::memory_order_relaxed);
  sift_up(end++, {key, t});
}

void TimerHeap::remove(std::uint32_t slot) noexcept {
  at(slot).timer->slot = 0;
  const Entry last = at(--end);
  if (slot != end) {
    if (slot != kRoot && last.key < at(slot / 4 + 2).key) {
      sift_up(slot, last);
    } else {
      sift_down(slot, last);
    }
  }
  // Half of the segment before the last must be empty too, so that a heap at its edge does not map and unmap.
  if (segments > 2 && end < first_slot(segments - 2) + slots_of(segments - 2) / 2) shrink();
}

void TimerHeap::rekey(std::uint32_t slot, std::int64_t key) noexcept {
  Entry e = at(slot);
  const bool up = key < e.key;
  e.key = key;
  e.timer->key.store(key, os::memory_order_seq_cst);
  if (up) {
    sift_up(slot, e);
  } else {
    sift_down(slot, e);
  }
}

bool TimerHeap::publish() noexcept {
  const std::int64_t now = empty() ? INT64_MAX : top().key;
  const std::int64_t before = earliest->load(os::memory_order_relaxed);
  if (now == before) return false;
  earliest->store(now, os::memory_order_seq_cst);
  return now < before;
}

}  // namespace gort::inline v0::rt
