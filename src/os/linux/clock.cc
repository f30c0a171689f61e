// gort: clocks, and sleeping by them.
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <limits>

#include "os/linux/line_reader.h"
#include "os/linux/syscall.h"
#include "os/os.h"
#include "os/quick_clock.h"

namespace gort::inline v0::os {
namespace {

constexpr std::int64_t kNanosPerSecond = 1'000'000'000;

std::int64_t read_clock(clockid_t id) noexcept {
  timespec t;
  // libc's, since that one reads the vDSO. It cannot fail for the two clocks used here.
  ::clock_gettime(id, &t);
  return t.tv_sec * kNanosPerSecond + t.tv_nsec;
}

}  // namespace

std::int64_t nanotime() noexcept { return read_clock(CLOCK_MONOTONIC); }

std::int64_t thread_cputime() noexcept { return read_clock(CLOCK_THREAD_CPUTIME_ID); }

std::int64_t thread_cputime_of(int tid) noexcept {
  // The clock's number as the kernel makes it of a thread: ~tid, "per thread", "what the scheduler has counted".
  const int id = static_cast<int>(~static_cast<unsigned>(tid) << 3 | 4 | 2);
  timespec t;
  if (kernel::call(SYS_clock_gettime, id, &t) != 0) return -1;
  return t.tv_sec * kNanosPerSecond + t.tv_nsec;
}

std::uint64_t cputicks() noexcept {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  std::uint64_t ticks;
  asm volatile("mrs %0, cntvct_el0" : "=r"(ticks));
  return ticks;
#endif
}

bool quick_clock_usable() noexcept {
#if defined(__x86_64__)
  // A virtual machine's own clock (kvm-clock) may have another offset on each processor.
  LineReader source("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  const char* const name = source.next();
  return name != nullptr && __builtin_strcmp(name, "tsc") == 0;
#else
  return false;  // aarch64: the clock is little more than a read of the counter
#endif
}

void sleep_ns(std::int64_t ns) noexcept {
  if (ns <= 0) return;
  std::int64_t until;
  if (__builtin_add_overflow(nanotime(), ns, &until))
    until = std::numeric_limits<std::int64_t>::max();
  // An absolute time, so that a stream of signals cannot prolong the sleep by its rounding.
  timespec t{.tv_sec = until / kNanosPerSecond, .tv_nsec = until % kNanosPerSecond};
  while (kernel::call(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr) == -EINTR) {
  }
}

}  // namespace gort::inline v0::os
