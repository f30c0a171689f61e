// gort: birth and death of goroutines.
//
// `go f` is three steps, because f's move constructor is user code and must not run inside the runtime:
//
//   1. g_alloc          a dead G, a claim on a stack                                in the runtime
//   2. g_closure_space  room for the closure in the G; the API constructs it there  user context
//   3. g_start          makes it runnable                                           in the runtime
//
// The stack itself comes with the first dispatch (g_prepare), see stack_cache.h.
// If step 2 throws, g_discard takes the G back.
#pragma once

#include <cstddef>

#include "sched/sched.h"

namespace gort::inline v0::rt {

/// The default stack size of a goroutine in bytes, GORT_STACK or 256 KiB.
std::size_t default_stack_bytes() noexcept;
void set_default_stack_bytes(std::size_t bytes) noexcept;

/// A dead G that will run on a stack of at least `stack_bytes` (0: the default), or null if there is no
/// address space for it. O(1); takes no lock while the P's own caches last.
G* g_alloc(std::size_t stack_bytes) noexcept;

/// Room for a closure in the G, or null if it is too large for that (then the API allocates).
inline void* g_closure_space(G* g, std::size_t bytes, std::size_t align) noexcept {
  return bytes <= sizeof g->closure && align <= 16 ? g->closure : nullptr;
}

/// Gives a goroutine that has never run its stack and its first frame. On the M that is about to run it.
void g_prepare(P* p, G* g) noexcept;

struct StartArgs {
  void (*fn)(void*) = nullptr;      ///< runs in user context on the new stack
  void* arg = nullptr;
  std::uintptr_t created_by_pc = 0;
  const char* name = nullptr;       ///< copied, at most 23 bytes
  std::size_t name_bytes = 0;
  bool main = false;
  bool system = false;
  std::uint32_t run_epoch = 0;      ///< 0: the parent's, or the one that is now
  Bubble* bubble = nullptr;         ///< born into it; a goroutine's children are in its own
  void* context = nullptr;          ///< G::context, kept alive by the caller; null: the background
  CancelSource* cancel = nullptr;   ///< of that context
  CancelSource* background = nullptr;  ///< G::background, if has_background; else the parent's, or the run's
  bool has_background = false;
};

/// Makes it runnable: next on this P, or on the global queue from a foreign thread. Any thread.
void g_start(G* g, const StartArgs& args) noexcept;

/// Takes back a G that was never started.
void g_discard(G* g) noexcept;

/// After its last switch: the G is dead, its stack is nobody's. `p`: the P whose cache takes it, or null.
void g_free(P* p, G* g) noexcept;

/// Counts a left-over goroutine as ended, for it never will or nobody shall wait for that: once, whoever comes
/// first, the end of its run or its own. True: it was this call.
bool g_count_end(G* g, std::uint64_t goid) noexcept;

/// Goroutines that have ever been started, those of the runtime excluded. A moment's view.
std::uint64_t num_goroutine_started() noexcept;

/// Goroutines that have been started and have not ended, those of the runtime excluded. A moment's view.
std::int64_t num_goroutine() noexcept;

/// Calls fn for every G ever made, dead ones too; lock-free, any thread.
template <class F>
void for_each_g(F fn) {
  for (G* g = sched.all_g.load(os::memory_order_acquire); g != nullptr; g = g->all_next) fn(g);
}

}  // namespace gort::inline v0::rt
