// gort: signal actions, masks and alternate stacks. The header has the contract.
#include "os/signal.h"

#include <signal.h>
#include <sys/auxv.h>
#include <time.h>
#include <ucontext.h>

#include <cerrno>
#include <cstring>

#include "os/linux/syscall.h"

#if !defined(AT_MINSIGSTKSZ)
#define AT_MINSIGSTKSZ 51
#endif

namespace gort::inline v0::os {
namespace {

static_assert(kSigQuit == SIGQUIT && kSigBus == SIGBUS && kSigSegv == SIGSEGV && kSigUrg == SIGURG);
static_assert(sizeof(struct sigaction) <= sizeof(SignalAction));

constexpr std::size_t kStackLeast = std::size_t{64} << 10;
constexpr int kFaults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};

struct sigaction libc_action(const SignalAction& a) noexcept {
  struct sigaction out;
  std::memcpy(&out, a.bytes, sizeof out);
  return out;
}

/// Fills the mask of a handler of ours: all but the faults. sigfillset leaves glibc's own signals out.
void fill_mask(sigset_t* set) noexcept {
  ::sigfillset(set);
  for (const int fault : kFaults) ::sigdelset(set, fault);
}

bool is_fault(int signo) noexcept {
  for (const int fault : kFaults) {
    if (fault == signo) return true;
  }
  return false;
}

/// A process sent it, or a thread did: the faulting instruction will not fault again.
bool was_sent(const siginfo_t* info) noexcept { return info != nullptr && info->si_code <= 0; }

void set_default(int signo) noexcept {
  struct sigaction by_default;
  std::memset(&by_default, 0, sizeof by_default);
  by_default.sa_handler = SIG_DFL;
  ::sigaction(signo, &by_default, nullptr);
}

void change_mask(int how, const SignalMask* set, SignalMask* old) noexcept {
  kernel::call(SYS_rt_sigprocmask, how, set, old, sizeof(SignalMask));
}

}  // namespace

bool signal_install(int signo, SignalHandler handler, SignalAction* before) noexcept {
  struct sigaction act;
  std::memset(&act, 0, sizeof act);
  act.sa_sigaction = reinterpret_cast<void (*)(int, siginfo_t*, void*)>(handler);
  act.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  fill_mask(&act.sa_mask);
  struct sigaction old;
  if (::sigaction(signo, &act, &old) != 0) return false;
  if (before != nullptr) std::memcpy(before->bytes, &old, sizeof old);
  return true;
}

bool signal_read(int signo, SignalAction* out) noexcept {
  struct sigaction now;
  if (::sigaction(signo, nullptr, &now) != 0) return false;
  std::memcpy(out->bytes, &now, sizeof now);
  return true;
}

bool signal_is_default(const SignalAction& action) noexcept {
  const struct sigaction a = libc_action(action);
  return (a.sa_flags & SA_SIGINFO) == 0 && a.sa_handler == SIG_DFL;
}

bool signal_is_ignored(const SignalAction& action) noexcept {
  const struct sigaction a = libc_action(action);
  return (a.sa_flags & SA_SIGINFO) == 0 && a.sa_handler == SIG_IGN;
}

bool signal_is_handler(const SignalAction& action, SignalHandler handler) noexcept {
  const struct sigaction a = libc_action(action);
  return (a.sa_flags & SA_SIGINFO) != 0 &&
         a.sa_sigaction == reinterpret_cast<void (*)(int, siginfo_t*, void*)>(handler);
}

void signal_chain(int signo, void* info, void* context, const SignalAction& before) noexcept {
  const struct sigaction a = libc_action(before);
  const bool fault = is_fault(signo) && !was_sent(static_cast<siginfo_t*>(info));
  if (signal_is_ignored(before) && !fault) return;
  if (signal_is_default(before) || signal_is_ignored(before)) {
    if (signo == SIGURG) return;  // ignored by default
    // Back to the interrupted code: a fault repeats itself there, and the kernel ends the process with the
    // registers of the culprit. (It does so for an ignored fault, too.) Anything else is sent again; it is
    // blocked until we return.
    set_default(signo);
    if (!fault) signal_thread(thread_id(), signo);
    return;
  }
  // The mask that the host's handler has asked for, plus what was blocked anyway.
  SignalMask wanted = 0;
  std::memcpy(&wanted, &a.sa_mask, sizeof wanted);
  SignalMask ours = 0;
  const auto* uc = static_cast<const ucontext_t*>(context);
  std::memcpy(&ours, &uc->uc_sigmask, sizeof ours);
  wanted |= ours;
  if ((a.sa_flags & SA_NODEFER) == 0) wanted |= signal_bit(signo);
  if ((a.sa_flags & SA_RESETHAND) != 0) set_default(signo);
  change_mask(SIG_SETMASK, &wanted, nullptr);
  if ((a.sa_flags & SA_SIGINFO) != 0) {
    a.sa_sigaction(signo, static_cast<siginfo_t*>(info), context);
  } else {
    a.sa_handler(signo);
  }
}

