#include "sched/start.h"

#include "base/alloc.h"
#include "base/fault.h"
#include "base/print.h"
#include "sched/alone.h"
#include "sched/captives.h"
#include "sched/entry.h"
#include "sched/force_migrate.h"
#include "sched/spawn.h"

namespace gort::inline v0::rt {

constinit DebugSettings debug_settings;

namespace {

constinit Mutex start_lock{LockRank::start};

[[noreturn]] void bad_setting(const char* name, const char* value, const char* wanted) noexcept {
  Printer(2) << "gort: " << name << "=" << value << ": " << wanted << "\n";
  os::exit_process(2);
}

bool starts_with(const char* s, const char* prefix, const char** rest) noexcept {
  while (*prefix != '\0') {
    if (*s++ != *prefix++) return false;
  }
  *rest = s;
  return true;
}

void stack_from_environment() noexcept {
  const char* v = os::getenv("GORT_STACK");
  if (v == nullptr || *v == '\0') return;
  std::int64_t n = 0;
  if (!parse_number(v, &n) || n < 1 || n > (std::int64_t{1} << 30)) {
    bad_setting("GORT_STACK", v, "a size in bytes from 1 to 1073741824 is wanted");
  }
  set_default_stack_bytes(static_cast<std::size_t>(n));
}

void threads_from_environment() noexcept {
  const char* v = os::getenv("GORT_MAXTHREADS");
  if (v == nullptr || *v == '\0') return;
  std::int64_t n = 0;
  if (!parse_number(v, &n) || n < 4 || n > 1'000'000) {
    bad_setting("GORT_MAXTHREADS", v, "a number of threads from 4 to 1000000 is wanted");
  }
  sched.max_threads = static_cast<std::int32_t>(n);
}

void force_migrate_setting(const char* all, const char* value) noexcept {
  std::int64_t n = 0;
  if (!parse_number(value, &n) || n < 0 || n > 1) bad_setting("GORT_DEBUG", all, "forcemigrate wants 0 or 1");
#if defined(GORT_TESTING)
  force_migrate_on.store(n == 1, os::memory_order_relaxed);
#else
  if (n == 1) bad_setting("GORT_DEBUG", all, "forcemigrate needs a gort that was built with GORT_TESTING; this is a release");
#endif
}

void held_locks_setting(const char* all, const char* value) noexcept {
  const char* rest = nullptr;
  if (starts_with(value, "fatal", &rest) && *rest == '\0') {
    debug_settings.held_locks = HeldLocks::fatal;
  } else if (!starts_with(value, "warn", &rest) || *rest != '\0') {
    bad_setting("GORT_DEBUG", all, "heldlocks wants warn or fatal");
  }
  if (sched_hooks.departs == nullptr) {
    bad_setting("GORT_DEBUG", all, "heldlocks needs a program that is linked with gort::held_locks");
  }
}

/// One `name=value` of GORT_DEBUG, [item, end).
void debug_item(const char* all, const char* item, const char* end) noexcept {
  char word[64];
  Printer(word, sizeof word).text(item, static_cast<std::size_t>(end - item));
  const char* value = nullptr;
  std::int64_t n = 0;
  if (starts_with(word, "schedtrace=", &value)) {
    if (!parse_number(value, &n) || n < 0 || n > 86'400'000) {
      bad_setting("GORT_DEBUG", all, "schedtrace wants milliseconds");
    }
    debug_settings.schedtrace_ns = n * 1'000'000;
  } else if (starts_with(word, "scheddetail=", &value)) {
    if (!parse_number(value, &n) || n < 0 || n > 1) bad_setting("GORT_DEBUG", all, "scheddetail wants 0 or 1");
    debug_settings.scheddetail = n == 1;
  } else if (starts_with(word, "asyncpreemptoff=", &value)) {
    if (!parse_number(value, &n) || n < 0 || n > 1) bad_setting("GORT_DEBUG", all, "asyncpreemptoff wants 0 or 1");
    debug_settings.asyncpreempt = n == 0;
  } else if (starts_with(word, "slowstop=", &value)) {
    if (!parse_number(value, &n) || n < 1 || n > 86'400'000) {
      bad_setting("GORT_DEBUG", all, "slowstop wants milliseconds, 1 or more");
    }
    debug_settings.slow_stop_ns = n * 1'000'000;
  } else if (starts_with(word, "pollers=", &value)) {
    if (!parse_number(value, &n) || n < 1 || n > 16) bad_setting("GORT_DEBUG", all, "pollers wants a number from 1 to 16");
    debug_settings.pollers = static_cast<std::int32_t>(n);
  } else if (starts_with(word, "forcemigrate=", &value)) {
    force_migrate_setting(all, value);
  } else if (starts_with(word, "heldlocks=", &value)) {
    held_locks_setting(all, value);
  } else {
    Printer(2) << "gort: GORT_DEBUG: no setting '" << word
               << "'; known: asyncpreemptoff=0|1, forcemigrate=0|1, heldlocks=warn|fatal,"
                  " pollers=n, schedtrace=ms, scheddetail=0|1, slowstop=ms\n";
    os::exit_process(2);
  }
}

void debug_from_environment() noexcept {
  const char* v = os::getenv("GORT_DEBUG");
  if (v == nullptr) return;
  const char* item = v;
  for (const char* c = v;; ++c) {
    if (*c != ',' && *c != '\0') continue;
    if (c != item) debug_item(v, item, c);
    if (*c == '\0') return;
    item = c + 1;
  }
}

void make_procs(std::int32_t n) noexcept {
  LockGuard guard(sched.lock);
  sched.nprocs.store(n, os::memory_order_relaxed);
  for (std::int32_t i = n - 1; i >= 0; --i) {
    P* p = ::new (persistent_alloc(sizeof(P), alignof(P))) P(i);
    sched.all_p[i].store(p, os::memory_order_relaxed);
    pidle_put(own_new_p(p));
  }
}

#if defined(GORT_TESTING)
constinit os::atomic<std::int32_t> test_cpus{-1};
constinit os::atomic<std::int64_t> test_limit{-1};
std::int32_t cpu_count() noexcept {
  const std::int32_t n = test_cpus.load(os::memory_order_relaxed);
  return n >= 0 ? n : os::cpu_count();
}
std::int64_t cgroup_limit() noexcept {
  const std::int64_t milli = test_limit.load(os::memory_order_relaxed);
  return milli >= 0 ? milli : os::cgroup_cpu_limit_milli();
}
#else
std::int32_t cpu_count() noexcept { return os::cpu_count(); }
std::int64_t cgroup_limit() noexcept { return os::cgroup_cpu_limit_milli(); }
#endif

/// A goroutine is there to do that: it may wait for long, for who has stopped the world.
constinit os::atomic<bool> procs_asked{false};

void set_default_procs(void* n) {
  sched_hooks.set_default_procs(static_cast<std::int32_t>(reinterpret_cast<std::intptr_t>(n)));
  procs_asked.store(false, os::memory_order_release);
}

std::int32_t choose_procs(const StartOptions& options) noexcept {
  // Environment over code: who runs a program may know better than who wrote it.
  if (const std::int32_t n = procs_from_environment(); n != 0) return n;
  if (options.max_procs > 0) return options.max_procs < kMaxProcs ? options.max_procs : kMaxProcs;
  sched.default_procs.store(true, os::memory_order_relaxed);
  return default_procs(sched.cpus.load(os::memory_order_relaxed), cgroup_limit());
}

}  // namespace

#if defined(GORT_TESTING)
void set_limits_for_test(std::int32_t cpus, std::int64_t milli) noexcept {
  test_cpus.store(cpus, os::memory_order_relaxed);
  test_limit.store(milli, os::memory_order_relaxed);
}
#endif

void recheck_default_procs() noexcept {
  const std::int32_t cpus = cpu_count();  // of this thread, which nobody but taskset -a and cpusets would pin
  sched.cpus.store(cpus, os::memory_order_relaxed);
  if (!sched.default_procs.load(os::memory_order_relaxed) || sched_hooks.set_default_procs == nullptr) return;
  const std::int32_t n = default_procs(cpus, cgroup_limit());
  if (n == sched.nprocs.load(os::memory_order_relaxed) || procs_asked.load(os::memory_order_acquire)) return;
  constexpr char kName[] = "default procs";
  if (G* g = g_alloc(0); g != nullptr) {
    procs_asked.store(true, os::memory_order_relaxed);
    StartArgs args;
    args.fn = set_default_procs;
    args.arg = reinterpret_cast<void*>(static_cast<std::intptr_t>(n));
    args.name = kName;
    args.name_bytes = sizeof kName - 1;
    args.system = true;
    g_start(g, args);
  }
}

std::int32_t procs_from_environment() noexcept {
  const char* v = os::getenv("GORT_MAXPROCS");
  if (v == nullptr || *v == '\0') return 0;
  std::int64_t n = 0;
  if (!parse_number(v, &n) || n < 1) {
    bad_setting("GORT_MAXPROCS", v, "a whole number of processors, 1 or more, is wanted");
  }
  if (n > kMaxProcs) {
    Printer(2) << "gort: GORT_MAXPROCS=" << v << " is more than the maximum; using " << kMaxProcs << "\n";
    n = kMaxProcs;
  }
  return static_cast<std::int32_t>(n);
}

bool parse_number(const char* s, std::int64_t* out) noexcept {
  if (*s == '\0') return false;
  const bool negative = *s == '-';
  if (negative) ++s;
  if (*s == '\0') return false;
  std::int64_t n = 0;
  for (; *s != '\0'; ++s) {
    if (*s < '0' || *s > '9') return false;
    if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *s - '0', &n)) return false;
  }
  *out = negative ? -n : n;
  return true;
}

