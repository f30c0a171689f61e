// gort: a variable of which each goroutine has its own.
//
//   gort::goroutine_local<int> depth;      // static or member
//   ++*depth;                              // this goroutine's
//
// thread_local is the wrong tool in a goroutine: after a park it may name another thread's variable, and
// compilers cache its address over the park. A goroutine_local's value is made (value-initialised) at a
// goroutine's first use and destroyed when the goroutine ends, in no particular order, on that goroutine.
// On foreign threads the value belongs to the thread. Not inherited by children.
// Access costs an index and two loads after the first. Indices are never reused: make them static.
#pragma once

#include <cstddef>
#include <memory>

#include "gort/config.h"

namespace gort::inline v0 {

namespace detail {
std::size_t local_new_index() noexcept;
/// The slot of this goroutine (or foreign thread), made on demand; may throw std::bad_alloc.
void*& local_slot(std::size_t index, void (*destroy)(void*));
}  // namespace detail

template <class T>
class goroutine_local {
 public:
  goroutine_local() noexcept : index_(detail::local_new_index()) {}
  goroutine_local(const goroutine_local&) = delete;
  goroutine_local& operator=(const goroutine_local&) = delete;

  T& get() const {
    constexpr auto destroy = [](void* p) { delete static_cast<T*>(p); };
    if (void* had = detail::local_slot(index_, destroy); had != nullptr) return *static_cast<T*>(had);
    std::unique_ptr<T> made(new T());
    // Looked up again: T's constructor may have used others, which moves the slots.
    void*& slot = detail::local_slot(index_, destroy);
    if (slot == nullptr) slot = made.release();
    return *static_cast<T*>(slot);
  }
  T& operator*() const { return get(); }
  T* operator->() const { return std::addressof(get()); }

 private:
  const std::size_t index_;
};

}  // namespace gort::inline v0
