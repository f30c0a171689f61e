// gort: functions that the reports in these tests must name, with the lines that they must tell.
#pragma once

#include <gort/gort.h>

#include "sched/entry.h"
#include "sched/park.h"
#include "tests/support/apart.h"

#define GORT_TEST_NO_TAIL_CALL() asm volatile("" ::: "memory")

namespace shop {

/// Parked, and nobody has its waiter.
GORT_TEST_APART inline void wait_for_ever() {
  gort::rt::RuntimeEntry entry;
  gort::rt::park(nullptr, nullptr, gort::rt::WaitReason::semacquire);
}

inline constexpr int kWorkerLine = __LINE__ + 2;
GORT_TEST_APART inline void worker() {
  wait_for_ever();
  GORT_TEST_NO_TAIL_CALL();
}

/// Uses the processor without ever calling gort, after `first`.
GORT_TEST_APART inline void spin(void (*first)()) {
  first();
  for (;;) GORT_TEST_NO_TAIL_CALL();
}

}  // namespace shop
