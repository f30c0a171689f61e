#include "sched/parked_stacks.h"

#include "sched/sched.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::uint32_t kWaited = 10;      // seconds
constexpr int kStacksPerRound = 1024;      // a system call each
constexpr int kLooksPerRound = 16 * 1024;  // a cache miss each

// sysmon's own. Gs are never unmapped, so the cursor stays valid.
G* cursor = nullptr;              // null: a new pass begins
std::uint32_t pass_began = 0;     // Sched::seconds
std::uint32_t covered = 0;        // who parked then or before has been looked at

bool due(const G* g, std::uint32_t now) noexcept {
  if (g->status.load(os::memory_order_relaxed) != GStatus::waiting) return false;
  const std::uint32_t since = g->waiting_since.load(os::memory_order_relaxed);
  return now - since >= kWaited && since != g->trimmed_wait;
}

bool trim(G* g) noexcept {
  GStatus expected = GStatus::waiting;
  if (!g->status.compare_exchange_strong(expected, GStatus::held, os::memory_order_acq_rel,
                                         os::memory_order_relaxed)) {
    return false;
  }
  g->trimmed_wait = g->waiting_since.load(os::memory_order_relaxed);
  const auto sp = reinterpret_cast<std::uintptr_t>(g->ctx.sp);
  // Elsewhere: its user has switched stacks.
  const bool on_stack = sp >= g->stack.lo && sp < g->stack.hi;
  if (on_stack) stack_discard_below(g->stack, sp);
  g->status.store(GStatus::waiting, os::memory_order_release);
  return on_stack;
}

}  // namespace

int parked_stacks_trim() noexcept {
  const std::uint32_t now = sched.seconds.load(os::memory_order_relaxed);
  if (cursor == nullptr) {
    cursor = sched.all_g.load(os::memory_order_acquire);
    pass_began = now;
  }
  int trimmed = 0;
  for (int looks = 0; cursor != nullptr && looks < kLooksPerRound && trimmed < kStacksPerRound; ++looks) {
    if (due(cursor, now) && trim(cursor)) ++trimmed;
    cursor = cursor->all_next;
  }
  if (cursor == nullptr) covered = pass_began - kWaited;
  return trimmed;
}

bool parked_stacks_trimmable(std::uint32_t busy) noexcept {
  return static_cast<std::int32_t>(busy - covered) > 0;
}

}  // namespace gort::inline v0::rt
