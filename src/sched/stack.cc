// gort: the pool of goroutine stacks. The header has the picture.
//
// A free stack is warm or cold. Warm: the topmost 16 KiB stay (most goroutines use one page of it,
// a few calls into libc take 7 to 16 KiB), whatever is below goes back. Cold: all of it has gone
// back. At most kWarmMost of a size are warm. Either way a free is one madvise over the part that
// goes: asking first, by mincore, how deep the stack was is dearer even for one page (0.74 us
// against 0.47). Stacks are reused last-in first-out, warm ones first, then cold ones, then slots
// never used before.
#include "sched/stack.h"

#include "base/check.h"
#include "base/mutex.h"
#include "sched/stack_slab.h"

namespace gort::inline v0::rt {
namespace {

constexpr unsigned kMinShift = 17;
static_assert(kStackMin == std::size_t{1} << kMinShift);

constexpr std::size_t kWarmMost = 1024;
constexpr std::size_t kWarmBytes = std::size_t{16} << 10;

// Slabs double with what the size has reserved so far: few mappings for a million stacks, and no
// more than twice what a small program needs.
constexpr std::size_t kSlabLeast = std::size_t{64} << 20;
constexpr std::size_t kSlabMost = std::size_t{4} << 30;

// What the compiler may use below the stack pointer (x86-64 System V; aarch64 has none).
constexpr std::uintptr_t kRedZone = 128;

// Stacks handled between two takings of the lock.
constexpr std::size_t kBatch = 32;

/// A last-in first-out list of free slots.
struct FreeList {
  StackSlot* head = nullptr;
  os::atomic<std::size_t> count{0};  // written under the lock; a hint without it

