// gort: test points of waits (base/fault.h has those of the scheduler): a test's function is called there with what is at
// stake. It may end waits that have not parked, spin, and look at atomics, nothing else. Nothing in release builds.
#pragma once

#include "sched/wait_state.h"

namespace gort::inline v0::rt {

enum class WaitPoint : std::uint8_t {
  deadline_armed,  ///< BlockingWait::park: the deadline is armed, the owner has not parked
  context_told,    ///< context_cancel has woken who waits for the end of one, those below live still; the WaitState is null
  task_won,        ///< task_finish has ended the wait, and has not said yet that it is done with the task; the WaitState is null
  task_seen,       ///< task_finish has seen who waits, and has not changed the word yet; the WaitState is null
  kCount
};

#if defined(GORT_TESTING)
using WaitHook = void (*)(WaitState* w) noexcept;
extern os::atomic<WaitHook> wait_hooks[static_cast<int>(WaitPoint::kCount)];
inline void wait_point(WaitPoint at, WaitState* w) noexcept {
  if (WaitHook hook = wait_hooks[static_cast<int>(at)].load(os::memory_order_acquire); hook != nullptr) hook(w);
}
#else
constexpr void wait_point(WaitPoint, WaitState*) noexcept {}
#endif

}  // namespace gort::inline v0::rt
