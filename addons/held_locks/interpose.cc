// The calls that lock and unlock, replaced for the whole program and its libraries (libc's own locks are not reached).
// Each does what libc's does and books the outcome. Nothing here allocates, and a wrapper that is entered while this
// thread looks libc's functions up (an allocator that dlsym calls, with mutexes of its own) does nothing at all: that
// is before the program has a second thread.
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "addons/held_locks/held.h"
#include "sched/sched.h"

namespace gort::inline v0::rt::held_locks {

namespace {

enum Call {
  mutex_lock, mutex_trylock, mutex_timedlock, mutex_clocklock, mutex_unlock,
  cond_wait, cond_timedwait, cond_clockwait,
  rd, tryrd, timedrd, clockrd, wr, trywr, timedwr, clockwr, rw_unlock,
  kCalls
};

constexpr const char* kNames[kCalls] = {
    "pthread_mutex_lock", "pthread_mutex_trylock", "pthread_mutex_timedlock", "pthread_mutex_clocklock",
    "pthread_mutex_unlock", "pthread_cond_wait", "pthread_cond_timedwait", "pthread_cond_clockwait",
    "pthread_rwlock_rdlock", "pthread_rwlock_tryrdlock", "pthread_rwlock_timedrdlock", "pthread_rwlock_clockrdlock",
    "pthread_rwlock_wrlock", "pthread_rwlock_trywrlock", "pthread_rwlock_timedwrlock", "pthread_rwlock_clockwrlock",
    "pthread_rwlock_unlock"};

constinit std::atomic<void*> libc[kCalls] = {};
__attribute__((tls_model("initial-exec"))) constinit thread_local bool resolving = false;

/// x86-64's glibc has two kinds of condition variables under one name, and a plain dlsym finds the old one.
void* find(Call call) noexcept {
#if defined(__x86_64__)
  if (call == cond_wait || call == cond_timedwait) {
    if (void* f = ::dlvsym(RTLD_NEXT, kNames[call], "GLIBC_2.3.2"); f != nullptr) return f;
  }
#endif
  return ::dlsym(RTLD_NEXT, kNames[call]);
}

/// Two threads may do this at once, with the same result: nobody waits for anybody who is in the loader.
[[gnu::cold, gnu::noinline]] void* resolve(Call call) noexcept {
  resolving = true;
  void* f = find(call);
  resolving = false;
  if (f == nullptr) {
    constexpr char text[] = "gort::held_locks: libc's functions cannot be found (is the program linked statically?): ";
    if (::write(2, text, sizeof text - 1) < 0 || ::write(2, kNames[call], std::strlen(kNames[call])) < 0) std::abort();
    std::abort();
  }
  libc[call].store(f, std::memory_order_release);
  return f;
}

/// Calls libc's function; 0 if this thread is just looking for it.
template <class F, class... Args>
[[gnu::always_inline]] inline int call_libc(Call call, F*, Args... args) noexcept(false) {
  void* f = libc[call].load(std::memory_order_acquire);
  if (__builtin_expect(f == nullptr, 0)) {
    if (resolving) return 0;
    f = resolve(call);
  }
  return reinterpret_cast<F*>(f)(args...);
}

/// Early, while there is one thread.
[[gnu::constructor(101)]] void begin() noexcept {
  for (int i = 0; i < kCalls; ++i) {
    if (libc[i].load(std::memory_order_relaxed) == nullptr) resolve(static_cast<Call>(i));
  }
  rt::sched_hooks.departs = report_departure;
}

bool taken(int result) noexcept { return result == 0 || result == EOWNERDEAD; }

int lock_result(int result, const void* lock, Kind kind, void* caller) noexcept {
  if (taken(result)) locked(lock, kind, reinterpret_cast<std::uintptr_t>(caller));
  return result;
}

}  // namespace
}  // namespace gort::inline v0::rt::held_locks

namespace held = gort::rt::held_locks;

#define GORT_REPLACES extern "C" __attribute__((visibility("default"), noinline))
#define GORT_CALLER __builtin_return_address(0)

/// What a program's link line names, so that this file is linked in.
extern "C" __attribute__((visibility("default"))) constinit const char gort_v0_held_locks = 1;

