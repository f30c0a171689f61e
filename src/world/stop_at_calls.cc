#include "world/stop_at_calls.h"

#include <utility>

#include "base/sanitizer.h"
#include "sched/sched.h"
#include "world/stop.h"
#include "world/world.h"

namespace gort::inline v0::rt {

namespace {

/// The stop in progress. Written by its owner, who has worldsema.
struct UserStop {
  os::atomic<const void*> owner{nullptr};  // who has stopped the world: a goroutine, or a foreign thread's block
  os::atomic<const char*> reason{nullptr};
};
constinit UserStop user;

const void* self() noexcept {
  const G* g = current_g();
  return g != nullptr ? static_cast<const void*>(g) : &os::tls();
}

}  // namespace

const char* user_stop_reason() noexcept { return user.reason.load(os::memory_order_relaxed); }

bool user_stop_is_mine() noexcept { return user.owner.load(os::memory_order_relaxed) == self(); }

bool user_stop(const char* reason, std::int64_t limit_ns) noexcept {
  const std::int64_t deadline = os::nanotime_in(limit_ns > 0 ? limit_ns : 0);  // a negative one would mean none
  if (user_stop_is_mine()) {
    fatal("stop_world: this goroutine has stopped the world already");
  }
  WorldHold hold = world_acquire(StopReason::user);
  user.reason.store(reason, os::memory_order_relaxed);
  if (!stop_at_calls(hold, deadline)) {
    user.reason.store(nullptr, os::memory_order_relaxed);
    world_release(std::move(hold));
    return false;
  }
  user.owner.store(self(), os::memory_order_relaxed);
  hold_for_user(std::move(hold));
  san::world_stands();
  return true;
}

void user_start() noexcept {
  GORT_CHECK(user_stop_is_mine(), "a stopped world is restarted by somebody else");
  user.owner.store(nullptr, os::memory_order_relaxed);
  user.reason.store(nullptr, os::memory_order_relaxed);
  san::world_goes_on();
  start_the_world(held_for_user());
}

}  // namespace gort::inline v0::rt
