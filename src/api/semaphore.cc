#include "gort/semaphore.h"

#include "api/cancellation.h"
#include "base/check.h"
#include "sched/entry.h"
#include "sync/semaphore.h"

namespace gort::inline v0 {

bool detail::semaphore_acquire(word32& word, std::ptrdiff_t n, std::int64_t deadline) {
  if (n < 0 || n > kSemaphoreMax) semaphore_misuse("gort::semaphore: acquire of less than 0 or more than max() units");
  rt::CancelSource* const cancel = cancellation();
  if (rt::is_cancelled(cancel)) throw_cancelled();
  const auto units = static_cast<std::uint32_t>(n);
  if (rt::units_try_acquire(&word, units)) return true;
  rt::WaitEnd end;
  {
    rt::RuntimeEntry entry;
    end = rt::units_acquire(&word, units, deadline, cancel);
  }
  if (end == rt::WaitEnd::cancelled) throw_cancelled();
  return end == rt::WaitEnd::done;
}

// No entry: one compare-and-swap on the user's own word; legal in signal handlers.
bool semaphore::try_acquire(std::ptrdiff_t n) noexcept {
  if (n < 0 || n > max()) detail::semaphore_misuse("gort::semaphore: try_acquire of less than 0 or more than max() units");
  return rt::units_try_acquire(&word_, static_cast<std::uint32_t>(n));
}

void semaphore::release(std::ptrdiff_t update) {
  if (update < 0 || update > max()) {
    detail::semaphore_misuse("gort::semaphore: release of less than 0 or more than max() units");
  }
  const auto units = static_cast<std::uint32_t>(update);
  if (rt::units_try_release(&word_, units)) return;
  rt::RuntimeEntry entry;
  rt::units_release(&word_, units);
}

void detail::semaphore_misuse(const char* what) noexcept { rt::fatal(what); }

}  // namespace gort::inline v0
