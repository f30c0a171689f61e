#include "gort/event.h"

#include "api/cancellation.h"
#include "base/check.h"
#include "base/print.h"
#include "gort/promise.h"
#include "sched/entry.h"
#include "sync/event.h"

namespace gort::inline v0 {

namespace {

rt::EventWord* word_of(event& e) noexcept { return detail::event_access::word(e); }

}  // namespace

void event::set() noexcept {
  rt::san::release(this);
  rt::RuntimeEntry entry;
  rt::event_set(word_of(*this));
}

void event::reset() noexcept {
  rt::RuntimeEntry entry;
  rt::event_reset(word_of(*this));
}

bool event::wait_until_ns(std::int64_t deadline) {
  rt::CancelSource* cancel = detail::cancellation();
  if (rt::is_cancelled(cancel)) detail::throw_cancelled();
  rt::WaitEnd end = rt::WaitEnd::done;
  if (!is_set()) {
    rt::RuntimeEntry entry;
    end = rt::event_wait(word_of(*this), deadline, cancel, rt::WaitReason::event_wait);
  }
  if (end == rt::WaitEnd::cancelled) detail::throw_cancelled();
  rt::san::acquire(this);
  return end == rt::WaitEnd::done;
}

#if defined(GORT_DEBUG)
event::~event() {
  if (word_.load(std::memory_order_relaxed) != rt::kEventAwaited || rt::in_fork_child()) return;
  rt::RuntimeEntry entry;
  if (rt::event_awaited(word_of(*this))) rt::fatal("gort::event: destroyed while somebody waits for it");
}
#endif

void detail::promise_misuse(const char* text) noexcept {
  rt::fatal_begin();
  rt::Printer(2) << "fatal error: gort::promise: " << text << "\n";
  rt::fatal_after_print({"misuse of a promise", false});
}

void detail::promise_empty(const char* operation) noexcept {
  rt::fatal_begin();
  rt::Printer(2) << "fatal error: gort::promise: " << operation << " on an empty promise (moved from before)\n";
  rt::fatal_after_print({"operation on an empty promise", false});
}

}  // namespace gort::inline v0
