// Acquire and release.
//
// The two-sided look. No waiter may sleep on a unit that is there:
//
//   acquire (under the root's lock)          release
//     A1  nwait + 1                            R1  *addr + n
//     A2  look at *addr once more              R2  look at nwait: 0 means nobody to wake
//     A3  queue, park
//
// All four are seq_cst, so they have one order, and either A2 sees R1's units or R2 sees A1's waiter. In the
// second case the releaser takes the root's lock, which it gets only when the acquirer is queued (or has
// gone without). A1's partner is R2, R1's partner is A2. With anything weaker both may look too early, each
// store still in its own processor's buffer.
//
// A handoff that finds nwait > 0 first does everything under the root's lock, units to the word included;
// A1 and A2 are under the same lock, so there the lock alone is enough.
#include "sema/sema.h"

#include "base/check.h"
#include "base/fault.h"
#include "base/sanitizer.h"
#include "sched/foreign.h"
#include "sched/park.h"
#include "sched/sched.h"
#include "sema/sema_root.h"

namespace gort::inline v0::rt {

namespace {

/// Announces itself, looks once more, and either queues (true; the root is still locked) or has the unit
/// (false; the root is unlocked).
bool queue_or_take(SemRoot& root, SemWord* addr, waiter* w, bool lifo) noexcept {
  w->key = addr;
  w->ticket = 0;
  root.lock.lock();
  // A1. Partner: R2 in wake_for_units.
  root.nwait.store(root.nwait.load(os::memory_order_relaxed) + 1, os::memory_order_seq_cst);
  if (sem_try_acquire(addr)) {  // A2. Partner: R1, the addition in sem_release.
    root.nwait.store(root.nwait.load(os::memory_order_relaxed) - 1, os::memory_order_relaxed);
    root.lock.unlock();
    return false;
  }
  root.queue(w, lifo);
  return true;
}

/// One wait of a goroutine. True: it has the unit. False: it was woken to fetch one.
bool wait_goroutine(G* g, SemRoot& root, SemWord* addr, bool lifo, WaitReason reason) noexcept {
  if (!queue_or_take(root, addr, &g->wait, lifo)) return true;
  park_unlock(&root.lock, reason);
  san::acquire(&g->wait);
  return g->wait.ticket != 0;
}

/// One wait of a foreign thread. Each has a record of its own: the releaser may still hold the last one.
bool wait_foreign(SemRoot& root, SemWord* addr, bool lifo) noexcept {
  ForeignWait wait;
  waiter* w = wait.get();
  if (!queue_or_take(root, addr, w, lifo)) {
    wait.unused();
    return true;
  }
  root.lock.unlock();
  wait.wait();
  san::acquire(w);
  return w->ticket != 0;
}

/// R1 when nothing else is said.
void add_units(SemWord* addr, std::uint32_t n) noexcept {
  const std::uint32_t old = addr->fetch_add(n, os::memory_order_seq_cst);
  if (__builtin_expect(n > kSemMax || old > kSemMax - n, 0)) {
    fatal("semaphore overflow: released beyond 2147483647 units");
  }
}

/// Takes up to `max` units; how many.
std::uint32_t take_units(SemWord* addr, std::uint32_t max) noexcept {
  std::uint32_t v = addr->load(os::memory_order_relaxed);
  for (;;) {
    const std::uint32_t n = v < max ? v : max;
    if (n == 0) return 0;
    if (addr->compare_exchange_weak(v, v - n, os::memory_order_acq_rel, os::memory_order_relaxed)) return n;
  }
}

/// After the units went into the word: wakes as many waiters as there are units still. With `handoff` they
/// get the units.
///
/// Whoever was quicker may have taken a unit, gone on, and destroyed the word: so it is touched only with a
/// live waiter of this address in the hand, which proves that there is a semaphore at this address. (It may
/// be a new one. Then the new one's waiters are served from the new one's units, and nothing is wrong.)
/// Units that others have taken need no care: their release will look here.
SemRoot::Taken wake_for_units(SemRoot& root, SemWord* addr, std::uint32_t n, bool handoff) noexcept {
  if (root.nwait.load(os::memory_order_seq_cst) == 0) return {};  // R2. Partner: A1 in queue_or_take.
  LockGuard guard(root.lock);
  SemRoot::Taken taken = root.dequeue(addr, n);
  if (taken.n != 0) {
    const std::uint32_t units = handoff ? take_units(addr, taken.n) : addr->load(os::memory_order_relaxed);
    root.put_back(&taken, units);
  }
  root.settle(taken);
  return taken;
}

/// With waiters in sight: units to the waiters, what is left into the word.
SemRoot::Taken hand_over(SemRoot& root, SemWord* addr, std::uint32_t n) noexcept {
  LockGuard guard(root.lock);
  const SemRoot::Taken taken = root.dequeue(addr, n);
  root.settle(taken);
  // None of our units is known to anybody yet, so the word is still ours to touch.
  if (taken.n < n) add_units(addr, n - taken.n);
  return taken;
}

void complete(waiter* w, bool ticket) noexcept {
  w->ticket = ticket ? 1 : 0;
  san::release(w);
  w->ready(w);  // from here on it is somebody else's
}

}  // namespace

bool sem_try_acquire(SemWord* addr) noexcept {
  // seq_cst, also where the exchange fails: this is A2 when called from queue_or_take.
  std::uint32_t v = addr->load(os::memory_order_seq_cst);
  while (v > 0) {
    if (addr->compare_exchange_weak(v, v - 1, os::memory_order_seq_cst, os::memory_order_seq_cst)) {
      san::acquire(addr);
      return true;
    }
  }
  return false;
}

void sem_acquire(SemWord* addr, SemAcquire options) noexcept {
  const M* m = self_m();
  G* const g = m != nullptr ? m->curg : nullptr;
  // With the fault the thread is blocked, and its P with it.
  if (__builtin_expect(m != nullptr && g == nullptr, 0) && !fault(Fault::s4)) {
    fatal("semacquire: not on a goroutine's stack");
  }
  if (sem_try_acquire(addr)) return;
  GORT_CHECK(os::tls().locks == 0, "semacquire would wait with preemption disabled or a runtime lock held");
  SemRoot& root = sem_root(addr);
  for (bool front = options.lifo;; front = true) {
    const bool got = g != nullptr ? wait_goroutine(g, root, addr, front, options.reason)
                                  : wait_foreign(root, addr, front);
    if (got || sem_try_acquire(addr)) break;
  }
  san::acquire(addr);
}

void sem_release(SemWord* addr, SemRelease options) noexcept {
  if (options.n == 0) return;
  san::release(addr);
  SemRoot& root = sem_root(addr);
  SemRoot::Taken taken;
  if (options.handoff && root.nwait.load(os::memory_order_relaxed) != 0) {
    taken = hand_over(root, addr, options.n);
  } else {
    add_units(addr, options.n);  // R1. Partner: A2 in queue_or_take.
    taken = wake_for_units(root, addr, options.n, options.handoff);
  }
  if (taken.first == nullptr) return;
  // Each one that is readied goes into runnext and sends the one before it to the end of the queue: so the
  // oldest is readied last, and the queue has them in order.
  for (waiter* w = taken.first->next; w != nullptr;) {
    waiter* const next = w->next;
    complete(w, options.handoff);
    w = next;
  }
  const bool goroutine = taken.first->ready == ready_waiter;
  complete(taken.first, options.handoff);
  if (!options.handoff || !options.yield || !goroutine) return;
  // The slice goes with the unit: the waiter stands in runnext of this P. Not where yielding would break
  // something: golang/go#35424 (locks held), #73469 (on the M's own stack).
  if ((os::tls().locks == 0 || fault(Fault::handoff_yields)) && current_g() != nullptr) yield();
}

// ---- views ----------------------------------------------------------------------------------

std::uint32_t sem_waiting(const SemWord* addr) noexcept {
  SemRoot& root = sem_root(addr);
  LockGuard guard(root.lock);
  return root.waiting(addr);
}

namespace {

struct Walk {
  void (*visit)(const void*, const waiter*, void*) noexcept;
  void* arg;
  std::uint32_t addresses = 0;
  std::uint64_t waiters = 0;
};

void walk(const SemAddr* a, Walk* w) noexcept {
  if (a == nullptr) return;
  walk(a->left, w);
  ++w->addresses;
  w->waiters += a->count;
  if (w->visit != nullptr) {
    for (const waiter* at = a->head; at != nullptr; at = at->next) w->visit(a->key, at, w->arg);
  }
  walk(a->right, w);
}

}  // namespace

SemStats sem_stats() noexcept {
  SemStats s;
  for (SemRoot& root : sem_table) {
    if (root.nwait.load(os::memory_order_relaxed) == 0) continue;
    LockGuard guard(root.lock);
    Walk w{};
    walk(root.tree(), &w);
    s.waiters += w.waiters;
    s.addresses += w.addresses;
    if (w.addresses != 0) ++s.roots_in_use;
    if (w.addresses > s.most_addresses) s.most_addresses = w.addresses;
  }
  return s;
}

void sem_for_each_waiter(void (*visit)(const void*, const waiter*, void*) noexcept, void* arg) noexcept {
  for (SemRoot& root : sem_table) {
    if (root.nwait.load(os::memory_order_relaxed) == 0) continue;
    LockGuard guard(root.lock);
    Walk w{visit, arg};
    walk(root.tree(), &w);
    for (const waiter* at = root.beside(); at != nullptr; at = at->next) visit(at->key, at, arg);
  }
}

}  // namespace gort::inline v0::rt
