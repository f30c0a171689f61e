// The child: the runtime, a goroutine that repeats the stretch, a helper that injects.
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <thread>

#include "gort/gort.h"
#include "sched/invariants.h"
#include "sched/sched.h"
#include "tests/steps/steps.h"

extern "C" {
[[gnu::noinline]] void gort_steps_begin() noexcept { asm volatile("" ::: "memory"); }
[[gnu::noinline]] void gort_steps_end() noexcept { asm volatile("# end" ::: "memory"); }
}

namespace gort::test::steps {

Page* page = nullptr;

void ring(std::atomic<std::uint32_t>& bell) noexcept {
  bell.fetch_add(1);
  ::syscall(SYS_futex, &bell, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);  // shared: the other process waits, too
}

void wait_bell(std::atomic<std::uint32_t>& bell, std::uint32_t seen) noexcept {
  const timespec limit = {0, 1'000'000};
  ::syscall(SYS_futex, &bell, FUTEX_WAIT, seen, &limit, nullptr, 0);
}

namespace {

std::uint32_t round_now = 0;  // the goroutine's

/// The stretch's frames above this one are the same in every round: tracebacks are compared with the first one's.
[[gnu::noinline]] void run_rounds(const Stretch& stretch) {
  while (!page->stop.load()) {
    ++round_now;
    stretch.body();
    // Until what was injected is over, too: a stop at calls needs calls.
    while (page->over.load() != round_now) gort::this_goroutine::yield();
  }
}

void helper(const Injection& injection) noexcept {
  for (std::uint32_t last = 0; !page->stop.load();) {
    const std::uint32_t seen = page->child_bell.load();
    const std::uint32_t round = page->inject.load();
    if (round == last) {
      wait_bell(page->child_bell, seen);
      continue;
    }
    last = round;
    page->answer = {};
    injection.act(page->m, &page->answer);
    page->answered.store(round);
    ring(page->parent_bell);
  }
}

}  // namespace

void begin() noexcept {
  rt::M* const m = rt::self_m();
  page->tid = m->tid.load(os::memory_order_relaxed);
  page->m = m;
  page->stack_lo = m->curg->stack.lo;
  page->stack_hi = m->curg->stack.hi;
  ++page->progress;
  page->ready.store(round_now);
  ring(page->parent_bell);
  // In user code and without a call into gort: no park, no change of threads.
  while (page->go.load() != round_now) ::sched_yield();
  gort_steps_begin();
}

void end() noexcept {
  gort_steps_end();
  ++page->progress;
  page->done.store(round_now);
  ring(page->parent_bell);
}

void expect(bool right) noexcept {
  if (!right) ++page->wrong;
}

void child_main(const Stretch& stretch, const Injection& injection, Page* shared) noexcept {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::unsetenv("GORT_MAXPROCS");
  page = shared;
  gort::run({.max_procs = stretch.procs}, [&] {
    std::thread injector([&] { helper(injection); });
    if (stretch.setup != nullptr) stretch.setup();
    run_rounds(stretch);
    if (stretch.teardown != nullptr) stretch.teardown();
    injector.join();
  });
#if defined(GORT_TESTING)
  const rt::PAccount account = rt::await_quiet(20'000'000'000);
  if (!account.quiet()) {
    const ssize_t n = ::write(2, account.text, sizeof account.text);
    ::_exit(n > 0 ? 3 : 4);
  }
#endif
  ::_exit(0);
}

}  // namespace gort::test::steps
