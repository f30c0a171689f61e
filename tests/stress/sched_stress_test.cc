// A random mix of everything that moves goroutines, Ms and Ps, under a watchdog (acceptance scenario 108).
//
//   GORT_STRESS_SEED=n     the mix to run; without it a new one, printed
//   GORT_STRESS_MS=n       how long; 3000 if not said
//
// The seed fixes what each goroutine does, not when: the schedule is the machine's. A failure prints seed
// and state; the same seed makes the same mix again.
// test: timeout=120
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "gort/world.h"
#include "sched/entry.h"
#include "sched/invariants.h"
#include "sched/sched.h"
#include "sched/spawn.h"
#include "tests/support/runtime_fixture.h"
#include "world/world.h"

namespace {

std::atomic<std::uint64_t> progress{0};  // one more per finished step of anybody
std::atomic<bool> stopping{false};
std::atomic<std::int64_t> alive{0};      // goroutines of the mix
constexpr int kKinds = 16;
std::atomic<std::uint64_t> steps[kKinds];


constexpr std::int64_t kMostAlive = 2'000;

std::uint64_t setting(const char* name, std::uint64_t otherwise) {
  const char* v = std::getenv(name);
  return v != nullptr ? std::strtoull(v, nullptr, 10) : otherwise;
}

void print_state(std::uint64_t seed) {
  std::fprintf(stderr, "stress: seed %llu, progress %llu, alive %lld, goroutines %lld, threads %d\n",
               static_cast<unsigned long long>(seed), static_cast<unsigned long long>(progress.load()),
               static_cast<long long>(alive.load()), static_cast<long long>(gort::num_goroutine()),
               gort::test::count_threads());
#if defined(GORT_TESTING)
  const gort::rt::PAccount a = gort::rt::check_ps();
  std::fprintf(stderr,
               "stress: Ps: idle %d, running %d, handed %d, in calls %d, in hand %d of %d; Ms %d, idle %d+%d; orders "
               "%d; spinning %d; queued %d; %s\n",
               a.idle, a.running, a.handed, a.syscall, a.in_hand, a.total, a.all_m, a.idle_m, a.idle_locked_m,
               a.orders, a.spinning, a.queued, a.text);
#endif
  constexpr int kStatuses = static_cast<int>(gort::rt::GStatus::dead) + 1;
  int by_status[kStatuses] = {};
  gort::rt::for_each_g([&](gort::rt::G* g) { ++by_status[static_cast<int>(g->status.load())]; });
  for (int i = 0; i < kStatuses; ++i) {
    std::fprintf(stderr, "stress: %s %d\n", gort::rt::g_status_text(static_cast<gort::rt::GStatus>(i)), by_status[i]);
  }
  for (int i = 0; i < kKinds; ++i) {
    std::fprintf(stderr, "stress: step %d: %llu\n", i, static_cast<unsigned long long>(steps[i].load()));
  }
}

struct oops : std::runtime_error {
  oops() : std::runtime_error("oops") {}
};

class pipe_pair {
 public:
  pipe_pair() {
    if (::pipe(fd_) != 0) std::abort();
  }
  pipe_pair(const pipe_pair&) = delete;
  pipe_pair& operator=(const pipe_pair&) = delete;
  ~pipe_pair() {
    ::close(fd_[0]);
    ::close(fd_[1]);
  }
  void put() {
    if (::write(fd_[1], "x", 1) != 1) std::abort();
  }
  void get() {
    char c;
    if (gort::blocking([&] { return ::read(fd_[0], &c, 1); }) != 1) std::abort();
  }
  void get_raw() {
    char c;
    if (::read(fd_[0], &c, 1) != 1) std::abort();
  }

