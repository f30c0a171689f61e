#include "sched/old_ways.h"

#if defined(GORT_TESTING)

#include "sched/captives.h"
#include "sched/stop_point.h"

namespace gort::inline v0::rt {

namespace {

/// A request for a thread, and the P that rides along: in nobody's hand until somebody serves it.
struct OldRequest {
  P* p;
  bool spinning;
};
constexpr int kMostRequests = 64;
constinit OldRequest requests[kMostRequests] = {};  // under sched.lock
constinit int waiting = 0;                          // likewise

constinit os::atomic<bool> flag_set{false};
constinit os::atomic<bool> thread_exists{false};

/// Where the goroutine that runs on m may be stopped.
void stop_point(M* m) noexcept {
  if (stop_requested() && !stop_here(m)) wait_for_p_here(m, false);
}

}  // namespace

void old_start_m_stop() noexcept {
  M* m = self_m();
  if (m != nullptr && m->p != nullptr && m->curg != nullptr) stop_point(m);
}

bool old_needs_request() noexcept {
  const M* m = self_m();
  return fault(Fault::s3) && m != nullptr && m->locked_g != nullptr;
}

void old_send_request(OwnedP owned, bool spinning) noexcept {
  P* p = std::move(owned).die();
  {
    LockGuard guard(sched.lock);
    GORT_CHECK(waiting < kMostRequests, "too many requests for a test");
    requests[waiting++] = {p, spinning};
  }
  want_threads();
}

void old_serve_requests() noexcept {
  while (thread_exists.load(os::memory_order_acquire)) {
    OldRequest r{};
    {
      LockGuard guard(sched.lock);
      if (waiting == 0) return;
      r = requests[--waiting];
    }
    start_m(own_new_p(r.p), r.spinning);
  }
}

void old_first_lock(M* m) noexcept {
  if (flag_set.load(os::memory_order_relaxed) || flag_set.exchange(true, os::memory_order_acq_rel)) return;
  test_point(TestPoint::template_flag_set);
  if (!fault(Fault::s3)) return;
  stop_point(m);
  thread_exists.store(true, os::memory_order_release);
  want_threads();
}

}  // namespace gort::inline v0::rt

#endif