  void push(StackSlot* s) noexcept {
    s->next = head;
    head = s;
    count.store(count.load(os::memory_order_relaxed) + 1, os::memory_order_relaxed);
  }
  StackSlot* pop() noexcept {
    StackSlot* s = head;
    if (s == nullptr) return nullptr;
    head = s->next;
    count.store(count.load(os::memory_order_relaxed) - 1, os::memory_order_relaxed);
    return s;
  }
};

/// All slots of one size.
struct SizeClass {
  FreeList warm;
  FreeList cold;
  StackSlab* fresh = nullptr;  // list of the slabs with slots never used: usually one
  std::size_t in_use = 0;
  std::size_t reserved = 0;
  std::size_t slots = 0;       // in all its slabs
  std::size_t claimed = 0;     // stack_claim: at most `slots`
};

struct Pool {
  Mutex lock{LockRank::stack_pool};
  SizeClass classes[kStackClasses];     // guarded by lock
  std::size_t slabs = 0;                // guarded by lock
  os::atomic<std::size_t> guards[3]{};  // by os::Guard
};
constinit Pool pool;

void* at(std::uintptr_t p) noexcept { return reinterpret_cast<void*>(p); }

Stack stack_of(StackSlab* slab, StackSlot* slot) noexcept {
  const auto index = static_cast<std::size_t>(slot - slab->slots());
  Stack s;
  s.hi = slab->slot_end(index);
  s.lo = s.hi - slab->slot_bytes() + kStackGuard;
  s.colour = static_cast<std::uint32_t>(index % kStackColours * 64);
  const std::uint8_t kind = slot->kind.load(os::memory_order_relaxed);
  if (kind != 0) s.guard = static_cast<os::Guard>(kind - 1);
  return s;
}

/// The slot of a stack that a caller names; dies if there is none.
StackSlot* slot_of(const Stack& s, StackSlab** slab_out) noexcept {
  StackSlab* slab = stack_slab_of(s.lo);
  GORT_CHECK(slab != nullptr && s.lo >= slab->first, "not a goroutine stack");
  const std::size_t index = slab->index_of(s.lo);
  GORT_CHECK(index < slab->count && s.hi == slab->slot_end(index), "not a goroutine stack");
  *slab_out = slab;
  return slab->slots() + index;
}

/// Takes up to n slots off the lists. The lock is held.
std::size_t take(SizeClass& c, StackSlot** out, std::size_t n) noexcept {
  std::size_t got = 0;
  while (got < n) {
    StackSlot* s = c.warm.pop();
    if (s == nullptr) s = c.cold.pop();
    if (s == nullptr && c.fresh != nullptr) {
      StackSlab* slab = c.fresh;
      const std::uint32_t index = slab->used.load(os::memory_order_relaxed);
      s = slab->slots() + index;
      // Release, for stack_classify: whoever sees the slot in use sees the slab's fields.
      slab->used.store(index + 1, os::memory_order_release);
      if (index + 1 == slab->count) c.fresh = slab->next_fresh;
    }
    if (s == nullptr) break;
    s->in_use = true;
    out[got++] = s;
  }
  c.in_use += got;
  return got;
}

/// Adds a slab; false if there is no address space. The kernel is asked without the lock, so two
/// threads may both map one: the second to return gives its own back, unless it claims slots (`more`)
/// beyond those that are free.
bool grow(SizeClass& c, unsigned shift, std::size_t reserved, bool more) noexcept {
  std::size_t want = reserved < kSlabLeast ? kSlabLeast : reserved;
  if (want > kSlabMost) want = kSlabMost;
  if (std::size_t{1} << shift >= kSlabLeast) want = 0;  // a mapping of its own for each large stack
  StackSlab* slab = stack_slab_map(shift, want);
  bool lost = false;
  {
    LockGuard guard(pool.lock);
    // Without a slab of our own there may still be the other thread's, or a stack freed meanwhile.
    if (c.fresh != nullptr && !more) {
      lost = true;
    } else if (slab == nullptr) {
      return !more && (c.warm.head != nullptr || c.cold.head != nullptr);
    } else {
      stack_slab_publish(slab);
      slab->next_fresh = c.fresh;
      c.fresh = slab;
      c.reserved += slab->bytes;
      c.slots += slab->count;
      ++pool.slabs;
    }
  }
  if (lost && slab != nullptr) stack_slab_unmap(slab);
  return true;
}

/// Installs a new slot's guard, or makes sure of a used one's canary.
void prepare(StackSlab* slab, StackSlot* slot) noexcept {
  const Stack s = stack_of(slab, slot);
  if (slot->kind.load(os::memory_order_relaxed) == 0) {
    const os::Guard kind = os::mem_guard(at(s.lo - kStackGuard), kStackGuard, true);
    slot->kind.store(static_cast<std::uint8_t>(1 + static_cast<int>(kind)),
                     os::memory_order_relaxed);
    pool.guards[static_cast<int>(kind)].fetch_add(1, os::memory_order_relaxed);
  } else if (!stack_canary_ok(s)) {
    os::mem_discard(at(s.lo - kStackGuard),
                    kStackGuard);  // its last owner's overflow is not its next's
  }
}

/// Gives back a free stack's pages, all or all but the topmost.
void discard(const Stack& s, bool keep_top) noexcept {
  std::uintptr_t end = s.hi;
  if (keep_top) end = (s.hi - kWarmBytes) & ~(os::page_size() - 1);
  if (end > s.lo) os::mem_discard(at(s.lo), end - s.lo);
}

void free_some(const Stack* s, std::size_t n) noexcept {
  StackSlot* slots[kBatch];
  StackSlab* slabs[kBatch];
  bool warm[kBatch];
  // Claimed under the lock before their pages go, so that freeing a stack twice is found before it
  // wipes a stack that runs. The CHECK comes after the lock: what it calls may look at stacks.
  bool all_in_use = true;
  for (std::size_t i = 0; i < n; ++i) slots[i] = slot_of(s[i], &slabs[i]);
  {
    LockGuard guard(pool.lock);
    for (std::size_t i = 0; i < n; ++i) {
      all_in_use &= slots[i]->in_use;
      slots[i]->in_use = false;
    }
  }
  GORT_CHECK(all_in_use, "a goroutine stack was freed twice");
  for (std::size_t i = 0; i < n; ++i) {
    SizeClass& c = pool.classes[slabs[i]->shift - kMinShift];
    warm[i] = c.warm.count.load(os::memory_order_relaxed) + i < kWarmMost;
    discard(s[i], warm[i]);
  }
  LockGuard guard(pool.lock);
  for (std::size_t i = 0; i < n; ++i) {
    SizeClass& c = pool.classes[slabs[i]->shift - kMinShift];
    --c.in_use;
    (warm[i] ? c.warm : c.cold).push(slots[i]);
  }
}

}  // namespace

std::size_t stack_alloc_batch(std::size_t bytes, Stack* out, std::size_t n) noexcept {
  const int index = stack_class_of(bytes);
  if (index < 0) return 0;
  SizeClass& c = pool.classes[index];
  std::size_t got = 0;
  while (got < n) {
    StackSlot* slots[kBatch];
    std::size_t now;
    std::size_t reserved;
    {
      LockGuard guard(pool.lock);
      now = take(c, slots, n - got < kBatch ? n - got : kBatch);
      reserved = c.reserved;
    }
    for (std::size_t i = 0; i < now; ++i) {
      StackSlab* slab = stack_slab_of(reinterpret_cast<std::uintptr_t>(slots[i]));
      prepare(slab, slots[i]);
      out[got++] = stack_of(slab, slots[i]);
    }
    if (now == 0 && !grow(c, kMinShift + static_cast<unsigned>(index), reserved, false)) break;
  }
  return got;
}

bool stack_alloc(std::size_t bytes, Stack* out) noexcept {
  return stack_alloc_batch(bytes, out, 1) == 1;
}

bool stack_claim(std::size_t bytes, std::size_t n) noexcept {
  const int index = stack_class_of(bytes);
  if (index < 0) return false;
  SizeClass& c = pool.classes[index];
  for (;;) {
    std::size_t reserved = 0;
    {
      LockGuard guard(pool.lock);
      if (c.claimed + n <= c.slots) {
        c.claimed += n;
        return true;
      }
      reserved = c.reserved;
    }
    if (!grow(c, kMinShift + static_cast<unsigned>(index), reserved, true)) return false;
  }
}

void stack_unclaim(std::size_t bytes, std::size_t n) noexcept {
  SizeClass& c = pool.classes[stack_class_of(bytes)];
  LockGuard guard(pool.lock);
  GORT_CHECK(c.claimed >= n, "more stack claims given back than taken");
  c.claimed -= n;
}

void stack_free_batch(const Stack* s, std::size_t n) noexcept {
  for (; n > kBatch; s += kBatch, n -= kBatch) free_some(s, kBatch);
  free_some(s, n);
}

void stack_free(const Stack& s) noexcept { free_some(&s, 1); }

std::size_t stack_high_water(const Stack& s) noexcept {
  return os::mem_resident_from_top(at(s.lo), at(s.hi));
}

void stack_discard_below(const Stack& s, std::uintptr_t sp) noexcept {
  GORT_DCHECK(sp >= s.lo && sp <= s.hi, "the stack pointer is not on the stack");
  if (sp < s.lo + kRedZone || sp > s.hi) return;
  const std::uintptr_t keep = (sp - kRedZone) & ~(os::page_size() - 1);
  if (keep > s.lo) os::mem_discard(at(s.lo), keep - s.lo);
}

StackAddr stack_classify(std::uintptr_t addr, Stack* which) noexcept {
  StackSlab* slab = stack_slab_of(addr);
  if (slab == nullptr || addr < slab->first) return StackAddr::not_a_stack;
  const std::size_t index = slab->index_of(addr);
  if (index >= slab->used.load(os::memory_order_acquire)) return StackAddr::not_a_stack;
  const Stack s = stack_of(slab, slab->slots() + index);
  if (addr < s.lo - kStackGuard) return StackAddr::not_a_stack;  // the page between two slots
  *which = s;
  return addr < s.lo ? StackAddr::guard : StackAddr::usable;
}

std::size_t stack_release_free() noexcept {
  std::size_t released = 0;
  for (SizeClass& c : pool.classes) {
    // As many as are warm now: stacks that are freed meanwhile keep their warmth.
    std::size_t left = c.warm.count.load(os::memory_order_relaxed);
    while (left > 0) {
      StackSlot* slots[kBatch];
      std::size_t n = 0;
      {
        LockGuard guard(pool.lock);
        while (n < kBatch && n < left && (slots[n] = c.warm.pop()) != nullptr) ++n;
      }
      if (n == 0) break;
      for (std::size_t i = 0; i < n; ++i) {
        discard(stack_of(stack_slab_of(reinterpret_cast<std::uintptr_t>(slots[i])), slots[i]),
                false);
      }
      LockGuard guard(pool.lock);
      for (std::size_t i = 0; i < n; ++i) c.cold.push(slots[i]);
      released += n;
      left -= n;
    }
  }
  return released;
}

StackStats stack_stats() noexcept {
  StackStats t;
  LockGuard guard(pool.lock);
  t.slabs = pool.slabs;
  std::size_t slot = kStackMin;
  for (SizeClass& c : pool.classes) {
    t.reserved_bytes += c.reserved;
    t.in_use += c.in_use;
    t.claimed += c.claimed;
    t.in_use_bytes += c.in_use * slot;
    t.free_warm += c.warm.count.load(os::memory_order_relaxed);
    t.free_cold += c.cold.count.load(os::memory_order_relaxed);
    for (StackSlab* f = c.fresh; f != nullptr; f = f->next_fresh) {
      t.untouched += f->count - f->used.load(os::memory_order_relaxed);
    }
    slot *= 2;
  }
  t.guards_cheap = pool.guards[static_cast<int>(os::Guard::cheap)].load(os::memory_order_relaxed);
  t.guards_mapping =
      pool.guards[static_cast<int>(os::Guard::mapping)].load(os::memory_order_relaxed);
  t.guards_none = pool.guards[static_cast<int>(os::Guard::none)].load(os::memory_order_relaxed);
  return t;
}

}  // namespace gort::inline v0::rt
