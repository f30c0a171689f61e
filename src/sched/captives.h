// gort: captives: goroutines that were taken off their P at a place where they must keep their thread.
//
// C++ code at an arbitrary instruction may hold libc's locks and cached addresses of thread_locals, so it cannot
// be moved to another thread, nor can its stack be left by a switch. When its slice is over, its M stays where it is
// (in the signal handler, or at the end of a call into gort) and only the P goes. The goroutine stands on one FIFO,
// bound to its M; who picks it hands the P to that M and goes to sleep itself. Two futex wakes per slice, right for
// any code.
//
//   goroutine's slice over, others wait ──> Sched::captives (FIFO) ──> P handed to its M ──> goes on
//                                           its M sleeps on M::park
//
// Where the P goes at the end of a slice (give_up_p): to an idle M, for the ordinary goroutines, or straight to the
// oldest captive's own M. The latter needs no thread, no memory and no lock but sched.lock, so a slice can always end
// in favour of a captive (L2): one that holds malloc's lock is never kept waiting by endless loops.
//
// Shares. Captives on the one hand and all ordinary goroutines of a P on the other get equal slice *time*: a hog
// beside a server costs the server half of the P, not a whole slice for each dispatch. P::serves_captives and
// P::class_since say whose turn it is; turns end when sysmon looks, and P::class_debt gives back what one was too long.
// From kManyCaptives per P on (or a quarter of pids.max) the ordinary ones get an eighth, for it is they who become
// captives, at the price of a thread each.
//
// Locks. libc's are not fair: who unlocks may lock again at once, and who was woken for it finds it taken. A goroutine that
// does little else than work under one (fprintf to one FILE) would nearly always lose the P in the middle of that, all
// others would find the lock taken and sleep again, and one could starve for seconds. So while a captive is queued that was
// asleep for a lock until it was unlocked (M::lock_word), a slice ends at a moment when that lock is free: the handler
// looks, and if not, comes by again 20 us later, 40 times at most, and less often where that was in vain the last time.
// And captives queue in the order in which they lost their P: who was asleep for a lock comes before those who ran meanwhile.
// (As the last in the queue, N sleepers come in one by one, each after a longer round: N*N/2 slices until all had one.)
//
// Invariant: no P is idle while a captive is queued. Checked on both insertions (give_up_p, pidle_put) and in the
// last look of an M that idles.
#pragma once

#include <cstdint>

#include "sched/sched.h"

namespace gort::inline v0::rt {

inline constexpr std::int64_t kCaptiveShare = 10'000'000;  ///< ns that each of the two classes gets in turn
inline constexpr std::int32_t kManyCaptives = 64;          ///< per P

/// The slice of m's goroutine is over: gives the P to somebody who waits for one, and returns when the goroutine has
/// one again; at once, if nobody waits or nobody could use it. m has a P.
/// `asleep`: it was found asleep in the kernel, so the oldest captive goes first (it may hold the lock that is
/// waited for), and this goroutine waits for `back_off` ns before it queues up.
void give_up_p(M* m, bool asleep, std::int64_t back_off) noexcept;

/// m's goroutine must keep its thread and has no P: waits until it has one. `counted`: in Sched::ninside already.
void wait_for_p_here(M* m, bool counted) noexcept;

/// Whether the class of goroutines that has this P has had it for its share. Anybody.
bool turn_is_over(const P* p, std::int64_t now) noexcept;

/// Whether it is the captives' turn on this P; if theirs is over, that of the others begins. Its owner.
bool captives_turn(P* p, std::int64_t now) noexcept;

/// Gives m's P to the oldest captive; m is without P then. False: there is none.
[[nodiscard]] bool hand_to_captive(M* m) noexcept;

/// Takes the oldest captive's M off the queue; null: none. Under sched.lock.
M* captive_get() noexcept;
/// Hands an owned P to a captive's M taken by captive_get. The caller wakes it (M::park) after releasing sched.lock.
void hand_to_captive_m(OwnedP p, M* captive) noexcept;

/// Somebody else could use this P now.
bool others_wait(const P* p) noexcept;
/// Goroutines are queued on some P and nobody is about to steal them. Who computes has its P by right all the same;
/// the P of who sleeps in the kernel is of use to them. O(Ps).
bool queued_for_nobody() noexcept;

}  // namespace gort::inline v0::rt
