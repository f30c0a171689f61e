#include "sync/select.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/fault.h"
#include "base/random.h"
#include "base/sanitizer.h"
#include "sched/alone.h"
#include "sched/sched.h"
#include "sync/bubble.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::uint32_t kCached = 64;  // nodes that a P keeps
constexpr std::uint32_t kBatch = 16;   // taken from the pool, or given to it, at once

constinit FixAlloc<SelectNode> nodes;

P* own_p() noexcept {
  const M* m = self_m();
  return m != nullptr ? m->p : nullptr;
}

/// Null: no memory.
SelectNode* new_node() noexcept {
  void* const memory = nodes.try_alloc();
  return memory != nullptr ? ::new (memory) SelectNode : nullptr;
}

SelectNode* take_node(P* p) noexcept {
  if (p == nullptr) return new_node();
  if (p->select_nodes == nullptr) {
    while (p->select_nodes_n < kBatch) {
      SelectNode* fresh = new_node();
      if (fresh == nullptr) break;
      fresh->link = p->select_nodes;
      p->select_nodes = fresh;
      ++p->select_nodes_n;
    }
    if (p->select_nodes == nullptr) return nullptr;
  }
  SelectNode* node = p->select_nodes;
  p->select_nodes = node->link;
  --p->select_nodes_n;
  return node;
}

void put_node(P* p, SelectNode* node) noexcept {
  if (p == nullptr) return nodes.free(node);
  node->link = p->select_nodes;
  p->select_nodes = node;
  if (++p->select_nodes_n <= kCached) return;
  for (std::uint32_t i = 0; i < kBatch; ++i) {
    SelectNode* surplus = p->select_nodes;
    p->select_nodes = surplus->link;
    nodes.free(surplus);
  }
  p->select_nodes_n -= kBatch;
}

Chan* chan_of(const SelectCase& c) noexcept { return static_cast<Chan*>(c.chan); }

bool is_recv(const SelectCase& c) noexcept { return c.kind == detail::case_kind::recv; }

bool on_channel(const SelectCase& c) noexcept {
  return c.chan != nullptr && (is_recv(c) || c.kind == detail::case_kind::send);
}

/// Random numbers for one select.
class Dice {
 public:
  std::uint32_t below(std::uint32_t n) noexcept {
    const M* m = self_m();
    if (m != nullptr && m->p != nullptr) return m->p->random.below(n);
    Random own(os::cputicks());
    return own.below(n);
  }
};

/// One of those that look ready, each as likely: the k-th replaces the choice so far once in k times (reservoir sampling,
/// Knuth vol. 2, 3.4.2), so that no order has to be drawn. Null: none does.
SelectCase* pick_ready(SelectCase* cases, std::size_t n) noexcept {
  SelectCase* choice = nullptr;
  std::uint32_t ready = 0;
  for (SelectCase* c = cases; c != cases + n; ++c) {
    if (!detail::looks_ready(*c)) continue;
    if (++ready == 1 || Dice().below(ready) == 0) choice = c;
  }
  return choice;
}

/// The channels' cases, in the order in which they are locked and in a random one in which they queue: several may be at
/// one end of one channel. Both are kept in the cases themselves.
class Orders {
 public:
  Orders(SelectCase* cases, std::size_t n) noexcept : cases_(cases) {
    for (std::size_t i = 0; i < n; ++i) {
      if (!on_channel(cases[i])) continue;
      // Fisher and Yates, inside out: each order is equally likely.
      const std::uint32_t j = size_ == 0 ? 0 : Dice().below(size_ + 1);
      cases[size_].poll = cases[j].poll;
      cases[j].poll = static_cast<std::uint32_t>(i);
      cases[size_].order = static_cast<std::uint32_t>(i);
      ++size_;
    }
  }

  std::uint32_t size() const noexcept { return size_; }
  SelectCase& polled(std::uint32_t i) const noexcept { return cases_[cases_[i].poll]; }
  std::size_t index(std::uint32_t i) const noexcept { return cases_[i].poll; }

