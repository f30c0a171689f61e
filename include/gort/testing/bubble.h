// gort: tests of code that waits, without waiting: virtual time, and "until all are blocked".
//
//   TEST(Session, ExpiresAfterHalfAnHour) {
//     gort::testing::bubble::run([] {
//       session s;                                       // starts goroutines, timers, tickers
//       gort::this_goroutine::sleep_for(30min - 1ns);    // returns at once; nothing else has happened meanwhile
//       gort::testing::bubble::wait();                   // all others have done what there was to do
//       EXPECT_FALSE(s.expired());
//       gort::this_goroutine::sleep_for(1ns);
//       gort::testing::bubble::wait();
//       EXPECT_TRUE(s.expired());
//     });
//   }
//
// A bubble is a function, all goroutines that are started inside of it, and a clock. gort::clock::now(), sleeps, deadlines,
// timers, tickers, after_func and contexts' deadlines inside use that clock. It stands still while anybody in the bubble
// can run, and jumps to the next timer when all are durably blocked. So a test takes the time of its computing, and what
// happens in it does not depend on how fast the machine is. Other clocks (std::chrono::system_clock) go on as they do outside:
// how long it is until a time of theirs is asked when a wait for it begins.
//
//   when all goroutines of the bubble are durably blocked
//   somebody is in wait()                     wait() returns
//   else a timer is armed in the bubble       the clock jumps to the earliest; it goes off
//   else                                      fatal: they wait for ever. The report names them
//
//   durably blocked                           not (the clock stands still: it may go on by itself)
//   sleeping                                  in a mutex, shared_mutex, once_flag
//   a channel made in this bubble (or null)   a channel made elsewhere; a select with one
//   wait_group, condition_variable, latch,    gort::blocking, I/O, other libraries' waits
//   barrier, semaphore, event, promise
//   the end of a task, scope or context;      running, or waiting for a P
//   a place in a scope with a limit; wait()
//
// Where nobody in the whole process can go on, those on the right are as good as durably blocked: who waits for a mutex whose
// holder sleeps in virtual time gets it when that is up.
//
// When its last goroutine ends, a bubble is over: functions of after_func that have not begun by then are destroyed.
//
// Of all but channels it is taken for granted that they are used in this bubble only.
//
// Not for foreign threads: what they do is outside of every bubble, and the clock does not wait for them. A channel, timer
// or ticker of a bubble is to be used inside only; timers used outside are fatal. Bubbles do not nest; several may run at
// the same time. Each begins at the same time point, one day after the epoch of gort::clock.
//
// GoogleTest's namespace is ::testing. A file that includes it and this header, and says `using namespace gort;`, has to
// write `::testing::Test` and so on: without the colons the compiler says that `testing` is ambiguous. TEST, EXPECT_… and
// their like need nothing. `namespace bubble = gort::testing::bubble;` is the short way without the directive.
#pragma once

#include <concepts>
#include <exception>
#include <memory>
#include <type_traits>

#include "gort/config.h"
#include "gort/detail/goroutine.h"

namespace gort::inline v0 {

namespace detail {
/// Runs fn(arg) on a goroutine in a new bubble; returns when its last goroutine has ended.
void bubble_run(void (*fn)(void*), void* arg, const void* created_by);
}  // namespace detail

namespace testing::bubble {

/// Runs f in a goroutine in a new bubble, and waits until that and all goroutines started inside have ended; rethrows
/// what f threw. From any goroutine or foreign thread that is not in a bubble (a nested one is fatal); starts the runtime.
/// The time goes on for goroutines that f leaves behind. Blocks. Throws std::bad_alloc.
template <class F>
  requires std::invocable<F&>
[[gnu::noinline]] void run(F&& f) {
  struct frame {
    detail::task_state<void> state;
    std::remove_reference_t<F>* f;
  } frame{{}, std::addressof(f)};
  detail::bubble_run(
      [](void* p) {
        auto* fr = static_cast<struct frame*>(p);
        try {
          fr->state.run(*fr->f);
        } catch (const detail::goexit_signal&) {
        } catch (...) {
          fr->state.error = std::current_exception();
        }
        detail::goroutine_ends();
      },
      &frame, __builtin_return_address(0));
  frame.state.take();
}

/// Waits until all other goroutines of the bubble are durably blocked. Time does not go on meanwhile. Fatal outside of a
/// bubble, and while another goroutine of the bubble is in wait().
void wait();

/// Whether the caller is in a bubble.
bool inside() noexcept;

}  // namespace testing::bubble

}  // namespace gort::inline v0
