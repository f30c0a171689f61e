// gort: kernel threads and the end of the process.
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "os/linux/parse.h"
#include "os/linux/syscall.h"
#include "os/os.h"
#include "os/tls.h"

namespace gort::inline v0::os {
namespace {

// What a new thread is to run travels in one of these, which the thread copies and gives back as
// its first act. A table and not malloc; not on the creator's stack either, or it would have to
// wait for the new thread's first time slice.
struct Start {
  atomic<bool> taken{false};
  void (*entry)(void*) = nullptr;
  void* arg = nullptr;
};
constexpr int kStarts = 64;
constinit Start starts[kStarts];

Start* take_start() noexcept {
  for (;;) {
    for (Start& s : starts) {
      if (!s.taken.exchange(true, memory_order_acquire)) return &s;
    }
    thread_yield();  // 64 threads that have not begun yet: the caller has no P and may wait
  }
}

/// Nobody calls it. What assembly names link-time optimization does not see: this takes tls.cc out of the archive.
[[gnu::used]] void* tls_is_needed() { return &gort_v0_tls; }

void* run_thread(void* p) {
  auto* s = static_cast<Start*>(p);
  auto* entry = s->entry;
  void* arg = s->arg;
  s->taken.store(false, memory_order_release);
  entry(arg);
  return nullptr;
}

std::size_t usable_stack_size(std::size_t bytes) noexcept {
  // What the C library insists on; larger than PTHREAD_STACK_MIN where the CPU's state is large.
  long least = ::sysconf(_SC_THREAD_STACK_MIN);
  if (least > 0 && bytes < static_cast<std::size_t>(least)) bytes = static_cast<std::size_t>(least);
  const std::size_t mask = page_size() - 1;
  return bytes > SIZE_MAX - mask ? bytes & ~mask : (bytes + mask) & ~mask;
}

}  // namespace

int thread_create(Thread* out, void (*entry)(void*), void* arg, std::size_t stack_bytes) noexcept {
  pthread_attr_t attr;
  if (int e = ::pthread_attr_init(&attr)) return e;
  int e = 0;
  if (stack_bytes != 0) e = ::pthread_attr_setstacksize(&attr, usable_stack_size(stack_bytes));
  if (e == 0) {
    Start* s = take_start();
    s->entry = entry;
    s->arg = arg;
    pthread_t id;
    e = ::pthread_create(&id, &attr, run_thread, s);
    if (e == 0) {
      static_assert(sizeof id == sizeof out->handle);
      out->handle = static_cast<std::uintptr_t>(id);
    } else {
      s->taken.store(false, memory_order_release);
    }
  }
  ::pthread_attr_destroy(&attr);
  return e;
}

void thread_detach() noexcept { ::pthread_detach(::pthread_self()); }

int thread_try_reap(Thread t) noexcept {
  return ::pthread_tryjoin_np(static_cast<pthread_t>(t.handle), nullptr);
}

int thread_id() noexcept { return static_cast<int>(kernel::call(SYS_gettid)); }

bool thread_stack(std::uintptr_t* lo, std::uintptr_t* hi) noexcept {
  pthread_attr_t attr;
  if (::pthread_getattr_np(::pthread_self(), &attr) != 0) return false;
  void* base;
  std::size_t size;
  const bool known = ::pthread_attr_getstack(&attr, &base, &size) == 0;
  ::pthread_attr_destroy(&attr);
  if (!known) return false;
  *lo = reinterpret_cast<std::uintptr_t>(base);
  *hi = *lo + size;
  return true;
}

void thread_set_name(const char* name) noexcept { kernel::call(SYS_prctl, PR_SET_NAME, name); }

namespace {

/// For who has no descriptor left to open a file with: the directory of threads has a link for each, and two of its own.
int count_links_of_threads() noexcept {
  struct stat task;
  if (kernel::call(SYS_newfstatat, AT_FDCWD, "/proc/self/task", &task, 0) != 0) return -1;
  return task.st_nlink > 2 ? static_cast<int>(task.st_nlink) - 2 : -1;
}

}  // namespace

int process_thread_count() noexcept {
  char text[1024];
  if (read_file("/proc/self/stat", text, sizeof text) <= 0) return count_links_of_threads();
  // The second field is the program's name, which may hold blanks and parentheses. Nothing after it
  // does.
  const char* p = nullptr;
  for (const char* c = text; *c != '\0'; ++c) {
    if (*c == ')') p = c;
  }
  if (p == nullptr) return -1;
  for (int field = 2; field < 20; ++field) p = next_field(p);
  std::int64_t threads;
  return parse_int(&p, &threads) ? static_cast<int>(threads) : -1;
}

void thread_yield() noexcept { kernel::call(SYS_sched_yield); }

void cpu_relax(int n) noexcept {
  for (int i = 0; i < n; ++i) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    asm volatile("isb" ::: "memory");  // `yield` is a no-op on most cores
#endif
  }
}

int signal_thread(int tid, int signo) noexcept {
  // The process id is asked each time: a cached one would be the parent's after fork.
  long pid = kernel::call(SYS_getpid);
  return static_cast<int>(-kernel::call(SYS_tgkill, pid, tid, signo));
}

void exit_process(int code) noexcept {
  for (;;) kernel::call(SYS_exit_group, code);
}

void abort_process() noexcept {
  struct {  // the kernel's sigaction, not libc's
    unsigned long handler = 0, flags = 0, restorer = 0, mask = 0;
  } by_default;
  constexpr unsigned long set = 1UL << (SIGABRT - 1);
  kernel::call(SYS_rt_sigaction, SIGABRT, &by_default, nullptr, sizeof set);
  kernel::call(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, nullptr, sizeof set);
  signal_thread(thread_id(), SIGABRT);
  exit_process(128 + SIGABRT);  // process 1 of a container outlives its own SIGABRT
}

}  // namespace gort::inline v0::os
