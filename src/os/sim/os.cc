// gort simulator: os.h, the scheduling points of atomic.h and the bodies' part of sim.h, over the
// machine.
//
// Outside of a simulation (static code before the first run, the driver between runs) scheduling
// points do nothing and the rest forwards to the kernel where that makes sense, or ends the
// program.
#include "os/os.h"
#include "os/quick_clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "os/sim/machine.h"

namespace gort::inline v0::os {

using sim::machine;

namespace {

constinit Tls host_tls;

[[noreturn]] void outside(const char* what) noexcept {
  write_all(2, what, strlen(what));
  write_all(2, " outside of a simulation\n", 25);
  ::abort();
}

std::int64_t real_clock(clockid_t id) noexcept {
  timespec t;
  ::clock_gettime(id, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

const SimText* find(std::span<const SimText> texts, const char* name) noexcept {
  for (const SimText& t : texts) {
    if (strcmp(t.name, name) == 0) return &t;
  }
  return nullptr;
}

}  // namespace

Tls& tls() noexcept { return machine.running() ? machine.current().tls : host_tls; }

// ---- scheduling points ----------------------------------------------------------------------

void sim_point() noexcept {
  if (machine.live_points()) machine.point(SimOp::point, nullptr);
}

void sim_access(SimOp op, const void* addr, bool full, const SimSite& at) noexcept {
  if (machine.live_points()) machine.access(op, addr, full, at);
}

bool sim_delay(void* addr, const void* value, std::size_t bytes) noexcept {
  return machine.live_points() && machine.delay(addr, value, bytes);
}

void sim_forward(const void* addr, void* value, std::size_t bytes) noexcept {
  if (machine.running() && machine.delays_stores()) machine.current().stores.forward(addr, value, bytes);
}

void sim_made(const void* addr) noexcept {
  if (machine.running() && machine.delays_stores()) machine.current().stores.forget(addr);
}

void sim_seen(std::uint64_t before, std::uint64_t after) noexcept {
  if (machine.live_points()) machine.seen(before, after);
}

void sim_work(std::int64_t ns) noexcept {
  if (machine.live_points()) machine.work(ns);
}

std::int64_t sim_now() noexcept { return machine.running() ? machine.clock() : 0; }

void sim_waited_for_lock(const char* name, std::int64_t since) noexcept {
  if (machine.running()) machine.waited_for_lock(name, machine.clock() - since);
}

// ---- threads --------------------------------------------------------------------------------

// Handles and kernel ids are the index plus one: both have a zero that means nobody.

int thread_create(Thread* out, void (*entry)(void*), void* arg, std::size_t stack_bytes) noexcept {
  if (!machine.running()) outside("thread_create");
  const int i = machine.create(entry, arg, stack_bytes, true);
  if (i < 0) return -i;
  out->handle = static_cast<std::uintptr_t>(i) + 1;
  return 0;
}

void thread_detach() noexcept {
  if (!machine.running()) outside("thread_detach");
  machine.detach();
}

int thread_try_reap(Thread t) noexcept {
  if (!machine.running()) outside("thread_try_reap");
  return machine.reap(static_cast<int>(t.handle) - 1);
}

int thread_id() noexcept { return machine.running() ? sim_self() + 1 : ::gettid(); }

bool thread_stack(std::uintptr_t* lo, std::uintptr_t* hi) noexcept {
  if (!machine.running()) return false;
  *lo = machine.current().stack_lo;
  *hi = machine.current().stack_hi;
  return true;
}

void thread_set_name(const char* name) noexcept {
  if (!machine.running()) return;
  auto& kept = machine.current().name;
  std::size_t n = strlen(name);
  if (n >= sizeof kept) n = sizeof kept - 1;
  memcpy(kept, name, n);
  kept[n] = '\0';
}

int process_thread_count() noexcept {
  if (!machine.running()) return 1;
  sim_point();
  return machine.live();
}

bool futex_is(atomic<std::uint32_t>* addr, std::uint32_t value) noexcept { return addr->load() == value; }

// Who asks repeats its signals, so nobody relies on timers.
bool timer_arm(ThreadTimer*, int, std::int64_t) noexcept { return false; }
void timer_disarm(ThreadTimer*) noexcept {}
void timer_delete(ThreadTimer*) noexcept {}

void thread_yield() noexcept {
  if (machine.running()) machine.point(SimOp::yield, nullptr);
}

bool process_barrier_init() noexcept { return true; }
void process_barrier() noexcept {
  sim_point();
  if (machine.live_points()) machine.drain_all();
}

void cpu_relax(int n) noexcept {
  if (machine.live_points()) machine.relax(n);
}

void sleep_ns(std::int64_t ns) noexcept {
  if (!machine.running()) outside("sleep_ns");
  machine.sleep(ns);
}

void exit_process(int code) noexcept {
  if (!machine.running()) ::_exit(code);
  machine.history().result.exit_code = code;
  if (code == 0) machine.finish(SimVerdict::ok, "exit_process");
  machine.finish(SimVerdict::crash, "exit_process");
}

void abort_process() noexcept {
  if (!machine.running()) ::abort();
  machine.finish(SimVerdict::crash, "abort_process");
}

// ---- futex, signals, clocks -----------------------------------------------------------------

Wait futex_wait(atomic<std::uint32_t>* addr, std::uint32_t expected,
                std::int64_t timeout_ns) noexcept {
  if (!machine.running()) outside("futex_wait");
  static_assert(sizeof(*addr) == sizeof expected, "the word is the atomic's only member");
  return machine.futex_wait(reinterpret_cast<const std::uint32_t*>(addr), expected, timeout_ns);
}

void futex_wake(atomic<std::uint32_t>* addr, int n) noexcept {
  if (machine.running()) machine.futex_wake(addr, n);
}

int signal_thread(int tid, int signo) noexcept {
  if (!machine.running()) outside("signal_thread");
  return machine.signal(tid - 1, signo);
}

std::int64_t nanotime() noexcept {
  if (!machine.running()) return real_clock(CLOCK_MONOTONIC);
  if (!machine.live_points()) return machine.now();
  machine.point(SimOp::clock, nullptr);
  const std::int64_t now = machine.now();
  machine.seen(static_cast<std::uint64_t>(now), static_cast<std::uint64_t>(now));
  return now;
}

std::int64_t thread_cputime() noexcept {
  if (!machine.running()) return real_clock(CLOCK_THREAD_CPUTIME_ID);
  return machine.busy(machine.current());
}

std::int64_t thread_cputime_of(int tid) noexcept {
  const auto* t = machine.thread(tid - 1);
  return t == nullptr ? -1 : machine.busy(*t);
}

bool quick_clock_usable() noexcept { return false; }  // cputicks is no counter here

std::uint64_t cputicks() noexcept {
  if (!machine.running()) return static_cast<std::uint64_t>(real_clock(CLOCK_MONOTONIC));
  // Of the thread alone: the same under any schedule.
  const std::uint64_t stream = static_cast<std::uint64_t>(sim_self()) << 32 | machine.current().steps;
  return sim::Random(machine.options().seed, stream).next();
}

// ---- memory ---------------------------------------------------------------------------------

std::size_t page_size() noexcept {
  static constinit std::size_t size = 0;
  if (size == 0) size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

void* mem_map(std::size_t bytes, std::size_t align) noexcept {
  if (!machine.running()) {
    void* p = ::mmap(nullptr, bytes + align, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return nullptr;
    return reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(p) + align - 1) &
                                   ~(align - 1));
  }
  machine.point(SimOp::memory, nullptr);
  void* p = machine.map(bytes, align);
  machine.seen(reinterpret_cast<std::uintptr_t>(p), reinterpret_cast<std::uintptr_t>(p));
  return p;
}

void mem_unmap(void* p, std::size_t bytes) noexcept {
  if (machine.running()) machine.point(SimOp::memory, p);
  ::munmap(p, bytes);
}

void mem_discard(void* p, std::size_t bytes) noexcept {
  if (machine.running()) machine.point(SimOp::memory, p);
  ::madvise(p, bytes, MADV_DONTNEED);
}

void mem_no_huge_pages(void* p, std::size_t bytes) noexcept {
  ::madvise(p, bytes, MADV_NOHUGEPAGE);
}

// Never `cheap`: the answer must not depend on the kernel that the simulation happens to run on.
Guard mem_guard(void* p, std::size_t bytes, bool may_split) noexcept {
  if (!may_split || ::mprotect(p, bytes, PROT_NONE) != 0) return Guard::none;
  return Guard::mapping;
}

void mem_unguard(void* p, std::size_t bytes, Guard kind) noexcept {
  if (kind != Guard::none) ::mprotect(p, bytes, PROT_READ | PROT_WRITE);
}

std::size_t mem_resident_from_top(const void* lo, const void* hi) noexcept {
  const std::size_t page = page_size();
  const auto from = reinterpret_cast<std::uintptr_t>(lo);
  auto at = reinterpret_cast<std::uintptr_t>(hi);
  while (at > from) {
    unsigned char resident = 0;
    if (::mincore(reinterpret_cast<void*>(at - page), page, &resident) != 0 || (resident & 1) == 0)
      break;
    at -= page;
  }
  return reinterpret_cast<std::uintptr_t>(hi) - at;
}

// ---- files and machine ----------------------------------------------------------------------

void fill_standard_fds() noexcept {}

void write_all(int fd, const char* data, std::size_t n) noexcept {
  if (machine.running() && (fd == 1 || fd == 2)) {
    const std::string_view kept = machine.history().capture(data, n);
    machine.record(SimOp::output, nullptr);
    machine.history().values(
        static_cast<std::uint64_t>(kept.data() - machine.history().output().data()), kept.size());
    return;
  }
  while (n > 0) {
    const ssize_t wrote = ::write(fd, data, n);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return;
    data += wrote;
    n -= static_cast<std::size_t>(wrote);
  }
}

std::ptrdiff_t read_file(const char* path, char* buf, std::size_t n) noexcept {
  if (!machine.running()) outside("read_file");
  if (n == 0) return -EINVAL;
  const SimText* file = find(machine.options().files, path);
  if (file == nullptr) return -ENOENT;
  std::size_t length = strlen(file->value);
  if (length > n - 1) length = n - 1;
  memcpy(buf, file->value, length);
  buf[length] = '\0';
  return static_cast<std::ptrdiff_t>(length);
}

int cpu_count() noexcept { return machine.running() ? machine.options().cpus : 1; }

std::int64_t cgroup_cpu_limit_milli() noexcept {
  return machine.running() ? machine.options().cgroup_limit_milli : 0;
}

std::int64_t cgroup_pids_limit() noexcept { return 0; }

const char* getenv(const char* name) noexcept {
  if (!machine.running()) return ::getenv(name);
  const SimText* variable = find(machine.options().environment, name);
  return variable != nullptr ? variable->value : nullptr;
}

// ---- for bodies -----------------------------------------------------------------------------

void sim_note(const char* text, std::uint64_t value) noexcept {
  if (!machine.running()) return;
  machine.record(SimOp::note, text);
  machine.seen(value, value);
}

void sim_assert(bool condition, const char* text) noexcept {
  if (!condition) sim_fail(text);
}

void sim_fail(const char* text) noexcept {
  if (!machine.running()) outside(text);
  machine.record(SimOp::note, text);
  machine.finish(SimVerdict::assert, text);
}

void sim_label(const void* addr, std::size_t bytes, const char* name,
               std::span<const char* const> values) noexcept {
  if (machine.running()) machine.history().label(addr, bytes, name, values);
}

void sim_on_end(void (*name_things)()) noexcept { machine.name_things = name_things; }

void sim_at_once(void (*look)(void*), void* arg) noexcept {
  if (!machine.running()) return look(arg);
  machine.at_once(look, arg);
}

int sim_spawn(void (*entry)(void*), void* arg) noexcept {
  if (!machine.running()) outside("sim_spawn");
  return machine.create(entry, arg, 0, false);
}

void sim_join(int thread) noexcept {
  if (!machine.running()) outside("sim_join");
  machine.join(thread);
}

void sim_limit_threads(int max) noexcept { machine.max_threads = max; }

int sim_self() noexcept { return machine.running() ? machine.index(machine.current()) : -1; }

bool sim_small() noexcept { return machine.running() && machine.options().small; }

std::uint64_t sim_steps() noexcept { return machine.running() ? machine.steps() : 0; }

void sim_on_signal(void (*handler)(int signo)) noexcept { machine.signal_handler = handler; }

}  // namespace gort::inline v0::os
