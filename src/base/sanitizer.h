// gort: what ThreadSanitizer, AddressSanitizer and Valgrind must be told about goroutine stacks.
//
// The hooks are weak symbols that the sanitizers' runtimes define: a release library finds them when the
// *user's* program is sanitized, and finds nulls otherwise. `active` is read once at start, so a plain
// program pays one predictable branch per switch.
//
//   TSan   each goroutine is a "fiber"; switching tells TSan whose shadow state follows. A fiber is made at
//          the goroutine's first dispatch, and in the name of the thread: a new fiber has seen all that its
//          maker has, and the goroutine that happens to be left then has nothing to do with the new one.
//          Happens-before comes from release()/acquire() at the public operations, not from the switch
//          (flag 1 = no synchronisation), or races between goroutines would be hidden.
//          Only a core that is itself built with TSan lets switches synchronise, see sanitizer.cc.
//          thread_local variables (errno among them) belong to whoever runs on the thread at the moment, so
//          they are no races between goroutines: each M names its own.
//   ASan   is told the bounds of the stack that follows, keeps each goroutine's fake stack, and drops it
//          when the goroutine ends (brpc #2931: otherwise use-after-return detection reports garbage).
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/os.h"

extern "C" {
void* __tsan_get_current_fiber() __attribute__((weak));
void* __tsan_create_fiber(unsigned flags) __attribute__((weak));
void __tsan_destroy_fiber(void* fiber) __attribute__((weak));
void __tsan_switch_to_fiber(void* fiber, unsigned flags) __attribute__((weak));
void __tsan_acquire(void* addr) __attribute__((weak));
void __tsan_release(void* addr) __attribute__((weak));
void AnnotateBenignRaceSized(char* file, int line, std::uintptr_t addr, std::uintptr_t size, char* what) __attribute__((weak));
void __sanitizer_start_switch_fiber(void** fake_stack_save, const void* bottom, std::size_t size)
    __attribute__((weak));
void __sanitizer_finish_switch_fiber(void* fake_stack_save, const void** bottom_old, std::size_t* size_old)
    __attribute__((weak));
void __asan_unpoison_memory_region(const void* addr, std::size_t size) __attribute__((weak));
}

/// For functions that look at other threads' plain words, knowing that they may see a moment that never was.
#if defined(__clang__)
#define GORT_NO_TSAN [[clang::no_sanitize("thread")]]
#else
#define GORT_NO_TSAN [[gnu::no_sanitize_thread]]
#endif

namespace gort::inline v0::rt {

/// What a G, or an M for its own stack, keeps for the sanitizers; all null in plain programs.
struct GSanitizer {
  void* tsan_fiber = nullptr;
  void* asan_fake_stack = nullptr;
  std::uintptr_t valgrind_id = 0;
};

namespace san {

/// True if any sanitizer (or Valgrind) watches this process. Written once, before the first goroutine.
extern bool active;
void detect() noexcept;
/// Foreign threads may look while the runtime starts.
inline bool watched() noexcept { return __atomic_load_n(&active, __ATOMIC_RELAXED); }  // floors: allow no scheduling point of sim
/// True if ThreadSanitizer does.
bool tsan_slow() noexcept;
inline bool tsan() noexcept { return __builtin_expect(watched(), 0) && tsan_slow(); }

void start_switch_slow(GSanitizer& from, GSanitizer& to, std::uintptr_t to_lo, std::uintptr_t to_hi,
                       bool from_ends) noexcept;
void finish_switch_slow(GSanitizer& now, bool left_ends) noexcept;
void stack_born_slow(GSanitizer& s, const GSanitizer& thread, std::uintptr_t lo, std::uintptr_t hi) noexcept;
void stack_gone_slow(GSanitizer& s, std::uintptr_t lo, std::uintptr_t hi) noexcept;
void thread_stack_slow(GSanitizer& s) noexcept;
void acquire_slow(const void* p) noexcept;
void release_slow(const void* p) noexcept;
/// Of the calling thread.
void thread_local_block_slow(const void* p, std::size_t bytes) noexcept;

/// Just before the switch, on the old stack.
[[gnu::always_inline]] inline void start_switch(GSanitizer& from, GSanitizer& to, std::uintptr_t to_lo,
                                                std::uintptr_t to_hi, bool from_ends) noexcept {
  if (__builtin_expect(watched(), 0)) start_switch_slow(from, to, to_lo, to_hi, from_ends);
}
/// Just after it, on the new one.
[[gnu::always_inline]] inline void finish_switch(GSanitizer& now, bool left_ends) noexcept {
  if (__builtin_expect(watched(), 0)) finish_switch_slow(now, left_ends);
}
/// A goroutine begins to use / has ceased to use this stack. `thread` is the M's, where it begins.
inline void stack_born(GSanitizer& s, const GSanitizer& thread, std::uintptr_t lo, std::uintptr_t hi) noexcept {
  if (__builtin_expect(watched(), 0)) stack_born_slow(s, thread, lo, hi);
}
inline void stack_gone(GSanitizer& s, std::uintptr_t lo, std::uintptr_t hi) noexcept {
  if (__builtin_expect(watched(), 0)) stack_gone_slow(s, lo, hi);
}
/// This thread's own stack, at the start of an M.
inline void thread_stack(GSanitizer& s) noexcept {
  if (__builtin_expect(watched(), 0)) thread_stack_slow(s);
}
/// Happens-before for TSan: what came before release(p) is visible after acquire(p).
inline void acquire(const void* p) noexcept {
  if (__builtin_expect(watched(), 0)) acquire_slow(p);
}
inline void release(const void* p) noexcept {
  if (__builtin_expect(watched(), 0)) release_slow(p);
}

// Stops at calls, for TSan. Two meeting places:
//
//   stood_still   what a goroutine did before it left its processor is visible to who stops the world after that
//   went_on       what that one did is visible to whoever runs again
inline constinit char stood_still = 0;
inline constinit char went_on = 0;
/// By a goroutine, before it stands where the world may be stopped without it, and after that. Switches do it.
inline void stands_still() noexcept { release(&stood_still); }
inline void goes_on() noexcept { acquire(&went_on); }
/// By who has stopped the world, and before the restart.
inline void world_stands() noexcept { acquire(&stood_still); }
inline void world_goes_on() noexcept { release(&went_on); }

}  // namespace san
}  // namespace gort::inline v0::rt
