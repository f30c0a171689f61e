#include "sync/context.h"

#include <utility>

#include "base/alloc.h"
#include "base/fault.h"
#include "sched/sched.h"
#include "sched/spawn.h"
#include "sched/stop_point.h"
#include "sync/bubble.h"
#include "sync/chan.h"
#include "sync/context_timer.h"
#include "sync/test_points.h"

namespace gort::inline v0::rt {

namespace {

constinit FixAlloc<Context> contexts;
constinit FixAlloc<ContextCallback> callback_memory;
constinit FixAlloc<Chan> done_channels;

// Contexts come and go with tasks, so each P keeps some, linked by `next`: the pool's lock is half of a task's price.
// A P that retires keeps its own until it comes back.
constexpr std::uint32_t kCached = 1024;

/// The P whose cache may be used until the next stop point; null: the thread has none.
P* caching_p() noexcept {
  const M* m = self_m();
  return m != nullptr ? m->p : nullptr;
}

void* context_alloc() noexcept {
  P* p = caching_p();
  if (p == nullptr || p->contexts == nullptr) return contexts.try_alloc();
  Context* c = p->contexts;
  p->contexts = c->next;
  p->contexts_n.store(p->contexts_n.load(os::memory_order_relaxed) - 1, os::memory_order_relaxed);
  return c;
}

void context_free(Context* c) noexcept {
  P* p = caching_p();
  if (p == nullptr) return contexts.free(c);
  std::uint32_t n = p->contexts_n.load(os::memory_order_relaxed);
  if (n >= kCached) {
    // Who makes them on one P and lets go of them on another one would otherwise never find any.
    for (; n > kCached / 2; --n) {
      Context* old = p->contexts;
      p->contexts = old->next;
      contexts.free(old);
    }
  }
  c->next = p->contexts;
  p->contexts = c;
  p->contexts_n.store(n + 1, os::memory_order_relaxed);
}

void unpin(Context* c) noexcept {
  // One pin, ours: it does not hang where anybody could find it and pin it again.
  if (c->pins.load(os::memory_order_acquire) != 1 && c->pins.fetch_sub(1, os::memory_order_acq_rel) != 1) return;
  if (Chan* done = c->done.load(os::memory_order_acquire)) done_channels.free(done);
  context_free(c);
}

ContextChildren& list_in(Context* up, const Context* child) noexcept {
  if (up->kind != ContextKind::root) return up->children;
  const auto bits = reinterpret_cast<std::uintptr_t>(child);
  return static_cast<RootContext*>(up)->shards[(bits / sizeof(Context)) % kRootShards];
}

/// Whoever does is the one that cancels it.
bool claim(Context* c, CancelCause cause) noexcept {
  if (c->claimed.exchange(1, os::memory_order_acq_rel) != 0) return false;
  c->cause = cause;
  return true;
}

void hang_out(ContextChildren& list, Context* c) noexcept {
  (c->prev != nullptr ? c->prev->next : list.first) = c->next;
  if (c->next != nullptr) c->next->prev = c->prev;
  c->prev = c->next = nullptr;
  c->hangs = false;
}

constexpr int kStep = 64;  // children or callbacks that one step takes

/// Takes children of `at` away, claimed and pinned: they are to be cancelled after it. True: there may be more.
bool take_children(ContextChildren& list, Context* at) noexcept {
  LockGuard guard(list.lock);
  for (int n = 0; n < kStep; ++n) {
    Context* child = list.first;
    if (child == nullptr) return false;
    hang_out(list, child);
    if (!claim(child, at->cause)) continue;  // somebody else is at it
    child->pins.fetch_add(1, os::memory_order_relaxed);
    child->todo = at->todo;
    at->todo = child;
  }
  return true;
}

bool take_children(Context* at) noexcept {
  if (at->kind != ContextKind::root) return take_children(at->children, at);
  for (auto& shard : static_cast<RootContext*>(at)->shards) {
    if (take_children(shard, at)) return true;
  }
  return false;
}

/// The background above c, of which the caller has a ref.
CancelSource* background_of(Context* c) noexcept {
  for (; c != nullptr && c->kind != ContextKind::root; c = c->up) {
  }
  return c != nullptr ? &c->source : nullptr;
}

void start_callback(ContextCallback* cb) noexcept {
  StartArgs args;
  args.fn = cb->fn;
  args.arg = cb->arg;
  args.name = "after_func";
  args.name_bytes = 10;
  args.background = cb->background;  // which may not be the one of who cancels
  args.has_background = true;
  if (Bubble* b = cb->bubble; b != nullptr && b->serial == cb->bubble_serial) args.bubble = b;
  const M* m = self_m();
  args.run_epoch = m != nullptr && m->curg != nullptr ? m->curg->run_epoch : sched.run_epoch.load(os::memory_order_relaxed);
  cb->run_epoch.store(args.run_epoch, os::memory_order_release);
  G* g = cb->g;
  cb->g = nullptr;  // from its start on, the callback belongs to the goroutine
  g_start(g, args);
}

/// True: there are more.
bool start_callbacks(Context* c) noexcept {
  ContextCallback* first = nullptr;
  ContextCallback* end = nullptr;
  {
    LockGuard guard(c->callbacks_lock);
    first = end = c->callbacks.load(os::memory_order_relaxed);
    for (int n = 0; end != nullptr && n < kStep; ++n, end = end->next) end->in = nullptr;
    c->callbacks.store(end, os::memory_order_relaxed);
    if (end != nullptr) end->prev = nullptr;
  }
  while (first != end) {
    ContextCallback* cb = first;
    first = first->next;
    start_callback(cb);
  }
  return end != nullptr;
}

/// Hangs c into the list of its `up`. False: that is cancelled.
bool hang_in(Context* c) noexcept {
  ContextChildren& list = list_in(c->up, c);
  LockGuard guard(list.lock);
  if (is_cancelled(&c->up->source) && !fault(Fault::cancel_hang)) return false;
  if (c->hangs || c->claimed.load(os::memory_order_relaxed) != 0) return true;
  c->hangs = true;
  c->next = list.first;
  if (c->next != nullptr) c->next->prev = c;
  list.first = c;
  return true;
}

}  // namespace

Context* context_new(Context* parent, const NewContext& what) noexcept {
  void* const memory = context_alloc();
  if (memory == nullptr) return nullptr;
  auto* c = ::new (memory) Context;
  c->kind = what.kind;
  c->parent = parent;
  c->bubble = bubble_serial();
  c->key = what.key;
  c->value = what.value;
  c->destroy = what.destroy;
  if (parent != nullptr && parent->kind != ContextKind::root) context_ref(parent);
  if (what.kind == ContextKind::shield) return c;
  if (parent != nullptr) {
    c->up = parent->src;
    c->deadline = parent->deadline;
  }
  if (what.kind == ContextKind::value) {
    c->src = c->up;
    return c;
  }
  c->src = c;
  if (what.deadline < c->deadline) {
    c->deadline = what.deadline;
    c->own_deadline = true;
    context_timer_make(c);
  }
  return c;
}

void context_link_slow(Context* c) noexcept {
  // All of them are hung in before one of them says so: who finds `linked` set can rely on all that is above. What is
  // above a cancelled one is left alone: nobody has looked at it.
  Context* end = c;  // the first that is not hung in here
  for (bool cancelled = false; end != nullptr && !context_linked(&end->source) && !cancelled; end = end->up) {
    if (end->up == nullptr) continue;
    cancelled = !hang_in(end);
    if (cancelled) context_cancel(end, end->up->cause);
  }
  for (Context* at = c; at != end && !context_linked(&at->source); at = at->up) {
    if (at->own_deadline && !is_cancelled(&at->source)) context_timer_start(at);
    at->source.linked.store(true, os::memory_order_release);
  }
}

CancelRest context_cancel_begin(Context* c, CancelCause cause) noexcept {
  if (!claim(c, cause)) return nullptr;
  c->pins.fetch_add(1, os::memory_order_relaxed);
  return c;
}

CancelRest context_cancel_step(CancelRest at) noexcept {
  cancel_fire(&at->source);
  if (cancel_walk(&at->source) || take_children(at) || start_callbacks(at)) return at;
  // Partner: context_done, which hangs the channel in, then looks at the flag.
  if (Chan* done = at->done.load(os::memory_order_seq_cst)) chan_close(done);
  wait_point(WaitPoint::context_told, nullptr);
  context_timer_stop(at);
  CancelRest rest = std::exchange(at->todo, nullptr);
  unpin(at);
  return rest;
}

bool context_cancel(Context* c, CancelCause cause) noexcept {
  CancelRest rest = context_cancel_begin(c, cause);
  if (rest == nullptr) return false;
  context_cancel_finish(rest);
  return true;
}

void context_cancel_finish(CancelRest rest) noexcept {
  for (; rest != nullptr; rest = context_cancel_step(rest)) let_in();
}

RetiredContext context_retire(Context* c) noexcept {
  if (c->kind == ContextKind::cancel) {
    if (c->up != nullptr && context_linked(&c->source)) {
      ContextChildren& list = list_in(c->up, c);
      LockGuard guard(list.lock);
      if (c->hangs) hang_out(list, c);
    }
    context_cancel_finish(context_timer_remove(c));
  }
  RetiredContext left;
  left.value = c->value;
  left.destroy = c->destroy;
  left.api = c->api.load(os::memory_order_acquire);
  if (c->parent != nullptr && c->parent->kind != ContextKind::root) left.parent = c->parent;
  // No new ones come; who cancels may be taking them away.
  if (c->callbacks.load(os::memory_order_relaxed) != nullptr) {
    LockGuard guard(c->callbacks_lock);
    left.callbacks = c->callbacks.load(os::memory_order_relaxed);
    c->callbacks.store(nullptr, os::memory_order_relaxed);
    for (ContextCallback* cb = left.callbacks; cb != nullptr; cb = cb->next) cb->in = nullptr;
  }
  unpin(c);
  return left;
}

Chan* context_done(Context* c) noexcept {
  Chan* done = c->done.load(os::memory_order_acquire);
  if (done != nullptr) return done;
  void* const memory = done_channels.try_alloc();
  if (memory == nullptr) return nullptr;
  auto* fresh = ::new (memory) Chan;
  // A background is nobody's: nothing in a bubble ends it.
  fresh->bubble = c->kind == ContextKind::root ? kEveryBubble : c->bubble;
  if (!c->done.compare_exchange_strong(done, fresh, os::memory_order_seq_cst, os::memory_order_acquire)) {
    done_channels.free(fresh);
    return done;
  }
  if (is_cancelled(&c->source)) chan_close(fresh);
  return fresh;
}

void context_done_gone(Context* c) noexcept {
  if (Chan* done = c->done.exchange(nullptr, os::memory_order_acq_rel)) done_channels.free(done);
}

void context_add_callback(Context* c, ContextCallback* cb) noexcept {
  cb->bubble = current_bubble();
  cb->bubble_serial = bubble_serial();
  cb->background = background_of(c);
  {
    LockGuard guard(c->callbacks_lock);
    // Under the lock: who cancels sets the flag before it takes the callbacks.
    if (!is_cancelled(&c->source)) {
      cb->in = c;
      cb->prev = nullptr;
      cb->next = c->callbacks.load(os::memory_order_relaxed);
      if (cb->next != nullptr) cb->next->prev = cb;
      c->callbacks.store(cb, os::memory_order_relaxed);
      return;
    }
  }
  start_callback(cb);
}

bool context_remove_callback(ContextCallback* cb, Context* c) noexcept {
  LockGuard guard(c->callbacks_lock);
  if (cb->in != c) return false;
  if (cb->prev != nullptr) {
    cb->prev->next = cb->next;
  } else {
    c->callbacks.store(cb->next, os::memory_order_relaxed);
  }
  if (cb->next != nullptr) cb->next->prev = cb->prev;
  cb->in = nullptr;
  return true;
}

ContextCallback* callback_alloc() noexcept {
  void* const memory = callback_memory.try_alloc();
  return memory != nullptr ? ::new (memory) ContextCallback : nullptr;
}
void callback_free(ContextCallback* cb) noexcept { callback_memory.free(cb); }

std::size_t contexts_in_use() noexcept {
  std::size_t n = contexts.in_use();
  for (const auto& made : sched.all_p) {
    const P* p = made.load(os::memory_order_acquire);
    if (p == nullptr) break;
    n -= p->contexts_n.load(os::memory_order_relaxed);
  }
  return n;
}

}  // namespace gort::inline v0::rt
