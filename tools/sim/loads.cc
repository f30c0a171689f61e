#include "tools/sim/loads.h"

#include "sched/entry.h"
#include "sched/park.h"
#include "sched/sched.h"
#include "sched/spawn.h"
#include "sema/sema.h"
#include "sync/blocking_wait.h"
#include "sync/chan.h"
#include "world/world.h"

#if defined(GORT_SIM)
#include "os/sim/sim.h"
#endif

namespace gort::inline v0::rt {

void load_work(std::int64_t ns) noexcept {
#if defined(GORT_SIM)
  os::sim_work(ns);
#else
  const std::int64_t until = os::nanotime() + ns;
  while (os::nanotime() < until) os::cpu_relax(1);
#endif
}

namespace {

void go(void (*fn)(void*), void* arg) {
  RuntimeEntry entry;
  G* g = g_alloc(0);
  GORT_CHECK(g != nullptr, "memory for a goroutine");
  StartArgs args;
  args.fn = fn;
  args.arg = arg;
  g_start(g, args);
}

std::int64_t all_steals() noexcept {
  std::int64_t n = 0;
  for (std::int32_t i = 0; i < sched.nprocs.load(); ++i)
    n += static_cast<std::int64_t>(p_at(i)->steals.load());
  return n;
}

/// The last of `left` lets the one go who waits.
struct Join {
  os::atomic<std::int64_t> left{0};
  SemWord over{0};
  void begin(std::int64_t n) { left.store(n); }
  void done() {
    if (left.fetch_sub(1) != 1) return;
    RuntimeEntry entry;
    sem_release(&over);
  }
  void wait() {
    RuntimeEntry entry;
    sem_acquire(&over);
  }
};

void delay(LoadResult& out, os::atomic<int>& next, std::int64_t ns) {
  if (const int i = next.fetch_add(1); i < kMostDelays) out.delays[i] = ns;
}

/// f twice, the first time to warm up (threads exist, goroutines are recycled); the second time counts.
template <class F>
void measured(LoadResult& out, F f) {
  f(4);
  const std::int64_t steals = all_steals();
  const std::int64_t begin = os::nanotime();
  out.ops = f(1);
  out.ns = os::nanotime() - begin;
  out.steals = all_steals() - steals;
}

std::int64_t at_least(std::int64_t least, double n) {
  return n > static_cast<double>(least) ? static_cast<std::int64_t>(n) : least;
}

// ---- spawn -------------------------------------------------------------------------------------------

constexpr std::int64_t kChildren = 16;

struct Parent {
  std::int64_t rounds;
  Join children;
  Join* all;
  static void run(void* self) {
    auto* p = static_cast<Parent*>(self);
    for (std::int64_t i = 0; i < p->rounds; ++i) {
      p->children.begin(kChildren);
      for (std::int64_t k = 0; k < kChildren; ++k) {
        go(
            [](void* parent) {
              load_work(500);
              static_cast<Parent*>(parent)->children.done();
            },
            p);
      }
      p->children.wait();
    }
    p->all->done();
  }
};

constexpr int kMostWorkers = 16 * 1024;
alignas(128) constinit unsigned char memory[kMostWorkers * std::size_t{512}];

/// n objects in static memory, each apart: what they hold is not the goroutines' stacks'.
template <class T>
T* make(int n) {
  static_assert(sizeof(T) <= 512);
  GORT_CHECK(n <= kMostWorkers, "a load with too many workers");
  for (int i = 0; i < n; ++i) new (memory + i * std::size_t{512}) T();
  return reinterpret_cast<T*>(memory);
}
template <class T>
T& nth(T* first, int i) {
  return *reinterpret_cast<T*>(reinterpret_cast<unsigned char*>(first) + i * std::size_t{512});
}

void spawn(int procs, double scale, LoadResult& out) {
  measured(out, [&](int share) -> std::int64_t {
    Join all;
    all.begin(procs);
    auto* parents = make<Parent>(procs);
    const std::int64_t rounds = at_least(4, scale * (20'000.0 / procs + 800) / kChildren) / share;
    for (int i = 0; i < procs; ++i) {
      nth(parents, i).rounds = rounds;
      nth(parents, i).all = &all;
      go(Parent::run, &nth(parents, i));
    }
    all.wait();
    return rounds * kChildren * procs;
  });
}

// ---- ping-pong ---------------------------------------------------------------------------------------

struct Pair {
  Chan there, back;
  std::int64_t rounds;
  Join* all;
  static void send(Chan& c, std::uint64_t v) {
    RuntimeEntry entry;
    chan_send(&c, &v, {});
  }
  static void receive(Chan& c) {
    RuntimeEntry entry;
    std::uint64_t v;
    chan_recv(&c, &v, {});
  }
  static void ping(void* self) {
    auto* p = static_cast<Pair*>(self);
    for (std::int64_t i = 0; i < p->rounds; ++i) send(p->there, 1), receive(p->back);
    p->all->done();
  }
  static void pong(void* self) {
    auto* p = static_cast<Pair*>(self);
    for (std::int64_t i = 0; i < p->rounds; ++i) receive(p->there), send(p->back, 1);
    p->all->done();
  }
};

void ping_pong(int procs, double scale, LoadResult& out) {
  measured(out, [&](int share) -> std::int64_t {
    Join all;
    all.begin(2 * procs);
    auto* pairs = make<Pair>(procs);
    const std::int64_t rounds = at_least(8, scale * (10'000.0 / procs + 400)) / share;
    for (int i = 0; i < procs; ++i) {
      Pair& p = nth(pairs, i);
      p.there.size = p.back.size = sizeof(std::uint64_t);
      p.rounds = rounds;
      p.all = &all;
      go(Pair::pong, &p);
      go(Pair::ping, &p);
    }
    all.wait();
    return 2 * rounds * procs;
  });
}

// ---- fork and join -----------------------------------------------------------------------------------

/// Half of the leaves to a child, the other half here.
struct Fork {
  int leaves;
  Join join;
  static void run(void* self) {
    auto* f = static_cast<Fork*>(self);
    split(f->leaves);
    f->join.done();
  }
  static void split(int leaves) {
    if (leaves == 1) return load_work(1000);
    Fork child;
    child.leaves = leaves / 2;
    child.join.begin(1);
    go(run, &child);
    split(leaves - leaves / 2);
    child.join.wait();
  }
};

void fork_join(int procs, double scale, LoadResult& out) {
  measured(out, [&](int share) -> std::int64_t {
    const auto leaves =
        static_cast<int>(at_least(16 * procs, scale * (20'000 + 200.0 * procs))) / share;
    Fork::split(leaves);
    return leaves;
  });
}

// ---- timers ------------------------------------------------------------------------------------------

struct Sleepers {
  LoadResult& out;
  os::atomic<int> delays{0};
  std::int64_t rounds;
  Join all;
  os::atomic<int> begun{0};
  static void run(void* self) {
    auto* s = static_cast<Sleepers*>(self);
    const int me = s->begun.fetch_add(1);
    const std::int64_t ns = 200'000 + me % 64 * 5'000;
    for (std::int64_t i = 0; i < s->rounds; ++i) {
      RuntimeEntry entry;
      const std::int64_t until = os::nanotime() + ns;
      BlockingWait wait(WaitReason::sleep, until, nullptr);
      wait.race();
      wait.park();
      // Not all: the counter would be what they wait for.
      if (me % 64 == 0) delay(s->out, s->delays, os::nanotime() - until);
    }
    s->all.done();
  }
};

void timers(int procs, double scale, LoadResult& out) {
  const int sleepers = 16 * procs;
  measured(out, [&](int share) -> std::int64_t {
    Sleepers s{.out = out, .rounds = at_least(8, 20'000 * scale / sleepers) / share, .all = {}};
    s.all.begin(sleepers);
    for (int i = 0; i < sleepers; ++i) go(Sleepers::run, &s);
    s.all.wait();
    out.delays_n = s.delays.load() < kMostDelays ? s.delays.load() : kMostDelays;
    return sleepers * s.rounds;
  });
}

// ---- stopping the world ------------------------------------------------------------------------------

void stops(int procs, double scale, LoadResult& out) {
  struct Hogs {
    os::atomic<bool> over{false};
    os::atomic<int> running{0};
    Join all;
  } h;
  h.all.begin(procs - 1);
  for (int i = 1; i < procs; ++i) {
    go(
        [](void* p) {
          auto* hogs = static_cast<Hogs*>(p);
          hogs->running.fetch_add(1);
          while (!hogs->over.load()) load_work(5000);
          hogs->all.done();
        },
        &h);
  }
  while (h.running.load() < procs - 1) {
    RuntimeEntry entry;
    yield();
  }
  os::atomic<int> delays{0};
  measured(out, [&](int share) -> std::int64_t {
    const std::int64_t rounds = at_least(12, 200 * scale / procs) / share;
    delays.store(0);
    for (std::int64_t i = 0; i < rounds; ++i) {
      {
        RuntimeEntry entry;
        const std::int64_t begin = os::nanotime();
        WorldHold hold = stop_the_world(StopReason::test);
        delay(out, delays, os::nanotime() - begin);
        start_the_world(std::move(hold));
      }
      load_work(100'000);
    }
    out.delays_n = delays.load() < kMostDelays ? delays.load() : kMostDelays;
    return rounds;
  });
  h.over.store(true);
  if (procs > 1) h.all.wait();
}

constexpr Load kLoads[] = {
    {"spawn", "each P's parent starts 16 goroutines of 500 ns and waits for them, again and again",
     "goroutines", nullptr, spawn},
    {"pingpong", "a pair for each P, two unbuffered channels", "messages", nullptr, ping_pong},
    {"forkjoin", "a tree that is split in halves down to leaves of 1 us, by one goroutine first",
     "leaves", nullptr, fork_join},
    {"timers", "16 goroutines for each P sleep 200 to 515 us, again and again", "sleeps",
     "how late a sleep ends", timers},
    {"stop", "loops on all Ps but one, whose goroutine stops the world each 100 us", "stops",
     "until all have stopped", stops},
};

}  // namespace

std::span<const Load> all_loads() noexcept { return kLoads; }

}  // namespace gort::inline v0::rt
