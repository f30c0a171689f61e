// gort: calls that block in the kernel.
//
// A goroutine that calls read(2), getaddrinfo(3) or anything else that may sleep in the kernel holds its
// processor meanwhile. Wrapped in blocking(), it lets the processor go: others run.
//
//   ssize_t n = gort::blocking([&] { return ::read(fd, buf, size); });
//
// Promised: f runs once, on the calling thread; its result or exception is passed on; errno is as f left it.
// Cost: a few tens of nanoseconds when the call is short. May change the thread at its end.
// Inside: keep it short of surprises: calls into gort work (each takes a processor for its duration), but no
// collected object may be touched. They nest. On a foreign thread it is a plain call.
#pragma once

#include <cerrno>
#include <functional>
#include <utility>

#include "gort/config.h"

namespace gort::inline v0 {

namespace detail {
void blocking_begin() noexcept;
/// errno belongs to the thread, and the end of a blocking call may change it: carried over.
void blocking_end() noexcept;
struct blocking_scope {
  blocking_scope() noexcept { blocking_begin(); }
  blocking_scope(const blocking_scope&) = delete;
  blocking_scope& operator=(const blocking_scope&) = delete;
  ~blocking_scope() { blocking_end(); }
};
}  // namespace detail

template <class F, class... Args>
decltype(auto) blocking(F&& f, Args&&... args) {
  detail::blocking_scope scope;
  return std::invoke(std::forward<F>(f), std::forward<Args>(args)...);
}

}  // namespace gort::inline v0
