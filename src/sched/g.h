// gort: G, a goroutine.
//
//   status     meaning                                     who may move it on
//   idle       fresh memory, never used                    g_alloc
//   dead       ended, or being built by `go`               whoever took it from the free list
//   runnable   on exactly one run queue                    whoever takes it from the queue
//   running    an M runs it (m->curg)                      itself
//   syscall    its M is in a blocking call, maybe P-less   itself, at exit_syscall
//   captive    taken off its P in the middle of user code  its own M, when it is handed a P (captives.h)
//   waiting    parked; a waiter stands for it somewhere    whoever completes that waiter: ready()
//   held       somebody looks at it (world/suspend.h)      whoever holds it, and back to what it was
//
// `waiting` is set when the context is complete, so whoever claims a waiting one by CAS finds its stack at rest.
//
// One agent at a time may change the status (the column on the right); ready() CHECKs it by CAS, since
// two agents that run one G corrupt its stack. Gs are never unmapped: a stale G* still points to a G.
#pragma once

#include <cstddef>
#include <cstdint>

#include "arch/context.h"
#include "base/sanitizer.h"
#include "gort/waiter.h"
#include "os/os.h"
#include "sched/stack.h"
#include "sched/wait_reason.h"
#include "sched/wait_state.h"

namespace gort::inline v0::rt {

struct M;
struct G;
struct Bubble;

enum class GStatus : std::uint32_t { idle, runnable, running, syscall, waiting, captive, held, dead };

const char* g_status_text(GStatus s) noexcept;

/// The C++ runtime's per-thread exception state (Itanium C++ ABI 2.2.2: __cxa_eh_globals). It belongs to
/// the goroutine, so it travels: saved and loaded at every switch. Without this, a goroutine that parks
/// in a catch block would rethrow another one's exception.
struct EhGlobals {
  void* caught = nullptr;
  unsigned int uncaught = 0;
};

struct alignas(64) G {
  // ---- first line: what a switch and a call into gort touch
  arch::Context ctx;                      ///< saved by the switch; null: has never run, has no frame yet
  os::atomic<GStatus> status{GStatus::idle};
  std::uint32_t run_epoch = 0;            ///< Sched::run_epoch when it was started
  M* m = nullptr;                         ///< the M that runs it; null otherwise; written by the scheduler
  M* locked_m = nullptr;                  ///< lock_os_thread: the only M that may run it
  EhGlobals eh;                           ///< valid unless running
  std::uintptr_t sp_least = 0;            ///< of `stack`, for RuntimeEntry: lowest sp of a call into gort
  std::uint32_t sp_room = 0;              ///< likewise: from there to stack.hi
  std::uint16_t blocking_depth = 0;       ///< nesting of gort::blocking
  bool in_blocking = false;               ///< in gort::blocking and P-less; its own writes only
  std::uint8_t rights = 0;                ///< to stop the world, had or waited for (right_begins); its own writes only
  // ---- second line: queues
  waiter wait;                            ///< stands for this G in one queue at a time
  WaitReason wait_reason = WaitReason::none;
  bool system = false;                    ///< a goroutine of the runtime's own: not counted, not shown
  bool main = false;                      ///< the goroutine of a run
  bool sticky_entry = false;              ///< locked to its thread for a call out of gort::blocking
  os::atomic<std::uint32_t> waiting_since{0};  ///< Sched::seconds of its last park; its own writes, tracebacks read
  G* link = nullptr;                      ///< next on the global queue or a free list; belongs to the list
  std::uint64_t goid = 0;                 ///< unique for ever; 0 only before the first use
  // ---- the rest
  Stack stack;                            ///< set by set_stack
  void (*fn)(void*) = nullptr;            ///< the API's wrapper; runs in user context
  void* arg = nullptr;                    ///< its closure, in `closure` or on the heap
  void* locals = nullptr;                 ///< goroutine_local storage, owned by the API
  void* context = nullptr;                ///< the current context, owned by the API; null: background
  CancelSource* cancel = nullptr;         ///< what may cancel its waits: of `context`; null: nothing, or a shield
  CancelSource* background = nullptr;     ///< what the end of its run cancels; constant from birth to death
  WaitState wait_state;                   ///< for waits that may end in several ways
  Bubble* bubble = nullptr;               ///< a test's, with a clock of its own (bubble.h); null: none
  std::uint64_t parent_goid = 0;
  std::uintptr_t created_by_pc = 0;       ///< return address into the code that called go or spawn
  os::atomic<std::uint64_t> counted{0};   ///< goid, while its end is still to be counted (g_count_end)
  std::uint32_t lock_count = 0;           ///< nesting of lock_os_thread
  std::uint32_t trimmed_wait = 0;         ///< waiting_since of the wait in which its stack was trimmed; sysmon's
  GSanitizer san;
  G* all_next = nullptr;                  ///< registry of all Gs, newest first, append-only
  char name[24] = {};                     ///< options' name, zero-terminated, may be cut
#if defined(GORT_TESTING)
  M* last_m = nullptr;                    ///< where it ran last, kept by GORT_DEBUG=forcemigrate
#endif
  bool own_stack = false;                 ///< of an unusual size, from birth to death
  bool durably_blocked = false;           ///< not counted as running in its bubble; written by its park, then by who readies it
  bool waits_outside = false;             ///< for something that is not its bubble's; its own
  alignas(16) std::byte closure[64];      ///< small closures; on the stack there is none before the first run

  void set_stack(const Stack& s) noexcept {
    stack = s;
    sp_least = s.lo + kStackReserve;
    sp_room = static_cast<std::uint32_t>(s.hi - sp_least);
  }
};

// A thousand goroutines that yield in turn live from the second-level cache: each line counts (row yield1000).
static_assert(offsetof(G, wait) == 64, "a switch and a call into gort touch one cache line of a G");
static_assert(sizeof(G) <= 448, "1,000,000 parked goroutines: G and stack page within 5 KiB");

/// The G that owns a waiter embedded in it.
inline G* g_of(waiter* w) noexcept {
  return reinterpret_cast<G*>(reinterpret_cast<std::byte*>(w) - offsetof(G, wait));
}

}  // namespace gort::inline v0::rt
