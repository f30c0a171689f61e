#include "api/context.h"

#include <new>

#include "api/cancellation.h"
#include "base/check.h"
#include "sched/entry.h"
#include "sched/m.h"
#include "sched/spawn.h"
#include "sync/timers.h"

namespace gort::inline v0 {

namespace detail {

namespace {

/// A foreign thread's current context.
struct Ambient {
  rt::Context* context = nullptr;
  rt::CancelSource* cancel = nullptr;
};
constinit thread_local Ambient thread_ambient;

// Not inlined: the address of a thread_local must not be kept over a park.
[[gnu::noinline]] Ambient& ambient_of_thread() noexcept { return thread_ambient; }

[[noreturn, gnu::cold]] void out_of_order() noexcept {
  rt::fatal(
      "gort: a with_... or shield is destroyed out of order, or by another goroutine than the one "
      "that has made it");
}

rt::G* this_g() noexcept {
  rt::M* m = rt::self_m();
  return m != nullptr ? m->curg : nullptr;
}

}  // namespace

rt::CancelSource* current_cancel() noexcept {
  const rt::G* g = this_g();
  return __builtin_expect(g != nullptr, 1) ? g->cancel : ambient_of_thread().cancel;
}

rt::Context* current_context() noexcept {
  const rt::G* g = this_g();
  if (g == nullptr) return ambient_of_thread().context;
  if (g->context != nullptr) return static_cast<rt::Context*>(g->context);
  return g->background != nullptr ? rt::context_of(g->background) : nullptr;
}

rt::Context* context_for_children() noexcept {
  rt::Context* c = current_context();
  if (c != nullptr || this_g() != nullptr) return c;
  rt::CancelSource* s = rt::sched.background.load(os::memory_order_acquire);
  return s != nullptr ? rt::context_of(s) : nullptr;
}

gort::context background() noexcept {
  const rt::G* g = this_g();
  rt::CancelSource* s = g != nullptr ? g->background : rt::sched.background.load(os::memory_order_acquire);
  if (s == nullptr) return {};
  rt::context_ref(rt::context_of(s));
  return context_access::adopt(from_rt(rt::context_of(s)));
}

void context_seen(rt::Context* c) noexcept {
  if (c == nullptr || c->src == nullptr || rt::context_linked(&c->src->source)) return;
  rt::RuntimeEntry entry;
  rt::context_link_slow(c->src);
}

std::error_code cause_of(const rt::Context* c) noexcept {
  if (c == nullptr || !rt::context_cancelled(c)) return {};
  const rt::CancelCause& cause = c->src->cause;
  return {cause.value, cause.category == nullptr
                           ? cancel_category()
                           : *static_cast<const std::error_category*>(cause.category)};
}

rt::CancelCause to_cause(std::error_code cause) noexcept {
  if (!cause) return {rt::kCauseCancelled, nullptr};
  return {cause.value(), &cause.category()};
}

void leave_context(rt::G* g) noexcept {
  if (g->wait_state.member_of != nullptr) {
    rt::RuntimeEntry entry;
    rt::cancel_leave(&g->wait_state);
  }
  g->context = nullptr;
  g->cancel = nullptr;
}

// ---- handles --------------------------------------------------------------------------------

void context_ref(context_node* c) noexcept {
  if (c != nullptr) rt::context_ref(to_rt(c));
}

// In context_callbacks.cc.
void stop_source_destroy(void* source) noexcept;
void callback_dropped(callback_core* reg) noexcept;

namespace {

/// Of a context that nobody can reach any more, outside the runtime.
void destroy_contents(const rt::RetiredContext& left) noexcept {
  if (left.destroy != nullptr) left.destroy(left.value);
  if (left.api != nullptr) stop_source_destroy(left.api);
  for (rt::ContextCallback* cb = left.callbacks; cb != nullptr;) {
    rt::ContextCallback* next = cb->next;
    auto* reg = static_cast<callback_core*>(cb->arg);
    callback_dropped(reg);
    cb = next;
  }
}

}  // namespace

void context_unref(context_node* node) noexcept {
  for (rt::Context* c = to_rt(node); c != nullptr && rt::context_unref(c);) {
    if (rt::in_fork_child()) return;
    if (c->kind == rt::ContextKind::root) {
      rt::RuntimeEntry entry;
      rt::root_unused(&c->source);
      return;
    }
    rt::RetiredContext left;
    {
      rt::RuntimeEntry entry;
      left = rt::context_retire(c);
    }
    destroy_contents(left);
    c = left.parent;
  }
}

const void* context_value(const context_node* node, const void* key) noexcept {
  for (const rt::Context* c = to_rt(node); c != nullptr; c = c->parent) {
    if (c->key == key) return c->value;
  }
  return nullptr;
}

// ---- installers -----------------------------------------------------------------------------

namespace {

/// Null: a shield, and no memory.
rt::Context* make(rt::Context* parent, const rt::NewContext& what) {
  rt::Context* c = nullptr;
  {
    rt::RuntimeEntry entry;
    c = rt::context_new(parent, what);
  }
  if (c != nullptr || what.kind == rt::ContextKind::shield) return c;
  if (what.destroy != nullptr) what.destroy(what.value);
  throw std::bad_alloc();
}

constexpr rt::ContextKind kind_of(context_kind k) noexcept {
  switch (k) {
    case kind_cancel:
      return rt::ContextKind::cancel;
    case kind_value:
      return rt::ContextKind::value;
    case kind_shield:
      break;
  }
  return rt::ContextKind::shield;
}

}  // namespace

installer::installer(context_kind kind, std::int64_t deadline_ns) {
  rt::NewContext what;
  what.kind = kind_of(kind);
  what.deadline = deadline_ns;
  install(make(current_context(), what));
}

installer::installer(context_kind kind, context_value_slot value) {
  rt::NewContext what;
  what.kind = kind_of(kind);
  what.key = value.key;
  what.value = value.value;
  what.destroy = value.destroy;
  install(make(current_context(), what));
}

installer::installer(context_node* other) {
  rt::NewContext what;
  // A value of nothing: each installer has a node of its own, to be recognised by.
  what.kind = rt::ContextKind::value;
  install(make(to_rt(other), what));
}

void installer::install(void* made) noexcept {
  auto* c = static_cast<rt::Context*>(made);
  node_ = from_rt(c);
  rt::CancelSource* cancel = c != nullptr && c->src != nullptr ? &c->src->source : nullptr;
  if (rt::G* g = this_g(); g != nullptr) {
    before_ = from_rt(static_cast<rt::Context*>(g->context));
    if (c != nullptr) g->context = c;
    cancel_before_ = std::exchange(g->cancel, cancel);
  } else {
    Ambient& a = ambient_of_thread();
    before_ = from_rt(a.context);
    if (c != nullptr) a.context = c;
    cancel_before_ = std::exchange(a.cancel, cancel);
  }
}

installer::~installer() {
  rt::Context* c = to_rt(node_ != nullptr ? node_ : before_);
  auto* cancel_before = static_cast<rt::CancelSource*>(cancel_before_);
  if (rt::G* g = this_g(); g != nullptr) {
    if (g->context != c) out_of_order();
    g->context = to_rt(before_);
    g->cancel = cancel_before;
    if (node_ == nullptr) return;
    if (c->src != nullptr && g->wait_state.member_of == &c->src->source &&
        cancel_before != &c->src->source) {
      rt::RuntimeEntry entry;
      rt::cancel_leave(&g->wait_state);
    }
  } else {
    Ambient& a = ambient_of_thread();
    if (a.context != c) out_of_order();
    a.context = to_rt(before_);
    a.cancel = cancel_before;
    if (node_ == nullptr) return;
  }
  // Nobody else has it: nobody to be told.
  if (c->src == c && (c->refs.load(os::memory_order_acquire) != 1 || c->callbacks.load(os::memory_order_relaxed) != nullptr)) {
    rt::RuntimeEntry entry;
    rt::context_cancel(c, {rt::kCauseCancelled, nullptr});
  }
  context_unref(node_);
}

// ---- tasks ----------------------------------------------------------------------------------

void task_context_over(context_node* c) noexcept { context_unref(c); }
void task_cancel(context_node* c, std::error_code cause) noexcept {
  rt::RuntimeEntry entry;
  rt::context_cancel(to_rt(c), to_cause(cause));
}

constinit const rt::BackgroundHooks background_hooks = {
    rt::root_new, rt::root_unused, rt::root_cancel, rt::root_inherited, rt::root_over};

}  // namespace detail

// ---- public ---------------------------------------------------------------------------------

bool context::cancelled() const noexcept {
  const rt::Context* c = detail::to_rt(node_);
  if (c == nullptr || c->src == nullptr) return false;
  detail::context_seen(detail::to_rt(node_));
  if (!rt::context_cancelled(c)) return false;
  rt::san::acquire(&c->src->source);
  return true;
}

std::error_code context::cause() const noexcept {
  return cancelled() ? detail::cause_of(detail::to_rt(node_)) : std::error_code();
}

std::optional<context::clock::time_point> context::deadline() const noexcept {
  const rt::Context* c = detail::to_rt(node_);
  if (c == nullptr || c->deadline == detail::kNoDeadline) return {};
  return clock::time_point(std::chrono::nanoseconds(c->deadline));
}

gort::context this_goroutine::context() noexcept {
  detail::context_node* c = detail::from_rt(detail::current_context());
  detail::context_ref(c);
  return detail::context_access::adopt(c);
}

bool this_goroutine::cancelled() noexcept { return rt::is_cancelled(detail::cancellation()); }

void this_goroutine::check_cancelled() { detail::throw_if_cancelled(); }

void with_cancel::cancel(std::error_code cause) noexcept { detail::task_cancel(node_, cause); }

gort::context with_cancel::context() const noexcept {
  detail::context_ref(node_);
  return detail::context_access::adopt(node_);
}

bool with_timeout::expired() const noexcept {
  rt::Context* c = detail::to_rt(node_);
  detail::context_seen(c);
  return c->own_deadline && rt::context_cancelled(c) && c->cause.category == nullptr &&
         c->cause.value == rt::kCauseTimedOut;
}

}  // namespace gort::inline v0