  /// By address, for lock(). Insertion for few, heapsort for many: in place, whatever comes.
  void sort() noexcept {
    if (size_ <= 12) {
      for (std::uint32_t i = 1; i < size_; ++i) {
        for (std::uint32_t j = i; j > 0 && above(j - 1, j); --j) swap(j - 1, j);
      }
      return;
    }
    for (std::uint32_t i = size_ / 2; i-- > 0;) sift(i, size_);
    for (std::uint32_t end = size_; end-- > 1;) {
      swap(0, end);
      sift(0, end);
    }
  }

  /// Each channel once.
  void lock() noexcept {
    if (alone_enter(self_m())) {
      held_ = Held::alone;
      return;
    }
    held_ = Held::lock;
    sort();
    Chan* last = nullptr;
    for (std::uint32_t i = 0; i < size_; ++i) {
      Chan* c = chan_of(ordered(i));
      if (c == last) continue;
      GORT_DCHECK(c > last, "select locks channels in the order of their addresses");
      if (last == nullptr) {
        c->lock.lock();
      } else {
        c->lock.lock_another();
      }
      last = c;
    }
  }
  void unlock() const noexcept {
    if (held_ == Held::alone) return alone_leave();
    for (std::uint32_t i = size_; i-- > 0;) {
      Chan* c = chan_of(ordered(i));
      if (i > 0 && c == chan_of(ordered(i - 1))) continue;
      if (c == chan_of(ordered(0))) {
        c->lock.unlock();
      } else {
        c->lock.unlock_another();
      }
    }
  }

 private:
  SelectCase& ordered(std::uint32_t i) const noexcept { return cases_[cases_[i].order]; }
  bool above(std::uint32_t a, std::uint32_t b) const noexcept { return ordered(a).chan > ordered(b).chan; }
  void swap(std::uint32_t a, std::uint32_t b) const noexcept {
    const std::uint32_t order = cases_[a].order;
    cases_[a].order = cases_[b].order;
    cases_[b].order = order;
  }
  void sift(std::uint32_t root, std::uint32_t end) const noexcept {
    for (std::uint32_t child = 2 * root + 1; child < end; child = 2 * root + 1) {
      if (child + 1 < end && above(child + 1, child)) ++child;
      if (!above(child, root)) return;
      swap(root, child);
      root = child;
    }
  }

  SelectCase* cases_;
  std::uint32_t size_ = 0;
  Held held_ = Held::lock;
};

ChanEnd try_locked(SelectCase& c, ChanWake* wake) noexcept {
  const ChanEnd end =
      is_recv(c) ? chan_recv_locked(chan_of(c), c.slot, wake) : chan_send_locked(chan_of(c), c.slot, wake);
  c.delivered = end == ChanEnd::done;
  return end;
}

/// What an operation's end means for the select: receiving from a closed channel fires.
ChanEnd end_for(const SelectCase& c, ChanEnd end) noexcept {
  return end == ChanEnd::closed && is_recv(c) ? ChanEnd::done : end;
}

/// Step 1: whether one could go on at once. What looks ready may not be, or no more: then it is for step 2.
bool try_one(SelectCase* cases, std::size_t n, SelectResult* result) noexcept {
  SelectCase* one = pick_ready(cases, n);
  if (one == nullptr) return false;
  Chan* c = chan_of(*one);
  ChanWake wake;
  const Held held = lock_or_alone(c->lock);
  const ChanEnd end = try_locked(*one, &wake);
  unlock(c->lock, held);
  if (end == ChanEnd::would_block) return false;
  wake.wake();
  result->end = end_for(*one, end);
  result->index = static_cast<std::size_t>(one - cases);
  return true;
}

/// Step 2, under all locks. What looks ready and is not has waiters whose wait has ended: they are dropped, it is so once.
bool try_all(SelectCase* cases, std::size_t n, SelectResult* result, ChanWake* wake) noexcept {
  while (SelectCase* one = pick_ready(cases, n)) {
    const ChanEnd end = try_locked(*one, wake);
    if (end == ChanEnd::would_block) continue;
    result->end = end_for(*one, end);
    result->index = static_cast<std::size_t>(one - cases);
    return true;
  }
  return false;
}

