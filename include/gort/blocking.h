// gort: calls that block in the kernel.
//
// A goroutine that calls read(2), getaddrinfo(3) or anything else that may sleep in the kernel holds its
// processor meanwhile. Wrapped in blocking(), it lets the processor go: others run.
//
//   ssize_t n = gort::blocking([&] { return ::read(fd, buf, size); });
//
// Promised: f runs once, on the calling thread; its result or exception is passed on.
//
// errno is the thread's, and the end of blocking() may change the thread. It is carried over: a function that
// first uses errno *after* the call sees what f left there. But compilers take errno's address for constant
// within a function (libc declares it so), also over calls: one that uses errno before and after in the same
// body, or into which such uses are inlined, may read and write the old thread's afterwards, which another
// goroutine runs on. So take errno inside f and carry it out as a value:
//
//   int error = 0;
//   ssize_t n = gort::blocking([&] { ssize_t r = ::read(fd, buf, size); error = r < 0 ? errno : 0; return r; });
//
// The same holds for every other operation that may change the thread, and for every thread_local variable.
//
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
