// The malloc guard: see malloc_guard.h. glibc's own entry points (__libc_malloc ...) do the work.
//
// It reports by raw write(2): stdio and gtest allocate, and the thread may hold any runtime lock.
#include "tests/support/malloc_guard.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <atomic>

#include "os/tls.h"

// glibc's names of its own allocator, for exactly this use.
extern "C" {
void* __libc_malloc(size_t n);
void* __libc_calloc(size_t n, size_t size);
void* __libc_realloc(void* p, size_t n);
void* __libc_memalign(size_t align, size_t n);
void* __libc_valloc(size_t n);
void* __libc_pvalloc(size_t n);
void __libc_free(void* p);
}

namespace gort::test {
namespace {

std::atomic<bool> guard_on{true};
std::atomic<unsigned long> calls{0};
std::atomic<void (*)()> hook{nullptr};

void put(const char* text) {
  ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
  (void)ignored;
}

[[noreturn]] void refuse(const char* function) {
  guard_on.store(false, std::memory_order_relaxed);  // abort handlers may allocate
  put("gort: ");
  put(function);
  put("() inside the runtime: a thread that is an M and in_runtime must not allocate (rule L1).\n"
      "gort: leave the runtime first, or use the allocators of src/base; `bt` in gdb shows who it was.\n");
  signal(SIGABRT, SIG_DFL);
  raise(SIGABRT);
  _exit(134);  // not reached unless SIGABRT is blocked
}

// Always inlined, so that the backtrace starts at malloc itself.
[[gnu::always_inline]] inline void check(const char* function) {
  if (!guard_on.load(std::memory_order_relaxed)) return;
  const os::Tls& t = os::tls();
  if (t.in_runtime == 1 && t.m != nullptr) refuse(function);
  calls.fetch_add(1, std::memory_order_relaxed);
  if (auto* fn = hook.load(std::memory_order_relaxed); fn != nullptr) fn();
}

}  // namespace

bool malloc_guard(bool on) noexcept { return guard_on.exchange(on); }
unsigned long malloc_guard_calls() noexcept { return calls.load(); }
void malloc_guard_hook(void (*fn)()) noexcept { hook.store(fn, std::memory_order_relaxed); }

}  // namespace gort::test

// ---- the family: everything that takes an arena lock ------------------------------------------

#define GORT_EXPORT extern "C" __attribute__((visibility("default")))
using gort::test::check;

GORT_EXPORT void* malloc(size_t n) noexcept {
  check("malloc");
  return __libc_malloc(n);
}
GORT_EXPORT void* calloc(size_t n, size_t size) noexcept {
  check("calloc");
  return __libc_calloc(n, size);
}
GORT_EXPORT void* realloc(void* p, size_t n) noexcept {
  check("realloc");
  return __libc_realloc(p, n);
}
GORT_EXPORT void* reallocarray(void* p, size_t n, size_t size) noexcept {
  check("reallocarray");
  size_t total;
  if (__builtin_mul_overflow(n, size, &total)) {
    errno = ENOMEM;
    return nullptr;
  }
  return __libc_realloc(p, total);
}
// free(nullptr) takes no lock, but the caller could not know that it would be null.
GORT_EXPORT void free(void* p) noexcept {
  check("free");
  __libc_free(p);
}
GORT_EXPORT void* memalign(size_t align, size_t n) noexcept {
  check("memalign");
  return __libc_memalign(align, n);
}
GORT_EXPORT void* aligned_alloc(size_t align, size_t n) noexcept {
  check("aligned_alloc");
  return __libc_memalign(align, n);
}
GORT_EXPORT int posix_memalign(void** out, size_t align, size_t n) noexcept {
  check("posix_memalign");
  if (align % sizeof(void*) != 0 || align == 0 || (align & (align - 1)) != 0) return EINVAL;
  const int saved = errno;  // posix_memalign answers by value and leaves errno alone
  void* p = __libc_memalign(align, n);
  errno = saved;
  if (p == nullptr) return ENOMEM;
  *out = p;
  return 0;
}
GORT_EXPORT void* valloc(size_t n) noexcept {
  check("valloc");
  return __libc_valloc(n);
}
GORT_EXPORT void* pvalloc(size_t n) noexcept {
  check("pvalloc");
  return __libc_pvalloc(n);
}
