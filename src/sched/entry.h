// gort: how a call enters the runtime, and what keeps a thread from being stopped there.
//
//   RuntimeEntry   stands at the top of every public operation. Between its construction and its
//                  destruction the thread is "in the runtime": a signal that wants to stop or preempt it
//                  leaves a flag and returns; the flag is honoured at the outermost exit (L1, L4).
//   NoPreempt      a stretch that must not be left by preemption although it is not a lock (Tls::locks).
//
// Which calls may change the goroutine's thread is a fixed table (docs/tls.md): blocking operations when
// they really block, yield, poll, sleep and the end of `blocking`. RuntimeEntry itself never does.
//
// The checks at entry, each one compare:
//   * in_runtime already set: no public operation calls user code while it is in the runtime, so this is
//     a signal handler that interrupted one. Fatal, and says so. Or it is the child of a fork.
//   * the stack pointer is below the goroutine's stack plus a reserve: overflow, named as such. Or it is on
//     the thread's signal stack: a handler that interrupted user code. Fatal too: what it calls may park the
//     goroutine, and the handler with it. (A handler without SA_ONSTACK cannot be told from the goroutine.)
#pragma once

#include "base/check.h"
#include "os/os.h"
#include "sched/m.h"

namespace gort::inline v0::rt {

/// in_runtime was set at an entry: a signal handler, or the child of a fork. Says which.
[[noreturn]] void fatal_entered_twice() noexcept;
/// The calling thread is the only one of a forked child; from now on every entry is fatal. For pthread_atfork.
void fork_child_begins() noexcept;
/// Written once, by the child of a fork.
extern os::atomic<bool> fork_child;
/// Whether this is the child of a fork. Signal handlers, too; and destructors, which exit() calls there: what they would
/// give back is the parent's, and stays as it is.
inline bool in_fork_child() noexcept { return fork_child.load(os::memory_order_relaxed); }
/// Fatal in the child of a fork: for what a thread that the child has made may come to.
void check_not_fork_child() noexcept;
[[noreturn]] void fatal_stack_overflow(G* g, std::uintptr_t sp) noexcept;
/// An entry with sp in the last kStackReserve bytes of the goroutine's stack, or not on it at all: an overflow, a
/// handler on the M's signal stack (both fatal), or a stack that the user has switched to, which is fine.
void entry_off_stack(M* m, std::uintptr_t sp) noexcept;
/// A call into gort from inside gort::blocking: takes a P for its duration, and gives it back.
void entry_leave_blocking() noexcept;
void entry_back_to_blocking() noexcept;

/// Something is asked of this M, at the end of a call into gort: serves it here, on the same thread.
void serve_at_exit() noexcept;

/// The outermost end of being in the runtime: clear, then look, so that a request which the signal handler left
/// because it found the runtime is served now (L4).
[[gnu::always_inline]] inline void leave_runtime(os::Tls& t, M* m) noexcept {
  t.in_runtime = 0;
  asm volatile("" ::: "memory");  // the handler runs on this very thread: order in the program is enough
  if (__builtin_expect((m->pending.load(os::memory_order_relaxed) & kPendingHere) != 0, 0)) serve_at_exit();
}
/// On an M.
[[gnu::always_inline]] inline void leave_runtime() noexcept {
  os::Tls& t = os::tls();
  leave_runtime(t, static_cast<M*>(t.m));
}

/// For a public operation that does without entering (a system call that need not wait): what is asked of this M is served all
/// the same, on the same thread. Not in a handler that has interrupted the runtime, nor in the child of a fork.
[[gnu::always_inline]] inline void serve_if_asked() noexcept {
  const os::Tls& t = os::tls();
  const M* m = static_cast<M*>(t.m);
  if (m == nullptr || __builtin_expect((m->pending.load(os::memory_order_relaxed) & kPendingHere) == 0, 1)) return;
  if (t.in_runtime == 0) serve_at_exit();
}

/// Whether sp stands within the last kStackReserve bytes of a stack, or beyond it but within its guard.
inline bool stack_nearly_out(const Stack& s, std::uintptr_t sp) noexcept {
  return sp - (s.lo - kStackGuard) < kStackGuard + kStackReserve;
}

class RuntimeEntry {
 public:
  [[gnu::always_inline]] RuntimeEntry() noexcept {
    os::Tls& t = os::tls();
    if (__builtin_expect(t.in_runtime != 0, 0)) fatal_entered_twice();
    t.in_runtime = 1;
    M* m = static_cast<M*>(t.m);
    if (m == nullptr) return;
    G* g = m->curg;
    const auto sp = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
    if (__builtin_expect(sp - g->sp_least >= g->sp_room, 0)) entry_off_stack(m, sp);
    if (__builtin_expect(g->in_blocking, 0)) entry_leave_blocking();
  }
  RuntimeEntry(const RuntimeEntry&) = delete;
  RuntimeEntry& operator=(const RuntimeEntry&) = delete;
  [[gnu::always_inline]] ~RuntimeEntry() {
    os::Tls& t = os::tls();  // anew: a blocking operation may have changed the thread
    M* m = static_cast<M*>(t.m);
    if (m == nullptr) {
      t.in_runtime = 0;
      return;
    }
    if (__builtin_expect(m->curg->blocking_depth != 0, 0)) entry_back_to_blocking();  // on the same thread
    leave_runtime(t, m);
  }
};

class [[nodiscard]] NoPreempt {
 public:
  NoPreempt() noexcept { ++os::tls().locks; }
  NoPreempt(const NoPreempt&) = delete;
  NoPreempt& operator=(const NoPreempt&) = delete;
  ~NoPreempt() { --os::tls().locks; }
};

}  // namespace gort::inline v0::rt
