// gort: the lost-P walk: where is every P? For tests and debugging (GORT_TESTING builds only).
//
// Rule R says that a P is in exactly one place at each instant. check_ps() looks into all of them:
//
//   place      what shows it
//   idle       on Sched's idle list
//   running    wired: m->p == p and p->m == m of one M
//   handed     m->nextp of one M, status handed
//   syscall    m->oldp of an M, status syscall (an M whose P was taken keeps a stale oldp: no claim)
//   in_hand    none of these: in one OwnedP, between two of the steps above, or lost
//
// Lists are read under sched.lock, the Ms' fields without it (most transfers take no lock). So while Ms
// run, a P on its way may show as in hand or in two places. When nobody runs it may not: a P that is still
// in hand then is lost. await_quiet() waits for that moment.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(GORT_TESTING)

namespace gort::inline v0::rt {

struct PAccount {
  std::int32_t idle = 0;
  std::int32_t running = 0;
  std::int32_t handed = 0;
  std::int32_t syscall = 0;
  std::int32_t stopped = 0;
  std::int32_t dead = 0;
  std::int32_t in_hand = 0;
  std::int32_t twice = 0;    ///< Ps that were seen in two places
  std::int32_t total = 0;    ///< Sched::nprocs
  std::int32_t idle_m = 0;         ///< Ms on the idle list
  std::int32_t idle_locked_m = 0;  ///< Ms asleep with their locked goroutine
  std::int32_t all_m = 0;          ///< Ms that exist or are being created
  std::int32_t orders = 0;         ///< threads on order
  std::int32_t spinning = 0;       ///< Sched::nmspinning
  std::int32_t queued = 0;         ///< goroutines on the global and on all local queues
  char text[512] = {};       ///< names every P that is nowhere or twice, and counts that disagree

  /// Nobody runs and nobody is about to: every P idle, nothing queued, no M searching or on order. Ms in
  /// blocking calls without a P may exist.
  bool quiet() const noexcept {
    return idle == total && twice == 0 && orders == 0 && spinning == 0 && queued == 0;
  }
};

/// One walk. Any thread outside the runtime; takes sched.lock. O(Ps x Ms).
PAccount check_ps() noexcept;

/// Walks until the account is quiet, at most `limit_ns`. The last account either way.
PAccount await_quiet(std::int64_t limit_ns) noexcept;

/// How long an idle thread beyond the spares is kept, in ns. For threads that go idle from now on.
void set_idle_thread_life_for_test(std::int64_t ns) noexcept;

}  // namespace gort::inline v0::rt

#endif
