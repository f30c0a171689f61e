#include "sched/foreign.h"

#include <cstddef>

#include "base/alloc.h"
#include "sched/check_dead.h"
#include "sched/sched.h"

namespace gort::inline v0::rt {

struct ForeignWait::Record {
  waiter wait;
  Note note;
  os::atomic<std::uint32_t> users{0};  // 2 when queued: the thread and whoever completes it
};

namespace {

constinit FixAlloc<ForeignWait::Record> records;

void drop(ForeignWait::Record* r) noexcept {
  if (r->users.fetch_sub(1, os::memory_order_acq_rel) == 1) records.free(r);
}

void ready_foreign(waiter* w) noexcept {
  auto* r = reinterpret_cast<ForeignWait::Record*>(w);
  r->note.wakeup();
  drop(r);
}

}  // namespace

ForeignWait::ForeignWait() noexcept : record_(::new (records.alloc()) Record) {
  static_assert(offsetof(Record, wait) == 0, "ready_foreign casts");
  record_->wait.ready = ready_foreign;
  record_->users.store(1, os::memory_order_relaxed);
}

ForeignWait::~ForeignWait() { drop(record_); }

waiter* ForeignWait::get() noexcept {
  record_->users.store(2, os::memory_order_relaxed);
  return &record_->wait;
}

void ForeignWait::unused() noexcept { record_->users.store(1, os::memory_order_relaxed); }

void ForeignWait::wait() noexcept {
  {
    LockGuard guard(sched.lock);
    ++sched.foreign_waits;
    sched.foreign_waiting.fetch_add(1, os::memory_order_relaxed);
    check_dead();
  }
  record_->note.sleep();
  sched.foreign_waiting.fetch_sub(1, os::memory_order_relaxed);
}

}  // namespace gort::inline v0::rt
