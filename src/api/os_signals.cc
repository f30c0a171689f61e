// Signals as channels. A handler may do next to nothing: it marks the signal in the slot of each object that wants it, and
// rings that slot's bell, on which the object's goroutine waits as for any descriptor.
#include "gort/os/signals.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <bit>
#include <mutex>

#include "api/context.h"
#include "api/net_fd.h"
#include "api/net_socket.h"
#include "gort/go.h"
#include "gort/mutex.h"
#include "os/signal.h"

namespace gort::inline v0::os {

namespace {

constexpr int kSlots = 64;
constexpr int kSignals = 64;

struct slot {
  os::atomic<SignalMask> wanted{0};   ///< 0: free, or not yet in use
  os::atomic<SignalMask> pending{0};  ///< come, not looked at yet
  int bell = -1;                      ///< made at the first use, for ever: a handler may be about to ring it
  bool taken = false;                 ///< under `turns`
};
constinit slot slots[kSlots];
constinit gort::mutex turns;
constinit int wanted_by[kSignals + 1] = {};      // under `turns`
struct sigaction before[kSignals + 1];           // likewise

/// Whatever it has interrupted: atomics and raw system calls only.
void handler(int signo) noexcept {
  const SignalMask bit = signal_bit(signo);
  for (slot& s : slots) {
    if ((s.wanted.load(os::memory_order_acquire) & bit) == 0) continue;
    s.pending.fetch_or(bit, os::memory_order_seq_cst);
    bell_ring(s.bell);
  }
}

bool can_be_had(int signo) noexcept {
  switch (signo) {
    case SIGKILL: case SIGSTOP: case SIGURG: case SIGSEGV: case SIGBUS: case SIGFPE: case SIGILL: case SIGTRAP: return false;
    default: return signo > 0 && signo <= kSignals && signo != 32 && signo != 33;
  }
}

/// Under `turns`.
void install(int signo) noexcept {
  if (wanted_by[signo]++ != 0) return;
  struct sigaction a {};
  a.sa_handler = handler;
  a.sa_flags = SA_RESTART | SA_ONSTACK;
  sigfillset(&a.sa_mask);
  ::sigaction(signo, &a, &before[signo]);
}

void uninstall(int signo) noexcept {
  if (--wanted_by[signo] != 0) return;
  struct sigaction& a = before[signo];
  // Pipes that have been made meanwhile are written to without it.
  if (signo == SIGPIPE && net::detail::sigpipe_is_unwanted() && (a.sa_flags & SA_SIGINFO) == 0 && a.sa_handler == SIG_DFL) {
    a.sa_handler = SIG_IGN;
  }
  ::sigaction(signo, &a, nullptr);
}

template <class F>
void for_each_signal(SignalMask mask, F f) {
  for (; mask != 0; mask &= mask - 1) f(std::countr_zero(mask) + 1);
}

}  // namespace

struct signals::state {
  slot* s = nullptr;
  net::detail::fd_owner bell;
  task<void> forwarder;
  ~state() {
    if (rt::in_fork_child()) return;
    { [[maybe_unused]] const task<void> ends = std::move(forwarder); }
    const SignalMask mask = s->wanted.exchange(0, os::memory_order_seq_cst);
    const std::scoped_lock guard(turns);
    for_each_signal(mask, uninstall);
    s->taken = false;
  }
};

signals::signals() noexcept = default;
signals::signals(signals&&) noexcept = default;
signals& signals::operator=(signals&&) noexcept = default;
signals::~signals() = default;

namespace {

slot* take_slot() {
  const std::scoped_lock guard(turns);
  for (slot& s : slots) {
    if (s.taken) continue;
    if (s.bell < 0) s.bell = bell_create();
    if (s.bell < 0) return nullptr;
    s.taken = true;
    s.pending.store(0, os::memory_order_relaxed);
    bell_clear(s.bell);
    return &s;
  }
  return nullptr;
}

/// `mask`: a handler that was late for the slot's former owner may have marked what this one has not asked for.
void forward(slot* s, SignalMask mask, net::detail::net_fd* bell, const chan<int>& to) {
  const closing ends(to);
  for (;;) {
    std::uint64_t rings = 0;
    const std::ptrdiff_t r =
        net::detail::attempt(bell, rt::kReadSide, 0, [&](int fd) { return io_read(fd, &rings, sizeof rings); });
    if (r < 0) return;
    for_each_signal(s->pending.exchange(0, os::memory_order_seq_cst) & mask,
                    [&](int signo) { static_cast<void>(chan<int>(to).try_send(signo)); });
  }
}

}  // namespace

net::result<signals> signals::on(std::initializer_list<int> signos) {
  SignalMask mask = 0;
  for (const int signo : signos) {
    if (!can_be_had(signo)) return net::detail::fails(EINVAL);
    mask |= signal_bit(signo);
  }
  slot* s = take_slot();
  if (s == nullptr) return net::detail::fails(EMFILE);
  auto st = std::make_unique<state>();
  st->s = s;
  const int copy = ::fcntl(s->bell, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return net::detail::fails(EMFILE);
  net::result<net::detail::fd_owner> bell = net::detail::own_fd(copy, 0);
  if (!bell) return std::unexpected(bell.error());
  st->bell = *std::move(bell);
  signals out;
  out.channel_ = chan<int>(32);
  {
    const with_context outlasts_the_callers(gort::detail::background());
    st->forwarder = spawn([s, mask, fd = st->bell.get(), c = out.channel_] { forward(s, mask, fd, c); });
  }
  {
    const std::scoped_lock guard(turns);
    s->wanted.store(mask, os::memory_order_seq_cst);
    for_each_signal(mask, install);
  }
  out.state_ = std::move(st);
  return out;
}

}  // namespace gort::inline v0::os
