#include "base/mutex.h"

#include "base/fault.h"
#include "base/print.h"

namespace gort::inline v0::rt {

namespace {
constexpr int kActiveSpins = 4;    // rounds with pauses before the first sleep
constexpr int kPausesPerSpin = 30;
constexpr std::int64_t kLongestSleep = 1'000'000;  // ns: after that, who sleeps looks again (mutex.h)
}  // namespace

void Mutex::lock_slow() noexcept {
#if defined(GORT_SIM)
  struct Waits {
    const char* name;
    std::int64_t since = os::sim_now();
    ~Waits() { os::sim_waited_for_lock(name, since); }
  } waits{lock_rank_name(rank_)};
#endif
  for (int i = 0; i < kActiveSpins; ++i) {
    os::cpu_relax(kPausesPerSpin);
    std::uint32_t expected = 0;
    if (word_.load(os::memory_order_relaxed) == 0 &&
        word_.compare_exchange_strong(expected, 1, os::memory_order_acquire, os::memory_order_relaxed)) {
      return;
    }
  }
  while (word_.exchange(2, os::memory_order_acquire) != 0) {  // L1
    test_point(TestPoint::lock_sleeps);
    const std::uint32_t seen = fault(Fault::lock_mark) ? word_.load(os::memory_order_relaxed) : 2;
    os::futex_wait(&word_, seen, fault(Fault::lock_sleep) ? -1 : kLongestSleep);  // L2
  }
}

#if defined(GORT_DEBUG)

void Mutex::rank_check() const noexcept {
  const os::Tls& t = os::tls();
  for (int i = 0; i < t.held_count; ++i) {
    if (t.held[i] < static_cast<std::uint8_t>(rank_)) continue;
    Printer(2) << "lock order: taking " << lock_rank_name(rank_) << " while holding "
               << lock_rank_name(static_cast<LockRank>(t.held[i])) << "\n";
    check_failed(__FILE__, __LINE__, "held rank < new rank", "runtime locks taken against their order");
  }
}

void Mutex::rank_push() const noexcept {
  os::Tls& t = os::tls();
  GORT_CHECK(t.held_count < sizeof t.held, "too many runtime locks held at once");
  t.held[t.held_count++] = static_cast<std::uint8_t>(rank_);
}

void Mutex::rank_pop() const noexcept {
  os::Tls& t = os::tls();
  for (int i = t.held_count - 1; i >= 0; --i) {
    if (t.held[i] != static_cast<std::uint8_t>(rank_)) continue;
    for (int j = i; j + 1 < t.held_count; ++j) t.held[j] = t.held[j + 1];
    --t.held_count;
    return;
  }
  check_failed(__FILE__, __LINE__, "held", "unlock of a runtime lock that this thread does not hold");
}

#endif

}  // namespace gort::inline v0::rt
