// gort simulator: the driver's side. Runs code of the core, unchanged, on simulated threads.
//
// One real thread runs everything. A simulated thread is a stack; every operation on an os::atomic
// and every call of os.h is a *step*, and before each step a strategy, fed by the seed, decides
// which thread makes the next one. Time is virtual: it moves by a little with each step, and when
// nobody can run it jumps to the earliest timeout. So a run is a function of (program, options):
// the same seed gives the same history, byte for byte, and a failing seed is a reproducible
// failure.
//
//   static void body(void*) { ... os::thread_create(...); ... sim_assert(n == 2, "both counted"); }
//   SimResult r = sim_explore({.strategy = SimStrategy::pct}, 2000, body, nullptr);
//   ASSERT_EQ(r.verdict, SimVerdict::ok) << r.history;
//
// What the verdicts promise:
//   ok        the schedule ended: the body returned, or somebody called exit_process(0)
//   deadlock  nobody can run and no timeout is pending. Spurious wake-ups do not count as a way out
//   livelock  max_steps steps without an end, or cpu_seconds without reaching a scheduling point
//   crash     exit_process(not 0), abort_process, a failed CHECK, a fault, a broken rule of os.h
//   assert    sim_assert or sim_fail
//
// What is not promised: the machine is sequentially consistent, or, with store_buffers, of total store
// order, as x86-64 is: a store that is not seq_cst may become visible later than its thread's next
// loads. Nothing weaker is ever seen. Plain (not atomic) accesses are not steps, so a data race shows
// only if an os::atomic or sim_point() lies inside the racing section.
//
// Isolation. Each run is a forked child by default, so that the core's static state is fresh, a
// fault in the code under test becomes a verdict, and nothing has to be reset by hand. The price is
// the fork (some hundred microseconds), and that the body's writes to memory are gone when sim_run
// returns: let it speak through sim_assert and sim_note; a failing EXPECT in it is printed but not
// counted. A body that leaves no static state behind may run with isolate = false, many times
// faster; a fault in it ends the program then. The rejected alternative, restoring .data and .bss
// from a copy, would also turn back the test program's own state, and breaks when static state
// points into malloc's heap.
//
// Replay in another process needs the same addresses wherever code decides by address: stacks and
// mappings are at fixed ones, static objects are if the program is linked without PIE.
//
// Threads: none of this may be called while another real thread of the process runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "os/atomic.h"
#include "os/sim/costs.h"

namespace gort::inline v0::os {

enum class SimStrategy : std::uint8_t {
  /// Before each step, any thread that can run, with equal chances.
  uniform,
  /// Probabilistic concurrency testing (Burckhardt et al. 2010): threads have random priorities, the
  /// highest runs, and at pct_depth - 1 random steps the running one falls to the bottom. Finds
  /// orderings that need one thread to stand still for long; uniform rarely does.
  pct,
  /// SimOptions::script, and where that says nothing: the current thread goes on; one that only
  /// waits gives way to the one that has waited longest. No dice.
  script,
  /// For sim_enumerate alone.
  exhaustive,
};

/// What a run decides, apart from the program itself. Each decision belongs to a thread and is counted by it, so
/// that it means the same when other threads' decisions are left out of a script.
enum class SimChoice : std::uint8_t {
  step,      ///< another thread than the current one goes on; value: which
  block,     ///< who goes on when the current thread cannot; value: which
  late,      ///< time jumps to the next timeout
  spurious,  ///< a futex sleep ends by itself; value: after so many ns
  wake,      ///< which sleeper is woken; value: which
  refuse,    ///< a thread cannot be created
  delay,     ///< a store waits in its buffer; value: for so many steps
};
struct SimDecision {
  std::uint32_t at = 0;      ///< the thread's how-manieth decision
  std::uint16_t thread = 0;  ///< whose
  SimChoice what = SimChoice::step;
  std::uint64_t value = 0;
};

/// A name and a value: an environment variable, or a file's path and contents.
struct SimText {
  const char* name;
  const char* value;
};

struct SimOptions {
  std::uint64_t seed = 1;
  SimStrategy strategy = SimStrategy::uniform;
  int pct_depth = 3;                  ///< number of ordering constraints of the bugs looked for
  std::uint64_t pct_steps = 1000;     ///< about how long a run is (SimResult::steps tells)
  std::uint64_t max_steps = 200'000;  ///< more is a livelock

