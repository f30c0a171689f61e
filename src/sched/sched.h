// gort: Sched, the scheduler's global record, and what its files ask of each other.
//
// One constinit object, never destroyed: it works before static initialization and after exit() has begun.
// Everything below `lock` is guarded by it unless it says otherwise. Words that every dispatch reads stand on other cache
// lines than those that somebody writes all the time (alignas; docs/scaling.md has what it costs if not).
//
//   file            holds
//   schedule.cc     the loop of an M: find a goroutine, run it
//   park.cc         parking, readying, yielding, ending
//   start_m.cc      waking and starting Ms: start_m, wake_p, hand_off_p
//   stop_m.cc       how an M sleeps: stop_m, stop_locked_m, start_locked_m
//   stop_point.cc   where a running goroutine does what others ask of it: stops, slices, safe points
//   captives.cc     goroutines that lost their P but keep their thread
//   procs.cc        changing the number of Ps
//   syscall.cc      enter_blocking, exit_blocking
//   thread.cc       the template thread, new Ms, ending Ms
//   watch.cc        who sleeps until the next timer is due
//   sysmon.cc       the monitor: retake, time slices, deadlock suspicion
//   spawn.cc        birth and death of goroutines
//   runs.cc         what the end of gort::run means
//   start.cc        starting the runtime, Ps
//   invariants.cc   the lost-P walk
#pragma once

#include <cstdint>

#include "base/list.h"
#include "base/mutex.h"
#include "base/note.h"
#include "os/os.h"
#include "sched/g.h"
#include "sched/m.h"
#include "sched/owned_p.h"
#include "sched/p.h"

namespace gort::inline v0::rt {

inline constexpr std::int32_t kMaxProcs = 1024;       ///< documented clamp of max_procs
inline constexpr std::int32_t kDefaultMaxThreads = 10000;
inline constexpr std::int32_t kSpareThreads = 2;      ///< idle Ms that the template thread keeps ahead
inline constexpr std::uint32_t kFairnessTick = 61;    ///< each so many dispatches the global queue comes first
inline constexpr std::uint32_t kMaxNextTurns = 64;    ///< runnext dispatches in a row while others wait

struct Sched {
  Mutex lock{LockRank::sched};

  // ---- Ms
  Stack1<M, &M::link> idle_m;
  std::int32_t nmidle = 0;
  std::int32_t nmidle_locked = 0;   ///< Ms asleep because their locked goroutine is not to run
  std::int32_t mcount = 0;          ///< Ms that exist or are being created
  std::int32_t max_threads = kDefaultMaxThreads;
  std::int64_t next_m_id = 0;
  Stack1<M, &M::link> free_m;       ///< ended: to be used again
  std::int64_t thread_missed = 0;   ///< nanotime; a slice ended in vain: no thread for the ordinary goroutines
  os::atomic<M*> all_m{nullptr};    ///< registry, lock-free to read

  // Requests for a thread (start_m.cc). A request carries no P. It persists until a new thread or the first
  // M that goes idle serves it; a spinning one holds one count of nmspinning meanwhile.
  std::int32_t orders = 0;
  std::int32_t orders_spinning = 0;
  std::uint64_t orders_served = 0;  ///< or dropped, ever
  std::int32_t creating = 0;        ///< Ms being created, included in mcount
  Note template_note;               ///< the template thread's doorbell
  os::atomic<bool> refresh_modules{false};  ///< the template thread shall call the hook of that name (sysmon)
  os::atomic<bool> recheck_procs{false};    ///< the template thread shall look at the cgroup's limit again (sysmon)

  // ---- Ps
  P* idle_p = nullptr;
  alignas(64) os::atomic<std::int32_t> npidle{0};  ///< written under lock, read without
  alignas(64) os::atomic<std::int32_t> nprocs{0};  ///< constant while the world runs
  bool quick_clock = false;                ///< os::quick_clock_usable, at start
  std::int64_t pids_limit = 0;             ///< the cgroup's limit of processes and threads, at start; 0: none
  os::atomic<std::int32_t> cpus{1};        ///< processors of the machine that we may use; at start, then the template thread
  os::atomic<bool> default_procs{false};   ///< nobody has said how many Ps there shall be: the machine and the cgroup say
  os::atomic<P*> all_p[kMaxProcs] = {};    ///< changes while the world is stopped only; entries never go away

  // ---- stops (stop_point.h)
  alignas(64) os::atomic<std::uint32_t> stopping{0};  ///< Stopping; written under lock
  os::atomic<P*> awaited{nullptr};           ///< the P that the initiator waits for; who stops it rings
  Note stop_note;                            ///< the initiator's
  void (*safe_point_fn)(P* p, void* arg) noexcept = nullptr;  ///< for_each_p; guarded by worldsema
  void* safe_point_arg = nullptr;

