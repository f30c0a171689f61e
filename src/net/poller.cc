#include "net/poller.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/fault.h"
#include "sched/start.h"
#include "sched/watch.h"

namespace gort::inline v0::rt {

constinit Pollers pollers;

namespace {

constinit Mutex start_lock{LockRank::leaf};

/// The instances that this many Ps deserve.
int instances() noexcept {
  int n = (sched.nprocs.load(os::memory_order_relaxed) + kProcsPerPoller - 1) / kProcsPerPoller;
  if (const std::int32_t said = debug_settings.pollers; said > 0) n = said;
  return n < 1 ? 1 : n > kMaxPollers ? kMaxPollers : n;
}

/// Tells what one instance has, at most kPollBatch things.
void ask(Poller& p, std::int64_t timeout, waiter** chain) noexcept {
  os::PollEvent events[os::kPollBatch];
  p.polls.store(p.polls.load(os::memory_order_relaxed) + 1, os::memory_order_relaxed);
  const int n = os::poll_wait(p.fd, events, timeout);
  GORT_CHECK(n >= 0, "a poller refuses to be asked");
  for (int i = 0; i < n; ++i) {
    if (events[i].tag != kBellTag) poll_tell(events[i], chain);
  }
}

void unring(const os::PollEvent& e) noexcept {
  if (e.tag != kBellTag) return;
  os::bell_clear(pollers.bell);
  // Partner: net_break. Who rings after this is seen by the watcher's next sleep; who rang before has changed what
  // the watcher looks at before that.
  pollers.rung.store(false, os::memory_order_seq_cst);
}

waiter* net_poll(P* p) noexcept {
  waiter* chain = nullptr;
  sched.net_polls.store(sched.net_polls.load(os::memory_order_relaxed) + 1, os::memory_order_relaxed);
  if (p != nullptr) {
    Poller& own = pollers.each[p->id / kProcsPerPoller % pollers.n];
    ask(own, 0, &chain);
    if (chain != nullptr || pollers.n == 1) return chain;
  }
  for (int i = 0; i < pollers.n && chain == nullptr; ++i) ask(pollers.each[i], 0, &chain);
  return chain;
}

waiter* net_sleep(std::int64_t deadline) noexcept {
  std::int64_t timeout = -1;
  if (deadline != kForever) {
    timeout = deadline - os::nanotime();
    if (timeout < 0) timeout = 0;
  }
  waiter* chain = nullptr;
  os::PollEvent events[os::kPollBatch];
  sched.net_polls.store(sched.net_polls.load(os::memory_order_relaxed) + 1, os::memory_order_relaxed);
  const int n = os::poll_wait(pollers.all, events, timeout);
  GORT_CHECK(n >= 0, "the poller refuses to be asked");
  for (int i = 0; i < n; ++i) {
    if (events[i].tag < kPollerTags) {
      if (events[i].tag == kBellTag) {
        unring(events[i]);
      } else {
        ask(pollers.each[events[i].tag - 1], 0, &chain);
      }
    } else {
      poll_tell(events[i], &chain);
    }
  }
  return chain;
}

void net_break() noexcept {
  if (fault(Fault::net_break)) return;
  if (!pollers.rung.exchange(true, os::memory_order_seq_cst)) os::bell_ring(pollers.bell);
}

/// 0, or errno.
int make_instances() noexcept {
  pollers.n = instances();
  pollers.bell = os::bell_create();
  if (pollers.bell < 0) return -pollers.bell;
  for (int i = 0; i < pollers.n; ++i) {
    pollers.each[i].fd = os::poll_create();
    if (pollers.each[i].fd < 0) return -pollers.each[i].fd;
  }
  pollers.all = pollers.n == 1 ? pollers.each[0].fd : os::poll_create();
  if (pollers.all < 0) return -pollers.all;
  for (int i = 0; pollers.n > 1 && i < pollers.n; ++i) {
    const int r = os::poll_add_level(pollers.all, pollers.each[i].fd, static_cast<std::uint64_t>(i) + 1);
    if (r < 0) return -r;
  }
  return -os::poll_add_level(pollers.all, pollers.bell, kBellTag);
}

void close_instances() noexcept {
  if (pollers.bell >= 0) os::fd_close(pollers.bell);
  if (pollers.all >= 0 && pollers.all != pollers.each[0].fd) os::fd_close(pollers.all);
  for (Poller& p : pollers.each) {
    if (p.fd >= 0) os::fd_close(p.fd);
    p.fd = -1;
  }
  pollers.bell = pollers.all = -1;
}

}  // namespace

int pollers_start() noexcept {
  if (__builtin_expect(pollers.started.load(os::memory_order_acquire), 1)) return 0;
  {
    LockGuard guard(start_lock);
    if (pollers.started.load(os::memory_order_relaxed)) return 0;
    // No descriptors left, perhaps: the next one tries again.
    if (const int error = make_instances(); error != 0) {
      close_instances();
      return error;
    }
    sched_hooks.net_poll = net_poll;
    sched_hooks.net_break = net_break;
    sched_hooks.net_sleep = net_sleep;
    pollers.started.store(true, os::memory_order_seq_cst);
    sched.net_started.store(true, os::memory_order_seq_cst);
  }
  // A watcher may sleep on its note: it shall sleep here. Who has looked for the hook before it was set, and rung the
  // note, is made up for by this ring as well.
  sched.idle_note.ring();
  net_break();
  return 0;
}

std::uint16_t poller_here() noexcept {
  if (pollers.n == 1) return 0;
  const M* m = self_m();
  const P* p = m != nullptr ? m->p : nullptr;
  const int group = p != nullptr ? p->id / kProcsPerPoller : static_cast<int>(os::cputicks() >> 4 & 0xff);
  return static_cast<std::uint16_t>(group % pollers.n);
}

}  // namespace gort::inline v0::rt