  int cpus = 2;                         ///< os::cpu_count()
  std::int64_t cgroup_limit_milli = 0;  ///< os::cgroup_cpu_limit_milli()
  std::span<const SimText> environment{};
  std::span<const SimText> files{};  ///< os::read_file()

  std::int64_t start_ns = 1'000'000'000;
  std::int64_t step_ns = 20;        ///< virtual time of a step
  unsigned spurious_permille = 10;  ///< futex sleeps that end by themselves after a while
  unsigned late_permille = 1;  ///< steps before which time jumps to the next timeout: a machine
                               ///< on which the running thread lost the processor for that long
  unsigned thread_fail_permille = 0;  ///< thread_create calls that fail with EAGAIN
  int max_threads = 4096;             ///< thread_create fails beyond so many live ones

  /// Stores may wait in their threads' buffers (total store order); each run draws how many and how long.
  bool store_buffers = false;
  /// `function` or `function:line`: its seq_cst stores and fences are not full ones. Null: none.
  const char* weaken = nullptr;

  /// Steps cost what they would cost, and threads run at the same time (costs.h): a forecast, no search. No dice.
  const SimCosts* costs = nullptr;

  std::span<const SimDecision> script{};  ///< SimStrategy::script; each thread's in the order of `at`
  bool record = false;                    ///< fill SimResult::decisions
  bool note_words = false;                ///< sim_enumerate's own
  bool small = false;                     ///< sim_small()