std::uintptr_t signal_fault_address(const void* info) noexcept {
  const auto* i = static_cast<const siginfo_t*>(info);
  return was_sent(i) ? 0 : reinterpret_cast<std::uintptr_t>(i->si_addr);
}

std::uintptr_t signal_context_sp(const void* context) noexcept {
  const auto& m = static_cast<const ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  return static_cast<std::uintptr_t>(m.gregs[REG_RSP]);
#else
  return static_cast<std::uintptr_t>(m.sp);
#endif
}

// ---- the interrupted code and the kernel --------------------------------------------------------

namespace {

#if defined(__x86_64__)
constexpr std::size_t kCallBytes = 2;  // 0f 05
bool is_call_instruction(std::uintptr_t pc) noexcept {
  unsigned char code[kCallBytes];
  std::memcpy(code, reinterpret_cast<const void*>(pc), sizeof code);
  return code[0] == 0x0f && code[1] == 0x05;
}
struct Call {
  explicit Call(void* context) noexcept : r(static_cast<ucontext_t*>(context)->uc_mcontext.gregs) {}
  std::uintptr_t pc() const noexcept { return static_cast<std::uintptr_t>(r[REG_RIP]); }
  long number() const noexcept { return static_cast<long>(r[REG_RAX]); }
  long result() const noexcept { return static_cast<long>(r[REG_RAX]); }
  long arg(int i) const noexcept {
    constexpr int kArgs[] = {REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9};
    return static_cast<long>(r[kArgs[i]]);
  }
  void returns(long v) noexcept {
    r[REG_RAX] = v;
    r[REG_RCX] = r[REG_RIP] += kCallBytes;  // as the instruction leaves them
    r[REG_R11] = r[REG_EFL];
  }
  greg_t* r;
};
#elif defined(__aarch64__)
constexpr std::size_t kCallBytes = 4;  // svc #0
bool is_call_instruction(std::uintptr_t pc) noexcept {
  std::uint32_t code;
  std::memcpy(&code, reinterpret_cast<const void*>(pc), sizeof code);
  return code == 0xd4000001u;
}
struct Call {
  explicit Call(void* context) noexcept : m(static_cast<ucontext_t*>(context)->uc_mcontext) {}
  std::uintptr_t pc() const noexcept { return static_cast<std::uintptr_t>(m.pc); }
  long number() const noexcept { return static_cast<long>(m.regs[8]); }
  long result() const noexcept { return static_cast<long>(m.regs[0]); }
  long arg(int i) const noexcept { return static_cast<long>(m.regs[i]); }
  void returns(long v) noexcept {
    m.regs[0] = static_cast<unsigned long>(v);
    m.pc += kCallBytes;
  }
  mcontext_t& m;
};
#endif

constexpr long kFutexCommand = 0x7f;

/// Calls that sleep until something outside happens, and mean the same whoever's turn it is on this thread.
bool may_reissue(const Call& c) noexcept {
  switch (c.number()) {
    case SYS_futex: {
      const long command = c.arg(1) & kFutexCommand;
      return (command == 0 || command == 9) && c.arg(3) == 0;  // FUTEX_WAIT, _BITSET, without a time
    }
    case SYS_read: case SYS_write: case SYS_readv: case SYS_writev: case SYS_pread64: case SYS_pwrite64:
    case SYS_recvfrom: case SYS_recvmsg: case SYS_sendto: case SYS_sendmsg: case SYS_accept: case SYS_accept4:
    case SYS_wait4: case SYS_waitid: case SYS_flock: case SYS_fcntl: case SYS_fsync: case SYS_fdatasync:
    case SYS_openat: case SYS_getrandom: case SYS_ioctl: case SYS_splice: case SYS_sendfile:
      return true;
    default:
      return false;
  }
}

}  // namespace

InCall signal_in_call(const void* context) noexcept {
  const Call c(const_cast<void*>(context));
  if (is_call_instruction(c.pc())) return InCall::restarts;
  if (c.result() == -EINTR && is_call_instruction(c.pc() - kCallBytes)) return InCall::interrupted;
  return InCall::none;
}

