// gort: signals, as far as the runtime needs them: handlers, alternate stacks, masks, and a timer that
// interrupts one thread.
//
// gort lives in programs that have handlers of their own. So it only ever takes SIGURG, SIGSEGV, SIGBUS
// and (if nobody else has it) SIGQUIT, remembers whoever had them before, and hands every signal that is
// not its own to them (signal_chain).
//
// A handler runs with everything blocked but the synchronous faults: a host's handler on top of ours that
// leaves by siglongjmp would take our frame with it. glibc's two internal signals stay open, or setuid()
// would wait for us. Nothing here touches errno, so handlers need not save it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/os.h"

namespace gort::inline v0::os {

// Linux's numbers on every architecture that gort knows.
inline constexpr int kSigQuit = 3;
inline constexpr int kSigBus = 7;
inline constexpr int kSigSegv = 11;
inline constexpr int kSigUrg = 23;

/// `info` is a siginfo_t*, `context` a ucontext_t* of the interrupted code.
using SignalHandler = void (*)(int signo, void* info, void* context);

/// An action that was installed before ours; opaque.
struct alignas(16) SignalAction {
  unsigned char bytes[160];
};

/// Installs a handler on the alternate stack, restarting system calls; *before gets what was there.
bool signal_install(int signo, SignalHandler handler, SignalAction* before) noexcept;

/// The present action.
bool signal_read(int signo, SignalAction* out) noexcept;

bool signal_is_default(const SignalAction& action) noexcept;
bool signal_is_ignored(const SignalAction& action) noexcept;
bool signal_is_handler(const SignalAction& action, SignalHandler handler) noexcept;

/// Does with a signal, from within our handler, what `before` would have done: calls that handler, or
/// restores the default action so that the fault happens again (or the signal comes again) and the
/// process ends as it would without us, with its own exit status and core.
void signal_chain(int signo, void* info, void* context, const SignalAction& before) noexcept;

/// The address that a SIGSEGV or SIGBUS is about; 0 if a process sent it.
std::uintptr_t signal_fault_address(const void* info) noexcept;

/// The stack pointer of the interrupted code.
std::uintptr_t signal_context_sp(const void* context) noexcept;

/// Whether it is surely not one that signal_thread or a ThreadTimer of this process has sent. (The sender's mark is lost
/// where the kernel is short of memory: then it is not sure.)
bool signal_is_foreign(const void* info) noexcept;

/// Whether this timer has sent it.
bool signal_from_timer(const void* info, const ThreadTimer* t) noexcept;

/// How the interrupted code stands to the kernel.
enum class InCall : std::uint8_t {
  none,         ///< it computes
  restarts,     ///< it was interrupted in a system call, which will be made again when the handler returns
  interrupted,  ///< it was interrupted in one that returns EINTR now
};
InCall signal_in_call(const void* context) noexcept;

/// For InCall::restarts: makes the call here and now, in the handler, if it is one that sleeps and that may be made
/// by anybody on this thread (reads, writes, futex waits without a time, accept and their like), and patches
/// the interrupted code as if it had returned. `before` and `after` run around it if so. False: not such a call, or
/// `before` has said no.
bool signal_reissue(void* context, bool (*before)(void*), void (*after)(void*), void* arg) noexcept;

/// The word of the lock that the interrupted call waits for, if it is one of libc's locks (a mutex, a FILE's): a futex
/// wait for a word of 2, "held, and somebody waits"; 0 means free there. Null: it waits for something else.
atomic<std::uint32_t>* signal_waits_for_lock(const void* context) noexcept;

/// How large an alternate stack has to be for our handlers: 64 KiB, more where the CPU's state is large.
std::size_t signal_stack_bytes() noexcept;

/// A thread's alternate stack; null: none.
struct SignalStack {
  void* p = nullptr;
  std::size_t bytes = 0;
};
/// Makes this the calling thread's; returns the one it had (sanitizers give every thread one).
SignalStack signal_stack_set(SignalStack stack) noexcept;

/// A set of signals: bit n-1 stands for signal n.
using SignalMask = std::uint64_t;
constexpr SignalMask signal_bit(int signo) noexcept { return SignalMask{1} << (signo - 1); }

/// The synchronous faults, SIGURG, SIGPROF and SIGABRT: what a thread of the runtime must let through.
SignalMask signal_own_set() noexcept;

/// Unblocks these for the calling thread; returns its mask before.
SignalMask signal_unblock(SignalMask set) noexcept;
void signal_mask_set(SignalMask mask) noexcept;

/// Sends signo to the calling thread after `ns`, once. For a dying process: there is no way to disarm it.
bool signal_self_after(int signo, std::int64_t ns) noexcept;

}  // namespace gort::inline v0::os
