// gort::polls: what the calls do that a compiler puts into a user's code (gort_add_polls, docs/polls.md).
//
// GCC and Clang put `call __sanitizer_cov_trace_pc` into basic blocks, where no debugger, no sanitizer and no reader
// of the source expects anything to happen: in inlined libstdc++, between a system call and the look at errno, in a
// function that holds a std::mutex or a thread_local's address. So such a place never lets the goroutine change its
// thread. It only marks where a request may be served on the spot: the thread waits here, its P goes elsewhere.
//
// The call is an ordinary one, so registers are the compiler's business. It also keeps errno.
#include <ucontext.h>

#include <cerrno>
#include <cstdint>

#include "os/os.h"
#include "os/signal.h"
#include "sched/m.h"
#include "sched/stop_point.h"
#include "world/preempt.h"

#if defined(__clang__)
#define GORT_PLAIN_CODE __attribute__((no_sanitize("coverage", "thread", "address", "undefined")))
#else
#define GORT_PLAIN_CODE __attribute__((no_sanitize_coverage, no_sanitize("thread", "address", "undefined")))
#endif

namespace gort::inline v0::rt {

/// Serves what is asked of m, on this very thread, as the signal handler does that has interrupted user code here.
/// Not as the end of a call into gort: gort::stop_world promises goroutines that stand in no code of the user's own.
/// Weak, so that a test can count.
[[gnu::weak]] void serve_at_poll(M* m, const void* here) noexcept { serve_interrupt(m, here); }

namespace {

/// Serving has begun on this thread and has not ended: a poll inside it is none.
__attribute__((tls_model("initial-exec"))) constinit thread_local bool serving = false;

/// Whether this thread runs a goroutine's user code with a P, at a place where that may wait.
GORT_PLAIN_CODE bool may_serve(const M* m) noexcept {
  const os::Tls& t = os::tls();
  // Our own inline code is compiled with polls, too: between a window's ends nothing may wait (L4).
  if (serving || t.in_runtime != 0 || t.window != 0 || t.in_handler != 0 || t.locks != 0) return false;
  if (m->curg == nullptr || m->p == nullptr) return false;  // in gort::blocking there is no P to give away
  const std::uint32_t asked = m->pending.load(os::memory_order_relaxed) & kPendingHere;
  if (asked == kPendingStop && sched.stopping.load(os::memory_order_relaxed) == kStopAtCalls) return false;
  // In a user's signal handler: what it interrupted may be anything, also gort's handler's neighbour on that stack.
  const auto sp = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  if (sp - reinterpret_cast<std::uintptr_t>(m->signal_stack) < m->signal_stack_bytes) return false;
  // The child of a vfork sees the parent's thread-locals.
  return m->tid.load(os::memory_order_relaxed) == os::thread_id();
}

/// What the handler's mask blocks: a user's handler on top of us that leaves by siglongjmp would run on without a P.
/// SIGURG too: one that comes meanwhile is looked at afterwards.
os::SignalMask while_serving() noexcept {
  const os::SignalMask open = os::signal_own_set() & ~os::signal_bit(os::kSigUrg);
  return ~(open | os::signal_bit(32) | os::signal_bit(33));
}

[[gnu::noinline, gnu::cold]] GORT_PLAIN_CODE void poll_slow(M* m) noexcept {
  if (!may_serve(m)) return;
  const int saved = errno;
  serving = true;
  const os::SignalMask before = os::signal_unblock(0);
  os::signal_mask_set(while_serving());
  ucontext_t here;  // for whoever walks this stack meanwhile
  ::getcontext(&here);
  serve_at_poll(m, &here);
  os::signal_mask_set(before);
  serving = false;  // the same thread: serving does not change it
  errno = saved;
}

}  // namespace
}  // namespace gort::inline v0::rt

/// Nothing here can switch goroutines, so plain thread-local access will do: one load less than os::tls().
/// In a thread that is no M, and in a program that never starts gort, the M is null.
extern "C" [[gnu::noinline, gnu::visibility("default")]] GORT_PLAIN_CODE void __sanitizer_cov_trace_pc() {
  auto* m = static_cast<gort::rt::M*>(gort_v0_tls.m);
  if (m == nullptr) return;
  if (__builtin_expect((m->pending.load(gort::os::memory_order_relaxed) & gort::rt::kPendingHere) == 0, 1)) return;
  gort::rt::poll_slow(m);
}
