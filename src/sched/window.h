// gort: Window, a stretch of inline code in which its thread is left alone (rule L4).
//
// Outside the runtime a goroutine may be stopped, and taken off its P, between any two instructions; when it goes on,
// its P may be another one and the phase of a collection may have changed. So whatever holds a value that depends on
// its P (the P, a pointer into its caches) or on such a phase (the marking flag) over more than one instruction does
// that in the runtime, or in a window:
//
//   {
//     Window w;                       // from here on the signal handler leaves requests where they are
//     P* p = self_m()->p;             // read inside: before, it would be anybody's
//     …                               // a few instructions
//   }                                 // no such value lives on; what was asked meanwhile is served here
//
// A window's end is, in this order: clear, compiler barrier, look at what is pending, serve it. The handler runs on
// this very thread, so order in the program is enough; but without the barrier GCC -O2 looks before it clears, and a
// signal in between is left for nobody. A signal before the clear leaves its request and the look finds it; one
// after it finds no window.
//
// To serve is to do what a captive does, on the spot: the goroutine may stop with the world or wait for its turn, and
// goes on on the same thread. A window never changes the goroutine's thread, so allocation, reference stores and the
// like may have one. Every window is a poll in that sense.
//
// Inside: no call that may block, park or take long, no user code, no RuntimeEntry, no second window (debug builds
// check both). Time in a window is time by which a stop is late. On a foreign thread a window is
// two stores.
//
// What it costs: about 1 ns. A plain reference store tests the marking flag outside, and opens a window, and tests
// again, only while marking (docs/HACKING.md: L4).
#pragma once

#include "base/check.h"
#include "sched/entry.h"
#include "sched/stop_point.h"

namespace gort::inline v0::rt {

class [[nodiscard]] Window {
 public:
  [[gnu::always_inline]] Window() noexcept {
    os::Tls& t = os::tls();
    GORT_DCHECK(t.in_runtime == 0 && t.window == 0, "a window inside the runtime, or in another window");
    t.window = 1;
    asm volatile("" ::: "memory");  // nothing of the window is done before
  }
  Window(const Window&) = delete;
  Window& operator=(const Window&) = delete;
  [[gnu::always_inline]] ~Window() {
    asm volatile("" ::: "memory");  // nor after
    os::Tls& t = os::tls();
    t.window = 0;
    asm volatile("" ::: "memory");
    M* m = static_cast<M*>(t.m);
    if (m != nullptr && __builtin_expect((m->pending.load(os::memory_order_relaxed) & kPendingHere) != 0, 0)) {
      serve_at_exit();
    }
  }
};

}  // namespace gort::inline v0::rt
