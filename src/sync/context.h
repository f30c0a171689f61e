// gort: the tree of contexts: who is cancelled with whom, what is done about it, who carries values. The public face is
// include/gort/context.h.
//
//   kind     can be cancelled      made by
//   root     yes, by a run's end   the runtime's start, and the end of each last run, for the next one
//   cancel   yes                   with_cancel and its kin, scopes, tasks
//   value    as its parent         with_value, with_context (without a value)
//   shield   no                    shield
//
// `up` is the nearest context above whose cancellation is also this one's. A context hangs in the list of its `up` only
// once somebody looks at it (context_link): at the first blocking call in it, at the first question. So a task that
// never waits costs its parent's lock nothing.
//
// A child is not forgotten:
//
//   context_link                            context_cancel
//     takes the lock of up's children          sets up's `cancelled`
//     looks at up's `cancelled`                takes the lock, takes the children away
//     hangs itself in, or is cancelled         unlocks, cancels each
//
// Two counts. `refs`: handles, children, a task's frame. When they are gone, nobody can ask for it any more: the API
// layer destroys what users have put there, outside the runtime, and lets the parent go. `pins`: the refs
// together, timers, cancellers; who lets the last one go returns the memory. Pins never come to run users' code.
// Roots are not counted by what is below them (one cache line for all processors). When their run has left nobody over,
// and nobody has a handle, they are kept for later runs: contexts below may be left all the same, in handles. Such a root is
// cancelled, so they are, too, as soon as somebody looks.
#pragma once

#include <cstddef>

#include "sched/g.h"
#include "sync/cancel.h"

