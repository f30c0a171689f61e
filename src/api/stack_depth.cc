#include "api/stack_depth.h"

#include "base/sanitizer.h"
#include "sched/sched.h"
#include "sched/stack.h"

namespace gort::inline v0::detail {

namespace {

constinit os::atomic<std::uint64_t> deepest{0};
/// The next goroutine to look at; null: the registry's first. Gs are never unmapped.
constinit os::atomic<rt::G*> next{nullptr};

/// The stack that g has at some moment; what is read may be torn, so the pool's own books say what it is.
GORT_NO_TSAN bool stack_now(const rt::G* g, rt::Stack* out) noexcept {
  const rt::GStatus status = g->status.load(os::memory_order_acquire);
  if (status == rt::GStatus::dead || status == rt::GStatus::idle) return false;
  const std::uintptr_t lo = g->stack.lo;
  return lo != 0 && rt::stack_classify(lo, out) == rt::StackAddr::usable;
}

void keep_deepest(std::uint64_t bytes) noexcept {
  std::uint64_t known = deepest.load(os::memory_order_relaxed);
  while (bytes > known && !deepest.compare_exchange_weak(known, bytes, os::memory_order_relaxed)) {
  }
}

}  // namespace

std::uint64_t deepest_stack(std::size_t most) noexcept {
  rt::G* const first = next.load(os::memory_order_relaxed);
  rt::G* g = first;
  bool wrapped = false;
  // Dead ones are passed by, at the price of a load each.
  for (std::size_t looked = 0, passed = 0; looked < most && passed < 16 * most; ++passed) {
    if (g == nullptr) {
      if (wrapped) break;  // all of them
      wrapped = true;
      g = rt::sched.all_g.load(os::memory_order_acquire);
      if (g == nullptr) break;
    }
    rt::Stack stack;
    if (stack_now(g, &stack)) {
      keep_deepest(rt::stack_high_water(stack));
      ++looked;
    }
    g = g->all_next;
    if (wrapped && g == first) break;
  }
  next.store(g, os::memory_order_relaxed);
  return deepest.load(os::memory_order_relaxed);
}

}  // namespace gort::inline v0::detail
