#include "sched/spawn.h"

#include "base/alloc.h"
#include "base/fault.h"
#include "sched/bubble.h"
#include "sched/entry.h"
#include "sched/park.h"
#include "sched/runs.h"
#include "sched/switch.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::uint32_t kFreeCache = 256;   // dead Gs that a P keeps for itself
constexpr std::uint32_t kFreeBatch = 128;   // moved to or from the global list at once
constexpr std::uint64_t kGoidBatch = 16;
constexpr int kMostMade = 16;               // Gs made at once

constinit FixAlloc<G> g_memory;
constinit os::atomic<std::size_t> default_stack{std::size_t{256} << 10};

/// The first code on a goroutine's stack. It loops because a goroutine that ends may leave its stack to the
/// next one without a switch (end_goroutine).
void g_main(void* arg) noexcept {
  G* g = static_cast<G*>(arg);
  // Frames of goroutines that were on this stack before. Partner: leave_for_good.
  san::acquire(reinterpret_cast<const void*>(g->stack.lo));
  finish_switch();
  for (;;) {
    san::acquire(g);
    leave_runtime();
    g->fn(g->arg);
    g = end_goroutine();
  }
}

std::uint64_t next_goid(P* p) noexcept {
  if (p == nullptr) return sched.goid_gen.fetch_add(1, os::memory_order_relaxed) + 1;
  if (p->goid_next == p->goid_end) {
    p->goid_next = sched.goid_gen.fetch_add(kGoidBatch, os::memory_order_relaxed) + 1;
    p->goid_end = p->goid_next + kGoidBatch;
  }
  return p->goid_next++;
}

P* current_p() noexcept {
  M* m = self_m();
  return m != nullptr ? m->p : nullptr;
}

/// A dead G from the caches, or null.
G* take_cached(P* p) noexcept {
  if (p == nullptr) {
    LockGuard guard(sched.g_free_lock);
    return sched.g_free.pop();
  }
  if (p->g_free.n == 0) {
    LockGuard guard(sched.g_free_lock);
    while (p->g_free.n < kFreeBatch && sched.g_free.n > 0) p->g_free.push(sched.g_free.pop());
  }
  return p->g_free.pop();
}

/// A new G; p gets some more into its cache. The head of the registry is one word for all Ps, and each failed
/// exchange on it makes those of all others dearer: with 1024 Ps that took a quarter of a millisecond per goroutine
/// (docs/scaling.md). With few Ps nobody competes, and one at a time is made. Null: no memory.
G* make_g(P* p) noexcept {
  int n = p == nullptr ? 1 : sched.nprocs.load(os::memory_order_relaxed) / 4;
  n = n < 1 ? 1 : n > kMostMade ? kMostMade : n;
  G* first = nullptr;
  G* last = nullptr;
  for (int i = 0; i < n; ++i) {
    void* const memory = g_memory.try_alloc();
    if (memory == nullptr) break;
    G* g = ::new (memory) G;
    g->wait.ready = ready_waiter;
    g->wait_state.wake = &g->wait;
    g->status.store(GStatus::dead, os::memory_order_relaxed);
    g->all_next = first;
    first = g;
    if (last == nullptr) last = g;
  }
  if (last == nullptr) return nullptr;
  G* head = sched.all_g.load(os::memory_order_relaxed);
  do {
    last->all_next = head;
  } while (!sched.all_g.compare_exchange_weak(head, first, os::memory_order_release, os::memory_order_relaxed));
  for (G* g = first; g != last; g = g->all_next) p->g_free.push(g);
  return last;
}

/// Release, partner: sum. Who has seen that nobody is left has also seen what they did: the end of a run frees it. And who
/// sees an end sees that start.
void count(P* p, os::atomic<std::uint64_t> P::*own, os::atomic<std::uint64_t>& shared) noexcept {
  if (p != nullptr) {
    (p->*own).store((p->*own).load(os::memory_order_relaxed) + 1, os::memory_order_release);
  } else {
    shared.fetch_add(1, os::memory_order_release);
  }
}

std::uint64_t sum(os::atomic<std::uint64_t> P::*own, const os::atomic<std::uint64_t>& shared) noexcept {
  std::uint64_t n = shared.load(os::memory_order_acquire);
  for (std::int32_t i = 0; i < sched.nprocs; ++i) n += (p_at(i)->*own).load(os::memory_order_acquire);
  return n;
}

/// A result of `sum` that no change of the number of Ps has come across. The world is stopped for that, but foreign
/// threads ask, too.
template <class F>
auto steady(F f) noexcept {
  for (;; os::cpu_relax(8)) {
    const std::uint32_t moves = sched.g_moves.load(os::memory_order_acquire);
    const auto result = f();
    if (fault(Fault::count_moves)) return result;
    os::fence(os::memory_order_acquire);  // partner: proc_resize
    if (moves % 2 == 0 && sched.g_moves.load(os::memory_order_relaxed) == moves) return result;
  }
}

}  // namespace

const char* g_status_text(GStatus s) noexcept {
  switch (s) {
    case GStatus::idle: return "idle";
    case GStatus::runnable: return "runnable";
    case GStatus::running: return "running";
    case GStatus::syscall: return "blocking call";
    case GStatus::waiting: return "waiting";
    case GStatus::captive: return "captive";
    case GStatus::held: return "held";
    case GStatus::dead: return "dead";
  }
  return "?";
}

