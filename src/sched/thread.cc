// Ms come and go here. Only the template thread creates threads: pthread_create takes malloc's and the
// loader's locks, which user code may hold while it waits for a P (rule L1), and a thread must not inherit
// what a locked goroutine did to its creator. The template thread has no P, starts with the runtime, and keeps
// spare Ms ahead. Nobody joins a thread: who exits the process in between would leave one that sanitizers call leaked.
#include "arch/modules.h"
#include "base/alloc.h"
#include "base/print.h"
#include "sched/check_dead.h"
#include "sched/exhaustion.h"
#include "sched/old_ways.h"
#include "sched/start.h"
#include "sched/sysmon.h"

extern "C" void* __cxa_get_globals() noexcept;  // Itanium C++ ABI 2.2.2

namespace gort::inline v0::rt {

namespace {

constexpr std::size_t kSystemStack = std::size_t{256} << 10;
constexpr std::int64_t kRetryFirst = 1'000'000;      // ns until a failed creation is tried again
constexpr std::int64_t kRetryMost = 1'000'000'000;

constinit FixAlloc<M> m_memory;

/// An M to be: counted, but not running yet. Null: no memory. Under sched.lock.
M* take_m() noexcept {
  M* m = sched.free_m.pop();
  const bool fresh = m == nullptr;
  if (fresh) {
    void* const memory = m_memory.try_alloc();
    if (memory == nullptr) return nullptr;
    m = ::new (memory) M;
  }
  m->id = sched.next_m_id++;
  ++sched.mcount;
  ++sched.creating;
  if (fresh) {
    M* head = sched.all_m.load(os::memory_order_relaxed);
    m->all_next = head;
    sched.all_m.store(m, os::memory_order_release);  // the template thread is the only writer
  }
  return m;
}

/// The creation failed: as if it had never been meant. Under sched.lock.
void untake_m(M* m) noexcept {
  --sched.mcount;
  --sched.creating;
  sched.free_m.push(m);
  check_dead();  // it counted as one that could run
}

void m_thread(void* arg) noexcept {
  M* m = static_cast<M*>(arg);
  os::thread_detach();
  // What libc allocates for is done while this is still a foreign thread.
  os::thread_stack(&m->stack_lo, &m->stack_hi);
  os::thread_set_name("gort-m");
  if (sched.quick_clock) m->quick_clock.use();
  m->eh = static_cast<EhGlobals*>(__cxa_get_globals());
  san::thread_stack(m->san);
  if (san::tsan()) arch::for_each_thread_local_block(san::thread_local_block_slow);
  os::Tls& t = os::tls();
  t.in_runtime = 1;
  t.m = m;
  m->resumed_cpu = -1;  // its last thread had a clock of its own
  m->tid.store(os::thread_id(), os::memory_order_release);
  if (sched_hooks.m_start != nullptr) sched_hooks.m_start(m);
  {
    LockGuard guard(sched.lock);
    --sched.creating;
  }
  m_main(m);
  os::timer_delete(&m->timer);
  if (sched_hooks.m_end != nullptr) sched_hooks.m_end(m);
  m->tid.store(0, os::memory_order_release);
  t.in_runtime = 0;
  t.m = nullptr;  // users' thread_local destructors run as on any foreign thread
  LockGuard guard(sched.lock);
  --sched.mcount;
  m->ending = false;
  sched.free_m.push(m);  // nothing of it is needed any more, nor of the M's signal stack
  check_dead();
  sched.template_note.ring();
}

/// How many Ms to create now. Under sched.lock.
std::int32_t wanted() noexcept {
  const std::int32_t orders = sched.orders - sched.creating;
  const std::int32_t spares = kSpareThreads - (sched.nmidle + sched.creating - sched.orders);
  std::int32_t n = orders > spares ? orders : spares;
  const std::int32_t room = sched.max_threads - kSystemThreads - sched.mcount;
  return n < room ? n : room;
}

/// An order, a P for it, work for that, and no thread to be had: the program has hit its limit, unless an M
/// is just about to go idle and serve the order.
bool exhausted() noexcept {
  return sched.orders > 0 && sched.creating == 0 && sched.nmidle == 0 && !sched.global.empty() &&
         sched.npidle.load(os::memory_order_relaxed) > 0 &&
         sched.mcount + kSystemThreads >= sched.max_threads;
}

constexpr std::int64_t kMissedLately = 100'000'000;  // ns; slices that end in vain are ended again after some ms

/// At the limit, too, but every P is with a goroutine that computes: its slice ends in vain, or for another one that
/// computes, for there is no thread for the others. As soon as a blocking call returns, there is. Under sched.lock.
bool starved(std::int64_t now) noexcept {
  return now - sched.thread_missed < kMissedLately && sched.creating == 0 && sched.nmidle == 0 &&
         sched.mcount + kSystemThreads >= sched.max_threads;
}

/// Of goroutines that are no captives, on all Ps, ever: whether the others get on. Under sched.lock.
std::uint64_t dispatches() noexcept {
  std::uint64_t n = 0;
  for (std::int32_t i = 0; i < sched.nprocs.load(os::memory_order_relaxed); ++i) {
    n += p_at(i)->schedtick.load(os::memory_order_relaxed) - p_at(i)->captive_slices.load(os::memory_order_relaxed);
  }
  return n;
}

void tell_starved() noexcept {
  Printer(2) << "gort: goroutines wait behind others that compute without a call: the " << sched.max_threads
             << "-thread limit leaves no thread to run them on\n";
}

void fatal_exhausted() noexcept {
  fatal_begin();
  Printer(2) << "gort: program exceeds " << sched.max_threads << "-thread limit\n"
             << "fatal error: thread exhaustion\n";
  fatal_after_print({"thread exhaustion", true});
}

/// One M. False: the system has no thread for us now.
bool create_one() noexcept {
  M* m = nullptr;
  {
    LockGuard guard(sched.lock);
    if (wanted() <= 0) return true;
    m = take_m();
    if (m == nullptr) return false;
  }
  const bool ready = sched_hooks.m_make == nullptr || sched_hooks.m_make(m);
  os::Thread thread;
  if (ready && os::thread_create(&thread, m_thread, m, kSystemStack) == 0) return true;
  LockGuard guard(sched.lock);
  untake_m(m);
  return false;
}

bool more_wanted() noexcept {
  LockGuard guard(sched.lock);
  return wanted() > 0;
}

void template_thread(void*) noexcept {
  os::thread_set_name("gort-template");
  if (sched_hooks.system_thread_start != nullptr) sched_hooks.system_thread_start();
  os::tls().in_runtime = 1;
  std::int64_t retry = kRetryFirst;
  bool warned = false;
  bool told = false;
  Exhaustion exhaustion;
  Exhaustion starvation;
  for (;;) {
    sched.template_note.clear();
    // Partner of ring(): the note is cleared before the state is read, so a change after that rings again.
    os::fence(os::memory_order_seq_cst);
    old_serve_requests();
    bool failed = false;
    while (!failed && more_wanted()) failed = !create_one();
    if (!failed && sched_hooks.spare_time != nullptr) sched_hooks.spare_time();
    if (sched.refresh_modules.exchange(false, os::memory_order_relaxed)) sched_hooks.refresh_modules();
    if (sched.recheck_procs.exchange(false, os::memory_order_relaxed)) recheck_default_procs();
    {
      LockGuard guard(sched.lock);
      const std::int64_t now = os::nanotime();
      if (exhaustion.look(exhausted(), sched.orders_served, now)) {
        sched.lock.unlock();
        fatal_exhausted();
      }
      const bool is_so = !told && starved(now);
      told |= starvation.look(is_so, is_so ? dispatches() : 0, now);
    }
    if (told && starvation.lasts()) {
      tell_starved();
      starvation = {};
    }
    if (failed && !warned) {
      warned = true;
      Printer(2) << "gort: the system refuses a new thread; trying again (threads now: " << sched.mcount << ")\n";
    }
    if (exhaustion.lasts() || starvation.lasts()) {
      sched.template_note.sleep_for(kRetryFirst);
    } else if (failed) {
      sched.template_note.sleep_for(retry);
      retry = retry * 2 < kRetryMost ? retry * 2 : kRetryMost;
    } else {
      retry = kRetryFirst;
      sched.template_note.sleep();
    }
  }
}

}  // namespace

void want_threads() noexcept { sched.template_note.ring(); }

void m_main(M* m) noexcept {
  if (stop_m(m)) schedule_loop(m);
}

void start_system_threads() noexcept {
  os::Thread thread;
  if (os::thread_create(&thread, template_thread, nullptr, kSystemStack) != 0 ||
      os::thread_create(&thread, sysmon_thread, nullptr, kSystemStack) != 0) {
    fatal("cannot create the runtime's first threads");
  }
}

}  // namespace gort::inline v0::rt
