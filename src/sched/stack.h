#pragma once
#include <cstddef>
#include <cstdint>
#include "os/os.h"
namespace gort::inline v0::rt {
inline constexpr std::uintptr_t kGuardBytes = 65536;
struct Stack { std::uintptr_t lo = 0, hi = 0; };
inline unsigned stack_class_of(std::size_t bytes) { return bytes <= (256<<10) ? 0 : 1; }
inline bool stack_alloc(std::size_t bytes, Stack* out) { bytes = bytes < (256<<10) ? (256<<10) : bytes; void* p = os::mem_map(bytes, 4096); if(!p) return false; out->lo=(std::uintptr_t)p+kGuardBytes; out->hi=(std::uintptr_t)p+bytes; return true; }
inline void stack_free(Stack s) { os::mem_unmap((void*)(s.lo-kGuardBytes), s.hi-s.lo+kGuardBytes); }
inline std::uintptr_t stack_top(const Stack& s) { return s.hi - ((s.lo >> 18) % 32) * 64; }
}
