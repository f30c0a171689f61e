#include "gort/debug.h"

#include "arch/modules.h"
#include "arch/unwind.h"
#include "debug/report.h"
#include "sched/sched.h"

namespace gort::inline v0 {

namespace {

/// The runtime keeps the table of modules fresh; before it runs, nobody does.
void know_modules() {
  if (!rt::sched.started.load(os::memory_order_acquire)) arch::refresh_modules();
}

}  // namespace

std::string stack() {
  know_modules();
  return rt::current_trace_text(arch::cursor_here());
}

std::string all_stacks() {
  know_modules();
  return rt::all_traces_text(arch::cursor_here());
}

}  // namespace gort::inline v0
