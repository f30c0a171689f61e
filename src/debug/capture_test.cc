#include "debug/capture.h"

#include <gtest/gtest.h>

#include <cstring>

#include "os/linux/test_support.h"

namespace gort::rt {
namespace {

// A goroutine's stack is read while it may end and another one begin in the same record: the two ends may be of two
// stacks. Between them lie guards, and a walk that has lost its way must not come to one.
TEST(Capture, EndsOfTwoStacksAreNoRange) {
  EXPECT_EQ(test::in_child([] {
              Stack a, b;
              if (!stack_alloc(kStackMin, &a) || !stack_alloc(kStackMin, &b)) return 1;
              if (a.lo > b.lo) std::swap(a, b);
              if (b.guard == os::Guard::none) return 0;  // nothing to fault at
              static G g;
              g.stack.lo = a.lo;
              g.stack.hi = b.hi;
              auto* frame = reinterpret_cast<std::byte*>(a.hi - 1024);
              std::memset(frame, 0, arch::saved_frame::kSize);
              const std::uintptr_t nowhere = 16, guard = b.lo - 4096;
#if defined(__x86_64__)
              std::memcpy(frame + arch::saved_frame::kReturn, &nowhere, sizeof nowhere);
              std::memcpy(frame + arch::saved_frame::kRbp, &guard, sizeof guard);
#endif
              g.ctx.sp = frame;
              g.goid = 7;
              g.status.store(GStatus::waiting);
              static Captured out;
              std::int64_t patience = 0;
              capture(&g, &patience, &out);
              return out.trace.pcs.empty() ? 0 : 2;
            }),
            0);
}

}  // namespace
}  // namespace gort::rt
