#include "api/cancellation.h"

#include <exception>
#include <string>

#include "api/context.h"
#include "gort/cancelled.h"
#include "sched/entry.h"
#include "sched/m.h"
#include "sched/sched.h"

namespace gort::inline v0 {

namespace {

class category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "gort.cancel"; }
  std::string message(int value) const override {
    switch (static_cast<cancel_reason>(value)) {
      case cancel_reason::cancelled: return "cancelled";
      case cancel_reason::timed_out: return "timed out";
      case cancel_reason::sibling_failed: return "another goroutine of the scope has failed";
      case cancel_reason::run_ended: return "the run has ended";
    }
    return "cancelled for reason " + std::to_string(value);
  }
  std::error_condition default_error_condition(int value) const noexcept override {
    return value == static_cast<int>(cancel_reason::timed_out) ? std::errc::timed_out : std::errc::operation_canceled;
  }
};

}  // namespace

const std::error_category& cancel_category() noexcept {
  // Never destroyed: causes are looked at in static destructors too.
  alignas(category) static std::byte room[sizeof(category)];
  static const auto* made = ::new (room) category;
  return *made;
}

namespace detail {

rt::CancelSource* cancellation_slow() noexcept {
  rt::CancelSource* s = current_cancel();
  if (s == nullptr || std::uncaught_exceptions() != 0) return nullptr;
  if (!rt::context_linked(s)) context_seen(rt::context_of(s));
  return s;
}

void throw_cancelled() {
  const rt::CancelSource* s = current_cancel();
  if (s == nullptr || !rt::is_cancelled(s)) throw cancelled();
  rt::san::acquire(s);
  throw cancelled(cause_of(rt::context_of(const_cast<rt::CancelSource*>(s))));
}

void throw_if_cancelled() {
  if (rt::is_cancelled(cancellation())) throw_cancelled();
}

}  // namespace detail
}  // namespace gort::inline v0
