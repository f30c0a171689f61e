#include "api/start.h"
#include "api/timer.h"
#include "base/check.h"
#include "base/sanitizer.h"
#include "gort/clock.h"
#include "gort/testing/bubble.h"
#include "sched/entry.h"
#include "sched/spawn.h"
#include "sync/bubble.h"

#include <new>

namespace gort::inline v0 {

void detail::bubble_run(void (*fn)(void*), void* arg, const void* created_by) {
  if (rt::current_bubble() != nullptr) rt::fatal("gort::testing::bubble::run: inside of a bubble");
  ensure_started();
  bool made = false;
  rt::TimedBubble* b = nullptr;
  {
    rt::RuntimeEntry entry;
    rt::G* g = rt::g_alloc(std::size_t{8} << 20);  // as a main goroutine's: it stands for a test's main function
    if (g != nullptr && (b = rt::bubble_new()) == nullptr) rt::g_discard(g);
    made = b != nullptr;
    if (made) {
      rt::StartArgs args;
      args.fn = fn;
      args.arg = arg;
      args.created_by_pc = reinterpret_cast<std::uintptr_t>(created_by);
      args.name = "bubble";
      args.name_bytes = 6;
      args.bubble = b;
      rt::g_start(g, args);
      rt::sem_acquire(&b->ended);
      rt::san::acquire(b);
    }
  }
  if (!made) throw std::bad_alloc();
  // Functions of after_func that will never run.
  for (rt::TimerShot left;;) {
    {
      rt::RuntimeEntry entry;
      if (!rt::take_armed(&b->heap, &left)) break;
    }
    func_timer_dropped(left);
  }
  rt::RuntimeEntry entry;
  rt::bubble_free(b);
}

bool detail::in_bubble() noexcept { return rt::current_bubble() != nullptr; }

namespace testing::bubble {

void wait() {
  rt::TimedBubble* b = rt::current_bubble();
  if (b == nullptr) rt::fatal("gort::testing::bubble::wait: outside of a bubble");
  rt::RuntimeEntry entry;
  rt::bubble_wait(b);
  rt::san::acquire(b);  // partner: switch_from_g
}

bool inside() noexcept { return detail::in_bubble(); }

}  // namespace testing::bubble
}  // namespace gort::inline v0
