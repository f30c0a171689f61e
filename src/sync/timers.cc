#include "sync/timers.h"

#include "base/check.h"

namespace gort::inline v0::rt {

void deadline_arm(WaitState*, WaitGeneration, std::int64_t) noexcept { fatal("timers are not built yet"); }
void deadline_disarm(WaitState*) noexcept {}

}  // namespace gort::inline v0::rt