std::int32_t default_procs(std::int32_t cpus, std::int64_t cgroup_milli) noexcept {
  if (cpus < 1) cpus = 1;
  if (cgroup_milli > 0) {
    std::int64_t limit = (cgroup_milli + 999) / 1000;
    // One P would serialise the collector with the program even where the quota allows bursts.
    if (limit < 2) limit = 2;
    if (limit < cpus) cpus = static_cast<std::int32_t>(limit);
  }
  return cpus < kMaxProcs ? cpus : kMaxProcs;
}

std::int32_t many_captives(std::int32_t procs) noexcept {
  std::int64_t most = std::int64_t{kManyCaptives} * procs;
  const std::int64_t pids = sched.pids_limit;
  if (pids > 0 && pids / 4 < most) most = pids / 4;
  return static_cast<std::int32_t>(most);
}

void start(const StartOptions& options) noexcept {
  check_not_fork_child();
  LockGuard guard(start_lock);
  if (sched.started.load(os::memory_order_relaxed)) return;
  san::detect();
  os::fill_standard_fds();
#if defined(GORT_TESTING)
  faults_from_environment();
#endif
  debug_from_environment();
  stack_from_environment();
  if (options.max_threads > 0) sched.max_threads = options.max_threads;
  threads_from_environment();
  sched.cpus.store(cpu_count(), os::memory_order_relaxed);
  sched.pids_limit = os::cgroup_pids_limit();
  sched.quick_clock = os::quick_clock_usable();
  debug_settings.asyncpreempt &= !san::tsan();  // TSan delivers a signal when it pleases
  make_procs(choose_procs(options));
  sched.many_captives.store(many_captives(sched.nprocs), os::memory_order_relaxed);
  start_system_threads();
  alone_start();
  sched.started.store(true, os::memory_order_release);
}

std::int32_t foreign_thread_count() noexcept {
  const int all = os::process_thread_count();
  if (all < 0) return all;
  // An ended M whose thread is not gone yet counts as foreign: it runs users' thread_local destructors.
  LockGuard guard(sched.lock);
  // TSan has a thread of its own, always, which calls nobody.
  return all - sched.mcount - kSystemThreads - (san::tsan() ? 1 : 0);
}

}  // namespace gort::inline v0::rt
