// Fiber stacks cut from large mappings and kept in one free list: Boost.Fiber's documented
// extension point (StackAllocator), used here so that its spawn rows measure fibers and not mmap
// and munmap, and so that a million stacks fit under vm.max_map_count.
//
// Boost's own pooled_fixedsize_stack does the same with two drawbacks: it may not be shared by
// threads, and it threads its free list through the low end of each stack, which makes a second
// page resident. Here the link lies in the high end, which the fiber has touched anyway. No guard
// pages, as in Boost's default stacks.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <boost/context/stack_context.hpp>
#include <boost/context/stack_traits.hpp>
#include <cstddef>
#include <new>

namespace bench {

/// Copyable handle, as Boost wants it; all copies share the one pool of the process.
class SlabStack {
 public:
  using traits_type = boost::context::stack_traits;

  /// `shared`: several threads allocate and free.
  explicit SlabStack(bool shared, std::size_t bytes = traits_type::default_size())
      : bytes_(bytes), shared_(shared) {}

  boost::context::stack_context allocate() {
    const Lock lock(shared_);
    if (free_ == nullptr) carve();
    char* const top = free_;
    free_ = *link(top);
    boost::context::stack_context s;
    s.size = bytes_;
    s.sp = top;
    return s;
  }

  void deallocate(boost::context::stack_context& s) noexcept {
    const Lock lock(shared_);
    char* const top = static_cast<char*>(s.sp);
    *link(top) = free_;
    free_ = top;
  }

 private:
  static constexpr std::size_t kSlab = std::size_t{64} << 20;
  // As in gort's slabs: tops a power of two apart would meet in the same sets of TLB and caches.
  static constexpr std::size_t kStagger = 4096;

  struct Lock {
    explicit Lock(bool on) noexcept : on_(on) {
      while (on_ && busy_.test_and_set(std::memory_order_acquire)) {
        while (busy_.test(std::memory_order_relaxed)) __builtin_ia32_pause();
      }
    }
    ~Lock() {
      if (on_) busy_.clear(std::memory_order_release);
    }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    const bool on_;
  };

  static char** link(char* top) noexcept { return reinterpret_cast<char**>(top - sizeof(char*)); }

  /// Hands out fresh stacks one by one from a slab, so that no page is touched before its fiber
  /// runs.
  void carve() {
    if (static_cast<std::size_t>(slab_end_ - slab_) < bytes_ + kStagger) {
      void* p = mmap(nullptr, kSlab, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (p == MAP_FAILED) throw std::bad_alloc();
      madvise(p, kSlab, MADV_NOHUGEPAGE);
      slab_ = static_cast<char*>(p);
      slab_end_ = slab_ + kSlab;
    }
    slab_ += bytes_ + kStagger;
    free_ = slab_;
    *link(free_) = nullptr;
  }

  static inline std::atomic_flag busy_;
  static inline char* free_ = nullptr;
  static inline char* slab_ = nullptr;
  static inline char* slab_end_ = nullptr;

  std::size_t bytes_;
  bool shared_;
};

}  // namespace bench
