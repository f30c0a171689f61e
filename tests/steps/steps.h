// gort tests: something happens to a thread of the runtime after every single instruction of a stretch of code.
//
// "In the runtime" begins and ends at one instruction each, a P changes hands at one, a stack pointer moves at one.
// A signal that comes one instruction earlier or later meets different rules, and chance rarely finds the one
// where they do not fit. So: a program that repeats a stretch of code, round after round, and a second process
// that halts the thread at instruction k of the stretch, has something asked of it there, and lets it go.
//
//   parent (driver.cc, no gort)               child (child.cc: gort, 1 or 2 Ps)
//                                             goroutine: "ready", waits for "go"
//   ptrace: attaches to that thread
//   "go"                                      begin(); the stretch; end()
//   the thread stands at instruction k
//   "inject"                                  helper thread: asks what the injection asks, sends SIGURG
//   sees SIGURG pending there; detaches       the handler runs, interrupted exactly at k; all goes on
//   waits for both answers, checks them       goroutine: "done"; helper: "answered"
//   "over"                                    the next round
//
// Only that thread is ever halted, all others run freely, and from the moment of the injection on nobody is traced.
// Addresses are the same in both processes, since one is the other's fork; so the driver knows the markers' and
// the functions' without looking for them.
//
// The first rounds are stepped from marker to marker: they tell which instructions there are. A point is an
// instruction and the how-manieth time it is executed in the round (to kMaxTurns: not every turn of a waiting loop is a
// new case). Later rounds go to their point at full speed, by a breakpoint register (an exception costs 20 us on
// a virtual machine, so stepping there each time would cost minutes). What does not come about at full speed
// (a P that is lost to sysmon in a call of two instructions) is stepped to, so far as there is time.
//
// SIGURGs that come while the thread is being led to its point are held back until it is let go. A round that does
// not end within the watchdog's time fails, and says where the injection had come: point, symbol and offset, where
// all threads stand, and what the child printed, its answer to SIGQUIT included.
//
// To add a stretch: stretches.cc. An injection: injections.cc. Another architecture: machine.h. (Where atomics are
// load/store-exclusive loops, stepping breaks them: every trap clears the monitor.)
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <span>
#include <string>

#include "debug/capture.h"
#include "sched/m.h"
#include "world/signal.h"

namespace gort::test::steps {

/// What an injection found out. Written by the helper thread, read by the driver.
struct Answer {
  bool ok = false;
  char why[200] = {};      ///< if not ok
  rt::Frames walk;         ///< the traceback injection's
};

/// The memory that parent and child share. Numbers are those of rounds, from 1.
struct Page {
  std::atomic<std::uint32_t> child_bell{0};   ///< futex words: something below has changed
  std::atomic<std::uint32_t> parent_bell{0};
  // The goroutine's.
  std::atomic<std::uint32_t> ready{0};
  std::atomic<std::uint32_t> done{0};
  std::atomic<std::uint32_t> wrong{0};        ///< rounds whose results were wrong
  std::atomic<std::uint64_t> progress{0};     ///< goes up at each round's beginning and end
  int tid = 0;                                ///< its thread, valid when ready
  rt::M* m = nullptr;
  std::uintptr_t stack_lo = 0;
  std::uintptr_t stack_hi = 0;
  // The driver's.
  std::atomic<std::uint32_t> go{0};
  std::atomic<std::uint32_t> inject{0};
  std::atomic<std::uint32_t> wake{0};         ///< the thread sleeps, or will: for stretches that wait for it
  std::atomic<std::uint32_t> over{0};         ///< all is done and answered
  std::atomic<bool> stop{false};              ///< no more rounds
  // The helper's.
  std::atomic<std::uint32_t> answered{0};
  Answer answer;
};
/// The child's view; null in the parent.
extern Page* page;

/// Rings, and waits for a change of a bell since `seen` (at most a millisecond, then looks again).
void ring(std::atomic<std::uint32_t>& bell) noexcept;
void wait_bell(std::atomic<std::uint32_t>& bell, std::uint32_t seen) noexcept;

// ---- stretches ----------------------------------------------------------------------------------

/// All functions run in the child, outside the runtime.
struct Stretch {
  const char* name;
  int procs;
  void (*body)();                ///< one round, on a goroutine: steps::begin(); …; steps::end()
  void (*setup)() = nullptr;     ///< on that goroutine, before the first round: partners
  void (*teardown)() = nullptr;  ///< partners end
};
std::span<const Stretch> stretches() noexcept;
inline void PrintTo(const Stretch& s, std::ostream* out) { *out << s.name; }

/// In a body: waits until the driver holds the thread, then passes the first marker.
void begin() noexcept;
/// Passes the second.
void end() noexcept;
/// A result of the stretch.
void expect(bool right) noexcept;

// ---- injections ---------------------------------------------------------------------------------

/// Where the thread was when the injection came.
struct Stood {
  std::uintptr_t pc = 0;
  std::uintptr_t sp = 0;
  bool exactly = false;         ///< SIGURG was pending there: the handler has interrupted this instruction
  bool on_goroutine = false;    ///< sp is on the stack of the goroutine that runs the stretch
  bool first = false;           ///< the first marker
};

struct Injection {
  const char* name;
  rt::Asked bit;   ///< the bit of M::asked that it sets: how its SIGURG is told from sysmon's
  /// In the child, on the helper, a foreign thread. `m` ran the goroutine when the round began.
  void (*act)(rt::M* m, Answer* answer) noexcept;
  /// In the parent. Empty: as it should be. `reference` belongs to the run: what the first point gave.
  std::string (*check)(const Stood& at, const Answer& answer, Answer* reference);
  /// A known bug that it finds: skipped, and named, until that is mended; GORT_STEPS_ALL=1 runs it all the same.
  const char* waits_for = nullptr;
};
std::span<const Injection> injections() noexcept;
inline void PrintTo(const Injection& i, std::ostream* out) { *out << i.name; }

// ---- the driver ---------------------------------------------------------------------------------

struct Options {
  std::size_t max_points = ~std::size_t{0};  ///< more are thinned out evenly
  int recordings = 3;                        ///< rounds that are stepped through first
  std::size_t stepped = 50;                  ///< at most so many points are stepped to
};

struct Report {
  std::string skipped;       ///< why nothing was tested
  std::string failures;      ///< empty: none
  std::size_t points = 0;    ///< to be tested
  std::size_t exact = 0;     ///< where the signal interrupted the very instruction
  std::size_t unasked = 0;   ///< where the injection needed no signal, or had sent none in time
  std::size_t missed = 0;    ///< not reached, stepped or not
  std::string summary() const;
};

/// Runs one stretch with one injection at all of its points. Forks: no thread of gort may exist here.
Report drive(const Stretch& stretch, const Injection& injection, const Options& options);

/// "function+0x12", as far as it is known.
std::string name_of(std::uintptr_t pc);

/// The child's program; does not return.
[[noreturn]] void child_main(const Stretch& stretch, const Injection& injection, Page* shared) noexcept;

inline constexpr std::uint32_t kMaxTurns = 2;

}  // namespace gort::test::steps

/// The markers, empty functions.
extern "C" {
void gort_steps_begin() noexcept;
void gort_steps_end() noexcept;
}