void put_nodes(const Orders& orders, std::uint32_t n) noexcept {
  P* p = own_p();
  for (std::uint32_t i = 0; i < n; ++i) put_node(p, orders.polled(i).node);
}

/// A node for each, before anything has been done. False: there is no memory for them.
bool take_nodes(const Orders& orders) noexcept {
  P* p = own_p();
  for (std::uint32_t i = 0; i < orders.size(); ++i) {
    if ((orders.polled(i).node = take_node(p)) != nullptr) continue;
    put_nodes(orders, i);
    return false;
  }
  return true;
}

/// Step 3, under all locks.
void queue_all(const Orders& orders, WaitState* state) noexcept {
  for (std::uint32_t i = 0; i < orders.size(); ++i) {
    SelectCase& one = orders.polled(i);
    waiter* w = &one.node->w;
    bubble_waits_for(chan_of(one)->bubble);
    w->state = state;
    w->key = one.slot;
    w->ticket = kChanQueued;
    san::release(w);
    push(is_recv(one) ? chan_of(one)->recvq : chan_of(one)->sendq, w);
  }
}

/// Step 4. Whether one of them has fired.
bool dequeue_all(const Orders& orders, SelectResult* result) noexcept {
  bool fired = false;
  P* p = own_p();
  for (std::uint32_t i = 0; i < orders.size(); ++i) {
    SelectCase& one = orders.polled(i);
    Chan* c = chan_of(one);
    waiter* w = &one.node->w;
    const Held held = lock_or_alone(c->lock);
    const std::uint32_t ticket = w->ticket;
    if (ticket == kChanQueued && !fault(Fault::select_leave)) remove(is_recv(one) ? c->recvq : c->sendq, w);
    unlock(c->lock, held);
    put_node(p, one.node);
    if (ticket != kChanDelivered && ticket != kChanClosed) continue;
    GORT_CHECK(!fired, "two cases of one select have fired");
    fired = true;
    san::acquire(w);
    one.delivered = ticket == kChanDelivered;
    *result = {end_for(one, one.delivered ? ChanEnd::done : ChanEnd::closed), orders.index(i)};
  }
  return fired;
}

}  // namespace

namespace {

[[gnu::noinline]] SelectResult select_slow(SelectCase* cases, std::size_t n, bool block, ChanWait how) noexcept {
  Orders orders(cases, n);
  SelectResult result;
  if (orders.size() == 0) {
    if (block) result.end = chan_never(n == 0 ? WaitReason::select_no_cases : WaitReason::select, how);
    return result;
  }
  ChanWake wake;
  if (!block) {
    orders.lock();
    try_all(cases, n, &result, &wake);
    orders.unlock();
    wake.wake();
    return result;
  }
  if (!take_nodes(orders)) {
    result.end = ChanEnd::no_memory;
    return result;
  }
  BlockingWait wait(WaitReason::select, how.deadline, how.cancel);
  wait.race();
  orders.lock();
  if (!fault(Fault::select_look) && try_all(cases, n, &result, &wake)) {
    orders.unlock();
    put_nodes(orders, orders.size());
    wake.wake();
    return result;
  }
  queue_all(orders, wait.state());
  orders.unlock();
  const WaitEnd end = wait.park();
  bubble_waits_no_more();
  const bool fired = dequeue_all(orders, &result);
  GORT_CHECK(fired == (end == WaitEnd::done), "a select that was ended by a channel has a case that fired");
  if (end == WaitEnd::timeout) result.end = ChanEnd::timeout;
  if (end == WaitEnd::cancelled) result.end = ChanEnd::cancelled;
  return result;
}

}  // namespace

SelectResult select(SelectCase* cases, std::size_t n, bool block, ChanWait how) noexcept {
  SelectResult result;
  if (try_one(cases, n, &result)) return result;
  return select_slow(cases, n, block, how);
}

std::size_t select_nodes_in_use() noexcept {
  std::size_t cached = 0;
  for (std::int32_t i = 0; i < kMaxProcs; ++i) {
    const P* p = p_at(i);  // dead ones too
    if (p != nullptr) cached += p->select_nodes_n;
  }
  return nodes.in_use() - cached;
}

}  // namespace gort::inline v0::rt
