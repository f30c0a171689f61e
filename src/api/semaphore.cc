#include "gort/semaphore.h"

#include "base/check.h"
#include "sched/entry.h"
#include "sema/sema.h"

namespace gort::inline v0 {

void semaphore::acquire() {
  rt::RuntimeEntry entry;
  rt::sem_acquire(&count_);
}

// No entry: one compare-and-swap on the user's own word; legal in signal handlers.
bool semaphore::try_acquire() noexcept { return rt::sem_try_acquire(&count_); }

void semaphore::release(std::ptrdiff_t update) {
  if (update < 0 || update > max()) {
    detail::semaphore_misuse("gort::semaphore: release of less than 0 or more than max() units");
  }
  rt::RuntimeEntry entry;
  rt::sem_release(&count_, {.handoff = true, .n = static_cast<std::uint32_t>(update), .yield = false});
}

void detail::semaphore_misuse(const char* what) noexcept { rt::fatal(what); }

}  // namespace gort::inline v0