GORT_REPLACES int pthread_mutex_lock(pthread_mutex_t* m) noexcept {
  return held::lock_result(held::call_libc(held::mutex_lock, pthread_mutex_lock, m), m, held::Kind::mutex, GORT_CALLER);
}
GORT_REPLACES int pthread_mutex_trylock(pthread_mutex_t* m) noexcept {
  return held::lock_result(held::call_libc(held::mutex_trylock, pthread_mutex_trylock, m), m, held::Kind::mutex,
                           GORT_CALLER);
}
GORT_REPLACES int pthread_mutex_timedlock(pthread_mutex_t* m, const timespec* until) noexcept {
  return held::lock_result(held::call_libc(held::mutex_timedlock, pthread_mutex_timedlock, m, until), m,
                           held::Kind::mutex, GORT_CALLER);
}
GORT_REPLACES int pthread_mutex_clocklock(pthread_mutex_t* m, clockid_t clock, const timespec* until) noexcept {
  return held::lock_result(held::call_libc(held::mutex_clocklock, pthread_mutex_clocklock, m, clock, until), m,
                           held::Kind::mutex, GORT_CALLER);
}
GORT_REPLACES int pthread_mutex_unlock(pthread_mutex_t* m) noexcept {
  held::unlocked(m);
  const int result = held::call_libc(held::mutex_unlock, pthread_mutex_unlock, m);
  held::print_names_of(m);  // the address only: the mutex may be gone
  return result;
}

// A wait releases the mutex, and has it again when it returns, with whatever result.
GORT_REPLACES int pthread_cond_wait(pthread_cond_t* c, pthread_mutex_t* m) {
  held::unlocked(m);
  const int result = held::call_libc(held::cond_wait, pthread_cond_wait, c, m);
  held::lock_result(0, m, held::Kind::mutex, GORT_CALLER);
  return result;
}
GORT_REPLACES int pthread_cond_timedwait(pthread_cond_t* c, pthread_mutex_t* m, const timespec* until) {
  held::unlocked(m);
  const int result = held::call_libc(held::cond_timedwait, pthread_cond_timedwait, c, m, until);
  held::lock_result(0, m, held::Kind::mutex, GORT_CALLER);
  return result;
}
GORT_REPLACES int pthread_cond_clockwait(pthread_cond_t* c, pthread_mutex_t* m, clockid_t clock,
                                         const timespec* until) {
  held::unlocked(m);
  const int result = held::call_libc(held::cond_clockwait, pthread_cond_clockwait, c, m, clock, until);
  held::lock_result(0, m, held::Kind::mutex, GORT_CALLER);
  return result;
}

#define GORT_RW(name, call, kind)                                                                                 \
  GORT_REPLACES int name(pthread_rwlock_t* l) noexcept {                                                          \
    return held::lock_result(held::call_libc(held::call, name, l), l, held::Kind::kind, GORT_CALLER);             \
  }
#define GORT_RW_TIMED(name, call, kind)                                                                           \
  GORT_REPLACES int name(pthread_rwlock_t* l, const timespec* until) noexcept {                                   \
    return held::lock_result(held::call_libc(held::call, name, l, until), l, held::Kind::kind, GORT_CALLER);      \
  }
#define GORT_RW_CLOCK(name, call, kind)                                                                           \
  GORT_REPLACES int name(pthread_rwlock_t* l, clockid_t clock, const timespec* until) noexcept {                  \
    return held::lock_result(held::call_libc(held::call, name, l, clock, until), l, held::Kind::kind, GORT_CALLER); \
  }
GORT_RW(pthread_rwlock_rdlock, rd, shared)
GORT_RW(pthread_rwlock_tryrdlock, tryrd, shared)
GORT_RW_TIMED(pthread_rwlock_timedrdlock, timedrd, shared)
GORT_RW_CLOCK(pthread_rwlock_clockrdlock, clockrd, shared)
GORT_RW(pthread_rwlock_wrlock, wr, exclusive)
GORT_RW(pthread_rwlock_trywrlock, trywr, exclusive)
GORT_RW_TIMED(pthread_rwlock_timedwrlock, timedwr, exclusive)
GORT_RW_CLOCK(pthread_rwlock_clockwrlock, clockwr, exclusive)

GORT_REPLACES int pthread_rwlock_unlock(pthread_rwlock_t* l) noexcept {
  held::unlocked(l);
  const int result = held::call_libc(held::rw_unlock, pthread_rwlock_unlock, l);
  held::print_names_of(l);
  return result;
}
