#include "sema/sema_root.h"

#include <new>

#include "base/alloc.h"
#include "base/check.h"
#include "sched/park.h"
#include "sched/sched.h"

namespace gort::inline v0::rt {

constinit SemRoot sem_table[kSemRoots] = {};  // GCC 12 zeroes an array without initializer, ranks and all

namespace {

constinit FixAlloc<SemAddr> nodes;

/// splitmix64's finalizer: unrelated to the hash that chose the root.
std::uint32_t priority_of(const void* key) noexcept {
  std::uint64_t z = reinterpret_cast<std::uintptr_t>(key);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return static_cast<std::uint32_t>(z >> 32);
}

bool before(const void* a, const void* b) noexcept {
  return reinterpret_cast<std::uintptr_t>(a) < reinterpret_cast<std::uintptr_t>(b);
}

/// Cuts `t` into keys below and above `key`, which is not in it.
void split(SemAddr* t, const void* key, SemAddr** below, SemAddr** above) noexcept {
  while (t != nullptr) {
    if (before(t->key, key)) {
      *below = t;
      below = &t->right;
      t = t->right;
    } else {
      *above = t;
      above = &t->left;
      t = t->left;
    }
  }
  *below = *above = nullptr;
}

/// Hangs the union of two trees at *at; every key of a is below every key of b.
void merge(SemAddr** at, SemAddr* a, SemAddr* b) noexcept {
  while (a != nullptr && b != nullptr) {
    if (a->priority >= b->priority) {
      *at = a;
      at = &a->right;
      a = a->right;
    } else {
      *at = b;
      at = &b->left;
      b = b->left;
    }
  }
  *at = a != nullptr ? a : b;
}

/// A goroutine of an ended run will never run again (Sched::run_epoch): a unit given to it would be lost.
bool is_left_over(waiter* w) noexcept {
  if (w->ready != ready_waiter) return false;
  const G* g = g_of(w);
  return g->run_epoch != sched.run_epoch.load(os::memory_order_relaxed) && !g->system && g->rights == 0;
}

}  // namespace

/// Where the node of `key` hangs, or would hang if the tree were unbalanced.
SemAddr** SemRoot::place_of(const void* key) noexcept {
  SemAddr** at = &tree_;
  while (*at != nullptr && (*at)->key != key) at = before(key, (*at)->key) ? &(*at)->left : &(*at)->right;
  return at;
}

SemAddr* SemRoot::add_address(const void* key) noexcept {
  SemAddr* n = free_;
  if (n != nullptr) {
    free_ = n->left;
    --free_n_;
  } else {
    n = static_cast<SemAddr*>(nodes.try_alloc());
    if (n == nullptr) return nullptr;
  }
  n = ::new (static_cast<void*>(n)) SemAddr;
  n->key = key;
  n->priority = priority_of(key);
  SemAddr** at = &tree_;
  while (*at != nullptr && (*at)->priority >= n->priority) {
    at = before(key, (*at)->key) ? &(*at)->left : &(*at)->right;
  }
  split(*at, key, &n->left, &n->right);
  *at = n;
  return n;
}

void SemRoot::drop_address(SemAddr** at) noexcept {
  SemAddr* n = *at;
  merge(at, n->left, n->right);
  if (free_n_ == kKeep) {
    nodes.free(n);
    return;
  }
  n->left = free_;
  free_ = n;
  ++free_n_;
}

void SemRoot::queue(waiter* w, bool front) noexcept {
  SemAddr* a = *place_of(w->key);
  if (a == nullptr && (beside_ == nullptr || first_beside(w->key) == nullptr)) a = add_address(w->key);
  if (__builtin_expect(a == nullptr, 0)) return queue_beside(w, front);
  w->next = front ? a->head : nullptr;
  w->prev = front ? nullptr : a->tail;
  if (a->head == nullptr) {
    a->head = a->tail = w;
  } else if (front) {
    a->head->prev = w;
    a->head = w;
  } else {
    a->tail->next = w;
    a->tail = w;
  }
  ++a->count;
}

SemRoot::Taken SemRoot::dequeue(const void* key, std::uint32_t max) noexcept {
  SemAddr** at = place_of(key);
  SemAddr* a = *at;
  Taken taken;
  if (a == nullptr && beside_ != nullptr) return dequeue_beside(key, max);
  if (a == nullptr || max == 0) return taken;
  waiter* last = nullptr;
  while (a->head != nullptr && taken.n < max) {
    waiter* w = a->head;
    a->head = w->next;
    w->next = nullptr;
    w->prev = last;
    ++taken.gone;
    if (__builtin_expect(is_left_over(w), 0)) {
      w->prev = nullptr;
      g_of(w)->wait_reason = WaitReason::left_over;  // parked for good, as schedule() does with such a one
      continue;
    }
    (last != nullptr ? last->next : taken.first) = w;
    last = w;
    ++taken.n;
  }
  a->count -= taken.gone;
  if (a->head != nullptr) {
    a->head->prev = nullptr;
  } else {
    drop_address(at);
  }
  return taken;
}

void SemRoot::put_back(Taken* taken, std::uint32_t keep) noexcept {
  if (keep >= taken->n) return;
  waiter* w = taken->first;
  for (std::uint32_t i = 0; i < keep; ++i) w = w->next;
  if (w->prev != nullptr) {
    w->prev->next = nullptr;
  } else {
    taken->first = nullptr;
  }
  while (w->next != nullptr) w = w->next;
  for (std::uint32_t n = taken->n - keep; n > 0; --n) {
    waiter* const older = w->prev;
    queue(w, true);
    w = older;
  }
  taken->gone -= taken->n - keep;
  taken->n = keep;
}

waiter* SemRoot::first(const void* key) noexcept {
  for (;;) {
    const SemAddr* a = *place_of(key);
    waiter* const w = a != nullptr ? a->head : beside_ != nullptr ? first_beside(key) : nullptr;
    if (w == nullptr) return nullptr;
    if (__builtin_expect(!is_left_over(w), 1)) return w;
    take(w);
    nwait.store(nwait.load(os::memory_order_relaxed) - 1, os::memory_order_relaxed);
    g_of(w)->wait_reason = WaitReason::left_over;
  }
}

void SemRoot::take(waiter* w) noexcept {
  SemAddr** at = place_of(w->key);
  SemAddr* a = *at;
  if (__builtin_expect(a == nullptr, 0)) return take_beside(w);
  (w->prev != nullptr ? w->prev->next : a->head) = w->next;
  (w->next != nullptr ? w->next->prev : a->tail) = w->prev;
  w->next = w->prev = nullptr;
  if (--a->count == 0) drop_address(at);
}

void SemRoot::settle(const Taken& taken) noexcept {
  // Relaxed: who reads too many only takes the lock for nothing.
  nwait.store(nwait.load(os::memory_order_relaxed) - taken.gone, os::memory_order_relaxed);
}

std::uint32_t SemRoot::waiting(const void* key) const noexcept {
  const SemAddr* a = *const_cast<SemRoot*>(this)->place_of(key);
  if (a != nullptr) return a->count;
  std::uint32_t n = 0;
  for (const waiter* w = beside_; w != nullptr; w = w->next) n += w->key == key ? 1 : 0;
  return n;
}

// ---- beside the tree ---------------------------------------------------------------------------

waiter* SemRoot::first_beside(const void* key) const noexcept {
  waiter* w = beside_;
  while (w != nullptr && w->key != key) w = w->next;
  return w;
}

void SemRoot::queue_beside(waiter* w, bool front) noexcept {
  w->next = front ? beside_ : nullptr;
  w->prev = front ? nullptr : beside_last_;
  (w->next != nullptr ? w->next->prev : beside_last_) = w;
  (w->prev != nullptr ? w->prev->next : beside_) = w;
}

void SemRoot::take_beside(waiter* w) noexcept {
  (w->prev != nullptr ? w->prev->next : beside_) = w->next;
  (w->next != nullptr ? w->next->prev : beside_last_) = w->prev;
  w->next = w->prev = nullptr;
}

SemRoot::Taken SemRoot::dequeue_beside(const void* key, std::uint32_t max) noexcept {
  Taken taken;
  waiter* last = nullptr;
  for (waiter* w = first_beside(key); w != nullptr && taken.n < max; w = first_beside(key)) {
    take_beside(w);
    ++taken.gone;
    if (is_left_over(w)) {
      g_of(w)->wait_reason = WaitReason::left_over;
      continue;
    }
    w->prev = last;
    (last != nullptr ? last->next : taken.first) = w;
    last = w;
    ++taken.n;
  }
  return taken;
}

namespace {

struct Checked {
  std::uint64_t waiters = 0;
};

void check_tree(const SemAddr* a, std::uintptr_t low, std::uintptr_t high, Checked* c) noexcept {
  if (a == nullptr) return;
  const auto key = reinterpret_cast<std::uintptr_t>(a->key);
  GORT_CHECK(low <= key && key < high, "semaphore table: the tree's order is broken");
  GORT_CHECK(a->priority == priority_of(a->key), "semaphore table: a priority is not its key's");
  GORT_CHECK((a->left == nullptr || a->left->priority <= a->priority) &&
                 (a->right == nullptr || a->right->priority <= a->priority),
             "semaphore table: the tree is no heap");
  GORT_CHECK(a->head != nullptr && a->head->prev == nullptr && a->tail->next == nullptr,
             "semaphore table: the ends of a list are broken");
  std::uint32_t n = 0;
  for (const waiter* w = a->head; w != nullptr; w = w->next, ++n) {
    GORT_CHECK(w->key == a->key, "semaphore table: a waiter stands in another address's list");
    GORT_CHECK(w->next != nullptr ? w->next->prev == w : w == a->tail, "semaphore table: a list is broken");
  }
  GORT_CHECK(n == a->count, "semaphore table: the length of a list is wrong");
  c->waiters += n;
  check_tree(a->left, low, key, c);
  check_tree(a->right, key + 1, high, c);
}

}  // namespace

void check_sem_root(const SemRoot& root) noexcept {
  GORT_CHECK(root.lock.held(), "a root is checked under its lock");
  Checked c;
  check_tree(root.tree(), 0, UINTPTR_MAX, &c);
  for (const waiter* w = root.beside(); w != nullptr; w = w->next) {
    GORT_CHECK(w->next == nullptr || w->next->prev == w, "semaphore table: the list beside the tree is broken");
    ++c.waiters;
  }
  GORT_CHECK(c.waiters == root.nwait.load(os::memory_order_relaxed), "semaphore table: nwait is wrong");
}

}  // namespace gort::inline v0::rt
