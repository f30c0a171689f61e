#include "arch/context.h"

#include <cstring>

// Code, in <cpu>/switch.S.
extern "C" [[gnu::visibility("hidden")]] const char gort_v0_context_start[];

namespace gort::inline v0::arch {
namespace {

void put(char* frame, std::size_t offset, const void* word) noexcept {
  std::memcpy(frame + offset, &word, sizeof word);
}

}  // namespace

void make_context(Context* c, void* stack_hi, void (*entry)(void* arg), void* arg) noexcept {
  namespace f = saved_frame;
  char* hi = static_cast<char*>(stack_hi);
  hi -= reinterpret_cast<std::uintptr_t>(hi) & 15;
  char* sp = hi - f::kMadeBytes;
  std::memset(sp, 0, f::kMadeBytes);
#if defined(__x86_64__)
  asm volatile("stmxcsr %0" : "=m"(*reinterpret_cast<std::uint32_t*>(sp + f::kMxcsr)));
  asm volatile("fnstcw %0" : "=m"(*reinterpret_cast<std::uint16_t*>(sp + f::kX87Cw)));
  put(sp, f::kR12, reinterpret_cast<const void*>(entry));
  put(sp, f::kR13, arg);
#elif defined(__aarch64__)
  std::uint64_t fpcr;
  asm volatile("mrs %0, fpcr" : "=r"(fpcr));
  std::memcpy(sp + f::kFpcr, &fpcr, sizeof fpcr);
  put(sp, f::kX19, reinterpret_cast<const void*>(entry));
  put(sp, f::kX20, arg);
#endif
  put(sp, f::kReturn, gort_v0_context_start);
  c->sp = sp;
}

}  // namespace gort::inline v0::arch