namespace gort::inline v0::rt {

enum class ContextKind : std::uint8_t { root, cancel, value, shield };

/// A std::error_code; category null: gort::cancel_category(), with the values below.
struct CancelCause {
  int value = 0;
  const void* category = nullptr;
};
inline constexpr int kCauseCancelled = 1;  // as gort::cancel_reason
inline constexpr int kCauseTimedOut = 2;
inline constexpr int kCauseSiblingFailed = 3;
inline constexpr int kCauseRunEnded = 4;

struct Bubble;
struct Chan;
struct Context;

struct ContextChildren {
  Mutex lock{LockRank::context};
  Context* first = nullptr;  ///< under lock
};

/// A function that is to run when a context is cancelled: a goroutine that is ready but for its start.
struct ContextCallback {
  ContextCallback* prev = nullptr;  ///< under Context::callbacks_lock while `in` is set
  ContextCallback* next = nullptr;
  Context* in = nullptr;            ///< in whose list it is; null: taken out, by its owner or to be started
  G* g = nullptr;
  void (*fn)(void*) = nullptr;
  void* arg = nullptr;
  CancelSource* background = nullptr;  ///< above `in`: what lies between may be gone when it starts
  Bubble* bubble = nullptr;         ///< of who has hung it in: its goroutine is born into that, unless that has ended
  std::uint64_t bubble_serial = 0;
  os::atomic<std::uint32_t> run_epoch{0};  ///< its goroutine's; 0: not started yet. Written by who starts it
};

struct Context {
  CancelSource source;               ///< of kinds root and cancel
  ContextKind kind = ContextKind::cancel;
  bool own_deadline = false;         ///< a timer of its own will cancel it; constant
  os::atomic<std::uint32_t> claimed{0};  ///< somebody cancels it: its cause is his
  os::atomic<std::uint32_t> refs{1};
  os::atomic<std::uint32_t> pins{1};
  Context* parent = nullptr;         ///< next in search of values; counted in refs, unless a root. Constant, as up and src
  Context* up = nullptr;             ///< what cancels it; null: nothing
  Context* src = nullptr;            ///< itself, if it can be cancelled, or what is asked instead; null: nothing
  std::int64_t deadline = INT64_MAX;  ///< nanotime; the earliest of its own and those above. Constant
  CancelCause cause;                 ///< written by who has claimed it, before `cancelled`
  ContextChildren children;          ///< not of roots
  Context* prev = nullptr;           ///< these three under the lock of its list in `up`
  Context* next = nullptr;
  bool hangs = false;
  std::uint32_t run_epoch = 0;       ///< of a task's: no earlier than its goroutine's; the API's
  Context* todo = nullptr;           ///< link of the list of who cancels it (CancelRest)
  Context* rest = nullptr;           ///< what its timer has not cancelled yet; the timer's, and who removes that
  Mutex callbacks_lock{LockRank::context};
  os::atomic<ContextCallback*> callbacks{nullptr};  ///< written under callbacks_lock
  os::atomic<bool> timed{false};     ///< its timer has been armed, by whoever looked first, and not removed
  os::atomic<bool> timer_again{false};  ///< it has armed itself again
  os::atomic<Chan*> done{nullptr};   ///< closed when it is cancelled; made for the first who waits for that
  std::uint64_t bubble = 0;          ///< serial of the bubble that it was made in; constant
  const void* key = nullptr;         ///< of a value; constant
  void* value = nullptr;
  void (*destroy)(void*) noexcept = nullptr;
  os::atomic<void*> api{nullptr};    ///< the API's; made on demand
  alignas(std::max_align_t) std::byte task[128];  ///< a small frame of the task whose context it is, the API's; or its timer
};

/// Children of a root: many goroutines of many processors come and go here.
inline constexpr std::uint32_t kRootShards = 16;
struct RootContext : Context {
  struct alignas(64) Shard : ContextChildren {};
  Shard shards[kRootShards];
  RootContext* next_inherited = nullptr;  ///< roots of ended runs, see root_inherited
};

inline Context* context_of(CancelSource* s) noexcept { return reinterpret_cast<Context*>(s); }

inline bool context_cancelled(const Context* c) noexcept { return c->src != nullptr && is_cancelled(&c->src->source); }

struct NewContext {
  ContextKind kind = ContextKind::cancel;
  std::int64_t deadline = INT64_MAX;
  const void* key = nullptr;
  void* value = nullptr;
  void (*destroy)(void*) noexcept = nullptr;
};
/// A context below `parent` (null: nothing), with one ref; takes a ref of the parent. Null: no memory. Nothing that is done with
/// it later needs any, but context_done. O(1), in the runtime.
Context* context_new(Context* parent, const NewContext& what) noexcept;

inline void context_ref(Context* c) noexcept { c->refs.fetch_add(1, os::memory_order_relaxed); }
/// True: it was the last; the caller unhangs it with context_retire, then unrefs the parent, if that is no root.
inline bool context_unref(Context* c) noexcept {
  return c->refs.load(os::memory_order_acquire) == 1 || c->refs.fetch_sub(1, os::memory_order_acq_rel) == 1;
}
/// What it leaves to be destroyed by the API.
struct RetiredContext {
  Context* parent = nullptr;  ///< to be unref'd; null for a root
  void* value = nullptr;
  void (*destroy)(void*) noexcept = nullptr;
  void* api = nullptr;
  ContextCallback* callbacks = nullptr;  ///< never started; a list by `next`, their Gs not yet discarded
};
RetiredContext context_retire(Context* c) noexcept;

/// Hangs it in, with all above it; cancels it if one of them is; starts its timer. In the runtime; O(1) after the first time.
void context_link_slow(Context* c) noexcept;
inline bool context_linked(const CancelSource* s) noexcept { return s->linked.load(os::memory_order_acquire); }

/// Cancels it and what is below it. False: it is, or is being, cancelled. Any thread, in the runtime, under no lock.
/// Starts goroutines (the callbacks'). O(contexts and members below), in steps of some ten microseconds; the world may be
/// stopped, or the goroutine lose its turn, between them.
bool context_cancel(Context* c, CancelCause cause) noexcept;

/// The same in steps. The contexts that are claimed and still to be cancelled, linked by `todo`, each of them pinned: a step
/// works at the first, and puts its children behind it. Null: done, or not begun.
using CancelRest = Context*;
[[nodiscard]] CancelRest context_cancel_begin(Context* c, CancelCause cause) noexcept;
[[nodiscard]] CancelRest context_cancel_step(CancelRest rest) noexcept;
void context_cancel_finish(CancelRest rest) noexcept;

/// Hangs a callback in, or, if the context is cancelled, starts it. `cb` with g, fn, arg set stays its owner's.
void context_add_callback(Context* c, ContextCallback* cb) noexcept;
/// True: it was still there, and will not be started.
bool context_remove_callback(ContextCallback* cb, Context* c) noexcept;
ContextCallback* callback_alloc() noexcept;  ///< null: no memory
void callback_free(ContextCallback* cb) noexcept;

/// A channel of nothing that is closed when c is cancelled, to be waited for alone or in a select. Lives as long as c.
/// Null: no memory.
Chan* context_done(Context* c) noexcept;
/// Of a root that will be used again: nobody has a handle of it, so nobody waits for that.
void context_done_gone(Context* c) noexcept;

// ---- backgrounds ----------------------------------------------------------------------------

// The hooks of run_begins and run_ends.

CancelSource* root_new() noexcept;
void root_unused(CancelSource* root) noexcept;
/// Ends the waits of goroutines in the background of an ended run, and all contexts below it. Again and again, until
/// nobody waits: one that was about to park may be missed by one call (see context_root.cc).
void root_cancel(CancelSource* root) noexcept;
/// Goroutines in it may be left, and live on in a run that has begun meanwhile, or are left over.
void root_inherited(CancelSource* root) noexcept;
/// No goroutine is left, neither in it nor in those inherited.
void root_over(CancelSource* root) noexcept;

/// Contexts in use, for tests.
std::size_t contexts_in_use() noexcept;

}  // namespace gort::inline v0::rt