  int cpu_seconds = 30;                ///< isolated runs: CPU time without an end
  bool isolate = true;                 ///< see above
  bool keep_history = false;           ///< history text of good runs too
  std::size_t history_steps = 16'384;  ///< the last so many steps are kept; at most 65,536
};

enum class SimVerdict : std::uint8_t { ok, deadlock, livelock, crash, assert };

const char* sim_verdict_name(SimVerdict v) noexcept;

/// The texts stay valid until the next run in this process.
struct SimResult {
  SimVerdict verdict = SimVerdict::ok;
  std::uint64_t seed = 0;
  std::uint64_t runs = 0;  ///< sim_explore: schedules tried
  std::uint64_t steps = 0;
  std::uint64_t digest = 0;     ///< hash over every step; equal digests mean equal histories
  std::int64_t virtual_ns = 0;  ///< virtual time from start to end
  int threads = 0;              ///< simulated threads that ever existed
  int exit_code = 0;            ///< if exit_process ended the run
  std::string_view message;  ///< what went wrong; of a crash also what was written to descriptor 2
  std::string_view history;  ///< one line per step, then each thread's last state
  std::string_view table;    ///< of a failed run: what matters of it, one column per thread
  const SimReport* report = nullptr;       ///< of a run with costs
  std::span<const SimDecision> decisions;  ///< where the run left the path of an empty script
};

/// One schedule. `body(arg)` is simulated thread 0; the run ends when it returns.
SimResult sim_run(const SimOptions& options, void (*body)(void*), void* arg) noexcept;

/// `runs` schedules with the seeds options.seed, options.seed + 1, ... The result is the first that
/// is not ok, or the last. Two variables of the real environment: GORT_SIM_SEED=n tries that seed
/// alone (replay), GORT_SIM_RUNS=n tries n schedules from options.seed on (soak).
SimResult sim_explore(const SimOptions& options, std::uint64_t runs, void (*body)(void*),
                      void* arg) noexcept;

/// What sim_enumerate has done.
struct SimEnumeration {
  SimResult result;             ///< the first run that is not ok, else the last
  std::uint64_t schedules = 0;  ///< runs
  int threads = 0;              ///< at most so many in a run
  std::uint64_t pruned = 0;     ///< of which ended early: another schedule has the same effect
  bool complete = false;        ///< all of them
};
inline constexpr int kSimAll = -1;

/// What an enumeration tries.
struct SimBound {
  enum Kind : std::uint8_t {
    preemptions,
    /// Each departure from the default path counts, also where a thread blocks, and which sleeper is woken: for programs
    /// too long for preemptions alone, where each of many blocked threads multiplies the number of schedules.
    departures,
    /// Likewise, but a departure goes to one thread only, the longest waiting (delay-bounded scheduling; Emmi, Qadeer,
    /// Rakamaric 2011).
    delays,
  };
  int most = 0;  ///< of them; or kSimAll
  Kind kind = preemptions;
  constexpr SimBound(int n, Kind k = preemptions) noexcept : most(n), kind(k) {}  // NOLINT: as a number of preemptions
};

/// Every schedule within the bound: with at most so many preemptions (a switch away from a thread that could go on,
/// another thread than the longest waiting one when the current one yields, or a store that is delayed), departures
/// or delays, or, with kSimAll, one of each class of schedules that differ in the order of independent operations only (sleep sets,
/// Godefroid 1996).
/// Whom a departure has held up goes on at the first yield to it, or stands still for 64 of them; that choice costs nothing.
/// No dice: nothing is late, spurious or refused. The bound grows step by step (Musuvathi and Qadeer 2007), so what
/// is found first has few. At most 31 threads. Ends early after max_schedules, or when `go_on` says so.
/// A switch before a step that no other thread can notice counts as the one before the next step that somebody can.
/// That takes plain data to be accessed after a sim_point or under a lock, and reads of clocks to commute.
SimEnumeration sim_enumerate(const SimOptions& options, SimBound bound, std::uint64_t max_schedules,
                             void (*body)(void*), void* arg,
                             bool (*go_on)(std::uint64_t schedules, void*) = nullptr,
                             void* go_on_arg = nullptr) noexcept;

/// Leaves out of a failed run's script what it fails without, by halves (delta debugging, Zeller and Hildebrandt 2002).
/// `failed` was made with options.record. The result is a failure with the same verdict and message and has `table` and
/// `decisions`, the shortest that max_runs tries have found.
SimResult sim_shorten(const SimOptions& options, const SimResult& failed, std::uint64_t max_runs,
                      void (*body)(void*), void* arg) noexcept;

/// Functions whose seq_cst stores and fences the runs of this process have met, as SimOptions::weaken has them.
struct SimFence {
  char site[96];
  SimOp op;
};
std::span<const SimFence> sim_fences_met() noexcept;

// ---- for bodies, on a simulated thread ------------------------------------------------------

/// Puts a line into the history. `text` must live as long as the process (a literal). Not a step.
void sim_note(const char* text, std::uint64_t value = 0) noexcept;

/// Ends the run with the verdict `assert` if `condition` does not hold. `text` as for sim_note.
void sim_assert(bool condition, const char* text) noexcept;
[[noreturn]] void sim_fail(const char* text) noexcept;

/// Names [addr, addr + bytes) in the history; of several names the last counts. `name` is copied, 23 characters of
/// it. `values`: names of the word's values, from 0 on, which live as long as the process. At most 512 names in a run.
void sim_label(const void* addr, std::size_t bytes, const char* name,
               std::span<const char* const> values = {}) noexcept;

/// User code that computes for so long, in pieces of a microsecond; without costs one scheduling point.
void sim_work(std::int64_t ns) noexcept;

/// Called when the run has failed, or is to be printed: for names that only the end knows. Nothing that it reads is
/// a step.
void sim_on_end(void (*name_things)()) noexcept;

/// Runs look(arg) as one instant: nothing in it is a step, stores that wait in buffers are seen by their threads only.
void sim_at_once(void (*look)(void*), void* arg) noexcept;

/// A simulated thread outside of the runtime's knowledge (a user's std::thread); cannot fail.
int sim_spawn(void (*entry)(void*), void* arg) noexcept;

/// Blocks until that thread has ended.
void sim_join(int thread) noexcept;

/// From now on thread_create fails while `max` threads live (SimOptions::max_threads until then).
void sim_limit_threads(int max) noexcept;

/// Index of the calling simulated thread; -1 outside of a simulation.
int sim_self() noexcept;

/// SimOptions::small: whether the body shall do less, since every schedule of it is tried.
bool sim_small() noexcept;

/// Steps of this run so far.
std::uint64_t sim_steps() noexcept;

/// The handler of os::signal_thread's signals, for all threads. It runs on the target, at its next
/// step or out of its sleep, and is not nested. Null (the default): signals are only recorded.
void sim_on_signal(void (*handler)(int signo)) noexcept;

}  // namespace gort::inline v0::os
