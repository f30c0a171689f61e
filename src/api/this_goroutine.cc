#include "gort/this_goroutine.h"

#include "api/context.h"

#include "gort/blocking.h"
#include "gort/goroutine_local.h"
#include "gort/os_thread.h"
#include "gort/detail/fork.h"
#include "gort/detail/goroutine.h"
#include "sched/entry.h"
#include "sched/force_migrate.h"
#include "sched/lock_thread.h"
#include "sched/park.h"
#include "sched/spawn.h"
#include "sched/syscall.h"

#include <atomic>
#include <vector>

namespace gort::inline v0 {

namespace this_goroutine {

void yield() {
  if (rt::current_g() == nullptr) {
    os::thread_yield();
    return;
  }
  rt::RuntimeEntry entry;
  rt::yield();
}

std::uint64_t id() noexcept {
  rt::G* g = rt::current_g();
  return g != nullptr ? g->goid : 0;
}

std::string_view name() noexcept {
  rt::G* g = rt::current_g();
  return g != nullptr ? std::string_view(g->name) : std::string_view();
}

}  // namespace this_goroutine

void poll() {
  rt::M* m = rt::self_m();
  if (m == nullptr || (m->pending.load(os::memory_order_relaxed) == 0 && !rt::force_migrate())) return;
  rt::RuntimeEntry entry;
  if ((rt::self_m()->pending.load(os::memory_order_relaxed) & rt::kPendingYield) != 0 || rt::force_migrate()) {
    rt::yield_global();
  }
}

int num_procs() noexcept { return rt::sched.nprocs; }

std::int64_t num_goroutine() noexcept { return rt::num_goroutine(); }

void lock_os_thread() noexcept { rt::lock_os_thread(); }
void unlock_os_thread() noexcept { rt::unlock_os_thread(); }

namespace detail {

bool in_fork_child() noexcept { return rt::in_fork_child(); }

void blocking_begin() noexcept { rt::enter_blocking(); }

// Not inlined and errno read by a function of its own on both sides: compilers cache errno's address, which
// is the old thread's after exit_blocking.
[[gnu::noinline]] static int read_errno() noexcept {
  asm volatile("" ::: "memory");
  return errno;
}
[[gnu::noinline]] static void write_errno(int e) noexcept {
  asm volatile("" ::: "memory");
  errno = e;
}

void blocking_end() noexcept {
  const int e = read_errno();
  rt::exit_blocking();
  write_errno(e);
}

// ---- goroutine_local ------------------------------------------------------------------------

namespace {

struct local_value {
  void* p = nullptr;
  void (*destroy)(void*) = nullptr;
};

struct local_table {
  std::vector<local_value> values;
  ~local_table() {
    // Destroying one value may make another: until none is left.
    for (bool again = true; again;) {
      again = false;
      for (std::size_t i = 0; i < values.size(); ++i) {
        const local_value v = std::exchange(values[i], {});
        if (v.p == nullptr) continue;
        v.destroy(v.p);
        again = true;
      }
    }
  }
};

// A foreign thread's. The pointer outlives the destructor of `ends`: static destructors run after the main
// thread's thread_locals are gone, and may use goroutine_locals. They get a new table then, which nobody destroys.
constinit thread_local local_table* thread_table = nullptr;

struct thread_ends {
  bool used = false;
  ~thread_ends() {
    delete thread_table;  // while it is still installed: destructors may use other goroutine_locals
    thread_table = nullptr;
  }
};
thread_local thread_ends ends;

// Not inlined: the address of a thread_local must not be kept over a park.
[[gnu::noinline]] local_table& table_of_thread() {
  if (thread_table == nullptr) {
    thread_table = new local_table;
    ends.used = true;  // a first use registers the destructor; none after the end
  }
  return *thread_table;
}

}  // namespace

std::size_t local_new_index() noexcept {
  static std::atomic<std::size_t> next{0};
  return next.fetch_add(1, std::memory_order_relaxed);
}

void*& local_slot(std::size_t index, void (*destroy)(void*)) {
  rt::G* g = rt::current_g();
  local_table* table = nullptr;
  if (g == nullptr) {
    table = &table_of_thread();
  } else {
    if (g->locals == nullptr) g->locals = new local_table;
    table = static_cast<local_table*>(g->locals);
  }
  if (index >= table->values.size()) table->values.resize(index + 1);
  local_value& v = table->values[index];
  v.destroy = destroy;
  return v.p;
}

void goroutine_ends() {
  if (rt::current_g()->locals != nullptr) {
    delete static_cast<local_table*>(rt::current_g()->locals);  // still installed: destructors may use others
    rt::current_g()->locals = nullptr;
  }
  leave_context(rt::current_g());
}

}  // namespace detail
}  // namespace gort::inline v0
