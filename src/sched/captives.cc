#include "sched/captives.h"

#include "base/fault.h"
#include "sched/park.h"
#include "sched/stop_point.h"

namespace gort::inline v0::rt {

namespace {

/// How long ordinary goroutines have a P before it is the captives' turn.
std::int64_t ordinary_share() noexcept {
  const std::int32_t computing =
      sched.ncaptive.load(os::memory_order_relaxed) - sched.nsleepers.load(os::memory_order_relaxed);
  return computing > sched.many_captives ? kCaptiveShare / 7 : kCaptiveShare;
}

constexpr std::int64_t kMostDebt = 2'000'000;  // ns; more is no lateness: nobody else wanted the P

/// The P is the other class's from now on, or, ordinary goroutines after ordinary ones, shared from now on. What its turn
/// was too long goes to the other one's account, for slices end when sysmon looks, and not to the microsecond.
void turn_begins(P* p, bool captives, std::int64_t now) noexcept {
  const std::int64_t lasted = now - p->class_since.load(os::memory_order_relaxed);
  std::int64_t debt = p->class_debt.load(os::memory_order_relaxed);
  if (captives) {
    debt -= lasted - ordinary_share();
  } else if (p->serves_captives.load(os::memory_order_relaxed)) {
    debt += lasted - kCaptiveShare;
  } else {
    debt = 0;
  }
  if (fault(Fault::class_debt)) debt = 0;
  p->class_debt.store(debt > kMostDebt ? kMostDebt : debt < -kMostDebt ? -kMostDebt : debt, os::memory_order_relaxed);
  p->serves_captives.store(captives, os::memory_order_relaxed);
  p->class_since.store(now, os::memory_order_relaxed);
}

constexpr int kMostPassed = 64;  // captives that one passes who has been without a P for longer

/// In the order in which they lost their P; nearly always that is the end. Under sched.lock.
void queue_by_age(M* m) noexcept {
  if (m->off_p_since == 0) m->off_p_since = os::nanotime();
  const M* last = sched.captives.tail();
  if (last == nullptr || last->off_p_since <= m->off_p_since) return sched.captives.push_back(m);
  M* before = nullptr;
  M* c = sched.captives.head();
  for (int i = 0; c->off_p_since <= m->off_p_since && i < kMostPassed; ++i) {
    before = c;
    c = c->captive_link;
  }
  if (before == nullptr) return sched.captives.push_front(m);
  sched.captives.insert_after(before, m);
}

/// Under sched.lock.
void captive_put(M* m) noexcept {
  queue_by_age(m);
  sched.ncaptive.store(static_cast<std::int32_t>(sched.captives.size()), os::memory_order_relaxed);
  if (m->inside) ++sched.ninside;
  if (m->asleep_streak != 0) {
    sched.nsleepers.store(sched.nsleepers.load(os::memory_order_relaxed) + 1, os::memory_order_relaxed);
  }
}

/// Queues the goroutine, unless a P is idle: then m has that. Under sched.lock.
bool queue_or_wire(M* m) noexcept {
  if (MaybeOwnedP p = pidle_get(); p) {
    wire(p.take());
    return true;
  }
  captive_put(m);
  return false;
}

/// Sleeps until it is handed a P that lives. Its goroutine is queued.
void sleep_as_captive(M* m) noexcept {
  for (;;) {
    m->park.sleep();
    m->park.clear();
    P* p = m->nextp;
    GORT_CHECK(p != nullptr, "a captive was woken without a P");
    m->nextp = nullptr;
    if (await_p(m, p)) return;
    LockGuard guard(sched.lock);
    if (m->inside) --sched.ninside;  // counted by proc_resize
    if (queue_or_wire(m)) return;
  }
}

/// sysmon does not count the time of the slice before any more. By who has p.
void next_slice(P* p) noexcept {
  p->schedtick.store(p->schedtick.load(os::memory_order_relaxed) + 1, os::memory_order_relaxed);
}

void goes_on(M* m) noexcept {
  m->off_p_since = 0;
  // Asked for when the P was gone already, or on its way: that was about the slice before, and would end this one at once.
  m->timer_asks &= ~static_cast<std::uint32_t>(kPendingYield);
  m->pending.fetch_and(~static_cast<std::uint32_t>(kPendingYield), os::memory_order_relaxed);
  leave_status(m->curg, GStatus::captive, GStatus::running);
  // A slice of its own.
  P* p = m->p;
  p->captive_tick.store(p->schedtick.load(os::memory_order_relaxed) + 1, os::memory_order_relaxed);
  p->captive_slices.store(p->captive_slices.load(os::memory_order_relaxed) + 1, os::memory_order_relaxed);
  next_slice(p);
}

bool has_ordinary_work(const P* p) noexcept { return !p->runq.empty() || !sched.global.empty(); }

/// Who gets the P of a slice that is over (`elsewhere`: an M could steal what it runs), with nmidle and the captives' queue changed accordingly; null: nobody.
/// Under sched.lock.
M* next_owner(P* p, bool asleep, bool elsewhere, bool* is_captive) noexcept {
  const bool work = has_ordinary_work(p) || elsewhere;
  // One that computes may hold the lock that is waited for. One that was asleep itself only goes back to sleep.
  const M* oldest = sched.captives.head();
  const bool captives_first = asleep && oldest != nullptr && oldest->asleep_streak == 0;
  M* to = nullptr;
  *is_captive = false;
  if (fault(Fault::captives) && sched.nmidle == 0) return nullptr;
  if (captives_first || !work || captives_turn(p, os::nanotime())) to = captive_get();
  *is_captive = to != nullptr;
  if (to == nullptr && work) {
    to = sched.idle_m.pop();
    if (to != nullptr) {
      --sched.nmidle;
    } else {
      sched.thread_missed = os::nanotime();
    }
  }
  if (to == nullptr) {  // L2: always possible if there is one
    to = captive_get();
    *is_captive = to != nullptr;
  }
  return to;
}

constexpr std::int64_t kPostpone = 20'000;  // ns; less would be over before the signal handler is
constexpr std::uint8_t kMostPostponed = 40;  // as M::postpone_limit begins

/// The word of a lock that one of the oldest captives was asleep for, until somebody unlocked it; null: none.
os::atomic<std::uint32_t>* wanted_lock() noexcept {
  LockGuard guard(sched.lock);
  const M* c = sched.captives.head();
  for (int i = 0; c != nullptr && i < 16; ++i, c = c->captive_link) {
    if (c->lock_word != nullptr) return c->lock_word;
  }
  return nullptr;
}

/// Locks (captives.h): puts the end of m's slice off for a moment, if m may hold what the next one needs.
bool postpone(M* m) noexcept {
  if (sched.ncaptive.load(os::memory_order_relaxed) == 0 || fault(Fault::lock_slices)) return false;
  os::atomic<std::uint32_t>* const word = wanted_lock();
  if (word == nullptr) return false;
  if (os::futex_is(word, 0)) {
    m->postpone_limit = kMostPostponed;
    return false;
  }
  // A lock that is hardly ever free, or is held by somebody who does not run, is not worth so many looks.
  if (m->postponed >= m->postpone_limit) {
    if (m->postpone_limit > 2) m->postpone_limit /= 2;
    return false;
  }
  ++m->postponed;
  return come_back(m, kPendingYield, kPostpone);
}

}  // namespace

bool others_wait(const P* p) noexcept {
  return !p->runq.empty() || sched.global_size.load(os::memory_order_relaxed) != 0 ||
         sched.ncaptive.load(os::memory_order_relaxed) != 0;
}

bool queued_for_nobody() noexcept {
  if (sched.npidle.load(os::memory_order_relaxed) != 0 || sched.nmspinning.load(os::memory_order_relaxed) != 0 ||
      fault(Fault::sleeper_p)) {
    return false;
  }
  // Acquire: sysmon asks, too, and for that the number is not constant.
  for (std::int32_t i = 0; i < sched.nprocs.load(os::memory_order_acquire); ++i) {
    if (!p_at(i)->runq.empty()) return true;
  }
  return false;
}

bool turn_is_over(const P* p, std::int64_t now) noexcept {
  const std::int64_t lasts = now - p->class_since.load(os::memory_order_relaxed);
  if (p->serves_captives.load(os::memory_order_relaxed)) return lasts >= kCaptiveShare;
  return lasts >= ordinary_share() + p->class_debt.load(os::memory_order_relaxed);
}

bool captives_turn(P* p, std::int64_t now) noexcept {
  if (sched.ncaptive.load(os::memory_order_relaxed) == 0) return false;
  const bool serves = p->serves_captives.load(os::memory_order_relaxed);
  if (!turn_is_over(p, now)) return serves;
  if (serves) turn_begins(p, false, now);
  return !serves;
}

M* captive_get() noexcept {
  GORT_DCHECK(sched.lock.held(), "the captives' queue is guarded by sched.lock");
  M* m = sched.captives.pop_front();
  if (m == nullptr) return nullptr;
  sched.ncaptive.store(static_cast<std::int32_t>(sched.captives.size()), os::memory_order_relaxed);
  if (m->inside) --sched.ninside;
  if (m->asleep_streak != 0) {
    sched.nsleepers.store(sched.nsleepers.load(os::memory_order_relaxed) - 1, os::memory_order_relaxed);
  }
  return m;
}

void hand_to_captive_m(OwnedP p, M* captive) noexcept {
  if (!p->serves_captives.load(os::memory_order_relaxed)) turn_begins(p.operator->(), true, os::nanotime());
  hand_to_m(std::move(p), captive);
}

bool hand_to_captive(M* m) noexcept {
  M* to = nullptr;
  {
    LockGuard guard(sched.lock);
    to = captive_get();
    if (to == nullptr) return false;
    OwnedP p = release_p();
    run_safe_point(p.operator->());
    hand_to_captive_m(std::move(p), to);
  }
  GORT_DCHECK(m->p == nullptr, "hand_to_captive: another M's P");
  to->park.wakeup();
  return true;
}

void wait_for_p_here(M* m, bool counted) noexcept {
  GORT_CHECK(m->p == nullptr, "wait_for_p_here: with a P");
  // Not a store: it may be a captive already, and held by somebody who looks at it.
  GStatus expected = GStatus::running;
  m->curg->status.compare_exchange_strong(expected, GStatus::captive, os::memory_order_release,
                                          os::memory_order_relaxed);
  sched.lock.lock();
  if (counted) --sched.ninside;
  const bool has = queue_or_wire(m);
  sched.lock.unlock();
  if (!has) sleep_as_captive(m);
  goes_on(m);
}

void give_up_p(M* m, bool asleep, std::int64_t back_off) noexcept {
  P* p = m->p;
  if (m->inside && !asleep && postpone(m)) return;
  m->postponed = 0;
  sched.lock.lock();
  // An idle P is there for those who wait. A stop at calls has no use for more captives. Any other takes the P from
  // whoever gets it here; were it to come first, slices would not end while one stop follows the other.
  const bool idle = sched.npidle.load(os::memory_order_relaxed) > 0;
  const bool elsewhere = asleep && queued_for_nobody();
  if (idle || !(elsewhere || others_wait(p)) || sched.stopping.load(os::memory_order_relaxed) == kStopAtCalls) {
    sched.lock.unlock();
    if (idle) wake_p();
    return;
  }
  bool is_captive = false;
  const bool first = sched.captives.empty();
  M* to = next_owner(p, asleep, elsewhere, &is_captive);
  const bool spares_low = sched.nmidle < kSpareThreads;
  if (to == nullptr) {  // no thread for the others yet: they wait a little longer
    sched.lock.unlock();
    want_threads();
    return;
  }
  m->curg->status.store(GStatus::captive, os::memory_order_release);
  if (back_off == 0) {
    captive_put(m);
  } else if (m->inside) {
    ++sched.ninside;
  }
  OwnedP owned = release_p();
  run_safe_point(p);
  if (is_captive) {
    hand_to_captive_m(std::move(owned), to);
  } else {
    // There was nobody to share with before. The others' time begins now, or the new captive would be next at once.
    if (first || p->serves_captives.load(os::memory_order_relaxed)) turn_begins(p, false, os::nanotime());
    next_slice(p);  // now: sysmon may look before the first one of theirs runs
    hand_to_m(std::move(owned), to);
  }
  sched.lock.unlock();
  to->park.wakeup();
  test_point(TestPoint::captive_queued);
  if (spares_low) want_threads();
  if (back_off != 0) {
    os::sleep_ns(back_off);
    return wait_for_p_here(m, m->inside);
  }
  sleep_as_captive(m);
  goes_on(m);
}

}  // namespace gort::inline v0::rt
