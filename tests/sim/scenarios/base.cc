// The runtime's lock, note and allocator. Nothing here leaves static state behind, so runs need no fork.
#include "base/alloc.h"
#include "base/fault.h"
#include "base/mutex.h"
#include "base/note.h"
#include "tests/sim/scenario.h"

namespace gort::inline v0::rt {

namespace {

using os::sim_assert;
using os::sim_join;
using os::sim_spawn;
using os::SimOptions;
using os::SimVerdict;

constexpr SimOptions kSmall = {.pct_steps = 150, .isolate = false};

// ---- the lock -------------------------------------------------------------------------------

struct RankedMutex : Mutex {
  RankedMutex() : Mutex(LockRank::leaf) {}
};

struct Exclusion {
  RankedMutex mutex;
  os::atomic<int> inside{0};
  int sum = 0;
  static void worker(void* p) {
    auto* x = static_cast<Exclusion*>(p);
    for (int i = 0; i < 3; ++i) {
      x->mutex.lock();
      sim_assert(x->inside.fetch_add(1) == 0, "one at a time");
      ++x->sum;
      x->inside.fetch_sub(1);
      x->mutex.unlock();
    }
  }
  static void body(void*) {
    Exclusion x;
    os::sim_label(&x.mutex, sizeof x.mutex, "mutex");
    os::sim_label(&x.inside, sizeof x.inside, "inside");
    int ids[3];
    for (int& id : ids) id = sim_spawn(worker, &x);
    for (int id : ids) sim_join(id);
    sim_assert(x.sum == 9, "everybody was inside");
    sim_assert(os::tls().locks == 0, "the count of locks is balanced");
  }
};

constexpr Flaw kSleepsForGood[] = {{.name = "lock_sleep",
                                   .what = "whom a release has overlooked sleeps without a limit",
                                   .verdict = SimVerdict::deadlock,
                                   .fault = Fault::lock_sleep}};

void try_lock_body(void*) {
  static constexpr auto worker = [](void* p) {
    auto* x = static_cast<Exclusion*>(p);
    for (int i = 0; i < 3; ++i) {
      if (!x->mutex.try_lock()) continue;
      sim_assert(x->inside.fetch_add(1) == 0, "one at a time");
      x->inside.fetch_sub(1);
      x->mutex.unlock();
    }
  };
  Exclusion x;
  const int a = sim_spawn(worker, &x);
  const int b = sim_spawn(Exclusion::worker, &x);
  worker(&x);
  sim_join(a);
  sim_join(b);
}

// ---- the note -------------------------------------------------------------------------------

/// As Note, but the wake comes before the store.
class WakeFirstNote {
 public:
  void clear() { word_.store(0); }
  void sleep() {
    while (word_.load() == 0) os::futex_wait(&word_, 0, -1);
  }
  void wakeup() {
    os::futex_wake(&word_, 1);
    word_.store(1);
  }

 private:
  os::atomic<std::uint32_t> word_{0};
};

/// As Note, but a wakeup before the sleep is forgotten.
class ForgetfulNote {
 public:
  void clear() {}
  void sleep() {
    word_.store(0);
    while (word_.load() == 0) os::futex_wait(&word_, 0, -1);
  }
  void wakeup() {
    word_.store(1);
    os::futex_wake(&word_, 1);
  }

