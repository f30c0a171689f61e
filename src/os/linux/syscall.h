// gort: system calls without libc's wrapper.
//
// kernel::call(nr, args...) returns what the kernel returns: a value, or -errno. It touches no
// errno. Why not syscall(3): it stores to errno, which would have to be saved for the goroutine
// that is called away from its own code; and __errno_location() is declared `const`, so that with
// link-time optimisation a compiler may keep its result over a context switch and store to another
// thread's errno. What never touches errno needs neither care. Safe in signal handlers and after
// fork.
#pragma once

#include <sys/syscall.h>

#include <type_traits>

namespace gort::inline v0::os::kernel {

#if defined(__x86_64__)
[[gnu::always_inline]] inline long raw(long nr, long a, long b, long c, long d, long e,
                                       long f) noexcept {
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}
#elif defined(__aarch64__)
[[gnu::always_inline]] inline long raw(long nr, long a, long b, long c, long d, long e,
                                       long f) noexcept {
  register long x8 asm("x8") = nr;
  register long x0 asm("x0") = a;
  register long x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register long x3 asm("x3") = d;
  register long x4 asm("x4") = e;
  register long x5 asm("x5") = f;
  asm volatile("svc #0"
               : "+r"(x0)
               : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
               : "memory");
  return x0;
}
#endif

template <class T>
[[gnu::always_inline]] inline long word(T v) noexcept {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<long>(v);
  } else if constexpr (std::is_null_pointer_v<T>) {
    return 0;
  } else {
    return static_cast<long>(v);
  }
}

/// One system call with up to six arguments.
template <class A = long, class B = long, class C = long, class D = long, class E = long,
          class F = long>
[[gnu::always_inline]] inline long call(long nr, A a = 0, B b = 0, C c = 0, D d = 0, E e = 0,
                                        F f = 0) noexcept {
  return raw(nr, word(a), word(b), word(c), word(d), word(e), word(f));
}

}  // namespace gort::inline v0::os::kernel
