// gort: the cast of simulated runs in which the world is stopped: so many goroutines and threads of each kind, all at it
// until those who stop have done their rounds.
#pragma once

#include "base/fault.h"
#include "tests/sim/bodies.h"

namespace gort::inline v0::rt {

struct Cast {
  int hogs = 0;       ///< compute, call nothing
  int yielders = 0;
  int blockers = 0;   ///< in blocking calls, one after the other
  int spawners = 0;   ///< make goroutines, which compute a little
  int pairs = 0;      ///< let each other go
  int locked = 0;     ///< as yielders, locked to their threads
  int takers = 0;     ///< take and leave a spin lock of user code: only its holder's P is any use to the others
  int hold = 4000;    ///< for so many steps
  int stoppers = 0;   ///< goroutines that stop the world
  int foreign = 0;    ///< threads that do
  int resizers = 0;   ///< goroutines that call gomaxprocs
  int askers = 0;     ///< goroutines that call for_each_p
  int users = 0;      ///< goroutines that stop it at calls, with deadlines that are often missed
  int greedy = 0;     ///< goroutines that stop the world again and again
  int modest = 0;     ///< goroutine (one) that stops it once in a while; counts who was served before it
  int scanners = 0;   ///< goroutines that wait, in the runtime, until who stops the world can be looked at
  int lockers = 0;    ///< lock themselves to their threads, make goroutines, let their threads go
  int enders = 0;     ///< make goroutines that end locked to their threads, which end with them
  int collectors = 0;  ///< goroutines that hold gcsema over two stops
  int holders = 0;    ///< goroutines that hold others still and look at them
  int rounds = 3;     ///< of each of those from `stoppers` on, but for the greedy
  bool takes_inside = false;  ///< L1 broken: takers wait for their lock in the runtime
  int users_of_p = 0;        ///< goroutines that use what belongs to their P, in the runtime
  bool uses_outside = false;  ///< L4 broken: in user code
  bool must_run = false;    ///< between any three stops every hog executes something; needs a P for each
  bool no_claims = false;   ///< fail if a stop is over before a thread that it handed a P to has woken
  bool few_threads = false;  ///< no more than two Ms can be had
  bool lingering = false;    ///< who holds a P in start_m, and the first to lock its thread, are slow
  Fault broken = Fault::kCount;
};

/// As start({}), with signals that end slices and stop.
void start_with_signals();

/// A run with this cast (a Cast*); for sim_explore.
void play(void* cast);

}  // namespace gort::inline v0::rt
