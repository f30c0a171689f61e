// The stretches. Each body is one round; what stands between begin() and end() is stepped.
//
// Partners are goroutines that take turns with the round's. They end in teardown, which runs on the round's goroutine.
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "gort/gort.h"
#include "sched/m.h"
#include "sched/p.h"
#include "tests/steps/steps.h"

namespace gort::test::steps {

namespace {

std::atomic<bool> partners_end{false};
std::atomic<int> partners{0};

template <class F>
void partner(F f) {
  ++partners;
  gort::go([f] {
    while (!partners_end) f();
    --partners;
  });
}

void end_partners() {
  partners_end = true;
  while (partners != 0) gort::this_goroutine::yield();
}

// ---- entries ------------------------------------------------------------------------------------

gort::semaphore permits(1);

void entry() {
  begin();
  permits.release();
  const bool got = permits.try_acquire();
  end();
  expect(got);
}

void blocking() {
  begin();
  gort::blocking([] {});
  end();
}

void system_call() {
  long id = 0;
  begin();
  gort::blocking([&] { id = ::syscall(SYS_getpid); });
  end();
  expect(id == ::getpid());
}

/// Somebody else takes the P meanwhile. With a partner it is in use then, and the thread goes to sleep without one.
void p_is_taken() {
  begin();
  gort::blocking([] {
    const rt::P* p = rt::self_m()->oldp;
    while (p->status.load(os::memory_order_acquire) == rt::PStatus::syscall) ::sched_yield();
  });
  end();
}

/// The time slice ends during the call.
void slice_ends_in_call() {
  begin();
  gort::blocking([] { rt::self_m()->pending.fetch_or(rt::kPendingYield); });
  end();
}

void slice_ends_at_poll() {
  begin();
  rt::self_m()->pending.fetch_or(rt::kPendingYield);
  gort::poll();
  end();
}

void entry_in_blocking() {
  begin();
  gort::blocking([] {
    permits.release();
    permits.acquire();
  });
  end();
}

// ---- switches -----------------------------------------------------------------------------------

void yield_partner() {
  partner([] { gort::this_goroutine::yield(); });
}

void yield() {
  begin();
  gort::this_goroutine::yield();
  end();
}

gort::semaphore ping(0), pong(0);

void semaphore_partner() {
  partner([] {
    ping.acquire();
    pong.release();
  });
}

void semaphores() {
  begin();
  ping.release();
  pong.acquire();
  end();
}

void end_semaphore_partner() {
  partners_end = true;
  ping.release();
  end_partners();
}

// ---- goroutines ---------------------------------------------------------------------------------

void go_and_join() {
  begin();
  const int v = gort::spawn([] { return 7; }).get();
  end();
  expect(v == 7);
}

void go_and_yield() {
  std::atomic<int> n{0};
  begin();
  gort::go([&] { ++n; });
  gort::this_goroutine::yield();
  end();
  while (n == 0) gort::this_goroutine::yield();
}

void go_large_stack() {
  begin();
  gort::spawn({.stack = 1 << 20}, [] {}).join();
  end();
}

// ---- threads ------------------------------------------------------------------------------------

void lock_thread() {
  begin();
  gort::lock_os_thread();
  gort::unlock_os_thread();
  end();
}

/// The thread gives its P to another one, sleeps, and is handed a P when its goroutine's turn has come.
void locked_yield() {
  begin();
  gort::lock_os_thread();
  gort::this_goroutine::yield();
  gort::unlock_os_thread();
  end();
}

/// The thread finds nothing to do, sleeps as an idle one, and is woken from outside.
gort::semaphore wakeup(0);
std::thread waker;

void start_waker() {
  // A goroutine in a call: without it, the sleep in between would be a deadlock.
  partner([] {
    gort::blocking([] {
      while (!partners_end) wait_bell(page->child_bell, page->child_bell);
    });
  });
  waker = std::thread([] {
    for (std::uint32_t last = 0; !partners_end;) {
      const std::uint32_t seen = page->child_bell.load();
      const std::uint32_t round = page->wake.load();
      if (round == last) {
        wait_bell(page->child_bell, seen);
        continue;
      }
      last = round;
      wakeup.release();
    }
  });
}

void idle() {
  begin();
  wakeup.acquire();
  end();
}

void end_waker() {
  end_partners();
  waker.join();
}

// ---- the user's own code ------------------------------------------------------------------------

void malloc_and_free() {
  begin();
  void* p = std::malloc(100);
  asm volatile("" : "+r"(p));
  std::free(p);
  end();
}

struct Thrown {
  int v;
};

[[gnu::noinline]] void throw_it(int v) {
  asm volatile("" : "+r"(v));
  if (v != 0) throw Thrown{v};
}

void exception() {
  int v = 0;
  begin();
  try {
    throw_it(5);
  } catch (const Thrown& t) {
    v = t.v;
  }
  end();
  expect(v == 5);
}

constexpr Stretch kAll[] = {
    {"entry", 1, entry},
    {"entry_beside_others", 1, entry, yield_partner, end_partners},
    {"blocking", 1, blocking},
    {"blocking_2_procs", 2, blocking},
    {"system_call", 1, system_call, yield_partner, end_partners},
    {"p_is_taken", 1, p_is_taken},
    {"p_is_taken_and_used", 1, p_is_taken, yield_partner, end_partners},
    {"p_is_taken_2_procs", 2, p_is_taken, yield_partner, end_partners},
    {"slice_ends_in_call", 1, slice_ends_in_call},
    {"slice_ends_at_poll", 1, slice_ends_at_poll, yield_partner, end_partners},
    {"entry_in_blocking", 1, entry_in_blocking},
    {"yield", 1, yield, yield_partner, end_partners},
    {"yield_2_procs", 2, yield, yield_partner, end_partners},
    {"semaphores", 1, semaphores, semaphore_partner, end_semaphore_partner},
    {"semaphores_2_procs", 2, semaphores, semaphore_partner, end_semaphore_partner},
    {"go_and_join", 1, go_and_join},
    {"go_and_join_2_procs", 2, go_and_join},
    {"go_and_yield", 1, go_and_yield},
    {"go_large_stack", 1, go_large_stack},
    {"lock_thread", 1, lock_thread},
    {"lock_thread_beside_others", 1, lock_thread, yield_partner, end_partners},
    {"locked_yield", 1, locked_yield, yield_partner, end_partners},
    {"idle", 1, idle, start_waker, end_waker},
    {"idle_2_procs", 2, idle, start_waker, end_waker},
    {"malloc_and_free", 1, malloc_and_free},
    {"malloc_and_free_beside_others", 1, malloc_and_free, yield_partner, end_partners},
    {"exception", 1, exception},
};

}  // namespace

std::span<const Stretch> stretches() noexcept { return kAll; }

}  // namespace gort::test::steps
