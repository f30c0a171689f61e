#include "tests/sim/stop_bodies.h"

#include "os/signal.h"
#include "sched/captives.h"
#include "sched/invariants.h"
#include "sched/lock_thread.h"
#include "sched/stop_point.h"
#include "sched/syscall.h"
#include "world/preempt.h"
#include "world/stop_at_calls.h"
#include "world/suspend.h"
#include "world/world.h"

namespace gort::inline v0::rt {

namespace {

/// What they share.
struct Stage {
  explicit Stage(const Cast& c)
      : cast(c),
        ends(c.stoppers + c.foreign + c.resizers + c.askers + c.modest + c.users + c.collectors + c.holders),
        all(all_of(c)) {}
  static int all_of(const Cast& c) {
    return c.hogs + c.yielders + c.blockers + c.spawners + 2 * c.pairs + c.locked + c.takers + c.stoppers +
           c.foreign + c.resizers + c.askers + c.greedy + c.modest + c.scanners + c.users + c.lockers + c.enders +
           c.collectors + c.holders + c.users_of_p;
  }
  const Cast& cast;
  os::atomic<int> ends;            // who still has rounds to do; the others go on until there is none
  Done all;
  os::atomic<int> pairs_made{0};
  os::atomic<int> children{0};
  os::atomic<int> user_lock{0};
  Gate<> gates[8];
  // Plain: what is asserted is that nobody else runs between two steps.
  bool standing = false;           // the world is stopped
  bool asked[kMaxProcs] = {};      // for_each_p's function runs for this P
  int inside = 0;                  // holders of user_lock
  int hogs_begun = 0;
  std::uint64_t hog_steps[4] = {};
  std::uint64_t seen_steps[4][3] = {};  // at the last three stops
  int known = 0;                        // of known_gs
  G* known_gs[8] = {};                  // who can be held still
  G* only_hog = nullptr;                // where there is one; among them
  os::atomic<G*> stops_world{nullptr};  // who is at it
  os::atomic<G*> asks_modestly{nullptr};
  int requests = 0;                     // how often it has asked
  bool over() { return ends.load() == 0; }
};
Stage* stage = nullptr;

// ---- the signal -------------------------------------------------------------------------------------

void on_signal(int) {
  M* m = self_m();
  static constexpr int context = 0;  // looked at by tracebacks only
  if (m != nullptr) serve_interrupt(m, &context);
}

void preempt_by_signal(M* m, bool) noexcept {
  const int tid = m->tid.load();
  if (tid != 0) os::signal_thread(tid, os::kSigUrg);
}

// ---- user code --------------------------------------------------------------------------------------

/// One instruction of user code.
void compute() {
  static constinit int n = 0;
  if (++n % 16 == 0) {
    os::cpu_relax(1);  // PCT lets others run now and then
  } else {
    os::sim_point();
  }
  const M* m = self_m();
  sim_assert(m->p != nullptr && m->curg != nullptr, "user code runs with a P");
  sim_assert(!stage->standing, "user code runs in a stopped world");
  // Reading the number is a step: a signal may come there, and the goroutine go on with another P (for_each_p_busy,
  // random seed 2341).
  const P* p = m->p;
  const std::int32_t id = p->id;
  sim_assert(m->p != p || !stage->asked[id], "user code runs while somebody has its P for a safe-point function");
}

/// The calling goroutine may be held still by holders.
void be_known() {
  if (stage->known < 8) stage->known_gs[stage->known++] = current_g();
}

void hog(void*) {
  const int me = stage->hogs_begun++;
  be_known();
  if (stage->cast.hogs == 1) stage->only_hog = current_g();
  while (!stage->over()) {
    compute();
    ++stage->hog_steps[me % 4];
  }
  stage->all.one();
}

void yielder(void*) {
  be_known();
  while (!stage->over()) {
    compute();
    yield_now();
  }
  stage->all.one();
}

void locked_yielder(void*) {
  lock_os_thread();
  const int me = os::sim_self();
  while (!stage->over()) {
    compute();
    yield_now();
    sim_assert(os::sim_self() == me, "always on its thread");
  }
  unlock_os_thread();
  stage->all.one();
}

void blocker(void*) {
  be_known();
  for (int i = 0; !stage->over(); ++i) {
    enter_blocking();
    if (i % 2 != 0) os::sleep_ns(30'000);
    exit_blocking();
    compute();
  }
  stage->all.one();
}

void spawner(void*) {
  static constexpr auto child = [](void*) {
    compute();
    stage->children.fetch_sub(1);
  };
  while (!stage->over()) {
    if (stage->children.load() < 4) {
      stage->children.fetch_add(1);
      go(child, nullptr);
    } else {
      yield_now();
    }
    compute();
  }
  while (stage->children.load() != 0) yield_now();
  stage->all.one();
}

/// The first of these in a run makes the template thread's hour.
void locker(void*) {
  static constexpr auto child = [](void*) {
    compute();
    stage->children.fetch_sub(1);
  };
  while (!stage->over()) {
    lock_os_thread();
    const int me = os::sim_self();
    if (stage->children.load() < 4) {
      stage->children.fetch_add(1);
      go(child, nullptr);
    }
    compute();
    yield_now();
    sim_assert(os::sim_self() == me, "always on its thread");
    unlock_os_thread();
    compute();
  }
  while (stage->children.load() != 0) yield_now();
  stage->all.one();
}

/// Goroutines that end locked take their threads along, at any moment of a stop.
void ender(void*) {
  static constexpr auto child = [](void*) {
    lock_os_thread();
    compute();
    stage->children.fetch_sub(1);
  };
  while (!stage->over()) {
    if (stage->children.load() < 2) {
      stage->children.fetch_add(1);
      go(child, nullptr);
    }
    compute();
    yield_now();
  }
  while (stage->children.load() != 0) yield_now();
  stage->all.one();
}

void server(void* p) {
  auto* gates = static_cast<Gate<>*>(p);
  while (!stage->over()) {
    gates[0].release();
    gates[1].acquire();
    compute();
  }
  gates[0].release();
  stage->all.one();
}

void client(void* p) {
  auto* gates = static_cast<Gate<>*>(p);
  while (!stage->over()) {
    gates[0].acquire();
    compute();
    gates[1].release();
  }
  gates[1].release();
  stage->all.one();
}

void taker(void*) {
  const bool alone = stage->cast.stoppers + stage->cast.foreign + stage->cast.resizers + stage->cast.askers == 0;
  for (int i = 0; alone ? i < stage->cast.rounds : !stage->over(); ++i) {
    if (stage->cast.takes_inside) {
      RuntimeEntry entry;
      while (stage->user_lock.exchange(1) != 0) os::cpu_relax(1);
    } else {
      while (stage->user_lock.exchange(1) != 0) compute();
    }
    sim_assert(stage->inside++ == 0, "one holder");
    for (int k = 0; k < stage->cast.hold; ++k) compute();
    sim_assert(stage->inside-- == 1, "one holder");
    stage->user_lock.store(0);
    compute();
  }
  stage->all.one();
}

/// What is a P's own is used by who has the P, without a lock (L4).
void user_of_p(void*) {
  static constexpr auto use = [](bool& taken) {
    sim_assert(!taken, "two use what belongs to one P");
    taken = true;
    for (int k = 0; k < 40; ++k) os::cpu_relax(1);
    taken = false;
  };
  static constinit bool taken[kMaxProcs] = {};
  for (int i = 0; i < times(40, 2) * stage->cast.rounds; ++i) {
    if (stage->cast.uses_outside) {
      use(taken[self_m()->p->id]);
    } else {
      RuntimeEntry entry;
      use(taken[self_m()->p->id]);
    }
    compute();
  }
  stage->all.one();
}

// ---- those who stop ---------------------------------------------------------------------------------

/// L3: none of the hogs has stood still over three stops.
void expect_hogs_have_run() {
  if (stage->hogs_begun < stage->cast.hogs) return;
  for (int i = 0; i < stage->cast.hogs; ++i) {
    auto& seen = stage->seen_steps[i];
    sim_assert(seen[0] == 0 || stage->hog_steps[i] > seen[0], "a hog has executed nothing between three stops");
    seen[0] = seen[1];
    seen[1] = seen[2];
    seen[2] = stage->hog_steps[i];
  }
}

void look_around() {
  sim_assert(world_stopped(), "the world is stopped between stop and restart");
  for (std::int32_t i = 0; i < sched.nprocs; ++i) {
    sim_assert(p_at(i)->status.load() == PStatus::stopped, "every P has stopped");
  }
  sim_assert(sched.npidle.load() == 0, "none is on the idle list");
  if (stage->cast.must_run) expect_hogs_have_run();
  if (!stage->cast.no_claims) return;
  for (std::int32_t i = 0; i < sched.nprocs; ++i) sim_assert(!p_at(i)->claimed, "a sleeper has been claimed");
}

void stop_once() {
  RuntimeEntry entry;
  WorldHold w = world_acquire(StopReason::test);
  stage->stops_world.store(current_g());
  stop_with(w);
  stage->stops_world.store(nullptr);
  sim_assert(!stage->standing, "one stop at a time");
  stage->standing = true;
  look_around();
  for (int i = 0; i < times(20, 3); ++i) os::sim_point();
  stage->standing = false;
  start_the_world(std::move(w));
}

void stopper(void*) {
  for (int i = 0; i < stage->cast.rounds; ++i) {
    stop_once();
    compute();
  }
  stage->ends.fetch_sub(1);
  stage->all.one();
}

/// S0: whoever queues for worldsema is served after the present stop, and perhaps one that was on its way.
void greedy(void*) {
  int request = 0;
  int since_it_queued = 0;
  while (!stage->over()) {
    const G* other = stage->asks_modestly.load();
    if (other == nullptr || request != stage->requests) since_it_queued = 0;
    request = stage->requests;
    if (other != nullptr && (since_it_queued > 0 || other->status.load() != GStatus::running)) {  // it has parked
      sim_assert(++since_it_queued <= 2, "one goroutine stops the world again and again while another one waits");
    }
    stop_once();
  }
  stage->all.one();
}

void modest(void*) {
  for (int i = 0; i < stage->cast.rounds; ++i) {
    ++stage->requests;
    stage->asks_modestly.store(current_g());
    {
      RuntimeEntry entry;
      WorldHold w = world_acquire(StopReason::test);
      stage->asks_modestly.store(nullptr);
      stop_with(w);
      start_the_world(std::move(w));
    }
    for (int k = 0; k < times(50, 5); ++k) compute();
  }
  stage->ends.fetch_sub(1);
  stage->all.one();
}

/// S1: a scan of the goroutine that stops the world, by one that cannot be stopped meanwhile.
void scanner(void*) {
  while (!stage->over()) {
    {
      RuntimeEntry entry;
      for (const G* g = stage->stops_world.load(); g != nullptr && stage->stops_world.load() == g; os::cpu_relax(1)) {
        if (g->status.load() != GStatus::running) break;
      }
    }
    compute();
  }
  stage->all.one();
}

/// gort::stop_world.
void user(void*) {
  for (int i = 0; i < stage->cast.rounds; ++i) {
    bool stopped = false;
    {
      RuntimeEntry entry;
      stopped = user_stop("test", i % 2 == 0 ? 20'000 : 2'000'000'000);
    }
    if (stopped) {
      // Ours is the only user code now. It may take malloc's lock: nobody stands in the middle of a computation.
      sim_assert(!stage->standing && stage->inside == 0, "stopped at calls, alone");
      stage->standing = true;
      for (int k = 0; k < times(20, 3); ++k) os::sim_point();
      look_around();
      stage->standing = false;
      RuntimeEntry entry;
      user_start();
    }
    compute();
  }
  stage->ends.fetch_sub(1);
  stage->all.one();
}

/// A mark phase, as far as the two rights go: gcsema over all of it, stops at its begin and end.
void collector(void*) {
  for (int i = 0; i < stage->cast.rounds; ++i) {
    {
      RuntimeEntry entry;
      GcHold gc = gc_acquire();
      for (int k = 0; k < 2; ++k) {
        start_the_world(stop_the_world(StopReason::test));
        yield();
      }
      gc_release(std::move(gc));
    }
    compute();
  }
  stage->ends.fetch_sub(1);
  stage->all.one();
}

/// Who is held still stays so.
void holder(void*) {
  for (int i = 0; i < 2 * stage->cast.rounds; ++i) {
    if (stage->known > 0) {
      G* const g = stage->known_gs[i % stage->known];
      RuntimeEntry entry;
      if (g != current_g()) {
        const SuspendedG held = suspend_g(g);
        if (held) {
          const std::uint64_t hog = stage->hog_steps[0];
          for (int k = 0; k < times(10, 3); ++k) os::sim_point();
          sim_assert(g != stage->only_hog || stage->hog_steps[0] == hog,
                     "a goroutine that is held still goes on");
        }
      }
    }
    compute();
  }
  stage->ends.fetch_sub(1);
  stage->all.one();
}

void foreign_stopper(void*) {
  for (int i = 0; i < stage->cast.rounds; ++i) stop_once();
  stage->ends.fetch_sub(1);
  stage->all.one();
}

void resizer(void*) {
  static constexpr std::int32_t sizes[] = {1, 4, 2, 3, 1, 3, 4, 1, 2};
  const bool alone = stage->cast.resizers == 1;
  for (int i = 0; i < 2 * stage->cast.rounds; ++i) {
    const std::int32_t n = sizes[i % 9];
    {
      RuntimeEntry entry;
      gomaxprocs(n);
    }
    sim_assert(!alone || sched.nprocs == n, "as many Ps as were asked for");
    compute();
  }
  stage->ends.fetch_sub(1);
  stage->all.one();
}

void asker(void*) {
  struct Count {
    int of[kMaxProcs] = {};
  };
  for (int i = 0; i < stage->cast.rounds; ++i) {
    Count count;
    std::int32_t n = 0;
    {
      RuntimeEntry entry;
      WorldHold w = world_acquire(StopReason::for_each_p);
      n = sched.nprocs;
      for_each_p(
          w,
          [](P* p, void* arg) noexcept {
            sim_assert(!stage->asked[p->id], "once at a time for a P");
            stage->asked[p->id] = true;
            ++static_cast<Count*>(arg)->of[p->id];
            for (int k = 0; k < 5; ++k) os::sim_point();
            stage->asked[p->id] = false;
          },
          &count);
      for (int p = 0; p < kMaxProcs; ++p) sim_assert(count.of[p] == (p < n ? 1 : 0), "once for each P");
      world_release(std::move(w));
    }
    compute();
  }
  stage->ends.fetch_sub(1);
  stage->all.one();
}

void expect_nothing_left() {
  expect_all_ps_idle();
  sim_assert(sched.ncaptive.load() == 0 && sched.ninside == 0, "no captive is left");
  sim_assert(sched.stopping.load() == kNotStopping && !world_stopped(), "no stop is left");
  sim_assert(num_goroutine() == 0, "births and deaths balance");
}

void enter(int n, void (*who)(void*), void* arg = nullptr) {
  for (int i = 0; i < n; ++i) go(who, arg);
}

}  // namespace

void start_with_signals() {
  sched_hooks.preempt = preempt_by_signal;
  // Time leaps to the next timeout only if nobody can run, or now and then: never so far.
  sched_hooks.stop_slow = [](std::int64_t) noexcept { os::sim_fail("a stop does not end: a P does not stop, or is lost"); };
  os::sim_on_signal(on_signal);
  start({});
  debug_settings.slow_stop_ns = 60'000'000'000;
}

void play(void* arg) {
  Cast cast = *static_cast<const Cast*>(arg);
  if (os::sim_small()) {
    cast.rounds = cast.must_run ? 4 : 1;
    cast.hold = 20;
  }
  start_with_signals();
#if defined(GORT_TESTING)
  if (cast.broken != Fault::kCount) set_fault(cast.broken, true);
#endif
#if defined(GORT_TESTING)
  if (cast.lingering) {
    // Whoever comes to these places loses its processor for a while.
    static constexpr TestHook linger = [](void*) noexcept {
      for (int i = 0; i < 40; ++i) os::cpu_relax(1);
    };
    set_test_hook(TestPoint::start_m_has_p, linger, nullptr);
    set_test_hook(TestPoint::template_flag_set, linger, nullptr);
  }
#endif
  if (cast.few_threads) os::sim_limit_threads(1 + kSystemThreads + 2);
  Stage here(cast);
  stage = &here;
  os::sim_label(&here.ends, sizeof here.ends, "stage.ends");
  enter(cast.hogs, hog);
  enter(cast.yielders, yielder);
  enter(cast.blockers, blocker);
  enter(cast.spawners, spawner);
  enter(cast.locked, locked_yielder);
  enter(cast.takers, taker);
  enter(cast.users_of_p, user_of_p);
  for (int i = 0; i < cast.pairs; ++i) {
    go(client, &here.gates[2 * i]);
    go(server, &here.gates[2 * i]);
  }
  for (int i = 0; i < cast.foreign; ++i) os::sim_spawn(foreign_stopper, nullptr);
  enter(cast.stoppers, stopper);
  enter(cast.greedy, greedy);
  enter(cast.modest, modest);
  enter(cast.users, user);
  enter(cast.scanners, scanner);
  enter(cast.resizers, resizer);
  enter(cast.askers, asker);
  enter(cast.lockers, locker);
  enter(cast.enders, ender);
  enter(cast.collectors, collector);
  enter(cast.holders, holder);
  here.all.wait();
  expect_nothing_left();
}

}  // namespace gort::inline v0::rt
