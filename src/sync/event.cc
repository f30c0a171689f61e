#include "sync/event.h"

#include "base/check.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::uint32_t kRows = 128;

struct alignas(64) Row {
  Mutex lock{LockRank::wait_queue};
  waiter* first = nullptr;  // of all words of this row, oldest first; under lock
  waiter* last = nullptr;

  void push(waiter* w) noexcept {
    w->next = nullptr;
    w->prev = last;
    (last != nullptr ? last->next : first) = w;
    last = w;
  }
  void remove(waiter* w) noexcept {
    (w->prev != nullptr ? w->prev->next : first) = w->next;
    (w->next != nullptr ? w->next->prev : last) = w->prev;
    w->key = nullptr;
  }
};

constinit Row rows[kRows];

Row& row_of(const EventWord* word) noexcept {
  const auto bits = reinterpret_cast<std::uintptr_t>(word);
  return rows[(bits * 0x9e3779b97f4a7c15u) >> 57];
}
static_assert(kRows == 1u << (64 - 57));

}  // namespace

WaitEnd event_wait(EventWord* word, std::int64_t deadline, CancelSource* cancel, WaitReason reason) noexcept {
  if (word->load(os::memory_order_acquire) == kEventSet) return WaitEnd::done;
  BlockingWait wait(reason, deadline, cancel);
  Row& row = row_of(word);
  row.lock.lock();
  // Release on failure too would be pointless: who sets it takes the lock.
  if (word->load(os::memory_order_acquire) == kEventSet) {
    row.lock.unlock();
    return WaitEnd::done;
  }
  word->store(kEventAwaited, os::memory_order_relaxed);
  waiter* const node = wait.node();
  node->key = word;
  row.push(node);
  const WaitEnd end = wait.park_unlock(&row.lock);
  if (end != WaitEnd::done) {
    LockGuard guard(row.lock);
    if (node->key == word) row.remove(node);
  }
  return end;
}

void event_set(EventWord* word) noexcept {
  if (word->load(os::memory_order_acquire) == kEventSet) {
    // Somebody else's set, whose release covers what he did; ours is for who looks at the word from now on.
    std::uint32_t set = kEventSet;
    if (word->compare_exchange_strong(set, kEventSet, os::memory_order_acq_rel, os::memory_order_relaxed)) return;
  }
  waiter* wake = nullptr;
  waiter** tail = &wake;
  {
    Row& row = row_of(word);
    LockGuard guard(row.lock);
    // Release: for those who look at the word only.
    if (word->exchange(kEventSet, os::memory_order_acq_rel) != kEventAwaited) return;
    for (waiter* w = row.first; w != nullptr;) {
      waiter* next = w->next;
      if (w->key == word) {
        row.remove(w);
        bool ready = false;
        if (end_queued(w, &ready) && ready) {
          *tail = w;
          tail = &w->next;
          w->next = nullptr;
        }
      }
      w = next;
    }
  }
  // They sleep until they are readied, so their links stay.
  while (wake != nullptr) {
    waiter* w = wake;
    wake = w->next;
    w->ready(w);
  }
}

void event_reset(EventWord* word) noexcept {
  Row& row = row_of(word);
  LockGuard guard(row.lock);
  std::uint32_t set = kEventSet;
  word->compare_exchange_strong(set, 0, os::memory_order_acq_rel, os::memory_order_relaxed);
}

bool event_awaited(EventWord* word) noexcept {
  Row& row = row_of(word);
  LockGuard guard(row.lock);
  for (waiter* w = row.first; w != nullptr; w = w->next) {
    if (w->key == word) return true;
  }
  return false;
}

}  // namespace gort::inline v0::rt
