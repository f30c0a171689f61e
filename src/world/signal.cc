#include "world/signal.h"

#include "base/check.h"
#include "sched/stop_point.h"

namespace gort::inline v0::rt {

namespace {

constinit SignalServer servers[kAskedKinds] = {};
/// Who had SIGURG before us, and who has taken it since and was put behind us (signals_check); the newest last.
constexpr std::uint32_t kMostHosts = 8;
constinit os::SignalAction hosts[kMostHosts] = {};
constinit os::atomic<std::uint32_t> host_count{0};
constinit os::atomic<std::uint32_t> checking{0};
constinit os::SignalMask also_unblock = 0;
constinit os::SignalMask host_mask = 0;
/// Kernel id of the thread that has to end the process when its timer rings; 0: none.
constinit os::atomic<int> ends_process{0};                ///< thread id: whose process ends soon
constinit os::atomic<std::int64_t> ends_process_at{0};   ///< nanotime; written before that

/// Tls::in_handler: one bit, and how deep in the hosts' handlers.
constexpr std::uint8_t kInHandler = 1, kHostDeep = 2;

/// To the newest host, and, where that calls what it found when it was installed, which is ours, to the one before.
void to_host(int signo, void* info, void* context) noexcept {
  os::Tls& t = os::tls();
  const std::uint32_t deep = t.in_handler / kHostDeep;
  const std::uint32_t n = host_count.load(os::memory_order_acquire);
  if (deep >= n) return;
  t.in_handler = static_cast<std::uint8_t>(t.in_handler + kHostDeep);
  os::signal_chain(signo, info, context, hosts[n - 1 - deep]);
  t.in_handler = static_cast<std::uint8_t>(t.in_handler - kHostDeep);
}

void on_urg(int signo, void* info, void* context) {
  os::Tls& t = os::tls();
  if (__builtin_expect(ends_process.load(os::memory_order_acquire) != 0, 0) &&
      ends_process.load(os::memory_order_relaxed) == os::thread_id()) {
    // Not the timer: somebody wants a dying goroutine's slice to end, and does not get it.
    if (os::nanotime() < ends_process_at.load(os::memory_order_relaxed)) return;
    if (fatal_by_abort.load(os::memory_order_relaxed)) os::abort_process();
    os::exit_process(2);
  }
  M* m = static_cast<M*>(t.m);
  if (m != nullptr && os::signal_from_timer(info, &m->timer)) {
    came_back(m);
    m->asked.fetch_or(kAskedPreempt, os::memory_order_relaxed);
  }
  // In the child of a raw vfork this thread's block is the parent's, the thread is not.
  if (m != nullptr && m->asked.load(os::memory_order_relaxed) != 0 &&
      m->tid.load(os::memory_order_relaxed) == os::thread_id()) {
    const std::uint32_t asked = m->asked.exchange(0, os::memory_order_acquire);
    const std::uint8_t outer = t.in_handler;
    t.in_handler = outer | kInHandler;
    for (int i = 0; i < kAskedKinds; ++i) {
      if ((asked >> i & 1) != 0 && servers[i] != nullptr) servers[i](m, context);
    }
    t.in_handler = outer;
    // Several of ours may have become one on the way: then it is not a late one of ours that goes to the host instead.
    if (asked != 0 && !os::signal_is_foreign(info)) return;
  }
  to_host(signo, info, context);
}

/// The alternate stack that the thread had when it became an M: at the end of the scratch page.
os::SignalStack* host_stack(const M* m) noexcept {
  return reinterpret_cast<os::SignalStack*>(static_cast<char*>(signal_scratch(m)) + kSignalScratch);
}

}  // namespace

void signal_serve(Asked bit, SignalServer server) noexcept { servers[__builtin_ctz(bit)] = server; }

void signals_start() noexcept {
  // A chain that ends in ourselves would never end.
  os::SignalAction now;
  if (os::signal_read(os::kSigUrg, &now) && os::signal_is_handler(now, on_urg)) return;
  if (os::signal_install(os::kSigUrg, on_urg, &hosts[0])) host_count.store(1, os::memory_order_release);
}

void signals_check() noexcept {
  os::SignalAction now;
  if (!os::signal_read(os::kSigUrg, &now) || os::signal_is_handler(now, on_urg)) return;
  if (checking.exchange(1, os::memory_order_acquire) != 0) return;
  const std::uint32_t n = host_count.load(os::memory_order_relaxed);
  // Another runtime that does as we do would not give in either: then there is an end.
  if (n < kMostHosts && os::signal_install(os::kSigUrg, on_urg, &hosts[n]) && !os::signal_is_handler(hosts[n], on_urg)) {
    host_count.store(n + 1, os::memory_order_release);
  }
  checking.store(0, os::memory_order_release);
}

void signals_also_unblock(os::SignalMask set) noexcept { also_unblock |= set; }

void signals_host_mask(os::SignalMask mask) noexcept { host_mask = mask; }

void signals_system_thread() noexcept {
  // 32 and 33 are libc's: setuid() waits until every thread has had its signal.
  os::signal_mask_set(~(os::signal_own_set() | also_unblock | os::signal_bit(32) | os::signal_bit(33)));
}

os::SignalMask signals_unblock() noexcept { return os::signal_unblock(os::signal_own_set() | also_unblock); }

bool signals_m_prepare(M* m) noexcept {
  if (m->signal_stack != nullptr) return true;
  // [guard page][stack][scratch]. Kept when the thread ends: a reader of the scratch may be late.
  const std::size_t guard = os::page_size();
  const std::size_t bytes = os::signal_stack_bytes();
  const std::size_t scratch = (kSignalScratch + sizeof(os::SignalStack) + guard - 1) & ~(guard - 1);
  auto* p = static_cast<char*>(os::mem_map(guard + bytes + scratch, guard));
  if (p == nullptr) return false;
  os::mem_guard(p, guard, true);
  m->signal_stack_bytes = bytes;
  m->signal_stack = p + guard;
  return true;
}

void signals_m_start(M* m) noexcept {
  *host_stack(m) = os::signal_stack_set({m->signal_stack, m->signal_stack_bytes});
  // The thread has inherited the template thread's mask.
  os::signal_mask_set(host_mask & ~(os::signal_own_set() | also_unblock));
}

void signals_m_end(M* m) noexcept {
  os::signal_stack_set(*host_stack(m));
  os::mem_discard(m->signal_stack, m->signal_stack_bytes);
}

bool ask(M* m, Asked bit) noexcept {
  const int tid = m->tid.load(os::memory_order_acquire);
  if (tid == 0) return false;
  m->asked.fetch_or(bit, os::memory_order_release);
  if (os::signal_thread(tid, os::kSigUrg) == 0) return true;
  unask(m, bit);
  return false;
}

void unask(M* m, Asked bit) noexcept {
  m->asked.fetch_and(~static_cast<std::uint32_t>(bit), os::memory_order_relaxed);
}

void end_process_in_time() noexcept { ends_process.store(0, os::memory_order_relaxed); }

void end_process_within(std::int64_t ns) noexcept {
  os::SignalAction now;
  // The host may have taken the signal since.
  if (os::signal_read(os::kSigUrg, &now) && !os::signal_is_handler(now, on_urg)) {
    os::signal_install(os::kSigUrg, on_urg, nullptr);
  }
  os::signal_unblock(os::signal_bit(os::kSigUrg));
  ends_process_at.store(os::nanotime() + ns, os::memory_order_relaxed);
  ends_process.store(os::thread_id(), os::memory_order_release);
  os::signal_self_after(os::kSigUrg, ns);
}

}  // namespace gort::inline v0::rt
