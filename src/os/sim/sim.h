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
//   livelock  max_steps steps without an end, or real_seconds without reaching a scheduling point
//   crash     exit_process(not 0), abort_process, a failed CHECK, a fault, a broken rule of os.h
//   assert    sim_assert or sim_fail
//
// What is not promised: the machine is sequentially consistent, so a missing fence or a wrong
// memory order is never seen; plain (not atomic) accesses are not steps, so a data race shows only
// if an os::atomic or sim_point() lies inside the racing section.
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

namespace gort::inline v0::os {

enum class SimStrategy : std::uint8_t {
  /// Before each step, any thread that can run, with equal chances.
  uniform,
  /// Probabilistic concurrency testing (Burckhardt et al. 2010): threads have random priorities, the
  /// highest runs, and at pct_depth - 1 random steps the running one falls to the bottom. Finds
  /// orderings that need one thread to stand still for long; uniform rarely does.
  pct,
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

  int real_seconds = 30;               ///< isolated runs: real time without an end
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
};

/// One schedule. `body(arg)` is simulated thread 0; the run ends when it returns.
SimResult sim_run(const SimOptions& options, void (*body)(void*), void* arg) noexcept;

/// `runs` schedules with the seeds options.seed, options.seed + 1, ... The result is the first that
/// is not ok, or the last. Two variables of the real environment: GORT_SIM_SEED=n tries that seed
/// alone (replay), GORT_SIM_RUNS=n tries n schedules from options.seed on (soak).
SimResult sim_explore(const SimOptions& options, std::uint64_t runs, void (*body)(void*),
                      void* arg) noexcept;

// ---- for bodies, on a simulated thread ------------------------------------------------------

/// Puts a line into the history. `text` must live as long as the process (a literal). Not a step.
void sim_note(const char* text, std::uint64_t value = 0) noexcept;

/// Ends the run with the verdict `assert` if `condition` does not hold. `text` as for sim_note.
void sim_assert(bool condition, const char* text) noexcept;
[[noreturn]] void sim_fail(const char* text) noexcept;

/// Names [addr, addr + bytes) in the history. At most 256 names in a run.
void sim_label(const void* addr, std::size_t bytes, const char* name) noexcept;

/// A simulated thread outside of the runtime's knowledge (a user's std::thread); cannot fail.
int sim_spawn(void (*entry)(void*), void* arg) noexcept;

/// Blocks until that thread has ended.
void sim_join(int thread) noexcept;

/// From now on thread_create fails while `max` threads live (SimOptions::max_threads until then).
void sim_limit_threads(int max) noexcept;

/// Index of the calling simulated thread; -1 outside of a simulation.
int sim_self() noexcept;

/// Steps of this run so far.
std::uint64_t sim_steps() noexcept;

/// The handler of os::signal_thread's signals, for all threads. It runs on the target, at its next
/// step or out of its sleep, and is not nested. Null (the default): signals are only recorded.
void sim_on_signal(void (*handler)(int signo)) noexcept;

}  // namespace gort::inline v0::os
