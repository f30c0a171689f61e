#include "debug/capture.h"

#include <cstring>

#include "sched/sched.h"
#include "sched/spawn.h"
#include "world/signal.h"

namespace gort::inline v0::rt {

namespace {

/// M::dump_state. A requester takes it from free to asked, the handler on to writing and written, the
/// requester back to free. A requester that has lost patience goes from asked to free, or leaves a late
/// handler `abandoned` behind, which that one clears.
enum Dump : std::uint32_t { kFree, kAsked, kWriting, kWritten, kAbandoned };

/// What an M says, in its signal scratch.
struct Answer {
  std::uint64_t goid;  // 0: on its own stack
  Frames frames;
};
static_assert(sizeof(Answer) <= kSignalScratch);

Answer* answer_of(const M* m) noexcept { return static_cast<Answer*>(signal_scratch(m)); }

bool within(std::uintptr_t p, std::uintptr_t lo, std::uintptr_t hi) noexcept { return p - lo < hi - lo; }

/// In the handler, on m's signal stack.
void serve_trace(M* m, const void* ucontext) noexcept {
  std::uint32_t state = kAsked;
  if (!m->dump_state.compare_exchange_strong(state, kWriting)) return;  // the requester has given up
  Answer* a = answer_of(m);
  arch::Cursor c = arch::cursor_from_signal(ucontext);
  // In the middle of a switch the M stands on its own stack, or still on that of the goroutine before.
  const bool on_own_stack = within(c.sp(), m->stack_lo, m->stack_hi);
  // (Between these two moments `after` is set, and nobody else touches the goroutine that leaves.)
  const bool on_left_stack = m->after != nullptr && within(c.sp(), m->left->stack.lo, m->left->stack.hi);
  const G* g = on_left_stack ? m->left : m->curg;
  a->goid = g != nullptr && !on_own_stack ? g->goid : 0;
  allow_stacks(c, g, m);
  walk_stack(c, &a->frames);
  state = kWriting;
  if (!m->dump_state.compare_exchange_strong(state, kWritten)) {
    m->dump_state.store(kFree);
    return;
  }
  os::futex_wake(&m->dump_state, 1);
}

/// Waits for m's dump_state to leave `from`; false if the time is up.
bool wait_past(M* m, std::uint32_t from, std::int64_t deadline) noexcept {
  while (m->dump_state.load() == from) {
    const std::int64_t left = deadline - os::nanotime();
    if (left <= 0) return false;
    os::futex_wait(&m->dump_state, from, left);
  }
  return true;
}

/// Asks m where it is. False: no answer in time, or no thread.
bool ask_m(M* m, std::int64_t* patience, Answer* out) noexcept {
  constexpr std::int64_t kLeast = 1'000'000;
  if (m == self_m() || *patience <= kLeast) return false;
  const std::int64_t start = os::nanotime();
  const std::int64_t deadline = start + *patience / 2;  // one that is deaf leaves something for the others
  const auto done = [&](bool ok) {
    *patience -= os::nanotime() - start;
    return ok;
  };
  std::uint32_t state = kFree;
  while (!m->dump_state.compare_exchange_strong(state, kAsked)) {
    if (os::nanotime() > deadline) return done(false);
    os::sleep_ns(50'000);  // somebody else asks the same thread
    state = kFree;
  }
  if (ask(m, kAskedTrace)) {
    if (wait_past(m, kAsked, deadline) && wait_past(m, kWriting, deadline)) {
      std::memcpy(out, answer_of(m), sizeof *out);
      m->dump_state.store(kFree);
      return done(true);
    }
    unask(m, kAskedTrace);
  }
  state = kAsked;
  if (m->dump_state.compare_exchange_strong(state, kFree)) return done(false);
  if (state == kWriting && m->dump_state.compare_exchange_strong(state, kAbandoned)) return done(false);
  // Written just now.
  std::memcpy(out, answer_of(m), sizeof *out);
  m->dump_state.store(kFree);
  return done(true);
}

const char* status_text(GStatus s) noexcept { return s == GStatus::syscall ? "syscall" : g_status_text(s); }

/// What a header line says. `status` as it was when the frames were taken.
void describe(const G* g, GStatus status, Captured* out) noexcept {
  std::memcpy(out->name, g->name, sizeof out->name);
  out->name[sizeof out->name - 1] = '\0';
  GoroutineTrace& t = out->trace;
  t = {};
  t.id = g->goid;
  t.status = status_text(status);
  if (status == GStatus::waiting) {
    t.wait_reason = wait_reason_text(g->wait_reason);
    const std::int64_t since = g->waiting_since.load(os::memory_order_relaxed);
    t.waiting_minutes = (os::nanotime() / 1'000'000'000 - since) / 60;
  }
  t.locked_to_thread = g->locked_m != nullptr;
  t.name = out->name[0] != '\0' ? out->name : nullptr;
  t.created_by = g->main ? 0 : g->created_by_pc;
  t.creator_id = g->parent_goid;
}

void show_frames(Captured* out) noexcept {
  out->trace.pcs = {out->frames.pcs, out->frames.n};
  out->trace.omitted = out->frames.omitted;
}

bool has_saved_context(GStatus s) noexcept { return s == GStatus::waiting || s == GStatus::runnable; }

/// From the saved context; false if the goroutine went on meanwhile.
bool walk_saved(const G* g, GStatus status, Frames* out) noexcept {
  const std::uint64_t id = g->goid;
  const arch::Context context = g->ctx;
  const auto sp = reinterpret_cast<std::uintptr_t>(context.sp);
  const Stack stack = g->stack;
  // The context itself is read first, unchecked by any range.
  if (sp < stack.lo || sp > stack.hi || stack.hi - sp < arch::saved_frame::kSize) return false;
  // The two ends may be of two stacks, if the goroutine has just ended, with guards between them.
  Stack whole;
  if (stack_classify(sp, &whole) != StackAddr::usable || whole.lo != stack.lo || whole.hi != stack.hi) return false;
  arch::Cursor c = arch::cursor_from_context(context);
  c.allow(stack.lo, stack.hi);
  walk_stack(c, out);
  os::fence(os::memory_order_acquire);  // the walk is over before we look whether it was in peace
  return g->status.load(os::memory_order_acquire) == status && g->goid == id && g->ctx.sp == context.sp;
}

/// From where the signal handler found it, in which its M waits; false if that is not so, or not any more.
bool walk_interrupted(const G* g, const M* m, Frames* out) noexcept {
  const void* context = m->interrupted.load(os::memory_order_acquire);
  if (context == nullptr || m->curg != g) return false;
  const std::uint64_t id = g->goid;
  arch::Cursor c = arch::cursor_from_signal(context);
  allow_stacks(c, g, m);
  walk_stack(c, out);
  os::fence(os::memory_order_acquire);  // as in walk_saved
  return m->interrupted.load(os::memory_order_acquire) == context && g->goid == id;
}

}  // namespace

void walk_stack(arch::Cursor c, Frames* out) noexcept {
  // The first kTraceEnd as they come; the others go round in the second half, so that the last remain.
  std::uintptr_t* const ring = out->pcs + kTraceEnd;
  std::size_t total = 0;
  do {
    const std::uintptr_t pc = c.exact ? c.pc + 1 : c.pc;
    if (total < kTraceEnd) {
      out->pcs[total] = pc;
    } else {
      ring[(total - kTraceEnd) % kTraceEnd] = pc;
    }
    ++total;
  } while (arch::step(c));
  out->end = c.end;
  out->omitted = 0;
  out->n = static_cast<std::uint32_t>(total);
  if (total <= 2 * kTraceEnd) return;
  out->omitted = static_cast<std::uint32_t>(total - 2 * kTraceEnd);
  out->n = 2 * kTraceEnd;
  std::uintptr_t turned[kTraceEnd];
  for (std::size_t i = 0; i < kTraceEnd; ++i) turned[i] = ring[(total - kTraceEnd + i) % kTraceEnd];
  std::memcpy(ring, turned, sizeof turned);
}

void allow_stacks(arch::Cursor& c, const G* g, const M* m) noexcept {
  if (g != nullptr) c.allow(g->stack.lo, g->stack.hi);
  if (m == nullptr) return;
  c.allow(m->stack_lo, m->stack_hi);
  const auto signal_lo = reinterpret_cast<std::uintptr_t>(m->signal_stack);
  if (signal_lo != 0) c.allow(signal_lo, signal_lo + m->signal_stack_bytes);
}

void capture_current(const G* g, const arch::Cursor& c, Captured* out) noexcept {
  describe(g, GStatus::running, out);
  arch::Cursor from = c;
  allow_stacks(from, g, self_m());
  walk_stack(from, &out->frames);
  show_frames(out);
}

void capture_thread(int tid, const arch::Cursor& c, Captured* out) noexcept {
  out->trace = {};
  out->trace.id = static_cast<std::uint64_t>(tid);
  out->trace.is_thread = true;
  out->trace.status = "running";
  walk_stack(c, &out->frames);
  show_frames(out);
}

bool capture(const G* g, std::int64_t* patience, Captured* out) noexcept {
  constexpr int kTries = 4;
  GStatus status = g->status.load(os::memory_order_acquire);
  for (int i = 0; i < kTries; ++i, status = g->status.load(os::memory_order_acquire)) {
    if (status == GStatus::dead || status == GStatus::idle) return false;
    describe(g, status, out);
    if (has_saved_context(status)) {
      if (!walk_saved(g, status, &out->frames)) continue;
      show_frames(out);
      return true;
    }
    M* m = g->m;
    if (m == nullptr) continue;  // just leaving, or just arriving
    if (walk_interrupted(g, m, &out->frames)) {
      show_frames(out);
      return true;
    }
    Answer answer;
    if (!ask_m(m, patience, &answer)) return true;
    if (answer.goid != out->trace.id) continue;  // the thread runs another one by now
    out->frames = answer.frames;
    show_frames(out);
    return true;
  }
  return status != GStatus::dead;
}

bool capture_m(M* m, std::int64_t* patience, Captured* out) noexcept {
  Answer answer;
  if (!ask_m(m, patience, &answer)) return false;
  out->trace = {};
  out->trace.id = static_cast<std::uint64_t>(m->tid.load(os::memory_order_relaxed));
  out->trace.is_thread = true;
  out->trace.status = answer.goid != 0 ? "running" : m->curg != nullptr ? "switching" : "idle";
  out->frames = answer.frames;
  show_frames(out);
  return true;
}

void capture_start() noexcept { signal_serve(kAskedTrace, serve_trace); }

}  // namespace gort::inline v0::rt
