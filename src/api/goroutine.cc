// go, spawn, run: the parts that are not templates. This set of objects may throw and allocate, outside the
// runtime only: each RuntimeEntry below closes before anything that can throw.
#include "gort/go.h"

#include <new>

#include "api/start.h"
#include "base/print.h"
#include "gort/run.h"
#include "gort/this_goroutine.h"
#include "sched/entry.h"
#include "sched/foreign.h"
#include "sched/park.h"
#include "sched/runs.h"
#include "sched/spawn.h"
#include "sched/start.h"
#include "world/world.h"

namespace gort::inline v0 {

#if defined(GORT_TESTING)
extern const char abi_v0_testing = 't';
#elif defined(GORT_DEBUG)
extern const char abi_v0_debug = 'd';
#else
extern const char abi_v0_release = 'r';
#endif

namespace detail {

new_goroutine::new_goroutine(std::size_t stack_bytes) {
  ensure_started();
  rt::G* g = nullptr;
  {
    rt::RuntimeEntry entry;
    g = rt::g_alloc(stack_bytes);
  }
  if (g == nullptr) throw std::bad_alloc();
  g_ = g;
}

new_goroutine::~new_goroutine() {
  if (g_ == nullptr) return;
  rt::RuntimeEntry entry;
  rt::g_discard(static_cast<rt::G*>(g_));
}

void* new_goroutine::closure_space(std::size_t bytes, std::size_t align) noexcept {
  // A record is used again without the user's knowledge; TSan understands the heap.
  if (rt::san::tsan()) return nullptr;
  return rt::g_closure_space(static_cast<rt::G*>(g_), bytes, align);
}

void new_goroutine::start(void (*fn)(void*), void* arg, std::string_view name, const void* created_by,
                          bool main) noexcept {
  rt::StartArgs args;
  args.fn = fn;
  args.arg = arg;
  args.created_by_pc = reinterpret_cast<std::uintptr_t>(created_by);
  args.name = name.data();
  args.name_bytes = name.size();
  args.main = main;
  rt::RuntimeEntry entry;
  rt::g_start(static_cast<rt::G*>(std::exchange(g_, nullptr)), args);
}

bool on_goroutine() noexcept { return rt::current_g() != nullptr; }

// ---- tasks ----------------------------------------------------------------------------------

namespace {

constexpr std::uintptr_t kRunning = 0;
constexpr std::uintptr_t kDone = 1;
constexpr std::uintptr_t kDetached = 2;

/// Publishes the waiter; false if the task is done already.
bool publish(task_core* t, waiter* w) noexcept {
  std::uintptr_t expected = kRunning;
  if (t->word.compare_exchange_strong(expected, reinterpret_cast<std::uintptr_t>(w), std::memory_order_acq_rel,
                                      std::memory_order_acquire)) {
    return true;
  }
  if (expected != kDone) {
    rt::fatal("gort::task: two wait for one task: it has one owner at a time, and only that one may wait, join, get or "
              "destroy it. (Several that want one result: give it to each through a channel of its own, or wait once and "
              "tell the others.)");
  }
  return false;
}

bool commit_join(rt::G* g, void* task) noexcept { return publish(static_cast<task_core*>(task), &g->wait); }

}  // namespace

void task_wait(task_core* t) {
  if (t->word.load(std::memory_order_acquire) != kDone) {
    rt::RuntimeEntry entry;
    if (rt::current_g() != nullptr) {
      rt::park(commit_join, t, rt::WaitReason::task_join);
    } else {
      rt::ForeignWait wait;
      if (publish(t, wait.get())) {
        wait.wait();
      } else {
        wait.unused();
      }
    }
  }
  rt::san::acquire(t);
}

bool task_finish(task_core* t) noexcept {
  rt::san::release(t);
  const std::uintptr_t old = t->word.exchange(kDone, std::memory_order_acq_rel);
  if (old == kDetached) {
    rt::san::acquire(t);  // what the owner of the task did with it, before we free the state
    return true;
  }
  if (old != kRunning) {
    auto* w = reinterpret_cast<waiter*>(old);
    rt::RuntimeEntry entry;
    if (w->ready == rt::ready_waiter) {
      // Behind those who wait already, not into runnext: who joins a batch then finds the rest of it done,
      // instead of being woken and parked again for each of its tasks (a third of the price of a batch).
      rt::ready(rt::g_of(w), false);
    } else {
      w->ready(w);
    }
  }
  return false;
}

bool task_detach(task_core* t) noexcept {
  rt::san::release(t);
  std::uintptr_t expected = kRunning;
  if (t->word.compare_exchange_strong(expected, kDetached, std::memory_order_acq_rel)) return false;
  rt::san::acquire(t);
  return true;
}

void task_misuse(const char* operation) noexcept {
  rt::fatal_begin();
  rt::Printer(2) << "fatal error: gort::task: " << operation
                 << " on an empty task (never given a goroutine, or joined, got, detached or moved from before)\n";
  rt::fatal_after_print({"operation on an empty task", false});
}

// ---- run ------------------------------------------------------------------------------------

namespace {

/// Environment over code.
void set_procs(int n) noexcept {
  rt::RuntimeEntry entry;
  if (rt::procs_from_environment() == 0) rt::gomaxprocs(n);
}

std::size_t main_stack_bytes() noexcept { return std::size_t{8} << 20; }

}  // namespace

void run_main(const run_options& options, void (*fn)(void*), void* arg, task_core* done, const void* created_by) {
  start(options);
  if (rt::run_begins() && options.max_procs > 0) set_procs(options.max_procs);
  try {
    new_goroutine g(main_stack_bytes());
    g.start(fn, arg, "main", created_by, true);
  } catch (...) {
    rt::run_ends(options.grace.count(), options.quiet);
    throw;
  }
  task_wait(done);
  rt::run_ends(options.grace.count(), options.quiet);
}

}  // namespace detail

void start(const run_options& options) {
  rt::StartOptions o;
  o.max_procs = options.max_procs;
  o.max_threads = options.max_threads;
  detail::ensure_started(o);
}

void goexit() {
  if (!detail::on_goroutine()) rt::fatal("goexit: not on a goroutine");
  throw detail::goexit_signal{};
}

}  // namespace gort::inline v0
