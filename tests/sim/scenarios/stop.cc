// Stopping the world as it ships: stop_the_world and its restart, gomaxprocs, for_each_p and captives, against goroutines
// that compute, yield, block, spawn and are locked to their threads, and against each other. User code is a loop of
// scheduling points; SIGURG arrives at any of them, and in the runtime at any step.
//
// What would show: a P that does not stop is a livelock (the initiator looks again and again); one that runs on is an
// assertion in the user code; one that is lost, a missing one at the end; a goroutine left asleep, a deadlock.
#include "tests/sim/scenario.h"
#include "tests/sim/stop_bodies.h"

namespace gort::inline v0::rt {

namespace {

constexpr SimOptions kStop = {.pct_depth = 5, .pct_steps = 6000, .max_steps = 400'000, .step_ns = 200};
constexpr SimOptions kStopShort = {.pct_depth = 5, .pct_steps = 6000, .max_steps = 100'000, .step_ns = 200};
/// 2 us per step: a slice is 5000 steps.
constexpr SimOptions kSlices = {.pct_depth = 5, .pct_steps = 6000, .max_steps = 1'000'000, .step_ns = 2000};
/// Slices of many, one after the other.
constexpr SimOptions kLong = {.pct_depth = 5, .pct_steps = 6000, .max_steps = 3'000'000, .step_ns = 2000};
/// Time does not leap: what is waited for is a share of it.
constexpr SimOptions kEven = {
    .pct_depth = 5, .pct_steps = 6000, .max_steps = 400'000, .step_ns = 200, .late_permille = 0};

void rather_short_runs(SimOptions& o) { o.max_steps = 300'000; }
/// Where the rare one has been found each time.
void two_with_buffers(SimOptions& o) {
  o.cpus = 2;
  o.store_buffers = true;
}

// ---- the casts ---------------------------------------------------------------------------------------

constexpr Cast kIdle = {.stoppers = 1};
constexpr Cast kHogs = {.hogs = 2, .stoppers = 1};
constexpr Cast kYielding = {.yielders = 3, .stoppers = 1};
constexpr Cast kBlocking = {.blockers = 3, .stoppers = 1};
constexpr Cast kSpawning = {.spawners = 2, .stoppers = 1};
constexpr Cast kPairs = {.pairs = 2, .stoppers = 1};
constexpr Cast kLocked = {.pairs = 1, .locked = 2, .stoppers = 1};
constexpr Cast kForeign = {.hogs = 1, .yielders = 1, .blockers = 1, .foreign = 2};
constexpr Cast kEverybody = {.hogs = 1, .yielders = 1, .stoppers = 2, .foreign = 1};
constexpr Cast kEverything = {
    .hogs = 1, .yielders = 1, .blockers = 1, .spawners = 1, .pairs = 1, .stoppers = 1, .foreign = 1};
constexpr Cast kResize = {.hogs = 1, .yielders = 1, .resizers = 1};
constexpr Cast kResizeBlocked = {.blockers = 2, .pairs = 1, .resizers = 1};
constexpr Cast kResizeLocked = {.locked = 2, .resizers = 1};
constexpr Cast kResizeStops = {.hogs = 1, .blockers = 1, .stoppers = 1, .foreign = 1, .resizers = 1};
constexpr Cast kAsk = {.askers = 1};
constexpr Cast kAskBusy = {.hogs = 1, .yielders = 1, .blockers = 1, .askers = 1};
constexpr Cast kAskPairs = {.pairs = 1, .locked = 1, .askers = 1};
constexpr Cast kAskAll = {.hogs = 1, .blockers = 1, .stoppers = 1, .resizers = 1, .askers = 2};
constexpr Cast kCaptives = {.takers = 3};
constexpr Cast kCaptivesStops = {.yielders = 1, .takers = 2, .stoppers = 1, .foreign = 1};
constexpr Cast kCaptivesResize = {.blockers = 1, .takers = 2, .resizers = 1, .askers = 1};
constexpr Cast kCaptivesFew = {.takers = 3, .few_threads = true};
constexpr Cast kTakesInside = {.takers = 3, .takes_inside = true};
constexpr Cast kUsersOfP = {.users_of_p = 3};
constexpr Cast kUsersOfPOutside = {.users_of_p = 3, .uses_outside = true};
constexpr Cast kAtCalls = {.yielders = 1, .blockers = 1, .pairs = 1, .users = 2};
constexpr Cast kAtCallsAlone = {.users = 2};
constexpr Cast kAtCallsStops = {.blockers = 2, .stoppers = 1, .foreign = 1, .users = 2, .rounds = 6};
constexpr Cast kAtCallsCaptives = {.yielders = 1, .takers = 2, .hold = 1000, .foreign = 1, .users = 1};
constexpr Cast kQueue = {.greedy = 1, .modest = 1};
constexpr Cast kScanned = {.stoppers = 1, .scanners = 1};
constexpr Cast kProgress = {.hogs = 1, .stoppers = 1, .rounds = 20, .must_run = true};
constexpr Cast kProgress3 = {.hogs = 3, .stoppers = 1, .rounds = 20, .must_run = true};
constexpr Cast kResend = {.hogs = 2, .stoppers = 2, .rounds = 10};
constexpr Cast kDrain = {.pairs = 1, .foreign = 1};
constexpr Cast kNoClaims = {.hogs = 1, .stoppers = 1, .no_claims = true};
constexpr Cast kTemplate = {.foreign = 1, .lockers = 2};
constexpr Cast kTemplateSlow = {.foreign = 1, .lockers = 3, .lingering = true};
constexpr Cast kSpawningSlow = {.spawners = 2, .foreign = 1, .lingering = true};
constexpr Cast kEnders = {.stoppers = 1, .enders = 1};
constexpr Cast kEndersResize = {.yielders = 1, .resizers = 1, .enders = 1};
constexpr Cast kCollect = {.yielders = 1, .resizers = 1, .collectors = 1};
constexpr Cast kHolders = {.hogs = 1, .yielders = 1, .blockers = 1, .stoppers = 1, .holders = 2};
constexpr Cast kHeldQueue = {.hogs = 2, .yielders = 1, .blockers = 1, .holders = 2};
constexpr Cast kHeldAlone = {.yielders = 1, .holders = 1};
constexpr Cast kResizeRace = {.resizers = 2};

// ---- with a measure switched off -------------------------------------------------------------------

constexpr Flaw kS0[] = {{.name = "s0",
                         .what = "worldsema is released without handoff",
                         .verdict = SimVerdict::assert,
                         .fault = Fault::s0,
                         .seeds = 1000}};
constexpr Flaw kS1[] = {{.name = "s1",
                         .what = "who stops the world is not stoppable itself",
                         .verdict = SimVerdict::livelock,
                         .fault = Fault::s1,
                         .seeds = 1000}};
// Asked before it has had its least run, or while it was in a call, from which it came back with the P by another way.
constexpr Flaw kNoResend[] = {{.name = "resend",
                               .what = "a stop asks once and does not repeat",
                               .verdict = SimVerdict::livelock,
                               .fault = Fault::resend}};
constexpr Flaw kIdleDrain[] = {{.name = "idle_drain",
                                .what = "Ps go idle during a stop without being counted",
                                .verdict = SimVerdict::livelock,
                                .fault = Fault::idle_drain}};
// Random schedules do not keep a thread from running for three stops; those of PCT do.
constexpr Flaw kNoProgress[] = {{.name = "progress",
                                 .what = "L3: a sleeper may be claimed by one stop after the other",
                                 .verdict = SimVerdict::assert,
                                 .fault = Fault::progress,
                                 .seeds = 1000,
                                 .uniform = false}};
// The other way round: a stop does take a P back from a thread that has not woken. A body that forbids it fails.
constexpr Flaw kClaims[] = {{.name = "claims",
                             .what = "no mistake: the body denies that a P is ever taken from a thread that sleeps",
                             .verdict = SimVerdict::assert,
                             .body = play,
                             .arg = &kNoClaims,
                             .seeds = 500,
                             .uniform = false},
                            {.name = "handed",
                             .what = "a stop waits for threads that were handed a P: late, and nothing worse",
                             .verdict = SimVerdict::ok,
                             .fault = Fault::handed,
                             .body = play,
                             .arg = &kNoClaims,
                             .seeds = 200}};
// One holds the lock and has no P, one waits for the lock and has it, one is queued and finds no thread.
constexpr Flaw kNoCaptives[] = {{.name = "captives",
                                 .what = "L2: a slice ends only if an idle thread exists",
                                 .verdict = SimVerdict::livelock,
                                 .fault = Fault::captives,
                                 .seeds = 20,
                                 .tune = rather_short_runs}};

// With one P the holder is a captive, and who waits for it cannot be taken off the P.
constexpr Flaw kWaitsInside[] = {{.name = "l1",
                                  .what = "L1: who has a P waits in the runtime for a lock that user code holds",
                                  .verdict = SimVerdict::livelock,
                                  .body = play,
                                  .arg = &kTakesInside,
                                  .seeds = 20,
                                  .tune = rather_short_runs}};
constexpr Flaw kUsesOutside[] = {{.name = "l4",
                                  .what = "L4: what belongs to a P is used where the goroutine can lose it",
                                  .verdict = SimVerdict::assert,
                                  .body = play,
                                  .arg = &kUsersOfPOutside,
                                  .seeds = 200}};

constexpr Flaw kS2[] = {{.name = "s2",
                         .what = "start_m can be stopped between taking a P and handing it over",
                         .verdict = SimVerdict::livelock,
                         .fault = Fault::s2,
                         .body = play,
                         .arg = &kSpawningSlow,
                         .tune = rather_short_runs}};
constexpr Flaw kS3[] = {{.name = "s3",
                         .what = "requests for threads carry a P, and nobody is there yet to serve them",
                         .verdict = SimVerdict::livelock,
                         .fault = Fault::s3,
                         .body = play,
                         .arg = &kTemplateSlow,
                         .uniform = false,
                         .tune = rather_short_runs}};
constexpr Flaw kS4[] = {{.name = "s4",
                         .what = "worldsema is taken on the M's own stack: the M sleeps with its P",
                         .verdict = SimVerdict::livelock,
                         .fault = Fault::s4,
                         .tune = rather_short_runs}};
constexpr Flaw kGcOrder[] = {{.name = "gc_order",
                              .what = "gcsema after worldsema",
                              .verdict = SimVerdict::livelock,
                              .fault = Fault::gc_order,
                              .tune = rather_short_runs}};

constexpr Flaw kHoldQueue[] = {{.name = "hold_queue",
                                .what = "a goroutine that is held in place keeps those who queue on its P",
                                .verdict = SimVerdict::livelock,
                                .fault = Fault::hold_queue,
                                .seeds = 10000,
                                .pct = false,
                                .tune = two_with_buffers,
                                .first = 800}};
constexpr Flaw kHoldRunnable[] = {{.name = "hold_runnable",
                                   .what = "a goroutine that is runnable whenever it is looked at is never held",
                                   .verdict = SimVerdict::livelock,
                                   .fault = Fault::hold_runnable,
                                   .seeds = 100,
                                   .tune = rather_short_runs}};

#define CAST(c) .body = play, .arg = &c, .small_step_ns = 10'000

constexpr os::SimBound kDelay(1, os::SimBound::delays);  // departures: too many

constexpr Scenario kAll[] = {
    {.name = "stop_idle", .what = "a stop of an idle world", CAST(kIdle), .options = kStop, .procs = {1, 2, 3, 4},
     .flaws = kClaims},
    {.name = "stop_hogs", .what = "against loops without calls", CAST(kHogs), .options = kStop, .procs = {1, 2, 3, 4}, .bound = kDelay},
    {.name = "stop_yield", .what = "against goroutines that yield", CAST(kYielding), .options = kStop,
     .procs = {1, 2, 3, 4}},
    {.name = "stop_blocking", .what = "against blocking calls", CAST(kBlocking), .options = kStop,
     .procs = {1, 2, 3, 4}, .bound = kDelay},
    {.name = "stop_spawn", .what = "against goroutines that make others", CAST(kSpawning), .options = kStop,
     .procs = {3, 1, 2, 4}, .bound = kDelay, .flaws = kS2},
    {.name = "stop_pairs", .what = "against park, ready, start_m and wake_p", CAST(kPairs), .options = kStop,
     .procs = {1, 2, 3, 4}, .bound = kDelay},
    {.name = "stop_template", .what = "lock_os_thread and orders for threads against stops", CAST(kTemplate),
     .options = kStop, .procs = {3, 2, 4, 1}, .flaws = kS3},
    {.name = "stop_thread_ends", .what = "threads that end with their goroutines against stops", CAST(kEnders),
     .options = kStop, .procs = {1, 2, 3, 4}},
    {.name = "stop_held", .what = "goroutines are held still beside stops", CAST(kHolders), .options = kSlices,
     .procs = {1, 2, 3, 4}, .seeds = 100, .bound = kDelay},
    {.name = "held_queue", .what = "loops are held still, by those who queue behind them", CAST(kHeldQueue),
     .options = kLong, .procs = {2, 3}, .seeds = 60, .bound = kDelay, .flaws = kHoldQueue},
    // Found by stop_held, seed 2: who only yields to the requester was never held.
    {.name = "held_alone", .what = "with one P, a goroutine that yields again and again is held still", CAST(kHeldAlone),
     .options = kStopShort, .procs = {1}, .seeds = 100, .flaws = kHoldRunnable},
    {.name = "stop_locked", .what = "against goroutines that are locked to their threads", CAST(kLocked),
     .options = kStop, .procs = {1, 2, 3, 4}},
    {.name = "stop_foreign", .what = "two foreign threads stop the world", CAST(kForeign), .options = kStop,
     .procs = {1, 2, 3, 4}},
    {.name = "stop_everybody", .what = "goroutines and a thread stop the world", CAST(kEverybody), .options = kStop,
     .procs = {1, 2, 3, 4}},
    {.name = "stop_everything", .what = "stops against one of each kind", CAST(kEverything), .options = kStop,
     .procs = {1, 2, 3, 4}, .bound = kDelay},
    {.name = "stop_queue", .what = "who queues for worldsema is served next", CAST(kQueue), .options = kStopShort,
     .procs = {2, 1, 3, 4}, .bound = kDelay, .flaws = kS0},
    {.name = "stop_scan", .what = "who stops the world can be stopped itself", CAST(kScanned), .options = kStopShort,
     .procs = {2}, .flaws = kS1},
    {.name = "stop_resend", .what = "two stop the world against loops", CAST(kResend), .options = kStop, .procs = {3},
     .seeds = 100, .bound = kDelay, .flaws = kNoResend},
    {.name = "stop_drain", .what = "Ps go idle in the middle of a stop", CAST(kDrain), .options = kStopShort,
     .procs = {3}, .flaws = kIdleDrain},
    // Not on a slower machine: who stands still for a slice may be claimed again.
    {.name = "stop_progress", .what = "L3: a loop gets on between stops", .body = play, .arg = &kProgress, .options = kEven,
     .procs = {2}, .seeds = 100, .flaws = kNoProgress},
    {.name = "stop_progress3", .what = "L3: three loops get on between stops", .body = play, .arg = &kProgress3, .options = kEven,
     .procs = {4}, .seeds = 60, .bound = kDelay},
    {.name = "procs", .what = "gomaxprocs against loops and yields", CAST(kResize), .options = kStop,
     .procs = {1, 2, 3, 4}},
    {.name = "procs_blocking", .what = "gomaxprocs against blocking calls", CAST(kResizeBlocked), .options = kStop,
     .procs = {1, 2, 3, 4}, .bound = kDelay},
    {.name = "procs_locked", .what = "gomaxprocs against locked goroutines", CAST(kResizeLocked), .options = kStop,
     .procs = {1, 2, 3, 4}, .bound = kDelay},
    {.name = "procs_thread_ends", .what = "gomaxprocs against threads that end", CAST(kEndersResize),
     .options = kStop, .procs = {1, 2, 3, 4}},
    {.name = "procs_race", .what = "two call gomaxprocs", CAST(kResizeRace), .options = kStop,
     .procs = {2, 3, 1, 4}},
    {.name = "procs_collector", .what = "gcsema: gomaxprocs against a mark phase", CAST(kCollect), .options = kStop,
     .procs = {2, 3, 1, 4}, .bound = kDelay, .flaws = kGcOrder},
    {.name = "procs_stops", .what = "gomaxprocs against stops", CAST(kResizeStops), .options = kStop,
     .procs = {1, 2, 3, 4}, .bound = kDelay, .flaws = kS4},
    {.name = "for_each_p", .what = "a function for every P of an idle world", CAST(kAsk), .options = kStop,
     .procs = {1, 2, 3, 4}},
    {.name = "for_each_p_busy", .what = "a function for every P, which run", CAST(kAskBusy), .options = kStop,
     .procs = {1, 2, 3, 4}, .bound = kDelay},
    {.name = "for_each_p_pairs", .what = "a function for every P, beside park and ready", CAST(kAskPairs),
     .options = kStop, .procs = {1, 2, 3, 4}, .bound = kDelay},
    {.name = "for_each_p_all", .what = "for_each_p, stops and gomaxprocs at once", CAST(kAskAll), .options = kStop,
     .procs = {1, 2, 3, 4}, .bound = kDelay},
    {.name = "captives", .what = "captives share Ps; one holds a lock", CAST(kCaptives), .options = kSlices,
     .procs = {1, 2}, .seeds = 40, .flaws = kWaitsInside},
    {.name = "captives_l4", .what = "L4: captives and what belongs to a P", CAST(kUsersOfP), .options = kSlices,
     .procs = {1, 2}, .seeds = 40, .flaws = kUsesOutside},
    {.name = "captives_stops", .what = "captives beside stops", CAST(kCaptivesStops), .options = kSlices,
     .procs = {1, 2, 3}, .seeds = 60, .bound = kDelay},
    {.name = "captives_procs", .what = "captives beside gomaxprocs and for_each_p", CAST(kCaptivesResize),
     .options = kSlices, .procs = {1, 2, 3}, .seeds = 60, .bound = kDelay},
    {.name = "captives_few", .what = "L2: captives without a spare thread", CAST(kCaptivesFew), .options = kSlices,
     .procs = {1, 2}, .seeds = 40, .flaws = kNoCaptives},
    {.name = "at_calls", .what = "gort::stop_world with deadlines", CAST(kAtCalls), .options = kStop,
     .procs = {1, 2, 3, 4}, .bound = kDelay},
    {.name = "at_calls_alone", .what = "two call gort::stop_world", CAST(kAtCallsAlone), .options = kStop,
     .procs = {1, 2, 3, 4}},
    {.name = "at_calls_stops", .what = "gort::stop_world beside stops", CAST(kAtCallsStops), .options = kStop,
     .procs = {1, 2, 3, 4}, .bound = kDelay},
    {.name = "at_calls_captives", .what = "gort::stop_world beside captives", CAST(kAtCallsCaptives),
     .options = kSlices, .procs = {1, 2, 3}, .seeds = 60, .bound = kDelay},
};

}  // namespace

extern const std::span<const Scenario> stop_scenarios;
const std::span<const Scenario> stop_scenarios = kAll;

}  // namespace gort::inline v0::rt