atomic<std::uint32_t>* signal_waits_for_lock(const void* context) noexcept {
  const Call c(const_cast<void*>(context));
  if (c.number() != SYS_futex || (c.arg(1) & kFutexCommand) != 0 || c.arg(2) != 2 || c.arg(3) != 0) return nullptr;
  return reinterpret_cast<atomic<std::uint32_t>*>(c.arg(0));
}

bool signal_reissue(void* context, bool (*before)(void*), void (*after)(void*), void* arg) noexcept {
  Call c(context);
  if (!may_reissue(c) || !before(arg)) return false;
  const long result = kernel::raw(c.number(), c.arg(0), c.arg(1), c.arg(2), c.arg(3), c.arg(4), c.arg(5));
  c.returns(result);
  after(arg);
  return true;
}

std::size_t signal_stack_bytes() noexcept {
  // The frame that the kernel pushes, twice (a fault within a handler), and room for us to walk.
  const std::size_t bytes = kStackLeast / 2 + 2 * ::getauxval(AT_MINSIGSTKSZ);
  const std::size_t mask = page_size() - 1;
  return ((bytes < kStackLeast ? kStackLeast : bytes) + mask) & ~mask;
}

SignalStack signal_stack_set(SignalStack now) noexcept {
  stack_t stack, before;
  std::memset(&stack, 0, sizeof stack);
  std::memset(&before, 0, sizeof before);
  stack.ss_sp = now.p;
  stack.ss_size = now.bytes;
  stack.ss_flags = now.p == nullptr ? SS_DISABLE : 0;
  kernel::call(SYS_sigaltstack, &stack, &before);
  if ((before.ss_flags & SS_DISABLE) != 0) return {};
  return {before.ss_sp, before.ss_size};
}

SignalMask signal_own_set() noexcept {
  SignalMask set = signal_bit(SIGURG) | signal_bit(SIGPROF) | signal_bit(SIGABRT);
  for (const int fault : kFaults) set |= signal_bit(fault);
  return set;
}

SignalMask signal_unblock(SignalMask set) noexcept {
  SignalMask before = 0;
  change_mask(SIG_UNBLOCK, &set, &before);
  return before;
}

void signal_mask_set(SignalMask mask) noexcept { change_mask(SIG_SETMASK, &mask, nullptr); }

// ---- timers of one thread -----------------------------------------------------------------------

namespace {

/// One that sends the calling thread `signo`, with `sender` in its siginfo. Negative: none.
int make_timer(int signo, const void* sender) noexcept {
  struct sigevent event;
  std::memset(&event, 0, sizeof event);
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = signo;
  event.sigev_value.sival_ptr = const_cast<void*>(sender);
  event._sigev_un._tid = thread_id();
  int id = 0;
  return kernel::call(SYS_timer_create, CLOCK_MONOTONIC, &event, &id) == 0 ? id : -1;
}

/// ns: 0 disarms.
bool set_timer(int id, std::int64_t ns) noexcept {
  struct itimerspec when;
  std::memset(&when, 0, sizeof when);
  when.it_value.tv_sec = ns / 1'000'000'000;
  when.it_value.tv_nsec = ns % 1'000'000'000;
  return kernel::call(SYS_timer_settime, id, 0, &when, nullptr) == 0;
}

}  // namespace

bool timer_arm(ThreadTimer* t, int signo, std::int64_t ns) noexcept {
  if (t->id < 0) t->id = make_timer(signo, t);
  t->armed = t->id >= 0 && set_timer(t->id, ns > 0 ? ns : 1);
  return t->armed;
}

void timer_disarm(ThreadTimer* t) noexcept {
  if (t->armed) set_timer(t->id, 0);
  t->armed = false;
}

void timer_delete(ThreadTimer* t) noexcept {
  if (t->id >= 0) kernel::call(SYS_timer_delete, t->id);
  *t = {};
}

bool signal_is_foreign(const void* info) noexcept {
  const auto* i = static_cast<const siginfo_t*>(info);
  return i->si_code > 0 || i->si_code == SI_QUEUE || (i->si_code == SI_USER && i->si_pid != 0);
}

bool signal_from_timer(const void* info, const ThreadTimer* t) noexcept {
  const auto* i = static_cast<const siginfo_t*>(info);
  return i->si_code == SI_TIMER && i->si_value.sival_ptr == t;
}

bool signal_self_after(int signo, std::int64_t ns) noexcept {
  const int id = make_timer(signo, nullptr);
  return id >= 0 && set_timer(id, ns);
}

}  // namespace gort::inline v0::os