  // ---- captives (captives.h)
  Queue1<M, &M::captive_link> captives;
  os::atomic<std::int32_t> ncaptive{0};      ///< written under lock, read without
  os::atomic<std::int32_t> nsleepers{0};     ///< of the queued: found asleep in the kernel, so they do not compute
  std::int32_t ninside = 0;                  ///< goroutines off their P in the middle of user code, queued or not
  os::atomic<std::uint64_t> found_asleep{0};  ///< goroutines found asleep in the kernel with a P, ever
  os::atomic<std::int32_t> many_captives{0};  ///< from so many per P on, ordinary goroutines get less; written under lock

  /// Seconds of os::nanotime, for how long somebody has been waiting: no park reads the clock. Written by sysmon, and
  /// by the first P that leaves idleness, since sysmon slept through that.
  os::atomic<std::uint32_t> seconds{0};

  // ---- work
  Queue1<G, &G::link> global;
  alignas(64) os::atomic<std::uint32_t> global_size{0};  ///< written under lock, read without
  os::atomic<std::uint32_t> need_spinning{0};  ///< a wake was skipped for want of an idle P
  alignas(64) os::atomic<std::int32_t> nmspinning{0};  ///< Ms with m->spinning, plus those being started as such
  alignas(64) GList g_free;                ///< guarded by g_free_lock
  StackList stacks;                        ///< likewise
  std::uint32_t stacks_low = 0;            ///< likewise: fewest since sysmon looked last
  Mutex g_free_lock{LockRank::g_free};

  // ---- goroutines
  alignas(64) os::atomic<std::uint64_t> goid_gen{0};
  os::atomic<G*> all_g{nullptr};           ///< registry, append-only, lock-free
  os::atomic<std::uint64_t> g_started{0};  ///< by threads without P
  os::atomic<std::uint64_t> g_ended{0};    ///< likewise
  os::atomic<std::uint32_t> g_moves{0};    ///< odd while counts move from a P to these two (proc_resize)
  alignas(64) os::atomic<CancelSource*> background{nullptr};  ///< of who is started by nobody's goroutine; written under lock
  bool background_over = false;            ///< the last run has ended: it is being cancelled; under lock
  os::atomic<std::uint32_t> run_epoch{1};  ///< goroutines of earlier epochs are left over: never run again

  // ---- timers (watch.h)
  alignas(64) os::atomic<std::int64_t> watch_until{INT64_MAX};  ///< kNobody, kAwake, or until when the watcher sleeps
  std::int32_t nwatching = 0;              ///< 1: the watcher sleeps, so it cannot run anybody by itself; under lock
  std::uint64_t watches = 0;               ///< how often it has gone to sleep; under lock
  Note idle_note;                          ///< the watcher's
  os::atomic<std::int32_t> bubbles{0};     ///< that exist (bubble.h); mostly 0

  // ---- the network (watch.h; net/poller.h)
  os::atomic<bool> net_started{false};          ///< there is a poller: the hooks are set
  os::atomic<std::int64_t> net_waiting{0};      ///< waits for descriptors, counted before they queue
  os::atomic<std::uint64_t> net_polls{0};       ///< how often a poller was asked; about

  // ---- sysmon
  Note sysmon_note;
  os::atomic<bool> sysmon_wait{false};     ///< deep asleep: who makes work for it rings the note
  os::atomic<bool> dead_suspected{false};  ///< all Ms idle at one moment: sysmon looks closer
  os::atomic<std::int32_t> foreign_waiting{0};  ///< foreign threads blocked inside gort
  std::uint64_t foreign_waits = 0;         ///< how often a foreign thread has begun to wait; under lock
  os::atomic<std::int32_t> runs{0};        ///< gort::run calls in progress; goes up under lock only (runs.h)

