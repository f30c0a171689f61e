#include "base/sanitizer.h"

#if defined(__x86_64__) || defined(__aarch64__)
#define GORT_HAVE_VALGRIND_REQUESTS 1
#endif

namespace gort::inline v0::rt::san {

constinit bool active = false;

namespace {

/// A Valgrind client request: a no-op instruction sequence that its translator recognises (the ABI is
/// documented in Valgrind's core manual, "The Client Request mechanism"). Returns `fallback` elsewhere.
std::uintptr_t valgrind_request(std::uintptr_t fallback, std::uintptr_t code, std::uintptr_t a1,
                                std::uintptr_t a2) noexcept {
  std::uintptr_t args[6] = {code, a1, a2, 0, 0, 0};
#if defined(__x86_64__)
  std::uintptr_t result = fallback;
  asm volatile(
      "rolq $3, %%rdi; rolq $13, %%rdi; rolq $61, %%rdi; rolq $51, %%rdi\n\t"
      "xchgq %%rbx, %%rbx"
      : "+d"(result)
      : "a"(&args[0])
      : "cc", "memory");
  return result;
#elif defined(__aarch64__)
  std::uintptr_t result;
  asm volatile(
      "mov x3, %1\n\t"
      "mov x4, %2\n\t"
      "ror x12, x12, #3; ror x12, x12, #13; ror x12, x12, #51; ror x12, x12, #61\n\t"
      "orr x10, x10, x10\n\t"
      "mov %0, x3"
      : "=r"(result)
      : "r"(fallback), "r"(&args[0])
      : "cc", "memory", "x3", "x4");
  return result;
#endif
}

constexpr std::uintptr_t kRunningOnValgrind = 0x1001;
constexpr std::uintptr_t kStackRegister = 0x1501;
constexpr std::uintptr_t kStackDeregister = 0x1502;

bool on_valgrind = false;

}  // namespace

void detect() noexcept {
  on_valgrind = valgrind_request(0, kRunningOnValgrind, 0, 0) != 0;
  const bool any = on_valgrind || __tsan_create_fiber != nullptr || __sanitizer_start_switch_fiber != nullptr;
  __atomic_store_n(&active, any, __ATOMIC_RELAXED);  // floors: allow see watched()
}

bool tsan_slow() noexcept { return __tsan_create_fiber != nullptr; }

// A release core is invisible to TSan, and a switch synchronises nothing (1), so that no race between two
// goroutines of one thread is hidden. An instrumented core's own accesses to its M, from one goroutine of the
// thread after the other, would be races then: it lets the switch synchronise (0).
#if defined(__SANITIZE_THREAD__)
constexpr unsigned kTsanSwitch = 0;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
constexpr unsigned kTsanSwitch = 0;
#else
constexpr unsigned kTsanSwitch = 1;
#endif
#else
constexpr unsigned kTsanSwitch = 1;
#endif

// The two of a switch are not instrumented: they run between two shadow states (Tencent/flare #197).
GORT_NO_TSAN void start_switch_slow(GSanitizer& from, GSanitizer& to, std::uintptr_t to_lo,
                                    std::uintptr_t to_hi, bool from_ends) noexcept {
  stands_still();
  if (__sanitizer_start_switch_fiber != nullptr) {
    // A null save pointer drops the fake stack of a goroutine that ends.
    __sanitizer_start_switch_fiber(from_ends ? nullptr : &from.asan_fake_stack,
                                   reinterpret_cast<const void*>(to_lo), to_hi - to_lo);
  }
  if (__tsan_switch_to_fiber != nullptr) __tsan_switch_to_fiber(to.tsan_fiber, kTsanSwitch);
}

GORT_NO_TSAN void finish_switch_slow(GSanitizer& now, bool /*left_ends*/) noexcept {
  goes_on();
  if (__sanitizer_finish_switch_fiber != nullptr) {
    __sanitizer_finish_switch_fiber(now.asan_fake_stack, nullptr, nullptr);
    now.asan_fake_stack = nullptr;
  }
}

GORT_NO_TSAN void stack_born_slow(GSanitizer& s, const GSanitizer& thread, std::uintptr_t lo,
                                  std::uintptr_t hi) noexcept {
  if (__tsan_create_fiber != nullptr) {
    // Made by the goroutine that is being left, the fiber would inherit all that this one has done, and no
    // race between two goroutines of one thread would ever be seen.
    void* const here = __tsan_get_current_fiber();
    if (here != thread.tsan_fiber) __tsan_switch_to_fiber(thread.tsan_fiber, kTsanSwitch);
    s.tsan_fiber = __tsan_create_fiber(0);
    if (here != thread.tsan_fiber) __tsan_switch_to_fiber(here, kTsanSwitch);
  }
  if (on_valgrind) s.valgrind_id = valgrind_request(0, kStackRegister, lo, hi - 1);
}

void stack_gone_slow(GSanitizer& s, std::uintptr_t lo, std::uintptr_t hi) noexcept {
  if (__tsan_destroy_fiber != nullptr && s.tsan_fiber != nullptr) __tsan_destroy_fiber(s.tsan_fiber);
  if (__asan_unpoison_memory_region != nullptr) {
    // The next goroutine on this stack must not meet the redzones of the last one's frames.
    __asan_unpoison_memory_region(reinterpret_cast<void*>(lo), hi - lo);
  }
  if (on_valgrind) valgrind_request(0, kStackDeregister, s.valgrind_id, 0);
  s = {};
}

void thread_stack_slow(GSanitizer& s) noexcept {
  if (__tsan_get_current_fiber != nullptr) s.tsan_fiber = __tsan_get_current_fiber();
}

void acquire_slow(const void* p) noexcept {
  if (__tsan_acquire != nullptr) __tsan_acquire(const_cast<void*>(p));
}
void release_slow(const void* p) noexcept {
  if (__tsan_release != nullptr) __tsan_release(const_cast<void*>(p));
}

void thread_local_block_slow(const void* p, std::size_t bytes) noexcept {
  static char what[] = "thread_local";
  if (AnnotateBenignRaceSized == nullptr) return;
  AnnotateBenignRaceSized(what, 0, reinterpret_cast<std::uintptr_t>(p), bytes, what);
}

}  // namespace gort::inline v0::rt::san
