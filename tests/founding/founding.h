// gort: the five founding bugs of the Go runtime, each shown with its cure switched off, and gone with it on.
//
// A recipe is a function that runs in a child process: once, or many times in a row. With the measure on, every run must
// come to its end. With it off (GORT_FAULT=sN) the run must show the bug: it hangs, and the watchdog of stops
// names who is to blame; or it finds by itself that somebody starved, and says so (shown()).
//
//   TEST(S2, Off) { expect_shown("s2", recipe, {"in nobody's hand.*\"starter\""}); }
//   TEST(S2, On) { expect_passes("s2", "deterministic", recipe); }
//
// A child has a watchdog of its own, a foreign thread: when a run takes longer than its limit (and the report of the slow
// stop is out, with the measure off), the child ends with a known status. FOUNDING_RUNS sets how many runs there are (20; `make founding` takes 500). What was counted is
// left as properties of the test, which tools/founding makes a table of.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>

namespace gort::test {

/// One run; `i` from 0.
using Recipe = void (*)(int i);

struct Child {
  bool hung = false;    ///< ended by its watchdog
  bool shown = false;   ///< said so by itself
  int status = 0;       ///< exit status, or 1000 + signal
  double seconds = 0;
  std::string err;
  bool ended_well() const { return status == 0; }
};

/// Runs the recipe `runs` times in a child. `fault`: the measure that is off, empty: none.
Child run_child(Recipe recipe, int runs, const std::string& fault, int limit_ms);

/// In a recipe: ends the child as failed unless it holds. Inside the runtime too.
void require(bool holds, const char* what);
/// In a recipe: the bug has shown itself.
void shown(const char* how);
/// In a recipe: whether its measure is off.
bool measure_off();

int founding_runs();

/// With the measure on: founding_runs() runs, in processes of `runs_per_child` (0: all in one).
void expect_passes(const char* bug, const char* which, Recipe recipe, int runs_per_child = 0, int limit_ms = 20'000);
/// One run with the measure on, of something that is no recipe of a bug.
void expect_ends(Recipe scenario, int limit_ms = 60'000);
/// With it off: every time, within seconds, and stderr says all of `culprit` (regular expressions). `limit_ms`: after that
/// long a run is taken to hang.
void expect_shown(const char* bug, Recipe recipe, std::initializer_list<const char*> culprit, int limit_ms = 600);

// ---- what recipes are made of ---------------------------------------------------------------------

/// Starts the runtime with so many Ps, or changes their number.
void start_with_procs(int procs);
/// Part of any loop in user code that a stop may have to wait for: nothing, for it is stopped in place; under TSan, which
/// keeps signals back, a poll.
void computes();
/// Waits for a condition in user code that may be stopped; ends the child after ten seconds.
void wait_for(const std::function<bool()>& condition);
/// One stop of the world, and the restart; ns until everybody stood.
long stop_once();

}  // namespace gort::test
