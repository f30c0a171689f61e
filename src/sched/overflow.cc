#include "base/print.h"
#include "sched/entry.h"

namespace gort::inline v0::rt {

void fatal_stack_overflow(G* g, std::uintptr_t sp) noexcept {
  os::tls().in_runtime = 0;
  fatal_begin();
  Printer(2) << "gort: goroutine " << g->goid << " exceeds its stack of " << g->stack.hi - g->stack.lo
             << " bytes [" << Hex{g->stack.lo} << ", " << Hex{g->stack.hi} << "), sp=" << Hex{sp} << "\n"
             << "gort: give it a larger one: gort::go({.stack = bytes}, ...) or GORT_STACK=bytes\n"
             << "fatal error: stack overflow\n";
  fatal_after_print({"stack overflow", false});
}

}  // namespace gort::inline v0::rt
