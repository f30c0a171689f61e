#include "sched/owned_p.h"

#include "base/fault.h"
#include "sched/captives.h"
#include "sched/sched.h"
#include "sched/stop_point.h"

namespace gort::inline v0::rt {

constinit Sched sched;
constinit SchedHooks sched_hooks;

MaybeOwnedP pidle_get() noexcept {
  GORT_DCHECK(sched.lock.held(), "the idle list is guarded by sched.lock");
  P* p = sched.idle_p;
  if (p == nullptr) return {};
  sched.idle_p = p->idle_link;
  p->idle_link = nullptr;
  const std::int32_t before = sched.npidle.load(os::memory_order_relaxed);
  sched.npidle.store(before - 1, os::memory_order_seq_cst);
  // The first P that leaves wakes sysmon. Partner of its fence: it sets the flag and then reads npidle.
  if (before == sched.nprocs) {
    set_seconds(os::nanotime());
    if (sched.sysmon_wait.load(os::memory_order_seq_cst)) sched.sysmon_note.ring();
  }
  return OwnedP(p);
}

MaybeOwnedP pidle_get_spinning() noexcept {
  // Seen in idle() (schedule.cc): the P that idles next looks at everything once more.
  // Both under sched.lock.
  if (sched.idle_p == nullptr) sched.need_spinning.store(1, os::memory_order_relaxed);
  return pidle_get();
}

M* settle_p(OwnedP owned) noexcept {
  GORT_DCHECK(sched.lock.held(), "settle_p: under sched.lock");
  run_safe_point(owned.operator->());
  if (stop_requested() && !fault(Fault::idle_drain)) {
    stop_owned_p(std::move(owned));
    return nullptr;
  }
  if (M* captive = captive_get(); captive != nullptr) {
    hand_to_captive_m(std::move(owned), captive);
    return captive;
  }
  pidle_put(std::move(owned));
  return nullptr;
}

void pidle_put(OwnedP owned) noexcept {
  GORT_DCHECK(sched.lock.held(), "the idle list is guarded by sched.lock");
  GORT_CHECK(sched.captives.empty(), "a P goes idle beside a queued captive");
  GORT_CHECK(owned->runq.empty(), "a P with goroutines on its queue is put on the idle list");
  P* p = std::move(owned).die();
  p->idle_link = sched.idle_p;
  sched.idle_p = p;
  sched.npidle.store(sched.npidle.load(os::memory_order_relaxed) + 1, os::memory_order_relaxed);
}

void wire(OwnedP owned) noexcept {
  M* m = self_m();
  GORT_CHECK(m->p == nullptr, "wire: this M has a P");
  GORT_CHECK(owned->status.load(os::memory_order_relaxed) == PStatus::idle &&
                 owned->m.load(os::memory_order_relaxed) == nullptr,
             "wire: the P is in use");
  P* p = std::move(owned).die();
  m->p = p;
  p->m.store(m, os::memory_order_relaxed);
  p->status.store(PStatus::running, os::memory_order_release);
}

OwnedP release_p() noexcept {
  M* m = self_m();
  P* p = m->p;
  GORT_CHECK(p != nullptr && p->m.load(os::memory_order_relaxed) == m &&
                 p->status.load(os::memory_order_relaxed) == PStatus::running,
             "release_p: the P is not this M's");
  OwnedP owned(p);
  m->p = nullptr;
  p->m.store(nullptr, os::memory_order_relaxed);
  p->status.store(PStatus::idle, os::memory_order_release);
  return owned;
}

void hand_to_m(OwnedP owned, M* m) noexcept {
  GORT_CHECK(m->nextp == nullptr, "hand_to_m: that M is owed a P already");
  GORT_CHECK(owned->status.load(os::memory_order_relaxed) == PStatus::idle, "hand_to_m: the P is in use");
  P* p = std::move(owned).die();
  m->nextp = p;
  p->m.store(m, os::memory_order_relaxed);  // whoever stops the world finds it by this
  // Release: whoever takes a handed P (the M that wakes, or a stop) sees what its last owner wrote.
  p->status.store(PStatus::handed, os::memory_order_release);
}

MaybeOwnedP retake_p(P* p) noexcept {
  PStatus expected = PStatus::syscall;
  if (!p->status.compare_exchange_strong(expected, PStatus::idle, os::memory_order_acq_rel,
                                         os::memory_order_relaxed)) {
    return {};
  }
  p->syscalltick.fetch_add(1, os::memory_order_relaxed);
  return OwnedP(p);
}

OwnedP own_new_p(P* p) noexcept { return OwnedP(p); }

MaybeOwnedP take_stopped_p(P* p) noexcept {
  PStatus expected = PStatus::stopped;
  if (!p->status.compare_exchange_strong(expected, PStatus::idle, os::memory_order_acq_rel,
                                         os::memory_order_relaxed)) {
    return {};
  }
  GORT_CHECK(p->m.load(os::memory_order_relaxed) == nullptr, "take_stopped_p: an M waits for it");
  return OwnedP(p);
}

}  // namespace gort::inline v0::rt