 private:
  int fd_[2];
};

void mix(std::uint64_t seed, int depth);

// ---- stops, and those who do not come by themselves -------------------------------------------------

/// Every P stands, and stands still, while the world is stopped.
void look_at_stopped_world() {
  const int n = gort::rt::sched.nprocs;
  int own = 0;
  for (int i = 0; i < n; ++i) {
    const gort::rt::P* p = gort::rt::p_at(i);
    if (p->id != i || p->status.load() != gort::rt::PStatus::stopped) std::abort();
    if (p->m.load() == gort::rt::self_m()) ++own;
  }
  if (own > 1 || gort::rt::sched.npidle.load() != 0) std::abort();
}

void stop_and_look() {
  gort::rt::RuntimeEntry entry;
  gort::rt::WorldHold w = gort::rt::stop_the_world(gort::rt::StopReason::test);
  look_at_stopped_world();
  gort::rt::start_the_world(std::move(w));
}

void ask_each_p() {
  std::atomic<int> asked{0};
  int n = 0;
  {
    gort::rt::RuntimeEntry entry;
    gort::rt::WorldHold w = gort::rt::world_acquire(gort::rt::StopReason::for_each_p);
    n = gort::rt::sched.nprocs;
    gort::rt::for_each_p(
        w, [](gort::rt::P*, void* arg) noexcept { static_cast<std::atomic<int>*>(arg)->fetch_add(1); }, &asked);
    gort::rt::world_release(std::move(w));
  }
  if (asked != n) std::abort();
}

/// Computes for so long without a call into gort, in malloc half of the time.
void hog(std::int64_t us, bool in_malloc) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(us);
  double x = 1.0;
  while (std::chrono::steady_clock::now() < end) {
    if (in_malloc) {
      void* volatile p = std::malloc(1 + static_cast<std::size_t>(x));
      std::free(p);
    }
    for (int i = 0; i < 100; ++i) x = x * 1.0000001 + 0.5;
    if (!(x > 0)) std::abort();
    if (x > 1e6) x = 1.0;
  }
}

