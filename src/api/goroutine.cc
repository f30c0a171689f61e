// go, spawn, run: the parts that are not templates. This set of objects may throw and allocate, outside the
// runtime only: each RuntimeEntry below closes before anything that can throw.
#include "gort/go.h"

#include <new>
#include <utility>

#include "api/context.h"
#include "api/start.h"
#include "gort/run.h"
#include "gort/this_goroutine.h"
#include "sched/entry.h"
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

namespace {

rt::StartArgs args_of(context_node* context, void (*fn)(void*), void* arg, std::string_view name,
                      const void* created_by) noexcept {
  rt::Context* c = to_rt(context);
  rt::StartArgs args;
  args.fn = fn;
  args.arg = arg;
  args.created_by_pc = reinterpret_cast<std::uintptr_t>(created_by);
  args.name = name.data();
  args.name_bytes = name.size();
  args.context = c;
  args.cancel = c->src != nullptr ? &c->src->source : nullptr;
  return args;
}

}  // namespace

void new_goroutine::start_in(context_node* context, void (*fn)(void*), void* arg, std::string_view name,
                             const void* created_by) noexcept {
  const rt::StartArgs args = args_of(context, fn, arg, name, created_by);
  rt::RuntimeEntry entry;
  rt::g_start(static_cast<rt::G*>(std::exchange(g_, nullptr)), args);
}

new_task::new_task(std::size_t stack_bytes) {
  ensure_started();
  rt::G* g = nullptr;
  {
    rt::RuntimeEntry entry;
    g = rt::g_alloc(stack_bytes);
    if (g != nullptr) context_ = from_rt(rt::context_new(context_for_children(), {}));
    if (g != nullptr && context_ == nullptr) rt::g_discard(std::exchange(g, nullptr));
  }
  if (g == nullptr) throw std::bad_alloc();
  g_ = g;
}

new_task::~new_task() {
  if (g_ == nullptr) return;
  {
    rt::RuntimeEntry entry;
    rt::g_discard(static_cast<rt::G*>(g_));
  }
  context_unref(context_);
}

void* new_task::frame_space(std::size_t bytes, std::size_t align) const noexcept {
  rt::Context* c = to_rt(context_);
  const bool fits = bytes <= sizeof c->task && align <= alignof(std::max_align_t);
  return fits && !rt::san::watched() ? c->task : nullptr;
}

void new_task::start(void (*fn)(void*), void* frame, std::string_view name, const void* created_by) noexcept {
  const rt::StartArgs args = args_of(context_, fn, frame, name, created_by);
  rt::RuntimeEntry entry;
  rt::g_start(static_cast<rt::G*>(std::exchange(g_, nullptr)), args);
  // After the start, so that it is not the earlier one. The task is the caller's still.
  to_rt(context_)->run_epoch = rt::sched.run_epoch.load(os::memory_order_seq_cst);
}

bool on_goroutine() noexcept { return rt::current_g() != nullptr; }

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
  if (rt::run_begins(background_hooks) && options.max_procs > 0) set_procs(options.max_procs);
  try {
    new_goroutine g(main_stack_bytes());
    g.start(fn, arg, "main", created_by, true);
  } catch (...) {
    rt::run_ends(options.grace.count(), options.quiet, background_hooks);
    task_epoch_over();
    throw;
  }
  task_wait_anyway(done);
  rt::run_ends(options.grace.count(), options.quiet, background_hooks);
  task_epoch_over();  // or not: others may be running
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
