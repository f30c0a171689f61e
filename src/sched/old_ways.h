// gort: two protocols as the Go runtime had them before it was fixed, for Fault::s2 and Fault::s3. Test builds only: in
// release builds there is nothing behind these names, and no call of them.
//
//   s2   start_m could be preempted while it held a P. A stop of the world that came then waited for that P, and who
//        had it waited for the restart (golang/go#42237).
//   s3   An M with a locked goroutine may not make threads, so it asked the template thread, and its P rode along with
//        the request. The template thread was made by the first lock_os_thread: flag set, then thread made. Whoever was
//        stopped between the two left requests that nobody served, with Ms' Ps in them (golang/go#38931).
#pragma once

#include "base/fault.h"
#include "sched/sched.h"

namespace gort::inline v0::rt {

#if defined(GORT_TESTING)

/// s2, in start_m: honours a pending stop although a P is in hand.
void old_start_m_stop() noexcept;

/// s3, in start_m: whether this P rides along with a request.
bool old_needs_request() noexcept;
void old_send_request(OwnedP p, bool spinning) noexcept;
/// s3, in the template thread: serves the requests, if it "exists".
void old_serve_requests() noexcept;

/// In lock_os_thread. The test point is passed with the measure on, too, by the first caller.
void old_first_lock(M* m) noexcept;

#else

inline void old_start_m_stop() noexcept {}
inline bool old_needs_request() noexcept { return false; }
inline void old_send_request(OwnedP, bool) noexcept { fatal("a fault in a release build"); }
inline void old_serve_requests() noexcept {}
inline void old_first_lock(M*) noexcept {}

#endif

}  // namespace gort::inline v0::rt