  os::atomic<bool> started{false};
};

extern Sched sched;

/// There is one P in all. By who has a P: then it stays so until the next stop point.
inline bool only_p() noexcept { return sched.nprocs.load(os::memory_order_relaxed) == 1; }

/// The P in place i, from 0 to nprocs. Who has no P, so that the number may change meanwhile, reads that by acquire.
inline P* p_at(std::int32_t i) noexcept { return sched.all_p[i].load(os::memory_order_relaxed); }

// ---- ownership (owned_p.cc) -----------------------------------------------------------------

/// Takes a P off the idle list. Under sched.lock.
MaybeOwnedP pidle_get() noexcept;
/// As pidle_get; if there is none, remembers that a spinning M was wanted. Under sched.lock.
MaybeOwnedP pidle_get_spinning() noexcept;
/// Puts a P with an empty queue on the idle list. No captive is queued. Under sched.lock.
void pidle_put(OwnedP p) noexcept;
/// A P with an empty queue that its owner has no use for: stopped if the world is to stop, else handed to the oldest
/// captive, else idle. Returns the M that got it: to be woken (M::park) after sched.lock is released. Under sched.lock.
[[nodiscard]] M* settle_p(OwnedP p) noexcept;
/// Makes the P this M's.
void wire(OwnedP p) noexcept;
/// Takes the wired P away from this M.
OwnedP release_p() noexcept;
/// Status handed, m->nextp: the P belongs to m, which the caller is about to wake.
void hand_to_m(OwnedP p, M* m) noexcept;
/// Takes a P from a blocking call, if it is still there. Any thread.
MaybeOwnedP retake_p(P* p) noexcept;
/// A P that has just been made.
OwnedP own_new_p(P* p) noexcept;
/// A stopped P that no M waits for; not if its M, which is in a blocking call, has taken it back. By whoever
/// stopped the world, when it goes on.
MaybeOwnedP take_stopped_p(P* p) noexcept;

// ---- Ms (start_m.cc, thread.cc, lock_thread.cc) -----------------------------------------------

/// Finds a thread for the P: an idle M, else an order. Never blocks, never creates a thread.
/// `spinning`: the caller has counted one in nmspinning; it passes to the M or the order.
void start_m(OwnedP p, bool spinning) noexcept;
/// Starts one more spinning M if none spins and a P is idle. Call after making work visible.
void wake_p() noexcept;
/// The same, where a read-modify-write operation has just made the work visible.
void wake_p_after_rmw() noexcept;
/// After queueing a goroutine and going on with another one, which may never poll: that is work for an idle
/// P. Without wake_p's fence when every P is in use, the common case and the fast one. Then need_spinning tells
/// the M that idles next to look again: set here with a full fence before npidle is read, read in idle()
/// after npidle is written, so one of the two sees the other. Where it is set already there is no fence, and an M
/// that is just consuming it may look before our queue entry has left the store buffer; sysmon looks for that
/// (wake_for_queued).
[[gnu::always_inline]] inline void wake_p_if_idle() noexcept {
  if (__builtin_expect(sched.need_spinning.load(os::memory_order_relaxed) == 0, 0)) {
    sched.need_spinning.exchange(1, os::memory_order_seq_cst);
  }
  if (__builtin_expect(sched.npidle.load(os::memory_order_seq_cst) != 0, 0)) wake_p();
}
/// The M that had this P cannot use it: starts another M if there is any reason to, else idles the P.
/// `captives_first`: the M sleeps in the kernel, perhaps for a lock that a captive holds.
void hand_off_p(OwnedP p, bool captives_first = false) noexcept;
/// Puts this M to sleep until it is given a P (true) or its thread shall end (false).
[[nodiscard]] bool stop_m(M* m) noexcept;
/// This M's locked goroutine is not to run: gives the P away, sleeps until it is handed one.
void stop_locked_m(M* m) noexcept;
/// g is locked to another M: hands this M's P to it. This M is without P afterwards.
void start_locked_m(M* m, G* g) noexcept;
/// Rings the template thread.
void want_threads() noexcept;
/// First code of every M (runs on its own stack).
void m_main(M* m) noexcept;
/// Starts template thread and sysmon. Called once, by a thread without P.
void start_system_threads() noexcept;

// ---- goroutines -------------------------------------------------------------------------------

/// The M's loop; returns when the thread shall end.
void schedule_loop(M* m) noexcept;
/// One search with this M's P. Null: nothing, and the P may be gone to where idle Ps go.
G* find_runnable(M* m) noexcept;
/// This M stops searching although it has found nothing.
void leave_spinning(M* m) noexcept;
/// Puts goroutines on the global queue. Under sched.lock.
void global_put(G* g) noexcept;
void global_put_batch(Queue1<G, &G::link>& batch) noexcept;
/// Takes a fair share of the global queue into p's (at most max, 0: as many as fair); returns one to run.
G* global_get(P* p, std::uint32_t max) noexcept;
/// For runq_put, with p's ring full: makes room by way of the global queue.
[[gnu::noinline, gnu::cold]] void runq_spill(P* p, G* g) noexcept;
/// Puts a runnable g on p's queue; `next`: before all others. Owner of p only.
/// True: a read-modify-write operation has made it visible (wake_p_after_rmw).
/// Inline, and what needs a buffer apart: a yield does this on the stack of whoever runs next, where each line of a
/// frame is a cache miss (row yield1000).
[[gnu::always_inline]] inline bool runq_put(P* p, G* g, bool next) noexcept {
  if (next) {
    g = p->runq.swap_next(g, only_p());
    if (g == nullptr) return true;
  }
  if (__builtin_expect(!p->runq.put(g), 0)) runq_spill(p, g);
  return false;
}

// ---- hooks: higher floors fill these in before the runtime starts ------------------------------

struct SchedHooks {
  /// sysmon found nobody who can run; prints the report and ends the process.
  void (*deadlock)(bool main_gone) noexcept = nullptr;
  /// One schedtrace line; `detail` adds a line per P, M and G.
  void (*schedtrace)(bool detail) noexcept = nullptr;
  /// What an M needs before it has a thread: signal stacks. The template thread. False: there is no memory for it now.
  bool (*m_make)(M* m) noexcept = nullptr;
  /// An M starts or ends on this thread, without P: signal stacks and masks.
  void (*m_start)(M* m) noexcept = nullptr;
  void (*m_end)(M* m) noexcept = nullptr;
  /// The template thread or sysmon begins: masks.
  void (*system_thread_start)() noexcept = nullptr;
  /// SIGQUIT and its like: sysmon serves what a signal handler asked for.
  void (*serve_requests)() noexcept = nullptr;
  /// m shall be interrupted and look at what is pending; `asleep`: perhaps it sleeps in the kernel.
  void (*preempt)(M* m, bool asleep) noexcept = nullptr;
  /// M's that were sent their signal do not come, or it is time to look: has the host taken the signal away?
  void (*not_answered)() noexcept = nullptr;
  /// The number of Ps shall be this from now on, unless somebody has said otherwise. On a goroutine, in user context.
  void (*set_default_procs)(std::int32_t n) noexcept = nullptr;
  /// The process's modules may have changed (the template thread, now and then: it may wait for the loader's lock).
  void (*refresh_modules)() noexcept = nullptr;
  /// A stop takes long: says who does not stop. By the thread that waits for it, which holds no lock but has
  /// perhaps the world half stopped: no malloc. Takes up to a tenth of a second.
  void (*stop_slow)(std::int64_t waited_ns) noexcept = nullptr;
  /// The template thread has made what was wanted of it (want_threads rings it): work that needs malloc and can wait.
  void (*spare_time)() noexcept = nullptr;
  /// A goroutine is about to leave its M, perhaps for another one: it parks, yields (`none`) or comes out of
  /// gort::blocking. In the runtime, perhaps with the lock that the park releases. For gort::held_locks; null mostly.
  void (*departs)(G* g, WaitReason why) noexcept = nullptr;
  // Timers. Set before the first P::timer_when is, which whoever calls them has read (acquire).
  /// Runs what is due at `now` in p's heap, whoever has p. Under no lock. Ends early if the world is to stop.
  void (*run_timers)(P* p, std::int64_t now) noexcept = nullptr;
  /// Moves p's timers to `to`: p goes away. Null: it has come back. Under sched.lock, the world stopped.
  void (*move_timers)(P* p, P* to) noexcept = nullptr;
  /// Whether a timer that is not stopped is due before `until`. Under no lock. O(timers).
  bool (*timers_pending)(std::int64_t until) noexcept = nullptr;
  /// Nobody can run, and nobody outside will change that: whether a bubble's clock went on. sysmon, under no lock.
  bool (*bubbles_go_on)() noexcept = nullptr;
  // The network. Set before Sched::net_started is. All give a chain, by waiter::next, of waits that have ended and that
  // the caller makes ready.
  /// What has become ready; does not wait. `p`: the caller's; null: asks all instances. Under no lock.
  waiter* (*net_poll)(P* p) noexcept = nullptr;
  /// Sleeps until something is ready, or `deadline`, or it is broken. The watcher.
  waiter* (*net_sleep)(std::int64_t deadline) noexcept = nullptr;
  /// Ends that sleep, or the next one. Any thread.
  void (*net_break)() noexcept = nullptr;
};
extern SchedHooks sched_hooks;

/// Sets Sched::seconds. Written only when it changes: every park reads it.
inline void set_seconds(std::int64_t now) noexcept {
  const auto s = static_cast<std::uint32_t>(now / 1'000'000'000);
  if (sched.seconds.load(os::memory_order_relaxed) != s) sched.seconds.store(s, os::memory_order_relaxed);
}

[[gnu::always_inline]] inline void departing(G* g, WaitReason why) noexcept {
  if (__builtin_expect(sched_hooks.departs != nullptr, 0)) sched_hooks.departs(g, why);
}

}  // namespace gort::inline v0::rt
