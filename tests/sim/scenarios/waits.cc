// Semaphores, and waits that may end in several ways. The small bodies use foreign threads only, without a started
// runtime: nothing runs but the primitive, so that few preemptions reach far.
#include <utility>

#include "sema/sema.h"
#include "sync/blocking_wait.h"
#include "tests/sim/bodies.h"
#include "tests/sim/scenario.h"

namespace gort::inline v0::rt {

namespace {

using os::sim_join;
using os::sim_spawn;

constexpr SimOptions kForeign = {.pct_steps = 120, .max_steps = 5000};

void label(const auto& word, const char* name) { os::sim_label(&word, sizeof word, name); }

// ---- semaphores ----------------------------------------------------------------------------------------

void acquire(SemWord& word) {
  RuntimeEntry entry;
  sem_acquire(&word);
}
void release(SemWord& word, SemRelease how = {}) {
  RuntimeEntry entry;
  sem_release(&word, how);
}

/// As many acquire as units are released.
template <int Acquirers, bool Handoff>
void sem_foreign(void*) {
  static constinit SemWord word{0};
  label(word, "semaphore");
  int ids[Acquirers];
  for (int& id : ids) id = sim_spawn([](void*) { acquire(word); }, nullptr);
  for (int i = 0; i < Acquirers; ++i) release(word, {.handoff = Handoff});
  for (int id : ids) sim_join(id);
  sim_assert(word.load() == 0 && sem_waiting(&word) == 0, "no unit and nobody is left");
}

/// The word may die when nobody waits any more: the acquirer's stack is another use of it at once.
void sem_dies(void*) {
  struct Once {
    SemWord word{0};
  };
  static constinit os::atomic<Once*> at{nullptr};
  const int t = sim_spawn(
      [](void*) {
        Once* once;
        while ((once = at.load()) == nullptr) os::thread_yield();
        release(once->word);
      },
      nullptr);
  Once once;
  label(once.word, "semaphore");
  at.store(&once);
  acquire(once.word);
  once.word.store(0x5555);  // "other use": whoever adds to it now is found
  for (int i = 0; i < 3; ++i) {
    os::sim_point();
    sim_assert(once.word.load() == 0x5555, "a released word is not touched any more");
  }
  sim_join(t);
}

/// Goroutines, a foreign thread, handoffs: a lock whose holder is handed it, and one for which all race.
void sem_goroutines(void*) {
  struct Table {
    SemWord fair{1}, fast{1};
    int in_fair = 0, in_fast = 0;
    Done done{3};
    static void visit(void* p) {
      auto* t = static_cast<Table*>(p);
      for (int i = 0; i < 3; ++i) {
        acquire(t->fair);
        sim_assert(t->in_fair++ == 0, "one holder");
        if (i == 1) yield_now();
        sim_assert(t->in_fair-- == 1, "one holder");
        release(t->fair, {.handoff = true});
        acquire(t->fast);
        sim_assert(t->in_fast++ == 0, "one holder");
        os::sim_point();
        sim_assert(t->in_fast-- == 1, "one holder");
        release(t->fast);
      }
      t->done.one();
    }
  };
  start({});
  Table table;
  label(table.fair, "fair");
  label(table.fast, "fast");
  for (int i = 0; i < 3; ++i) go(Table::visit, &table);
  for (int i = 0; i < 3; ++i) {
    acquire(table.fair);
    sim_assert(table.in_fair == 0, "one holder");
    release(table.fair, {.handoff = true});
  }
  table.done.wait();
  expect_all_ps_idle();
  sim_assert(sem_stats().waiters == 0, "nobody is left in the table");
}

/// A handoff where yielding is impossible: granted, not yielded.
void sem_handoff_locked(void*) {
  struct Table {
    SemWord word{0};
    os::atomic<int> waiting{0};
    Done done{2};
  };
  start({});
  Table table;
  label(table.word, "semaphore");
  go(
      [](void* p) {
        auto* t = static_cast<Table*>(p);
        t->waiting.store(1);
        acquire(t->word);
        t->done.one();
      },
      &table);
  go(
      [](void* p) {
        auto* t = static_cast<Table*>(p);
        while (sem_waiting(&t->word) == 0) yield_now();
        {
          RuntimeEntry entry;
          NoPreempt np;
          const M* m = self_m();
          sem_release(&t->word, {.handoff = true});
          sim_assert(self_m() == m, "it keeps its thread");
        }
        t->done.one();
      },
      &table);
  table.done.wait();
  expect_all_ps_idle();
}

// ---- waits that may end in several ways ------------------------------------------------------------------

struct Queue {
  Mutex lock{LockRank::wait_queue};
  waiter* node = nullptr;
};

WaitEnd wait_in(Queue& q, CancelSource* cancel) {
  RuntimeEntry entry;
  BlockingWait wait(WaitReason::test, kNoDeadline, cancel);
  q.lock.lock();
  q.node = wait.node();
  const WaitEnd end = wait.park_unlock(&q.lock);
  if (end != WaitEnd::done) {
    LockGuard guard(q.lock);
    q.node = nullptr;
  }
  return end;
}

/// Ends the wait in `q`. False: nobody there, or not any more.
bool serve(Queue& q) {
  RuntimeEntry entry;
  bool wake = false;
  waiter* node = nullptr;
  {
    LockGuard guard(q.lock);
    node = std::exchange(q.node, nullptr);
    if (node == nullptr || !end_queued(node, &wake)) return false;
  }
  if (wake) node->ready(node);
  return true;
}

void fire(CancelSource& s) {
  RuntimeEntry entry;
  cancel_fire(&s);
  while (cancel_walk(&s)) {
  }
}

struct Race {
  Queue q;
  CancelSource source;
  os::atomic<int> ended{0};
  WaitEnd end = WaitEnd::none;
  bool served = false;
  bool again = false;
};

void name_race(const Race& r) {
  label(r.q.lock, "queue.lock");
  label(r.source.cancelled, "cancelled");
  label(r.source.lock, "source.lock");
}

/// A partner, a cancellation and the sleeper race for one word.
void wait_race(void*) {
  static constinit Race r;
  name_race(r);
  const int w = sim_spawn([](void*) { r.end = wait_in(r.q, &r.source); }, nullptr);
  const int c = sim_spawn([](void*) { fire(r.source); }, nullptr);
  r.served = serve(r.q);
  sim_join(w);
  sim_join(c);
  sim_assert(r.end == (r.served ? WaitEnd::done : WaitEnd::cancelled), "exactly one has ended it");
  sim_assert(r.source.members == nullptr, "the record has left the source");
}

/// A wait that nothing but the cancellation can end, without a lock between opening it and the look at the flag.
void wait_cancel_only(void*) {
  static constinit Race r;
  name_race(r);
  const int w = sim_spawn(
      [](void*) {
        RuntimeEntry entry;
        BlockingWait wait(WaitReason::test, kNoDeadline, &r.source);
        r.end = wait.park();
      },
      nullptr);
  fire(r.source);
  sim_join(w);
  sim_assert(r.end == WaitEnd::cancelled, "cancelled");
}

/// The same on goroutines, wait after wait, so that who comes too late meets the next wait.
void wait_goroutines(void*) {
  struct Table {
    Queue q[2];
    CancelSource source;
    os::atomic<int> served{0};
    Done done{3};
  };
  start({});
  Table table;
  label(table.source.cancelled, "cancelled");
  go(
      [](void* p) {
        auto* t = static_cast<Table*>(p);
        current_g()->cancel = &t->source;  // it lives there
        int done = 0;
        for (int i = 0; i < 4; ++i) {
          const WaitEnd end = wait_in(t->q[i % 2], &t->source);
          sim_assert(end != WaitEnd::none, "it has ended");
          done += end == WaitEnd::done ? 1 : 0;
        }
        {
          RuntimeEntry entry;
          cancel_leave(&current_g()->wait_state);
        }
        current_g()->cancel = nullptr;
        t->done.one();
        sim_assert(done <= t->served.load() + 1, "nobody is served without a partner");
      },
      &table);
  go(
      [](void* p) {
        auto* t = static_cast<Table*>(p);
        for (int i = 0; i < 4; ++i) {
          if (serve(t->q[i % 2])) t->served.fetch_add(1);
          yield_now();
        }
        t->done.one();
      },
      &table);
  go(
      [](void* p) {
        auto* t = static_cast<Table*>(p);
        for (int i = 0; i < 3; ++i) yield_now();
        fire(t->source);
        t->done.one();
      },
      &table);
  table.done.wait();
  sim_assert(table.source.members == nullptr, "the goroutine has left the source");
  expect_all_ps_idle();
}

/// A goroutine's wait that has no word, against its cancellation.
void wait_plain(void*) {
  struct Table {
    Queue q;
    CancelSource source;
    Done done{2};
  };
  start({});
  Table table;
  label(table.source.cancelled, "cancelled");
  go(
      [](void* p) {
        auto* t = static_cast<Table*>(p);
        current_g()->cancel = &t->source;
        sim_assert(wait_in(t->q, &t->source) == WaitEnd::cancelled, "nothing else can end it");
        {
          RuntimeEntry entry;
          cancel_leave(&current_g()->wait_state);
        }
        current_g()->cancel = nullptr;
        t->done.one();
      },
      &table);
  go(
      [](void* p) {
        auto* t = static_cast<Table*>(p);
        fire(t->source);
        t->done.one();
      },
      &table);
  table.done.wait();
  expect_all_ps_idle();
}

// ---- the list ------------------------------------------------------------------------------------------

constexpr Flaw kA1[] = {{.name = "fence_a1",
                         .what = "semaphore: nwait + 1 is no full store (A1)",
                         .verdict = SimVerdict::deadlock,
                         .weaken = "queue_or_take",
                         .seeds = 5000,
                         .uniform = false}};
constexpr Flaw kW2[] = {{.name = "fence_w2",
                         .what = "a wait is opened by no full store (W2)",
                         .verdict = SimVerdict::deadlock,
                         .weaken = "wait_open",
                         .seeds = 5000,
                         .uniform = false}};
constexpr Flaw kPlain[] = {{.name = "cancel_look",
                            .what = "who waits does not look at the flag once it can be seen",
                            .verdict = SimVerdict::deadlock,
                            .fault = Fault::cancel_look},
                           {.name = "fence_plain",
                            .what = "no fence between the status and the look at the flag",
                            .verdict = SimVerdict::deadlock,
                            .weaken = "commit_unlock_heeding",
                            .seeds = 5000,
                            .uniform = false}};
constexpr Flaw kYields[] = {{.name = "handoff_yields",
                             .what = "a granted semaphore yields although preemption is off",
                             .verdict = SimVerdict::crash,
                             .fault = Fault::handoff_yields}};

constexpr SimOptions kSched = {.pct_depth = 4, .pct_steps = 3000};

constexpr Scenario kAll[] = {
    {.name = "small_sema",
     .what = "semaphore: one thread acquires, one releases",
     .body = sem_foreign<1, false>,
     .options = kForeign,
     .seeds = 1000,
     .preemptions = 3,
     .flaws = kA1},
    {.name = "small_sema2",
     .what = "semaphore: two threads acquire, one releases twice",
     .body = sem_foreign<2, false>,
     .options = kForeign,
     .seeds = 500,
     .preemptions = 2},
    {.name = "small_handoff",
     .what = "semaphore: two threads acquire, one hands over twice",
     .body = sem_foreign<2, true>,
     .options = kForeign,
     .seeds = 500,
     .preemptions = 2},
    {.name = "small_sema_dies",
     .what = "semaphore: its word dies when the last waiter is let go",
     .body = sem_dies,
     .options = kForeign,
     .seeds = 500,
     .preemptions = 2},
    {.name = "small_wait",
     .what = "a wait, its partner and a cancellation (wait_state, cancel)",
     .body = wait_race,
     .options = kForeign,
     .seeds = 1000,
     .preemptions = 2},
    {.name = "small_cancel",
     .what = "a wait that only a cancellation ends",
     .body = wait_cancel_only,
     .options = kForeign,
     .seeds = 1000,
     .preemptions = 3,
     .flaws = kW2},
    {.name = "semaphores",
     .what = "goroutines and a thread at two semaphores, one handed over, one raced for",
     .body = sem_goroutines,
     .options = kSched,
     .procs = {2, 1, 3, 4},
     .seeds = 300},
    {.name = "handoff_locked",
     .what = "a handoff where yielding is impossible",
     .body = sem_handoff_locked,
     .options = kSched,
     .procs = {1, 2},
     .seeds = 300,
     .flaws = kYields},
    {.name = "wait_plain",
     .what = "a goroutine's wait without a word, and its cancellation",
     .body = wait_plain,
     .options = kSched,
     .procs = {2, 3, 1},
     .seeds = 300,
     .flaws = kPlain},
    {.name = "waits",
     .what = "goroutines' waits against partners and a cancellation",
     .body = wait_goroutines,
     .options = kSched,
     .procs = {2, 1, 3},
     .seeds = 300},
};

}  // namespace

extern const std::span<const Scenario> wait_scenarios;
const std::span<const Scenario> wait_scenarios = kAll;

}  // namespace gort::inline v0::rt
