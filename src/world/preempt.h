// gort: interrupting a goroutine that does not come by itself.
//
// Requests are bits of M::pending (sched/stop_point.h). preempt(m) sends SIGURG, so that m looks at them now, wherever
// it is. What the handler finds decides:
//
//   inside the runtime, or in a window (L4)   nothing: the runtime looks at its exit
//   without a P (a blocking call)             nothing: there is nothing to stop
//   user code, libc included                  serve_here: stops, gives its P up, runs a safe-point function, on
//                                             the signal stack, in the middle of that code
//
// Perhaps it sleeps in the kernel: a thread whose CPU clock stood still is nominated by sysmon, and the handler
// decides by where it was interrupted (os::signal_in_call). Such a goroutine gives its P up at once:
//
//   the call will be restarted, and is on a list   made again right there, without a P; the result is patched in
//   any other, or it returns EINTR                 the goroutine waits for its turn, longer each time in a row,
//                                                  and makes the call itself, with a slice of 100 us
//
// What the program notices: its raw system calls return EINTR where SA_RESTART does not apply (poll, select, epoll_wait,
// nanosleep, timed waits; docs/preemption.md has the list). Off with GORT_DEBUG=asyncpreemptoff=1, and under TSan.
#pragma once

#include "sched/m.h"

namespace gort::inline v0::rt {

/// Makes m look at what is asked of it. Any thread. `asleep`: it may sleep in the kernel; only then that is looked at.
void preempt(M* m, bool asleep) noexcept;

/// In the handler of SIGURG, on m's own thread.
void serve_interrupt(M* m, const void* ucontext) noexcept;
/// Likewise, if m was nominated.
void serve_asleep(M* m, const void* ucontext) noexcept;

/// Names both to the dispatcher and fills the scheduler's hook in. Before the runtime starts.
void preempt_start() noexcept;

}  // namespace gort::inline v0::rt