 private:
  os::atomic<std::uint32_t> word_{0};
};

/// Two Ms that hand one thing to and fro, as start_m and stop_m do: publish, wake, sleep, clear.
template <class N>
struct PingPong {
  N there, back;
  int ball = 0;  // plain: whoever has been woken owns it
  static void partner(void* p) {
    auto* g = static_cast<PingPong*>(p);
    for (int i = 0; i < 3; ++i) {
      g->there.sleep();
      g->there.clear();
      sim_assert(g->ball++ == 2 * i, "my turn");
      g->back.wakeup();
    }
  }
  static void body(void*) {
    PingPong g;
    os::sim_label(&g.there, sizeof g.there, "note there");
    os::sim_label(&g.back, sizeof g.back, "note back");
    const int t = sim_spawn(partner, &g);
    for (int i = 0; i < 3; ++i) {
      g.there.wakeup();
      g.back.sleep();
      g.back.clear();
      sim_assert(g.ball++ == 2 * i + 1, "my turn");
    }
    sim_join(t);
  }
};

constexpr Flaw kNoteFlaws[] = {
    {.name = "wakes_first",
     .what = "wakeup wakes before it stores",
     .verdict = SimVerdict::deadlock,
     .body = PingPong<WakeFirstNote>::body},
    {.name = "forgets",
     .what = "a wakeup before the sleep is forgotten",
     .verdict = SimVerdict::deadlock,
     .body = PingPong<ForgetfulNote>::body},
};

void doorbells(void*) {
  struct Bells {
    Note note;
    os::atomic<int> work{0};
  } b;
  constexpr auto ringer = [](void* p) {
    auto* bells = static_cast<Bells*>(p);
    bells->work.fetch_add(1);
    bells->note.ring();
  };
  const int x = sim_spawn(ringer, &b);
  const int y = sim_spawn(ringer, &b);
  for (int done = 0; done < 2;) {
    b.note.sleep();
    b.note.clear();
    done += b.work.exchange(0);
  }
  sim_join(x);
  sim_join(y);
}

void timed_sleep(void*) {
  constexpr std::int64_t kShort = 10'000;  // virtual: 500 steps
  Note n;
  const std::int64_t begin = os::nanotime();
  const int t = sim_spawn(
      [](void* p) {
        for (int i = 0; i < 200; ++i) os::sim_point();
        static_cast<Note*>(p)->wakeup();
      },
      &n);
  const bool woken = n.sleep_for(kShort);
  sim_assert(woken || os::nanotime() - begin >= kShort, "a timeout is never early");
  if (!woken) n.sleep();  // the wakeup that was late is kept
  sim_join(t);
  n.clear();
  sim_assert(!n.sleep_for(kShort), "nobody wakes any more");
}

// ---- allocation -----------------------------------------------------------------------------

void fix_alloc(void*) {
  struct Object {
    os::atomic<int> owner{0};
    void* pad = nullptr;
  };
  static constinit FixAlloc<Object> pool;
  constexpr auto worker = [](void* p) {
    const int me = static_cast<int>(reinterpret_cast<std::intptr_t>(p));
    for (int i = 0; i < 3; ++i) {
      auto* a = ::new (pool.alloc()) Object;
      auto* b = ::new (pool.alloc()) Object;
      a->owner.store(me);
      b->owner.store(me);
      sim_assert(a != b && a->owner.load() == me && b->owner.load() == me, "mine alone");
      pool.free(a);
      pool.free(b);
    }
  };
  const int x = sim_spawn(worker, reinterpret_cast<void*>(1));
  const int y = sim_spawn(worker, reinterpret_cast<void*>(2));
  worker(reinterpret_cast<void*>(3));
  sim_join(x);
  sim_join(y);
  sim_assert(pool.in_use() == 0, "all are back");
}

constexpr Scenario kAll[] = {
    {.name = "mutex",
     .what = "the runtime's lock excludes and forgets nobody",
     .body = Exclusion::body,
     .options = kSmall,
     .seeds = 5000,
     .bound = {3, os::SimBound::departures},
     .flaws = kSleepsForGood},
    {.name = "try_lock",
     .what = "try_lock never waits and excludes",
     .body = try_lock_body,
     .options = kSmall,
     .seeds = 5000,
     .bound = {3, os::SimBound::departures}},
    {.name = "note",
     .what = "two threads hand one thing to and fro by notes",
     .body = PingPong<Note>::body,
     .options = kSmall,
     .seeds = 5000,
     .bound = {4, os::SimBound::departures},
     .flaws = kNoteFlaws},
    {.name = "doorbell",
     .what = "several threads ring one note",
     .body = doorbells,
     .options = kSmall,
     .seeds = 5000,
     .bound = {4, os::SimBound::departures}},
    {.name = "timed_sleep",
     .what = "a sleep with a limit is neither short nor forgetful",
     .body = timed_sleep,
     .options = kSmall,
     .seeds = 5000,
     .bound = {3, os::SimBound::departures}},
    {.name = "fix_alloc",
     .what = "the fixed-size allocator gives each object to one",
     .body = fix_alloc,
     .options = {.pct_steps = 150},  // its chunk is static
     .seeds = 500,
     .bound = {2, os::SimBound::departures}},
};

}  // namespace

extern const std::span<const Scenario> base_scenarios;
const std::span<const Scenario> base_scenarios = kAll;

}  // namespace gort::inline v0::rt
