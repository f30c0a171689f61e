// gort: what happens to a thread of the runtime when a signal finds it.
//
// Whoever wants something of a running M sets a bit in m->asked and sends it SIGURG (ask). One handler serves
// every such wish: it looks at the bits, never at how the signal was sent, because one signal may stand for
// several (they coalesce) and the sender's mark is lost when the kernel is short of memory. A SIGURG that
// finds no bit is the host's, and goes to whoever had the signal before.
//
//   signal_serve(kAskedTrace, fn);       // once, before the runtime starts
//   ask(m, kAskedTrace);                 // fn(m, ucontext) runs on m's thread, on its signal stack, soon
//
// A server runs in a handler: no lock, no malloc, bounded time; it may find the M anywhere, within the
// runtime too (Tls::in_runtime says so), and sees exactly the interrupted registers.
//
// What is not promised: that the signal arrives. A thread in vfork or in an uninterruptible sleep takes it
// when that is over; user code may block it or install a handler of its own. Who asks waits with a limit.
//
// An M has an alternate signal stack of at least 64 KiB with a guard page below it, and lets through what
// the runtime needs, whatever the host's mask was when it started the runtime; other signals stay as the host
// had them. The runtime's system threads let through nothing else.
#pragma once

#include <cstdint>

#include "os/signal.h"
#include "sched/m.h"

namespace gort::inline v0::rt {

/// Bits of M::asked.
enum Asked : std::uint32_t {
  kAskedTrace = 1u << 0,    ///< where are you? (debug)
  kAskedPreempt = 1u << 1,  ///< look at M::pending (preempt.h)
  kAskedAsleep = 1u << 2,   ///< do you sleep in the kernel? (preempt.h)
};
inline constexpr int kAskedKinds = 3;

using SignalServer = void (*)(M* m, const void* ucontext) noexcept;

/// Names the server of one bit. Before the runtime starts.
void signal_serve(Asked bit, SignalServer server) noexcept;

/// Installs the handler of SIGURG. Before the runtime starts.
void signals_start() noexcept;

/// For sched_hooks.not_answered: if the host has installed a handler of its own since, puts ours in front of it again, and
/// hands it the signals that are not gort's. At most seven times in a process. Any thread, a handler too.
void signals_check() noexcept;

/// For sched_hooks.m_prepare, m_start and m_end.
bool signals_m_prepare(M* m) noexcept;
void signals_m_start(M* m) noexcept;
void signals_m_end(M* m) noexcept;

/// Sets the bit and signals m's thread. False if m has no thread now; the bit is taken back then.
bool ask(M* m, Asked bit) noexcept;
/// Nobody waits for the answer any more.
void unask(M* m, Asked bit) noexcept;

/// Signals that M's must let through besides os::signal_own_set(); before the runtime starts.
void signals_also_unblock(os::SignalMask set) noexcept;
/// Unblocks all of these for the calling thread; returns its mask before.
os::SignalMask signals_unblock() noexcept;

/// The mask that the host has where it starts the runtime, before it does: an M's, but for what it must let
/// through.
void signals_host_mask(os::SignalMask mask) noexcept;
/// For sched_hooks.system_thread_start: blocks what is the host's on this thread of the runtime's own. A handler
/// of the host may call gort or take long, and the template thread and sysmon can do with neither.
void signals_system_thread() noexcept;

/// The calling thread ends the process at the latest after `ns`, as a fatal error does, even if it is stuck
/// in a lock then. For reports that go through code which a broken process may have broken.
void end_process_within(std::int64_t ns) noexcept;
/// It need not any more: what follows is not ours.
void end_process_in_time() noexcept;

/// Where the signal stack of an M lies, and some memory of its own beside it for servers' answers.
/// That memory stays mapped for ever, as the M does; its pages are given back while the M has no thread.
inline constexpr std::size_t kSignalScratch = 4096 - 64;
inline void* signal_scratch(const M* m) noexcept {
  return static_cast<char*>(m->signal_stack) + m->signal_stack_bytes;
}

}  // namespace gort::inline v0::rt
