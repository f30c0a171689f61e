// The synchronization primitives' way into the runtime. What throws, throws after leaving it.
#include "api/cancellation.h"
#include "base/check.h"
#include "gort/barrier.h"
#include "gort/condition_variable.h"
#include "gort/latch.h"
#include "gort/mutex.h"
#include "gort/once.h"
#include "gort/shared_mutex.h"
#include "gort/wait_group.h"
#include "sched/entry.h"
#include "sched/sched.h"
#include "sync/barrier.h"
#include "sync/condition.h"
#include "sync/counter.h"
#include "sync/mutex.h"
#include "sync/once.h"
#include "sync/shared_mutex.h"

namespace gort::inline v0::detail {

static_assert(kNoDeadline == rt::kNoDeadline);
static_assert(static_cast<int>(wait_result::done) == static_cast<int>(rt::WaitEnd::done) &&
              static_cast<int>(wait_result::timeout) == static_cast<int>(rt::WaitEnd::timeout) &&
              static_cast<int>(wait_result::cancelled) == static_cast<int>(rt::WaitEnd::cancelled));

void sync_misuse(const char* what) noexcept { rt::fatal(what); }

#if defined(GORT_DEBUG)
std::uint64_t sync_self() noexcept {
  const rt::G* g = rt::current_g();
  // Ids of goroutines are small; addresses of threads' blocks are not.
  return g != nullptr ? g->goid : reinterpret_cast<std::uintptr_t>(&os::tls());
}

void sync_destroyed(bool in_use, const char* what) noexcept {
  if (in_use && rt::sched.runs.load(os::memory_order_relaxed) > 0 && !rt::in_fork_child()) rt::fatal(what);
}
#endif

// ---- mutex, shared_mutex

bool mutex_lock_slow(word32& word, std::int64_t deadline) noexcept {
  // Free, but others wait: whoever comes first has it, and does not need the runtime for that.
  std::uint32_t now = word.load(std::memory_order_relaxed);
  if ((now & kMutexLocked) == 0 && word.compare_exchange_strong(now, now | kMutexLocked, std::memory_order_acquire,
                                                                std::memory_order_relaxed)) {
    rt::san::acquire(&word);
    return true;
  }
  rt::RuntimeEntry entry;
  return rt::mutex_lock_slow(&word, deadline);
}
void mutex_unlock_slow(word32& word) noexcept {
  rt::RuntimeEntry entry;
  rt::mutex_unlock_slow(&word);
}

bool shared_mutex_lock_slow(word32& word, std::int64_t deadline) noexcept {
  rt::RuntimeEntry entry;
  return rt::shared_mutex_lock_slow(&word, deadline);
}
bool shared_mutex_lock_shared_slow(word32& word, std::int64_t deadline) noexcept {
  rt::RuntimeEntry entry;
  return rt::shared_mutex_lock_shared_slow(&word, deadline);
}
void shared_mutex_unlock_slow(word32& word) noexcept {
  rt::RuntimeEntry entry;
  rt::shared_mutex_unlock_slow(&word);
}
void shared_mutex_unlock_shared_slow(word32& word) noexcept {
  rt::RuntimeEntry entry;
  rt::shared_mutex_unlock_shared_slow(&word);
}

// ---- condition_variable

void cond_notify(word64& word, bool all) noexcept {
  rt::RuntimeEntry entry;
  rt::cond_notify(&word, all);
}
wait_result cond_sleep(word64& word, std::uint64_t begun, std::int64_t deadline) noexcept {
  rt::CancelSource* const cancel = cancellation();
  rt::RuntimeEntry entry;
  return static_cast<wait_result>(rt::cond_sleep(&word, begun, deadline, cancel));
}
void cond_leave(word64& word) noexcept { word.fetch_sub(kCondWaiting, std::memory_order_relaxed); }

// ---- wait_group, latch

namespace {

bool counted(word32& word, rt::WaitReason reason, std::int64_t deadline) {
  rt::CancelSource* const cancel = cancellation();
  if (rt::is_cancelled(cancel)) throw_cancelled();
  rt::WaitEnd end;
  {
    rt::RuntimeEntry entry;
    end = rt::counter_wait(&word, reason, deadline, cancel);
  }
  if (end == rt::WaitEnd::cancelled) throw_cancelled();
  return end == rt::WaitEnd::done;
}

}  // namespace

bool wait_group_wait(word32& word, std::int64_t deadline) {
  return counted(word, rt::WaitReason::wait_group_wait, deadline);
}
bool latch_wait(word32& word, std::int64_t deadline) { return counted(word, rt::WaitReason::latch_wait, deadline); }

void count_wake(word32& word) noexcept {
  rt::RuntimeEntry entry;
  rt::counter_wake(&word);
}

void count_down(word32& word, std::uint32_t n, const char* what) noexcept {
  if (n == 0) return;
  rt::san::release(&word);
  const std::uint32_t old = word.fetch_sub(n * kCountOne, std::memory_order_acq_rel);
  if (old / kCountOne < n) rt::fatal(what);
  if (old == (n * kCountOne | kCountParked)) count_wake(word);
}

// ---- once_flag

bool once_begin(word32& word) noexcept {
  rt::RuntimeEntry entry;
  return rt::once_begin(&word);
}
void once_end(word32& word, bool completed) noexcept {
  rt::RuntimeEntry entry;
  rt::once_end(&word, completed);
}

// ---- barrier

void barrier_next(barrier_core& core) noexcept {
  rt::RuntimeEntry entry;
  rt::barrier_next(&core.phase);
}
void barrier_wait(barrier_core& core, std::uint32_t phase) {
  rt::CancelSource* const cancel = cancellation();
  if (rt::is_cancelled(cancel)) throw_cancelled();
  rt::WaitEnd end;
  {
    rt::RuntimeEntry entry;
    end = rt::barrier_wait(&core.phase, phase, cancel);
  }
  if (end == rt::WaitEnd::cancelled) throw_cancelled();
}

}  // namespace gort::inline v0::detail
