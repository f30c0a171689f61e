#include "sched/entry.h"

#include "base/print.h"
#include "base/sanitizer.h"
#include "sched/sched.h"
#include "sched/stop_point.h"

namespace gort::inline v0::rt {

constinit os::atomic<bool> fork_child{false};

namespace {

// Not fatal(): its report asks other threads, which are not there.
[[noreturn]] void fatal_in_fork_child() noexcept {
  Printer(2) << "fatal error: gort: called in the child of a fork; only exec, _exit and malloc work there\n";
  if (fatal_by_abort.load(os::memory_order_relaxed)) os::abort_process();
  os::exit_process(2);
}

}  // namespace

void fatal_entered_twice() noexcept {
  if (os::tls().in_runtime == os::kInForkChild) fatal_in_fork_child();
  os::tls().in_runtime = 0;
  fatal("gort was called from a signal handler that interrupted gort");
}

void entry_off_stack(M* m, std::uintptr_t sp) noexcept {
  if (stack_nearly_out(m->curg->stack, sp)) fatal_stack_overflow(m->curg, sp);
  const auto lo = reinterpret_cast<std::uintptr_t>(m->signal_stack);
  if (sp - lo >= m->signal_stack_bytes) return;
  os::tls().in_runtime = 0;
  fatal("gort was called from a signal handler");
}

void serve_at_exit() noexcept {
  do {
    os::Tls& t = os::tls();
    M* m = static_cast<M*>(t.m);
    if (m->p == nullptr) return;  // inside gort::blocking: nothing is asked of it
    t.in_runtime = 1;
    san::stands_still();
    serve_here(m, nullptr);
    san::goes_on();
    t.in_runtime = 0;
    asm volatile("" ::: "memory");
  } while ((self_m()->pending.load(os::memory_order_relaxed) & kPendingHere) != 0);
}

void fork_child_begins() noexcept {
  os::tls().in_runtime = os::kInForkChild;
  fatal_fork_child();
  fork_child.store(true, os::memory_order_relaxed);
  // A thread that the child makes has a block of its own: whatever it begins with looks whether the runtime runs.
  sched.started.store(false, os::memory_order_relaxed);
}

void check_not_fork_child() noexcept {
  if (in_fork_child()) fatal_in_fork_child();
}

}  // namespace gort::inline v0::rt
