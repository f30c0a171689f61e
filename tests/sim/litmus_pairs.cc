// The runtime's two-sided protocols, each as the operations that its argument rests on. A site is named by its function,
// as `gort-sim --fences` has it, and by what stands there.
#include "tests/sim/litmus.h"

namespace gort::inline v0::rt::litmus {

namespace {

constexpr auto kRelaxed = os::memory_order_relaxed;
constexpr auto kRelease = os::memory_order_release;
constexpr auto kFull = os::memory_order_seq_cst;

constexpr Op load(std::uint8_t word, std::int8_t reg, os::memory_order order = kRelaxed,
                  const char* site = nullptr) {
  return {.kind = Kind::load, .word = word, .order = order, .reg = reg, .site = site};
}
constexpr Op store(std::uint8_t word, std::int8_t value, os::memory_order order = kRelaxed,
                   const char* site = nullptr) {
  return {.kind = Kind::store, .word = word, .order = order, .value = value, .site = site};
}
constexpr Op add(std::uint8_t word, std::int8_t value, const char* site = nullptr) {
  return {.kind = Kind::add, .word = word, .order = kFull, .value = value, .site = site};
}
constexpr Op exchange(std::uint8_t word, std::int8_t value, os::memory_order order,
                      const char* site = nullptr) {
  return {.kind = Kind::exchange, .word = word, .order = order, .value = value, .site = site};
}
constexpr Op exchange_to(std::uint8_t word, std::int8_t value, std::int8_t reg) {
  return {.kind = Kind::exchange, .word = word, .value = value, .reg = reg};
}
constexpr Op fence(const char* site = nullptr) { return {.kind = Kind::fence, .site = site}; }
constexpr Op lock(std::uint8_t word) { return {.kind = Kind::lock, .word = word}; }
constexpr Op unlock(std::uint8_t word) { return {.kind = Kind::unlock, .word = word}; }
constexpr Op only_if(std::int8_t reg, std::int8_t value, Op op) {
  op.if_reg = reg;
  op.if_value = value;
  return op;
}

// ---- work and those who look for it (sched/start_m.cc, schedule.cc) --------------------------------------------

// Words: 0 the queue, 1 npidle, 2 sched.lock.
constexpr Op kQueue[] = {store(0, 1, kRelease), fence("wake_p: fence"), load(1, 0)};
constexpr Op kGoIdle[] = {lock(2), store(1, 1), unlock(2), fence("idle: fence"), load(0, 1)};
constexpr Site kIdleSites[] = {{"wake_p: fence", Needed::everywhere},
                               {"idle: fence", Needed::everywhere}};

// Words: 0 the queue, 1 nmspinning.
constexpr Op kStopSpinning[] = {add(1, -1), fence("idle: fence"), load(0, 1)};
constexpr Site kSpinnerSites[] = {{"wake_p: fence", Needed::everywhere},
                                  {"idle: fence", Needed::on_aarch64}};

// Words: 0 the queue, 1 need_spinning.
constexpr Op kBeginSpinning[] = {store(1, 0), fence("become_spinning: fence"), load(0, 1)};
constexpr Site kSpinningSites[] = {{"wake_p: fence", Needed::everywhere},
                                   {"become_spinning: fence", Needed::everywhere}};

// Words: 0 the queue, 1 need_spinning, 2 the P's status, handed to the M that will search.
constexpr Op kWakeSearcher[] = {store(1, 0), store(2, 1, kRelease)};
constexpr Op kSearcher[] = {load(2, 2, os::memory_order_acquire), load(0, 1)};
constexpr Site kWakeFence[] = {{"wake_p: fence", Needed::everywhere}};

// Words: 0 the queue, 1 npidle, 2 sched.lock, 3 need_spinning.
constexpr Op kQueueFast[] = {store(0, 1, kRelease),
                             exchange(3, 1, kFull, "wake_p_if_idle: exchange"), load(1, 0, kFull)};
constexpr Op kGoIdleFast[] = {lock(2),    store(1, 1), unlock(2), fence("idle: fence"),
                              load(3, 1), load(0, 2)};
constexpr Site kFastSites[] = {{"wake_p_if_idle: exchange", Needed::on_aarch64},
                               {"idle: fence", Needed::everywhere}};

// Words: 0 nmspinning, 1 npidle, 2 sched.lock, 3 need_spinning.
constexpr Op kLeaveSpinning[] = {store(3, 1), add(0, -1), fence("wake_p: fence"), load(1, 0)};
constexpr Op kGoIdleNeeded[] = {lock(2), store(1, 1), unlock(2), fence("idle: fence"), load(3, 1)};
constexpr Site kLeaveSites[] = {{"wake_p: fence", Needed::on_aarch64},
                                {"idle: fence", Needed::everywhere}};

// ---- sysmon, the template thread -------------------------------------------------------------------------------

// Words: 0 npidle, 1 sysmon_wait.
constexpr Op kLeaveIdle[] = {store(0, 1, kFull, "pidle_get: npidle"), load(1, 0, kFull)};
constexpr Op kDeepSleep[] = {store(1, 1), fence("sysmon_thread: fence"), load(0, 1)};
constexpr Site kSysmonSites[] = {{"pidle_get: npidle", Needed::everywhere},
                                 {"sysmon_thread: fence", Needed::everywhere}};

// Words: 0 the P's status, 1 sysmon_wait.
constexpr Op kLetGo[] = {store(0, 3, kFull, "let_p_go: status"), load(1, 0, kFull)};
constexpr Op kDeepSleepCalls[] = {store(1, 1), fence("sysmon_thread: fence"), load(0, 1, kFull)};
constexpr Site kLetGoSites[] = {{"let_p_go: status", Needed::everywhere},
                                {"sysmon_thread: fence", Needed::everywhere}};

// Words: 0 what is asked for, 1 the note (1: rung, for something earlier), 2 sched.lock.
constexpr Op kRing[] = {store(0, 1, kRelease), exchange(1, 1, kRelease)};
constexpr Op kClearLook[] = {store(1, 0), fence("sysmon_thread: fence after the clear"),
                             load(0, 1)};
constexpr Site kClearSites[] = {{"sysmon_thread: fence after the clear", Needed::everywhere}};
constexpr Op kClearTake[] = {store(1, 0), fence("template_thread: fence"), exchange_to(0, 0, 1)};
constexpr Site kTemplateSites[] = {{"template_thread: fence", Needed::on_aarch64}};
constexpr Op kRingLocked[] = {lock(2), store(0, 1), unlock(2), exchange(1, 1, kRelease)};
constexpr Op kClearLookLocked[] = {store(1, 0), fence("template_thread: fence"), lock(2),
                                   load(0, 1), unlock(2)};
constexpr Site kLockedSites[] = {
    {"template_thread: fence", Needed::nowhere, "a lock is taken and released"}};

// ---- stops (sched/stop_point.cc, world/stop.cc) ---------------------------------------------------------------

// Words: 0 the P's status (1: stopped), 1 whether it is awaited.
constexpr Op kTellStopped[] = {store(0, 1, kFull, "stop_here, stop_owned_p: status"),
                               load(1, 0, kFull)};
constexpr Op kAwait[] = {store(1, 1, kFull, "sleep_until_stopped, await: awaited = p"),
                         load(0, 1, kFull)};
constexpr Site kAwaitSites[] = {{"stop_here, stop_owned_p: status", Needed::everywhere},
                                {"sleep_until_stopped, await: awaited = p", Needed::everywhere}};

// The next sleep after one that has ended. Words: 0 status, 1 awaited, 2 stop_note.
constexpr Op kTellAgain[] = {store(0, 1, kFull), load(1, 0, kFull),
                             only_if(0, 1, exchange(2, 1, kRelease))};
constexpr Op kAwaitAgain[] = {store(1, 0, kFull, "sleep_until_stopped, await: awaited = null"),
                              store(2, 0), store(1, 1, kFull), load(0, 1, kFull)};
constexpr Site kAwaitAgainSites[] = {{"sleep_until_stopped, await: awaited = null", Needed::nowhere,
                                      "the next sleep says anew whom it awaits, and looks"}};

// Words: 0 the P's status (3: in a call), 1 stopping, 2 sched.lock.
constexpr Op kLetGoStop[] = {store(0, 3, kFull, "let_p_go: status"), load(1, 0, kFull)};
constexpr Op kBeginStop[] = {lock(2), store(1, 1, kFull, "begin: stopping"), unlock(2),
                             load(0, 1, kFull)};
constexpr Site kBeginSites[] = {{"let_p_go: status", Needed::everywhere},
                                {"begin: stopping", Needed::on_x86_64}};

// A P that stops when the stop is over. Words: 0 its status (1: stopped, 2: handed back), 1 stopping, 2 sched.lock.
constexpr Op kStopLate[] = {store(0, 1, kFull, "stop_here: status"), load(1, 0, kFull)};
constexpr Op kRestart[] = {lock(2), store(1, 0, kFull, "start_everybody: stopping"),
                           load(0, 1, kFull), unlock(2)};
constexpr Site kLateSites[] = {{"stop_here: status", Needed::everywhere},
                               {"start_everybody: stopping", Needed::everywhere}};

// Who looks at all Ps without having one, or after its own has stopped. Words: 0 all_p's next place (0: null), 1 nprocs
// (1: it counts that place).
constexpr Op kGrow[] = {store(0, 1, kRelease), store(1, 1, kRelease)};
constexpr Op kLookAtAll[] = {
    load(1, 0, os::memory_order_acquire, "tell_stopped, queued_for_nobody: nprocs"), load(0, 1)};
constexpr Site kGrowSites[] = {{"tell_stopped, queued_for_nobody: nprocs", Needed::on_aarch64}};

// Words: 0 the P's status (1: stopped), 1 asleep. The sleeper's second look is the futex call's own, in the kernel,
// behind a full barrier.
constexpr Op kChangeStatus[] = {store(0, 2, kFull, "retire: status"), load(1, 0, kFull)};
constexpr Op kSleepStopped[] = {store(1, 1, kFull, "sleep_while_stopped: asleep"),
                                load(0, 1, kFull), fence(), load(0, 2)};
constexpr Site kAsleepSites[] = {{"retire: status", Needed::everywhere},
                                 {"sleep_while_stopped: asleep", Needed::nowhere,
                                  "the futex call has a barrier, and looks again"}};

// Words: 0 safe_point (2: asked, 0: done), 1 awaited.
constexpr Op kServed[] = {store(0, 0, kFull, "run_safe_point_slow: done"), load(1, 0, kFull)};
constexpr Op kAwaitServed[] = {store(1, 1, kFull, "await: awaited = p"), load(0, 1, kFull)};
constexpr Site kServedSites[] = {{"run_safe_point_slow: done", Needed::everywhere},
                                 {"await: awaited = p", Needed::everywhere}};

// ---- timers (sched/watch.cc, sync/timers.cc) -------------------------------------------------------------------

// Words: 0 the heap's earliest (1: an earlier one), 1 watch_until (2: sleeps for longer; 0: as it was), 2 the heap's lock.
constexpr Op kArm[] = {lock(2), store(0, 1, kFull, "TimerHeap::publish: earliest"), unlock(2),
                       fence("timer_set_earlier: fence"), load(1, 0, kFull)};
constexpr Op kWatch[] = {store(1, 2, kFull, "sleep_until_due: watch_until = when"),
                         load(0, 1, kFull)};
constexpr Site kWatchSites[] = {
    {"sleep_until_due: watch_until = when", Needed::everywhere},
    {"TimerHeap::publish: earliest", Needed::nowhere, "a lock is released before the look, then the fence"},
    {"timer_set_earlier: fence", Needed::nowhere,
     "publish's store is full; other callers' are not"}};

// As start_everybody and watch_timers call it: what was seen by another store. Words as above.
constexpr Op kArmPlain[] = {store(0, 1), fence("timer_set_earlier: fence"), load(1, 0, kFull)};
constexpr Site kPlainSites[] = {{"timer_set_earlier: fence", Needed::everywhere}};

// Nobody watches, and a P becomes idle without an M that looks. Words: 0 earliest, 1 npidle, 2 sched.lock.
constexpr Op kArmUnwatched[] = {store(0, 1, kFull), fence("timer_set_earlier: fence"),
                                load(1, 0, kFull)};
constexpr Op kIdleUnwatched[] = {lock(2), store(1, 1), unlock(2),
                                 fence("hand_off_p, start_everybody: fence"), load(0, 1, kFull)};
constexpr Site kUnwatchedSites[] = {
    {"hand_off_p, start_everybody: fence", Needed::on_x86_64},
    {"timer_set_earlier: fence", Needed::nowhere, "publish's store is full"}};

// The watcher leaves. Words: 0 earliest, 1 watch_until (0: awake, 1: nobody).
constexpr Op kArmLeaving[] = {store(0, 1, kFull), fence(), load(1, 0, kFull)};
constexpr Op kLeave[] = {store(1, 1, kFull, "leave_with_p: watch_until = nobody"),
                         load(0, 1, kFull)};
constexpr Site kLeaveWatchSites[] = {{"leave_with_p: watch_until = nobody", Needed::everywhere}};

// A heap puts a timer where its old time belongs. Words: 0 `when` (0: the old time, 1: an earlier one), 1 the key
// (0: as early as that, 1: the old time).
constexpr Op kArmInPlace[] = {exchange(0, 1, kFull, "arm_in_place: when"), load(1, 0, kFull)};
constexpr Op kMoveBack[] = {store(1, 1, kFull, "TimerHeap::rekey: key"), load(0, 1, kFull)};
constexpr Site kMoveSites[] = {{"arm_in_place: when", Needed::on_aarch64},
                               {"TimerHeap::rekey: key", Needed::everywhere}};

// Another P becomes the first one, and the old one is retired. Words: 0 the first (0: the old one), 1 the old one's heap.
constexpr Op kRetireFirst[] = {store(0, 1), fence("swap_places: fence"), load(1, 0, os::memory_order_acquire)};
constexpr Op kHeapOfFirst[] = {exchange(1, 1, os::memory_order_acq_rel), fence("heap_of: fence"),
                               load(0, 1, os::memory_order_acquire)};
constexpr Site kFirstSites[] = {{"swap_places: fence", Needed::everywhere}, {"heap_of: fence", Needed::on_aarch64}};

// ---- semaphores, waits ------------------------------------------------------------------------------------------

// A wait for a counter runs out of time as the count comes to 0, and is over all the same. Words: 0 what was done, 1 the
// count (1: it is 0), 2 the list's lock.
constexpr Op kLastDone[] = {store(0, 1), exchange(1, 1, os::memory_order_acq_rel)};
constexpr Op kLeaveCounter[] = {lock(2), load(1, 0, os::memory_order_acquire, "is_zero: the count"), unlock(2), load(0, 1)};
constexpr Site kCounterSites[] = {{"is_zero: the count", Needed::on_aarch64}};

// Words: 0 units, 1 nwait, 2 the root's lock.
constexpr Op kAcquire[] = {lock(2), store(1, 1, kFull, "queue_or_take: nwait"), load(0, 0, kFull),
                           unlock(2)};
constexpr Op kReleaseUnit[] = {add(0, 1, "sem_release: units"), load(1, 1, kFull)};
constexpr Site kSemaSites[] = {{"queue_or_take: nwait", Needed::everywhere},
                               {"sem_release: units", Needed::on_aarch64}};

// A plain wait in a context. Words: 0 the goroutine's status (1: waits), 1 cancelled, 2 the source's lock, 3 the queue's.
constexpr Op kCommitHeeding[] = {lock(3), store(0, 1), fence("commit_unlock_heeding: fence"),
                                 load(1, 0, kFull), unlock(3)};
constexpr Op kCancelPlain[] = {exchange(1, 1, kFull, "cancel_fire: exchange"), lock(2),
                               load(0, 1, os::memory_order_acquire), unlock(2)};
constexpr Site kHeedingSites[] = {{"commit_unlock_heeding: fence", Needed::everywhere},
                                  {"cancel_fire: exchange", Needed::on_aarch64}};

// Words: 0 the wait (1: open), 1 cancelled, 2 the source's lock.
constexpr Op kOpenWait[] = {store(0, 1, kFull, "wait_open: word"), load(1, 0, kFull)};
constexpr Op kCancel[] = {exchange(1, 1, kFull, "cancel_fire: exchange"), lock(2),
                          load(0, 1, kFull), unlock(2)};
constexpr Site kWaitSites[] = {{"wait_open: word", Needed::everywhere},
                               {"cancel_fire: exchange", Needed::on_aarch64}};

// ---- the poller's bell (net/poller.cc) -----------------------------------------------------------------------

// Words: 0 what the watcher looks at, 1 rung (1: from an earlier ring).
constexpr Op kNetBreak[] = {store(0, 1, kFull), exchange(1, 1, kFull, "net_break: exchange")};
constexpr Op kUnring[] = {store(1, 0, kFull, "unring: rung"), load(0, 1, kFull)};
constexpr Site kBellSites[] = {{"unring: rung", Needed::everywhere}};

constexpr bool neither(const Outcome& o) { return o.reg[0] == 0 && o.reg[1] == 0; }

constexpr Litmus kAll[] = {
    {"wake_p, idle",
     "work is queued; a P goes idle",
     {},
     {kQueue, kGoIdle},
     neither,
     "it sees no idle P, and the idle M no work",
     kIdleSites},
    {"wake_p, last spinner",
     "work is queued; the last M that spins stops that",
     {0, 1},
     {kQueue, kStopSpinning},
     [](const Outcome& o) { return o.reg[0] == 1 && o.reg[1] == 0; },
     "it relies on an M that has looked already",
     kSpinnerSites},
    {"wake_p, spinner",
     "work is queued; an M begins to spin",
     {0, 1},
     {kQueue, kBeginSpinning},
     [](const Outcome& o) { return o.reg[0] == 1 && o.reg[1] == 0; },
     "it relies on the next to look, who looks too early",
     kSpinningSites},
    {"wake_p, searcher",
     "work is queued; wake_p hands a P to an M that will look",
     {0, 1},
     {kQueue, kWakeSearcher, kSearcher},
     [](const Outcome& o) { return o.reg[0] == 1 && o.reg[2] == 1 && o.reg[1] == 0; },
     "it relies on the next to look, who looks too early",
     kWakeFence},
    {"wake_p_if_idle, idle",
     "work is queued, without wake_p's fence; a P goes idle",
     {},
     {kQueueFast, kGoIdleFast},
     [](const Outcome& o) { return o.reg[0] == 0 && (o.reg[1] == 0 || o.reg[2] == 0); },
     "it sees no idle P, and the idle M is not told to look, or sees no work",
     kFastSites},
    {"leave_spinning, idle",
     "an M leaves the search to the next idle P; a P goes idle",
     {1},
     {kLeaveSpinning, kGoIdleNeeded},
     neither,
     "no P was idle, and the one that idles does not know",
     kLeaveSites},
    {"pidle_get, sysmon",
     "the first P leaves idleness; sysmon sleeps deeply",
     {2, 0},
     {kLeaveIdle, kDeepSleep},
     [](const Outcome& o) { return o.reg[0] == 0 && o.reg[1] == 2; },
     "sysmon sleeps, and is not rung",
     kSysmonSites},
    {"let_p_go, sysmon",
     "a P is let go for a call; sysmon sleeps deeply",
     {1, 0},
     {kLetGo, kDeepSleepCalls},
     [](const Outcome& o) { return o.reg[0] == 0 && o.reg[1] == 1; },
     "sysmon sleeps, and is not rung",
     kLetGoSites},
    {"ring, clear",
     "something is asked of sysmon, which clears its note and looks",
     {0, 1},
     {kRing, kClearLook},
     [](const Outcome& o) { return o.word[1] == 0 && o.reg[1] == 0; },
     "the ring is lost",
     kClearSites},
    {"ring, clear, take",
     "a flag is raised for the template thread, which takes it by an exchange",
     {0, 1},
     {kRing, kClearTake},
     [](const Outcome& o) { return o.word[1] == 0 && o.reg[1] == 0; },
     "the ring is lost",
     kTemplateSites},
    {"ring, clear, lock",
     "something is asked of the template thread, under sched.lock",
     {0, 1},
     {kRingLocked, kClearLookLocked},
     [](const Outcome& o) { return o.word[1] == 0 && o.reg[1] == 0; },
     "the ring is lost",
     kLockedSites},
    {"stopped, awaited",
     "a P stops; the initiator goes to sleep for it",
     {},
     {kTellStopped, kAwait},
     neither,
     "it sleeps until it asks again, though everybody has stopped",
     kAwaitSites},
    {"stopped, awaited again",
     "a P stops while the initiator wakes and sleeps once more",
     {0, 1},
     {kTellAgain, kAwaitAgain},
     [](const Outcome& o) { return o.reg[1] == 0 && o.word[2] == 0 && o.reg[0] != 0; },
     "the ring is lost",
     kAwaitAgainSites},
    {"let_p_go, stop",
     "a P is let go for a call; a stop begins",
     {},
     {kLetGoStop, kBeginStop},
     neither,
     "neither stops the P",
     kBeginSites},
    {"stopped late, restart",
     "a P stops; the stop ends",
     {0, 1},
     {kStopLate, kRestart},
     [](const Outcome& o) { return o.reg[0] == 1 && o.reg[1] == 0; },
     "the P stays stopped",
     kLateSites},
    {"proc_resize, all Ps",
     "a P is made; somebody looks at each",
     {},
     {kGrow, kLookAtAll},
     [](const Outcome& o) { return o.reg[0] == 1 && o.reg[1] == 0; },
     "it follows a null pointer",
     kGrowSites},
    {"retire, asleep",
     "a stopped P's status changes; its M goes to sleep on it",
     {1},
     {kChangeStatus, kSleepStopped},
     [](const Outcome& o) { return o.reg[0] == 0 && o.reg[1] == 1 && o.reg[2] == 1; },
     "the M is not woken",
     kAsleepSites},
    {"safe point, awaited",
     "a P has run the safe-point function; the initiator sleeps for it",
     {2},
     {kServed, kAwaitServed},
     [](const Outcome& o) { return o.reg[0] == 0 && o.reg[1] == 2; },
     "it sleeps until it asks again",
     kServedSites},
    {"arm, watch",
     "an earlier timer is set; the watcher goes to sleep",
     {},
     {kArm, kWatch},
     neither,
     "it sleeps for too long",
     kWatchSites},
    {"arm, idle",
     "an earlier timer is set that nobody watches; a P becomes idle",
     {},
     {kArmUnwatched, kIdleUnwatched},
     neither,
     "nobody watches it until sysmon looks",
     kUnwatchedSites},
    {"set_earlier, watch",
     "a timer is found uncovered; the watcher goes to sleep",
     {},
     {kArmPlain, kWatch},
     neither,
     "it sleeps for too long",
     kPlainSites},
    {"arm, watcher leaves",
     "a timer is set; the watcher leaves its post and looks once more",
     {},
     {kArmLeaving, kLeave},
     neither,
     "nobody watches",
     kLeaveWatchSites},
    {"arm in place, move",
     "a timer is set earlier; its heap moves it to its old time",
     {},
     {kArmInPlace, kMoveBack},
     neither,
     "the timer is late",
     kMoveSites},
    {"first heap, resize",
     "a foreign thread gives the first P a heap; another one becomes the first",
     {},
     {kRetireFirst, kHeapOfFirst},
     neither,
     "a timer in the heap of a P that has gone",
     kFirstSites},
    {"done, leave",
     "the last done of a counter; a wait that runs out of time",
     {},
     {kLastDone, kLeaveCounter},
     [](const Outcome& o) { return o.reg[0] == 1 && o.reg[1] == 0; },
     "what was done is not seen",
     kCounterSites},
    {"acquire, release",
     "a semaphore: A1, A2; R1, R2",
     {},
     {kAcquire, kReleaseUnit},
     neither,
     "a waiter beside a unit",
     kSemaSites},
    {"wait, cancel",
     "a wait is opened: W2, W3; cancelled: C1, C2",
     {},
     {kOpenWait, kCancel},
     neither,
     "the wait is not ended",
     kWaitSites},
    {"park, cancel",
     "a goroutine waits plainly; its context is cancelled",
     {},
     {kCommitHeeding, kCancelPlain},
     neither,
     "the wait is not ended",
     kHeedingSites},
    {"net_break, unring",
     "the watcher's sleep is broken; it takes back an earlier ring",
     {0, 1},
     {kNetBreak, kUnring},
     [](const Outcome& o) { return o.word[1] == 0 && o.reg[1] == 0; },
     "the ring is lost",
     kBellSites},
};

}  // namespace

std::span<const Litmus> all() noexcept { return kAll; }

}  // namespace gort::inline v0::rt::litmus
