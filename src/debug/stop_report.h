// gort: who holds up a stop of the world.
//
//   gort: stopping the world has taken 1003 ms; 2 of 4 Ps have not stopped (asked for by M 2)
//   P 1: running, M 3, thread 4711, goroutine 18 "rx"
//           0x55d0c0de1234 /opt/shop/server+0x1234           where it is now: it answers, but does not stop
//           …
//   P 2: running, M 5, thread 4713, goroutine 20
//           does not answer; kernel: D (uninterruptible sleep), in rpc_wait_bit_killable, system call 0, SIGURG not blocked
//
// One entry for each P that is not in status stopped. A P is found through whoever has it (P::m, M::nextp,
// M::oldp); one that is idle but on no list is in nobody's hand, which breaks rule R: then the M that had it last
// (P::owner) is named and asked. A thread is asked to say itself where it is (capture.h). One that does not answer
// cannot, and the kernel is asked instead: asleep for good, stopped by a debugger, or with SIGURG blocked.
//
// Two stages, as for fatal reports (report.h), but the program goes on between them: addresses at once, by
// write(2); then functions, files and lines, by the template thread when it has nothing else to do. The reporter itself
// must not even call malloc: a goroutine that stands still in the middle of it may have its locks, until the
// restart that the reporter is waiting to give.
#pragma once

#include <cstdint>

namespace gort::inline v0::rt {

/// ns that one report spends on threads that do not answer: half of what is left for each, so this bounds them
/// all. A stop that comes about meanwhile is noticed that much later.
inline constexpr std::int64_t kStopReportPatience = 100'000'000;
/// Ps that one report shows.
inline constexpr int kMostStuckShown = 32;

/// sched_hooks.stop_slow: prints stage 1, orders stage 2. By the thread that waits for the stop, on any stack,
/// with no lock held. A second thread that comes meanwhile prints nothing.
void report_slow_stop(std::int64_t waited_ns) noexcept;

/// sched_hooks.spare_time: stage 2 of the last report, if it has not been printed. Not on a thread with a P.
void report_slow_stop_names() noexcept;

}  // namespace gort::inline v0::rt
