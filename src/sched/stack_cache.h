// gort: default-sized stacks between two goroutines.
//
// A goroutine gets its stack when it first runs, not when it is made, and gives it back when it ends. So
// goroutines that run to their end one after another all use the same stack, hot in the cache, however many
// of them wait; the closure waits in the G (or on the heap). What must not fail later is settled earlier: `go`
// claims a stack (stack_claim), the first dispatch takes it.
//
//   a P's cache          the M that has the P; no lock
//   the shared cache     Sched::g_free_lock; batches move between the two
//   the pool             stack.h: costs a system call per stack, so sysmon moves stacks there, bit by bit, when
//                        the shared cache has not been drawn upon for a while
//
// So that a claim is worth a stack wherever its goroutine runs first, no P keeps more stacks than it has claims in its
// account: each of them stands for one that nobody has. What is neither in a P's cache nor with a goroutine lies in the
// shared cache or in the pool, or is on its way between the two, and suffices for all goroutines that have none yet.
//
// A free stack's link lies at its own top, in the page that every use touches anyway.
#pragma once

#include <cstdint>

#include "sched/stack.h"

namespace gort::inline v0::rt {

struct P;

struct FreeStack {
  Stack stack;
  FreeStack* next = nullptr;
};

class StackList {
 public:
  void push(const Stack& s) noexcept;
  bool pop(Stack* out) noexcept {
    FreeStack* f = head_;
    if (f == nullptr) return false;
    head_ = f->next;
    --size_;
    *out = f->stack;
    return true;
  }
  std::uint32_t size() const noexcept { return size_; }

 private:
  FreeStack* head_ = nullptr;
  std::uint32_t size_ = 0;
};

/// A default-sized stack for a goroutine that holds a claim, when p's cache has none: from the shared one, or the pool.
/// At the very end of address space it may wait for sysmon, which moves stacks from the one to the other.
Stack stack_take_slow(P* p) noexcept;

/// The stack of a goroutine that has ended. p may be null.
void stack_put(P* p, const Stack& s) noexcept;

/// Claims and gives back one stack for one goroutine; batches in p's account. False: no address space.
bool stack_claim_one(P* p) noexcept;
void stack_unclaim_one(P* p) noexcept;
/// All that p has claimed and not given to a goroutine: p dies.
void stack_unclaim_all(P* p) noexcept;

/// From sysmon, once a second: gives a part of what the shared cache did not need to the pool.
void stack_cache_trim() noexcept;
/// Whether there is something left to give.
bool stack_cache_trimmable() noexcept;

}  // namespace gort::inline v0::rt
