#include "addons/held_locks/held.h"

#include "arch/unwind.h"
#include "sched/m.h"

namespace gort::inline v0::rt::held_locks {

namespace {

constexpr std::size_t kMost = 32;  // locks held at once; what is beyond is not watched

struct Table {
  std::size_t n = 0;
  Held held[kMost];

  void remove(std::size_t i) noexcept {
    for (--n; i < n; ++i) held[i] = held[i + 1];
  }
};

// Zero-initialized and initial-exec: no constructor, no allocation at the first use.
__attribute__((tls_model("initial-exec"))) constinit thread_local Table this_thread;

// Not inlined, and opaque: the address must not be kept over a park.
[[gnu::noinline]] Table& table() noexcept {
  asm volatile("" ::: "memory");
  return this_thread;
}

/// Frames of ended goroutines that never unlocked, or of some that left with their locks unwatched.
void forget_others(Table& t, std::uint64_t goid) noexcept {
  for (std::size_t i = t.n; i-- > 0;) {
    if (t.held[i].goid != goid) t.remove(i);
  }
}

/// Where the lock call stands: the addresses from `caller` on. Without optimization the first few are within
/// std::mutex and std::lock_guard.
std::uint8_t collect_place(const rt::G* g, std::uintptr_t caller, std::uintptr_t* place) noexcept {
  constexpr std::size_t kOwn = 4;  // at most so many frames of ours below the caller's
  std::uintptr_t pcs[kPlaceFrames + kOwn];
  arch::Cursor c = arch::cursor_here();
  c.allow(g->stack.lo, g->stack.hi);
  const std::size_t n = arch::collect(c, pcs, kPlaceFrames + kOwn);
  std::size_t from = 0;
  while (from < n && pcs[from] != caller) ++from;
  place[0] = caller;
  std::uint8_t got = 1;
  for (std::size_t i = from + 1; i < n && got < kPlaceFrames; ++i) place[got++] = pcs[i];
  return got;
}

}  // namespace

void locked(const void* lock, Kind kind, std::uintptr_t caller) noexcept {
  const rt::G* g = rt::current_g();
  if (g == nullptr || os::tls().in_runtime != 0) return;
  Table& t = table();
  if (t.n == kMost) forget_others(t, g->goid);
  if (t.n == kMost) return;
  Held& h = t.held[t.n];
  h.lock = lock;
  h.goid = g->goid;
  h.kind = kind;
  h.frames = collect_place(g, caller, h.place);
  ++t.n;
}

void unlocked(const void* lock) noexcept {
  if (rt::self_m() == nullptr) return;
  Table& t = table();
  for (std::size_t i = t.n; i-- > 0;) {
    if (t.held[i].lock != lock) continue;
    t.remove(i);
    return;
  }
}

bool take_held(std::uint64_t goid, Held* out) noexcept {
  Table& t = table();
  for (std::size_t i = t.n; i-- > 0;) {
    if (t.held[i].goid != goid) continue;
    *out = t.held[i];
    t.remove(i);
    return true;
  }
  return false;
}

}  // namespace gort::inline v0::rt::held_locks
