// gort: P, the right to run goroutines. There are Sched::nprocs of them.
//
//   status    meaning                                      where the P is
//   idle      nobody uses it                               on Sched's idle list, or in one OwnedP
//   running   wired: m->p == p and p->m == m               with that M
//   handed    given to an M that has not woken yet         m->nextp of that M
//   syscall   its M is in a blocking call                  m->oldp of that M; anyone may take it by CAS
//   stopped   the world is stopped                         with whoever stopped it; p->m: the M that waits for it
//   retired   beyond nprocs, and p->m has not noticed      with that M: it waits for it, as if it were stopped
//   dead      beyond nprocs                                nowhere
//
// Rule R (docs/HACKING.md): at each instant a P is in exactly one of these places. The state "in the hand of a
// function that can be stopped" does not exist; five bugs of the Go runtime were instances of it.
// check_ps() (invariants.h) walks all of them.
//
//   from      to        by                                          CAS?
//   idle      running   wire (OwnedP)                               no: owned
//   idle      handed    hand_to_m (OwnedP)                          no: owned
//   handed    running   the M that wakes                            yes: a stop may have taken it back
//   running   idle      release_p -> OwnedP                         no: owned
//   running   syscall   enter_syscall                               no: own M only
//   syscall   running   exit_syscall on its own M                   yes
//   syscall   idle      retake_p -> OwnedP (sysmon)                 yes
//   running   stopped   stop_here on its own M                      no: own M only
//   syscall   stopped   a stop, or enter_syscall itself             yes
//   handed    stopped   a stop: the M has not woken yet             yes
//   idle      stopped   a stop (idle list), stop_owned_p            no: owned
//   stopped   handed    start_with: p->m waits for it               no: the stopper's
//   stopped   idle      start_with -> OwnedP                        no: the stopper's
//   stopped   retired   proc_resize: p->m waits for it              no: the stopper's
//   stopped   dead      proc_resize; back when the number grows     no: the stopper's
//   retired   dead      p->m has noticed, and has no P now          yes
//   retired   stopped   proc_resize: the number grows again before  yes
#pragma once

#include <cstdint>

#include "base/random.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/runq.h"
#include "sched/stack_cache.h"

namespace gort::inline v0::rt {

struct TimerHeap;

inline constexpr std::int64_t kNoTimer = INT64_MAX;  ///< P::timer_when: none

enum class PStatus : std::uint32_t { idle, running, handed, syscall, stopped, retired, dead };

struct SelectNode;
struct Context;

/// A list of dead goroutines, for reuse. They have no stack.
struct GList {
  G* head = nullptr;
  std::uint32_t n = 0;
  void push(G* g) noexcept {
    g->link = head;
    head = g;
    ++n;
  }
  G* pop() noexcept {
    G* g = head;
    if (g != nullptr) {
      head = g->link;
      g->link = nullptr;
      --n;
    }
    return g;
  }
};

struct alignas(128) P {
  explicit P(std::int32_t number) noexcept : id(number), random(0x90f7 + static_cast<std::uint64_t>(number)) {}

  os::atomic<std::int32_t> id;     ///< its place in Sched::all_p; changed by proc_resize only
  os::atomic<PStatus> status{PStatus::idle};
  os::atomic<M*> m{nullptr};       ///< wired M, or the M that it is handed to; written by who owns the P
  P* idle_link = nullptr;          ///< Sched's idle list, under sched.lock
  // Written by the owner; sysmon reads them to see whether anything moved.
  os::atomic<std::uint32_t> schedtick{0};    ///< one more per dispatch that does not inherit a slice
  os::atomic<std::uint32_t> syscalltick{0};  ///< one more per blocking call, and per retake
  std::uint32_t next_turns = 0;    ///< dispatches from runnext in a row; owner
  // Stops (stop_point.h).
  os::atomic<std::uint32_t> asleep{0};      ///< its M may sleep on `status`; written by that M
  os::atomic<std::uint32_t> safe_point{0};  ///< for_each_p: done, runs, asked
  /// A stop took it from an M that had not woken. Atomic, since a stopper looks while that M may take the P and stop.
  os::atomic<bool> claimed{false};
  // Timers (watch.h, sync/timers.h).
  os::atomic<std::int64_t> timer_when{kNoTimer};  ///< nanotime of the earliest; written under the heap's lock
  std::uint32_t timer_looks = 0;   ///< owner: switches since it looked at the clock
  bool unwatched = false;          ///< owner: perhaps nobody watches the timers, and somebody should
  os::atomic<TimerHeap*> timers{nullptr};   ///< made at the first timer, for ever
  // Shares (captives.h), written by who owns the P.
  os::atomic<bool> serves_captives{false};
  os::atomic<std::uint32_t> captive_tick{0};  ///< schedtick of the slice that a captive had last
  os::atomic<std::uint32_t> captive_slices{0};  ///< how many of schedtick were theirs
  os::atomic<std::int64_t> class_since{0};  ///< nanotime
  os::atomic<std::int64_t> class_debt{0};   ///< ns that the captives have had too many of
  // sysmon's own view.
  std::uint32_t seen_run_tick = 0;
  std::int64_t seen_cpu = 0;       ///< CPU clock of its M
  std::int64_t seen_cpu_when = 0;
  std::uint32_t seen_schedtick = 0;
  std::uint32_t seen_syscalltick = 0;
  std::int64_t seen_sched_when = 0;
  std::int64_t seen_syscall_when = 0;

  RunQueue runq;

  GList g_free;                    ///< owner
  StackList stacks;                ///< owner
  std::uint32_t claims = 0;        ///< owner: stacks claimed, not given to a goroutine yet; at least stacks.size()
  Random random;                   ///< owner
  SelectNode* select_nodes = nullptr;   ///< owner: a cache (sync/select.h)
  std::uint32_t select_nodes_n = 0;     ///< owner
  Context* contexts = nullptr;     ///< owner: a cache (sync/context.cc)
  os::atomic<std::uint32_t> contexts_n{0};  ///< owner; tests add up
  std::uint64_t goid_next = 0;     ///< owner: private batch of goroutine ids
  std::uint64_t goid_end = 0;
  // Statistics, each written by the owner only; readers add up and may be a moment off.
  os::atomic<std::uint64_t> g_started{0};
  os::atomic<std::uint64_t> g_ended{0};
  os::atomic<std::uint64_t> steals{0};
  /// The M that had it in hand last (null: a thread without M), for who looks for a P that is in nobody's hand.
  os::atomic<M*> owner{nullptr};
};

}  // namespace gort::inline v0::rt