/// Waits with a deadline with a deadline that is part of the mix: yields, so that it works on any thread.
void step(std::mt19937_64& random, int depth) {
  const int kind = static_cast<int>(random() % kKinds);
  switch (kind) {
    case 0:
      for (auto n = random() % 20; n > 0; --n) gort::this_goroutine::yield();
      break;
    case 1: {  // a child, joined
      if (depth <= 0) break;
      auto t = gort::spawn(mix, random(), depth - 1);
      if (random() % 2 == 0) gort::this_goroutine::yield();
      t.join();
      break;
    }
    case 2: {  // children, detached or joined by their destructors
      if (depth <= 0 || alive > kMostAlive) break;
      auto t = gort::spawn(mix, random(), depth - 1);
      auto u = gort::spawn(mix, random(), depth - 1);
      if (random() % 2 == 0) std::move(t).detach();
      break;
    }
    case 3: {
      const auto us = static_cast<useconds_t>(random() % 300);
      gort::blocking([us] { ::usleep(us); });
      break;
    }
    case 4: {  // a pipe: the reader blocks in the kernel until the writer has run
      auto p = std::make_shared<pipe_pair>();
      auto writer = gort::spawn([p, n = random() % 4] {
        for (std::uint64_t i = 0; i < n; ++i) gort::this_goroutine::yield();
        p->put();
      });
      p->get();
      writer.join();
      break;
    }
    case 5: {
      gort::os_thread_lock lock;
      const pid_t thread = ::gettid();
      {
        gort::os_thread_lock nested;
        gort::this_goroutine::yield();
      }
      for (auto n = random() % 4; n > 0; --n) gort::this_goroutine::yield();
      if (random() % 2 == 0) gort::spawn([] { gort::this_goroutine::yield(); }).join();
      if (random() % 2 == 0) gort::blocking([] { ::usleep(50); });
      if (::gettid() != thread) std::abort();
      break;
    }
    case 6: {  // an end while locked takes the thread along
      if (random() % 4 != 0) break;
      gort::spawn([] {
        gort::lock_os_thread();
        gort::this_goroutine::yield();
      }).join();
      break;
    }
    case 7:  // exceptions over parks
      try {
        struct at_exit {
          ~at_exit() {
            const int before = std::uncaught_exceptions();
            gort::this_goroutine::yield();
            gort::spawn([] { gort::this_goroutine::yield(); }).join();
            if (std::uncaught_exceptions() != before) std::abort();
          }
        } guard;
        if (random() % 2 == 0) throw oops();
        gort::spawn([] { throw oops(); }).get();
      } catch (const oops& e) {
        gort::this_goroutine::yield();
        if (std::current_exception() == nullptr || std::string(e.what()) != "oops") std::abort();
      }
      break;
    case 8:
      try {
        gort::spawn([] { gort::goexit(); }).get();
        std::abort();
      } catch (const gort::goroutine_exit_error&) {
      }
      gort::blocking([&] {  // a call into gort from a blocking call
        auto t = gort::spawn([] {});
        if (random() % 2 == 0) gort::this_goroutine::yield();
        t.join();
      });
      break;
    case 9: stop_and_look(); break;
    case 10: gort::max_procs(1 + static_cast<int>(random() % 6)); break;
    case 11: hog(static_cast<std::int64_t>(random() % 30'000), random() % 2 == 0); break;
    case 12: ask_each_p(); break;
    case 13:
      if (auto w = gort::stop_world("stress", std::chrono::milliseconds(random() % 20))) {
        look_at_stopped_world();
        delete new int(7);  // allowed, since everybody stands at a call into gort
      }
      break;
    case 14: {  // asleep in the kernel without a word to gort
      const auto us = static_cast<useconds_t>(random() % 3000);
      ::usleep(us);
      break;
    }
    case 15: {  // a raw read, restarted by the kernel or made again without a P
#if defined(GORT_TEST_TSAN)
      break;  // nobody takes the P from it: TSan keeps signals back
#endif
      auto p = std::make_shared<pipe_pair>();
      auto writer = gort::spawn([p] { p->put(); });
      p->get_raw();
      writer.join();
      break;
    }
  }
  steps[kind].fetch_add(1, std::memory_order_relaxed);
  progress.fetch_add(1, std::memory_order_relaxed);
}

void mix(std::uint64_t seed, int depth) {
  // Tasks that are destroyed and runs that end cancel what they have started; the steps count on being done whole.
  const gort::shield whole;
  ++alive;
  std::mt19937_64 random(seed);
  for (auto n = 1 + random() % 6; n > 0 && !stopping; --n) step(random, depth);
  --alive;
}

class SchedStress : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(SchedStress);

TEST_P(SchedStress, RandomMix) {
  GORT_TEST_START(GetParam());
  const auto seed = setting("GORT_STRESS_SEED", std::random_device{}());
  const auto ms = setting("GORT_STRESS_MS", 3'000);
  std::printf("stress: GORT_STRESS_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
#if defined(GORT_TESTING)
  gort::rt::set_idle_thread_life_for_test(2'000'000);  // threads come and go all the time
#endif

  std::atomic<bool> done{false};
  std::thread watchdog([&] {
    std::uint64_t last = 0;
    for (int still = 0; !done; ++still) {
      ::usleep(100'000);
      const std::uint64_t now = progress;
      if (now != last) still = 0;
      last = now;
      if (still < 200) continue;
      std::fprintf(stderr, "stress: no progress for 20 s\n");
      print_state(seed);
      std::abort();
    }
  });
  // Foreign threads take part: spawn, join, and now and then run.
  std::vector<std::thread> foreign;
  for (int i = 0; i < 2; ++i) {
    foreign.emplace_back([&, mine = seed * 31 + static_cast<std::uint64_t>(i)] {
      std::mt19937_64 random(mine);
      while (!stopping) {
        auto t = gort::spawn(mix, random(), 2);
        if (random() % 4 == 0) ::usleep(static_cast<useconds_t>(random() % 500));
        t.join();
        if (random() % 8 == 0) gort::run([&random] { gort::spawn(mix, random(), 1).join(); });
      }
    });
  }
  gort::run([&] {
    std::vector<gort::task<void>> roots;
    for (std::uint64_t i = 0; i < 4; ++i) {
      roots.push_back(gort::spawn([s = seed + i] {
        std::mt19937_64 random(s);
        while (!stopping) mix(random(), 4);
      }));
    }
    gort::blocking([&] {
      ::usleep(static_cast<useconds_t>(ms * 1000));
      // A short run under a sanitizer on a busy machine does little in its time. (The watchdog watches.)
      while (progress <= ms / 30) ::usleep(1000);
    });
    stopping = true;
    for (auto& r : roots) r.join();
    for (auto& t : foreign) gort::blocking([&] { t.join(); });
    // The detached ones.
    while (alive > 0) gort::this_goroutine::yield();
    gort::max_procs(GetParam());
  });
  gort::test::expect_every_p_idle();
  if (HasFailure()) print_state(seed);
  done = true;
  watchdog.join();
}

}  // namespace
