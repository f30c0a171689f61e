#include "sync/timer_heap.h"

#include "base/alloc.h"

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

std::uint32_t TimerHeap::slots() const noexcept { return first_slot(segments - 1) + slots_of(segments - 1); }

bool TimerHeap::grow() noexcept {
  if (segments == kSegments) return false;
  void* memory = try_map(bytes_of(segments));
  if (memory == nullptr) return false;
  const auto biased = reinterpret_cast<std::uintptr_t>(memory) - first_slot(segments) * sizeof(Entry);
  base[segments] = reinterpret_cast<Entry*>(biased);
  ++segments;
  return true;
}

void TimerHeap::shrink() noexcept {
  const std::uint32_t last = segments - 1;
  os::mem_unmap(base[last] + first_slot(last), bytes_of(last));
  base[last] = nullptr;
  --segments;
}

// ---- beside ------------------------------------------------------------------------------------

void TimerHeap::put_beside(Timer* t) noexcept {
  t->slot = kTimerBeside;
  t->beside = beside;
  beside = t;
}

void TimerHeap::leave_beside(const Timer* t) noexcept {
  Timer** at = &beside;
  while (*at != t) at = &(*at)->beside;
  *at = t->beside;
}

/// Makes the invariant true again, after any change.
void TimerHeap::settle_beside() noexcept {
  while (beside != nullptr && room()) {
    Timer* t = beside;
    beside = t->beside;
    insert({t->key.load(os::memory_order_relaxed), t});
  }
  Timer* least = beside;
  std::int64_t key = INT64_MAX;
  for (Timer* t = beside; t != nullptr; t = t->beside) {
    if (const std::int64_t k = t->key.load(os::memory_order_relaxed); k < key) least = t, key = k;
  }
  if (least == nullptr || key >= top().key) return;
  // A leaf makes room: it is not before the top, which is not before this one then.
  leave_beside(least);
  put_beside(take(end - 1).timer);
  insert({key, least});
}

// ---- all of it ---------------------------------------------------------------------------------

void TimerHeap::push(Timer* t, std::int64_t key) noexcept {
  t->key.store(key, os::memory_order_relaxed);
  if (__builtin_expect(room(), 1)) return insert({key, t});
  put_beside(t);
  settle_beside();
}

/// The entry leaves its slot.
TimerHeap::Entry TimerHeap::take(std::uint32_t slot) noexcept {
  const Entry taken = at(slot);
  taken.timer->slot = 0;
  const Entry last = at(--end);
  if (slot != end) {
    if (slot != kRoot && last.key < at(slot / 4 + 2).key) {
      sift_up(slot, last);
    } else {
      sift_down(slot, last);
    }
  }
  return taken;
}

void TimerHeap::remove(Timer* t) noexcept {
  if (__builtin_expect(t->slot == kTimerBeside, 0)) {
    leave_beside(t);
    t->slot = 0;
    return;
  }
  take(t->slot);
  if (__builtin_expect(beside != nullptr, 0)) return settle_beside();
  // Half of the segment before the last must be empty too, so that a heap at its edge does not map and unmap.
  if (segments > 2 && end < first_slot(segments - 2) + slots_of(segments - 2) / 2) shrink();
}

void TimerHeap::rekey(Timer* t, std::int64_t key) noexcept {
  t->key.store(key, os::memory_order_seq_cst);
  if (t->slot != kTimerBeside) {
    const bool up = key < at(t->slot).key;
    if (up) {
      sift_up(t->slot, {key, t});
    } else {
      sift_down(t->slot, {key, t});
    }
  }
  if (__builtin_expect(beside != nullptr, 0)) settle_beside();
}

bool TimerHeap::publish() noexcept {
  const std::int64_t now = empty() ? INT64_MAX : top().key;
  const std::int64_t before = earliest->load(os::memory_order_relaxed);
  if (now == before) return false;
  if (now > before) {  // who does not see that yet looks here in vain, once
    earliest->store(now, os::memory_order_release);
    return false;
  }
  earliest->store(now, os::memory_order_seq_cst);
  return true;
}

}  // namespace gort::inline v0::rt
