// gort: sleeping on a word, and waking who sleeps there. Process-private futexes.
#include <linux/futex.h>

#include <cerrno>
#include <ctime>

#include "os/linux/syscall.h"
#include "os/os.h"

namespace gort::inline v0::os {

// The kernel reads the word itself, so its atomic wrapper must be nothing but the word.
static_assert(sizeof(atomic<std::uint32_t>) == 4 && atomic<std::uint32_t>::is_always_lock_free);

Wait futex_wait(atomic<std::uint32_t>* addr, std::uint32_t expected,
                std::int64_t timeout_ns) noexcept {
  // FUTEX_WAIT's timeout is relative, measured by the monotonic clock.
  timespec limit;
  timespec* limit_p = nullptr;
  if (timeout_ns >= 0) {
    limit.tv_sec = timeout_ns / 1'000'000'000;
    limit.tv_nsec = timeout_ns % 1'000'000'000;
    limit_p = &limit;
  }
  long r = kernel::call(SYS_futex, addr, FUTEX_WAIT_PRIVATE, expected, limit_p);
  if (r == -EAGAIN) return Wait::changed;
  if (r == -ETIMEDOUT) return Wait::timed_out;
  return Wait::woken;  // woken, or EINTR: the caller looks at its own condition either way
}

bool futex_is(atomic<std::uint32_t>* addr, std::uint32_t value) noexcept {
  // Compares, wakes nobody, requeues nobody.
  return kernel::call(SYS_futex, addr, FUTEX_CMP_REQUEUE_PRIVATE, 0, nullptr, addr, value) >= 0;
}

void futex_wake(atomic<std::uint32_t>* addr, int n) noexcept {
  if (n <= 0) return;  // the kernel would wake one
  // The word may be freed memory by now. EFAULT is then an answer like any other.
  kernel::call(SYS_futex, addr, FUTEX_WAKE_PRIVATE, n);
}

}  // namespace gort::inline v0::os
