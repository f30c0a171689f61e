#include "sched/foreign.h"

#include <cstddef>

#include "base/alloc.h"
#include "sched/check_dead.h"
#include "sched/entry.h"
#include "sched/sched.h"

namespace gort::inline v0::rt {

struct ForeignWait::Record {
  waiter wait;
  Note note;
  os::atomic<std::uint32_t> users{0};  // 2 when queued: the thread and whoever completes it
  // Set by the first of the two, the thread that goes to sleep and the waker that ends it; the second of them
  // knows from it that the thread is, or must not be, counted in foreign_waiting.
  os::atomic<bool> counted{false};
  WaitState state;
};

namespace {

constinit FixAlloc<ForeignWait::Record> records;
// A record is made anew for each wait; a generation is never given twice.
constinit os::atomic<std::uint64_t> generations{0};

void drop(ForeignWait::Record* r) noexcept {
  if (r->users.fetch_sub(1, os::memory_order_acq_rel) == 1) records.free(r);
}

void ready_foreign(waiter* w) noexcept {
  auto* r = reinterpret_cast<ForeignWait::Record*>(w);
  // Counted off by the waker: from now on the thread can act, even if it takes its time to wake. Otherwise the
  // end of the last goroutine looks like a deadlock until then.
  if (r->counted.exchange(true, os::memory_order_acq_rel)) {
    sched.foreign_waiting.fetch_sub(1, os::memory_order_relaxed);
  }
  r->note.wakeup();
  drop(r);
}

}  // namespace

ForeignWait::ForeignWait() noexcept {
  check_not_fork_child();  // nobody is there who could end the wait
  record_ = ::new (records.alloc()) Record;
  static_assert(offsetof(Record, wait) == 0, "ready_foreign casts");
  record_->wait.ready = ready_foreign;
  record_->users.store(1, os::memory_order_relaxed);
  record_->state.wake = &record_->wait;
  record_->state.word.store(generations.fetch_add(1, os::memory_order_relaxed) << kWaitGenerationShift,
                            os::memory_order_relaxed);
}

WaitState* ForeignWait::state() noexcept { return &record_->state; }

ForeignWait::~ForeignWait() { drop(record_); }

waiter* ForeignWait::get() noexcept {
  record_->users.store(2, os::memory_order_relaxed);
  return &record_->wait;
}

void ForeignWait::unused() noexcept { record_->users.store(1, os::memory_order_relaxed); }

bool ForeignWait::wait_until(std::int64_t deadline) noexcept {
  return record_->note.sleep_for(deadline - os::nanotime());
}

void ForeignWait::wait() noexcept {
  {
    LockGuard guard(sched.lock);
    ++sched.foreign_waits;
    sched.foreign_waiting.fetch_add(1, os::memory_order_relaxed);
    if (record_->counted.exchange(true, os::memory_order_acq_rel)) {
      sched.foreign_waiting.fetch_sub(1, os::memory_order_relaxed);  // completed already
    } else {
      check_dead();
    }
  }
  record_->note.sleep();
}

}  // namespace gort::inline v0::rt