std::size_t default_stack_bytes() noexcept { return default_stack.load(os::memory_order_relaxed); }
void set_default_stack_bytes(std::size_t bytes) noexcept {
  default_stack.store(bytes, os::memory_order_relaxed);
}

G* g_alloc(std::size_t stack_bytes) noexcept {
  P* p = current_p();
  const bool own = stack_bytes != 0 && stack_class_of(stack_bytes) != stack_class_of(default_stack_bytes());
  Stack stack;
  if (own ? !stack_alloc(stack_bytes, &stack) : !stack_claim_one(p)) return nullptr;
  G* g = take_cached(p);
  if (g == nullptr) g = make_g(p);
  if (g == nullptr) {
    if (own) {
      stack_free(stack);
    } else {
      stack_unclaim_one(p);
    }
    return nullptr;
  }
  g->own_stack = own;
  if (own) g->set_stack(stack);
  return g;
}

void g_prepare(P* p, G* g) noexcept {
  if (!g->own_stack) {
    Stack stack;
    if (!p->stacks.pop(&stack)) stack = stack_take_slow(p);
    g->set_stack(stack);
  }
  san::stack_born(g->san, self_m()->san, g->stack.lo, g->stack.hi);
  arch::make_context(&g->ctx, reinterpret_cast<void*>(stack_top(g->stack)), g_main, g);
}

void g_start(G* g, const StartArgs& args) noexcept {
  M* m = self_m();
  P* p = m != nullptr ? m->p : nullptr;
  G* const parent = m != nullptr ? m->curg : nullptr;
  g->goid = next_goid(p);
  g->parent_goid = parent != nullptr ? parent->goid : 0;
  g->created_by_pc = args.created_by_pc;
  // What a left-over goroutine starts is left over too.
  g->run_epoch = args.run_epoch != 0 ? args.run_epoch
                 : parent != nullptr ? parent->run_epoch
                                     : sched.run_epoch.load(os::memory_order_relaxed);
  Bubble* const bubble = args.bubble != nullptr ? args.bubble : parent != nullptr ? parent->bubble : nullptr;
  if (bubble != nullptr || g->bubble != nullptr) bubble_enter(g, bubble);
  g->fn = args.fn;
  g->arg = args.arg;
  g->main = args.main;
  g->system = args.system;
  g->eh = {};
  g->wait_reason = WaitReason::none;
  g->locals = nullptr;
  g->background = args.has_background ? args.background
                  : parent != nullptr ? parent->background
                                      : sched.background.load(os::memory_order_acquire);
  g->context = args.context;
  g->cancel = args.context != nullptr ? args.cancel : g->background;
  const std::size_t name_bytes = args.name_bytes < sizeof g->name ? args.name_bytes : sizeof g->name - 1;
  for (std::size_t i = 0; i < name_bytes; ++i) g->name[i] = args.name[i];
  g->name[name_bytes] = '\0';
  g->ctx = {};
  const bool counts = !args.system && !left_over(g);
  g->counted.store(counts ? g->goid : 0, os::memory_order_relaxed);
  if (counts) count(p, &P::g_started, sched.g_started);
  san::release(g);
  g->status.store(GStatus::runnable, os::memory_order_relaxed);
  if (p != nullptr) {
    if (runq_put(p, g, true)) return wake_p_after_rmw();
  } else {
    LockGuard guard(sched.lock);
    global_put(g);
  }
  wake_p();
}

void g_discard(G* g) noexcept { g_free(current_p(), g); }

void g_free(P* p, G* g) noexcept {
  const bool was_started = g->status.load(os::memory_order_relaxed) != GStatus::dead;
  if (was_started) {
    if (g->stack) san::stack_gone(g->san, g->stack.lo, g->stack.hi);
    if (left_over(g)) {
      g_count_end(g, g->goid);
    } else if (!g->system) {
      count(p, &P::g_ended, sched.g_ended);
    }
    g->status.store(GStatus::dead, os::memory_order_release);
    bubble_exit(g);
  }
  if (g->own_stack) {
    stack_free(g->stack);
  } else {
    stack_unclaim_one(p);
    if (g->stack) stack_put(p, g->stack);
  }
  g->stack = {};
  if (p == nullptr) {
    LockGuard guard(sched.g_free_lock);
    sched.g_free.push(g);
    return;
  }
  p->g_free.push(g);
  if (p->g_free.n <= kFreeCache) return;
  LockGuard guard(sched.g_free_lock);
  while (p->g_free.n > kFreeCache - kFreeBatch) sched.g_free.push(p->g_free.pop());
}

bool g_count_end(G* g, std::uint64_t goid) noexcept {
  std::uint64_t expected = goid;
  if (goid == 0 || !g->counted.compare_exchange_strong(expected, 0, os::memory_order_relaxed)) return false;
  sched.g_ended.fetch_add(1, os::memory_order_release);  // partner: sum
  return true;
}

std::uint64_t num_goroutine_started() noexcept {
  return steady([] { return sum(&P::g_started, sched.g_started); });
}

std::int64_t num_goroutine() noexcept {
  const auto n = steady([] {
    // Ends are read before starts: a goroutine that comes and goes meanwhile may be counted, never negatively.
    const std::uint64_t ended = sum(&P::g_ended, sched.g_ended);
    return static_cast<std::int64_t>(sum(&P::g_started, sched.g_started) - ended);
  });
  return n > 0 ? n : 0;
}

}  // namespace gort::inline v0::rt
