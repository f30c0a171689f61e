// gort: what blocking operations throw when their goroutine's context has been cancelled, and why it was.
//
// Deliberately not a std::exception: `catch (const std::exception&)` around a piece of work is meant for what went
// wrong in it, and must not swallow the order to stop. Let it pass; destructors run; the goroutine ends, and whoever
// cancelled finds it gone. A goroutine that it leaves ends quietly, however it was started.
//
// The cause is a std::error_code: a value that a timer can set without memory, that compares
// (`e.cause() == std::errc::timed_out`), and that is what cancelled I/O returns. Own causes: any error_code.
//
//   cancel_reason   who cancelled                                            also equals (std::errc)
//   cancelled       cancel(), the end of a with_… or task, a stop_token      operation_canceled
//   timed_out       a deadline                                               timed_out
//   sibling_failed  a goroutine of the same scope, by an exception           operation_canceled
//   run_ended       the end of gort::run                                     operation_canceled
#pragma once

#include <system_error>

#include "gort/config.h"

namespace gort::inline v0 {

enum class cancel_reason { cancelled = 1, timed_out, sibling_failed, run_ended };

/// The category of cancel_reason, "gort.cancel". Never destroyed.
const std::error_category& cancel_category() noexcept;

inline std::error_code make_error_code(cancel_reason r) noexcept { return {static_cast<int>(r), cancel_category()}; }

class cancelled final {
 public:
  cancelled() noexcept : cause_(make_error_code(cancel_reason::cancelled)) {}
  explicit cancelled(std::error_code cause) noexcept : cause_(cause) {}

  /// Why the context was cancelled; never empty.
  std::error_code cause() const noexcept { return cause_; }
  const char* what() const noexcept { return "gort: cancelled"; }

 private:
  std::error_code cause_;
};

namespace detail {
/// Throws gort::cancelled, with the cause of the caller's context. Called by whatever waits, with no function in between:
/// each would be a frame to unwind.
[[noreturn]] void throw_cancelled();
}  // namespace detail

}  // namespace gort::inline v0

template <>
struct std::is_error_code_enum<gort::cancel_reason> : std::true_type {};
