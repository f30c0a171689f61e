// gort: the core's memory, without malloc.
//
//   persistent_alloc   for ever: registries, Ps, semaphore roots. Bump allocation from 1 MiB chunks.
//   FixAlloc<T>        objects of one type that come and go (G, M): a free list over persistent memory.
//                      A freed object's memory is only ever reused for the same type, so a stale pointer
//                      (a racing tracer, a spinning waker) still finds a T.
//
// Both are zeroed when fresh, thread-safe, O(1), and fatal when the kernel has no more address space; the forms with
// `try` give null then. Fault::need_memory: they are fatal, too; Fault::no_memory: they give null always.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>

#include "base/fault.h"
#include "base/mutex.h"

namespace gort::inline v0::rt {

/// `bytes` of zeroed memory that is never given back. `align`: a power of two, at most 4096.
void* persistent_alloc(std::size_t bytes, std::size_t align) noexcept;
void* persistent_try_alloc(std::size_t bytes, std::size_t align) noexcept;

/// Address space of a caller's own, whole pages, who can do without: os::mem_map with these faults. Given back by os::mem_unmap.
void* try_map(std::size_t bytes) noexcept;

/// Bytes handed out by persistent_alloc so far, for statistics.
std::size_t persistent_bytes() noexcept;

template <class T>
class FixAlloc {
 public:
  constexpr FixAlloc() noexcept : lock_(LockRank::fix_alloc) {}

  /// Storage for a T; the caller constructs. Reused storage keeps the old bytes.
  void* alloc() noexcept { return take(persistent_alloc); }
  void* try_alloc() noexcept {
    return fault(Fault::no_memory) ? persistent_try_alloc(kSlot, alignof(T)) : take(persistent_try_alloc);
  }

  void free(T* t) noexcept {
    LockGuard guard(lock_);
    auto* f = ::new (static_cast<void*>(t)) Free;
    f->next = free_;
    free_ = f;
    --in_use_;
  }

  std::size_t in_use() const noexcept { return in_use_; }

 private:
  struct Free {
    Free* next;
  };
  static_assert(sizeof(T) >= sizeof(Free) && alignof(T) >= alignof(Free));
  static constexpr std::size_t kSlot = (sizeof(T) + alignof(T) - 1) / alignof(T) * alignof(T);
  static constexpr std::size_t kPerChunk = kSlot >= 16384 ? 1 : 16384 / kSlot;

  void* take(void* (*more)(std::size_t, std::size_t) noexcept) noexcept {
    LockGuard guard(lock_);
    if (free_ == nullptr && left_ == 0) {
      chunk_ = static_cast<std::byte*>(more(kSlot * kPerChunk, alignof(T)));
      if (chunk_ == nullptr) return nullptr;
      left_ = kPerChunk;
    }
    ++in_use_;
    if (free_ != nullptr) {
      Free* f = free_;
      free_ = f->next;
      return f;
    }
    --left_;
    std::byte* p = chunk_;
    chunk_ += kSlot;
    return p;
  }

  Mutex lock_;
  Free* free_ = nullptr;         // guarded by lock_, as are the rest
  std::byte* chunk_ = nullptr;
  std::size_t left_ = 0;
  std::size_t in_use_ = 0;
};

}  // namespace gort::inline v0::rt
