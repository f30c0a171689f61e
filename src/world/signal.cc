#include "world/signal.h"

#include "base/check.h"
#include "sched/stop_point.h"

namespace gort::inline v0::rt {

namespace {

constinit SignalServer servers[kAskedKinds] = {};
constinit os::SignalAction host_urg = {};
constinit os::SignalMask also_unblock = 0;
constinit os::SignalMask host_mask = 0;
/// Kernel id of the thread that has to end the process when its timer rings; 0: none.
constinit os::atomic<int> ends_process{0};

void on_urg(int signo, void* info, void* context) {
  os::Tls& t = os::tls();
  if (__builtin_expect(ends_process.load(os::memory_order_relaxed) != 0, 0) &&
      ends_process.load(os::memory_order_relaxed) == os::thread_id()) {
    if (fatal_by_abort.load(os::memory_order_relaxed)) os::abort_process();
    os::exit_process(2);
  }
  M* m = static_cast<M*>(t.m);
  if (m != nullptr && os::signal_from_timer(info, &m->timer)) {
    m->asked.fetch_or(kAskedPreempt, os::memory_order_relaxed);
    if (stop_requested()) m->pending.fetch_or(kPendingStop, os::memory_order_relaxed);
  }
  // In the child of a raw vfork this thread's block is the parent's, the thread is not.
  if (m != nullptr && m->asked.load(os::memory_order_relaxed) != 0 &&
      m->tid.load(os::memory_order_relaxed) == os::thread_id()) {
    const std::uint32_t asked = m->asked.exchange(0, os::memory_order_acquire);
    const std::uint8_t outer = t.in_handler;
    t.in_handler = 1;
    for (int i = 0; i < kAskedKinds; ++i) {
      if ((asked >> i & 1) != 0 && servers[i] != nullptr) servers[i](m, context);
    }
    t.in_handler = outer;
    if (asked != 0) return;
  }
  os::signal_chain(signo, info, context, host_urg);
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
  os::signal_install(os::kSigUrg, on_urg, &host_urg);
}

void signals_also_unblock(os::SignalMask set) noexcept { also_unblock |= set; }

void signals_host_mask(os::SignalMask mask) noexcept { host_mask = mask; }

void signals_system_thread() noexcept {
  // 32 and 33 are libc's: setuid() waits until every thread has had its signal.
  os::signal_mask_set(~(os::signal_own_set() | also_unblock | os::signal_bit(32) | os::signal_bit(33)));
}

os::SignalMask signals_unblock() noexcept { return os::signal_unblock(os::signal_own_set() | also_unblock); }

void signals_m_start(M* m) noexcept {
  if (m->signal_stack == nullptr) {
    // [guard page][stack][scratch]. Kept when the thread ends: a reader of the scratch may be late.
    const std::size_t guard = os::page_size();
    const std::size_t bytes = os::signal_stack_bytes();
    const std::size_t scratch = (kSignalScratch + sizeof(os::SignalStack) + guard - 1) & ~(guard - 1);
    auto* p = static_cast<char*>(os::mem_map(guard + bytes + scratch, guard));
    if (p == nullptr) fatal("no address space for a signal stack");
    os::mem_guard(p, guard, true);
    m->signal_stack_bytes = bytes;
    m->signal_stack = p + guard;
  }
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

void end_process_within(std::int64_t ns) noexcept {
  os::SignalAction now;
  // The host may have taken the signal since.
  if (os::signal_read(os::kSigUrg, &now) && !os::signal_is_handler(now, on_urg)) {
    os::signal_install(os::kSigUrg, on_urg, nullptr);
  }
  os::signal_unblock(os::signal_bit(os::kSigUrg));
  ends_process.store(os::thread_id(), os::memory_order_relaxed);
  os::signal_self_after(os::kSigUrg, ns);
}

}  // namespace gort::inline v0::rt
