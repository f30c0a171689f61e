// gort: M, a thread that runs goroutines.
//
// An M runs user code only while it has a P (m->p), blocking calls apart. Its own stack ("g0", the
// thread's) is where the scheduler waits and where it runs what must not stand on a goroutine's stack.
//
//   an M is …       and that shows as                                  counted in
//   running         m->p set                                           –
//   spinning        m->p set, m->spinning: looks for work              sched.nmspinning
//   idle            on sched.idle_m, asleep on m->park                 sched.nmidle
//   idle, locked    its locked goroutine is not to run, asleep         sched.nmidle_locked
//   in a call       m->p null or in status syscall                     –
//   captive         m->p null, its goroutine on sched.captives         sched.ncaptive
//   ended           on sched.free_m, to be used again                  –
//
// Ms are never unmapped: a stale M* (a waker, sysmon) still points to an M.
#pragma once

#include <cstdint>

#include "arch/context.h"
#include "base/note.h"
#include "os/os.h"
#include "os/quick_clock.h"
#include "sched/g.h"

namespace gort::inline v0::rt {

struct P;

/// Bits of M::pending: what is asked of the goroutine that this M runs.
enum Pending : std::uint32_t {
  kPendingYield = 1u << 0,      ///< its time slice is over and others wait (sysmon)
  kPendingStop = 1u << 1,       ///< the world is to stop
  kPendingSafePoint = 1u << 2,  ///< its P owes a function of for_each_p
  kPendingCaptives = 1u << 3,   ///< it is the captives' turn on its P (sysmon)
  kPendingHold = 1u << 4,       ///< somebody wants to look at its goroutine (M::hold_wanted)
};
/// What the end of a call into gort has to look at: the goroutine goes on without changing its thread.
inline constexpr std::uint32_t kPendingHere = kPendingYield | kPendingStop | kPendingSafePoint | kPendingHold;

/// What is to be done about the goroutine that was just left, by whoever runs next on this M, when its
/// context has been saved. Must not park.
using AfterSwitch = void (*)(M* m, G* left) noexcept;

struct alignas(64) M {
  // ---- written by its own thread only, read by it on every operation
  G* curg = nullptr;             ///< goroutine that runs; null on the M's own stack
  P* p = nullptr;                ///< wired P
  G* left = nullptr;             ///< the switch's message to its other side
  AfterSwitch after = nullptr;   ///< likewise
  bool left_ends = false;        ///< likewise: the goroutine that left has ended
  G* back = nullptr;             ///< likewise: `after` wants this goroutine continued at once, from the M's own stack
  void* after_arg = nullptr;     ///< likewise: what park() was given
  bool (*commit)(G*, void*) noexcept = nullptr;
  EhGlobals* eh = nullptr;       ///< the thread's __cxa_get_globals()
  P* oldp = nullptr;             ///< P that it had when it entered a blocking call
  bool spinning = false;         ///< looks for work; also set by start_m before the wakeup
  bool ending = false;           ///< the thread ends at the next schedule()
  G* picked = nullptr;           ///< taken off a queue, to be run by the next schedule()
  bool holds_world = false;      ///< its goroutine has stopped the world: does not stop, yield or let its P go
  bool inside = false;           ///< as a captive: in the middle of user code, not at a call into gort
  std::int64_t resumed_cpu = -1; ///< its CPU clock when it came back from a stop; -1: has run since
  os::ThreadTimer timer;         ///< brings it back to what it may not do yet: to a stop (L3), or to its slice's end
  std::uint32_t timer_asks = 0;  ///< Pending bits that the timer sets
  std::int64_t off_p_since = 0;  ///< nanotime; since when its goroutine, a captive, has had no P
  std::uint8_t postponed = 0;    ///< how often in a row its slice's end was put off (captives.h)
  std::uint8_t postpone_limit = 40;  ///< and how often it may be: less after it was in vain
  os::atomic<std::uint32_t>* lock_word = nullptr;  ///< of the lock that its goroutine, asleep in the kernel, waited for
  std::uint32_t asleep_streak = 0;  ///< how often in a row its goroutine was found asleep in the kernel
  os::QuickClock<os::CpuCounter> quick_clock;  ///< for deadlines
  arch::Context g0_ctx;          ///< the M's own stack while a goroutine runs
  // ---- written by others
  alignas(64) os::atomic<std::uint32_t> pending{0};  ///< Pending bits; set by anyone, cleared by the M
  os::atomic<G*> hold_wanted{nullptr};  ///< to be held still where it runs (world/suspend.h)
  P* nextp = nullptr;            ///< P in status handed; written before park.wakeup()
  Note park;                     ///< where it sleeps when idle
  G* locked_g = nullptr;         ///< lock_os_thread; written by the locked goroutine on this M
  // ---- rarely
  M* link = nullptr;             ///< idle list or dead list, under sched.lock
  M* all_next = nullptr;         ///< registry of all Ms, append-only
  M* captive_link = nullptr;     ///< Sched::captives, under sched.lock
  os::atomic<const void*> interrupted{nullptr};  ///< ucontext of the user code, while it waits in the handler
  std::int64_t id = 0;
  os::atomic<int> tid{0};        ///< kernel id; 0 before it runs and after it ended
  std::uintptr_t stack_lo = 0;   ///< the M's own stack
  std::uintptr_t stack_hi = 0;
  void* signal_stack = nullptr;  ///< alternate stack of its signal handlers
  std::size_t signal_stack_bytes = 0;
  bool idle_timed = false;       ///< sleeps with a limit: may be given back
  GSanitizer san;                ///< of the M's own stack
  os::atomic<std::uint32_t> asked{0};       ///< what its signal handler shall do (world/signal.h)
  os::atomic<std::uint32_t> dump_state{0};  ///< a traceback request (debug/capture.cc)
};

/// This thread's M, or null on a foreign thread. Never keep it over anything that can switch.
[[gnu::always_inline]] inline M* self_m() noexcept { return static_cast<M*>(os::tls().m); }

/// The running goroutine, or null (foreign thread, or an M's own stack). Opaque to the optimizer: read
/// anew at each call, so right after a park that changed threads, also under LTO (acceptance scenario 47).
[[gnu::always_inline]] inline G* current_g() noexcept {
  M* m = self_m();
  return m != nullptr ? m->curg : nullptr;
}

}  // namespace gort::inline v0::rt
