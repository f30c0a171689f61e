#include "gort/scope.h"

#include <cxxabi.h>

#include <algorithm>
#include <new>
#include <typeinfo>

#include "api/cancellation.h"
#include "api/context.h"
#include "sched/entry.h"
#include "sched/park.h"
#include "sched/runs.h"

namespace gort::inline v0::detail {

namespace {

/// Waits until all have ended, after the scope has taken its own count back. False: the caller was cancelled first.
bool wait_ended(scope_core* s, bool heed) noexcept {
  return task_wait_until(&s->ended, kNoDeadline, heed) != task_end::cancelled;
}

/// True: none is left.
bool count_down(scope_core* s) noexcept {
  rt::san::release(&s->pending);
  if (s->pending.fetch_sub(1, std::memory_order_acq_rel) != 1) return false;
  rt::san::acquire(&s->pending);
  return true;
}

context_node* new_scope_context() {
  rt::Context* c = nullptr;
  {
    rt::RuntimeEntry entry;
    c = rt::context_new(context_for_children(), {});
  }
  if (c == nullptr) throw std::bad_alloc();
  return from_rt(c);
}

/// All have ended: as it was at first.
void again(scope_core* s) noexcept {
  rt::san::acquire(&s->pending);
  s->ended.word.store(0, std::memory_order_relaxed);
  s->pending.store(1, std::memory_order_relaxed);
}

}  // namespace

scope_core::scope_core(std::uint32_t limit)
    : limited(limit != 0), places(std::min<std::ptrdiff_t>(limit, semaphore::max())), node(new_scope_context()) {}

void scope_child_begins(scope_core* s) {
  if (s->limited) {
    throw_if_cancelled();
    s->places.acquire();  // they end, for they are cancelled with us
    try {
      throw_if_cancelled();
    } catch (...) {
      s->places.release();
      throw;
    }
  }
  s->pending.fetch_add(1, std::memory_order_relaxed);
}

void scope_child_begun(scope_core* s) noexcept {
  const std::uint32_t now = rt::sched.run_epoch.load(os::memory_order_seq_cst);
  std::uint32_t old = s->run_epoch.load(std::memory_order_relaxed);
  while (old != now && static_cast<std::int32_t>(now - old) > 0 &&
         !s->run_epoch.compare_exchange_weak(old, now, std::memory_order_relaxed)) {
  }
}

void scope_child_not_begun(scope_core* s) noexcept { scope_child_ended(s); }

void scope_child_failed(scope_core* s) noexcept {
  // The handler's own question, which a throw to a handler for the type would answer too, at the price of another unwinding.
  const std::type_info* thrown = abi::__cxa_current_exception_type();
  if (thrown != nullptr && *thrown == typeid(cancelled) && rt::context_cancelled(to_rt(s->node))) return;  // as it was told
  if (s->failed.exchange(true, std::memory_order_acq_rel)) return;
  s->first = std::current_exception();
  scope_cancel(s, cancel_reason::sibling_failed);
}

void scope_child_ended(scope_core* s) noexcept {
  if (const rt::G* g = rt::current_g(); g != nullptr && rt::left_over(g)) {
    // It has computed past the end of its run, without a call into gort. The scope may be gone: scope_leave.
    rt::RuntimeEntry entry;
    rt::yield();
  }
  if (s->limited) s->places.release();
  if (count_down(s)) task_finish(&s->ended);
}

void scope_join(scope_core* s) {
  bool told = false;
  if (rt::CancelSource* c = cancellation(); rt::is_cancelled(c)) {
    told = true;
    scope_cancel(s, cause_of(rt::context_of(c)));
  }
  if (!count_down(s)) {
    if (!wait_ended(s, !told)) {
      told = true;
      scope_cancel(s, cause_of(current_context()));
      wait_ended(s, false);
    }
  }
  // They may all have ended by the very cancellation that is about to reach us: what they were to do is not done.
  told = told || rt::is_cancelled(cancellation());
  again(s);
  if (s->failed.load(std::memory_order_acquire)) {
    if (auto e = std::exchange(s->first, nullptr)) std::rethrow_exception(e);
  }
  if (told) throw_cancelled();
}

void scope_leave(scope_core* s) noexcept {
  if (rt::in_fork_child()) return;
  if (s->pending.load(std::memory_order_acquire) != 1) {
    scope_cancel(s, cancel_reason::cancelled);
    // Those that are left over from an ended run never go on; what they have of the scope stays theirs.
    const std::uint32_t epoch = s->run_epoch.load(std::memory_order_relaxed);
    if (epoch != rt::sched.run_epoch.load(os::memory_order_seq_cst)) return;
    if (!count_down(s) && !task_wait_in_epoch(&s->ended, epoch)) return;
  }
  rt::san::acquire(&s->pending);
  context_unref(s->node);
}

void scope_cancel(scope_core* s, std::error_code cause) noexcept { task_cancel(s->node, cause); }

context scope_context(const scope_core* s) noexcept {
  context_ref(s->node);
  return context_access::adopt(s->node);
}

}  // namespace gort::inline v0::detail
