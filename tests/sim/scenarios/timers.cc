// Timers and their watcher in the whole runtime: who sleeps until the earliest is woken for an earlier one, sleeps end in
// their time beside stops and changes of the number of Ps. Time is virtual and jumps when nobody can run, so a wake-up
// that is lost shows as a timer that goes off hours late. timer_sim_test.cc has more.
#include "sync/timers.h"
#include "sync/blocking_wait.h"
#include "tests/sim/scenario.h"
#include "tests/sim/stop_bodies.h"
#include "world/world.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::int64_t kMilli = 1'000'000;
constexpr std::int64_t kHour = 3'600'000 * kMilli;

// A machine that is late by itself would hide what is looked for.
constexpr SimOptions kTimers = {.pct_depth = 4, .pct_steps = 4000, .late_permille = 0};
constexpr SimOptions kTimersStops = {
    .pct_depth = 5, .pct_steps = 6000, .max_steps = 400'000, .step_ns = 200, .late_permille = 0};

struct Bell : Timer {
  Done* done;
  explicit Bell(Done* d) : done(d) {
    arg = this;
    fire = [](const TimerShot& s) noexcept {
      sim_assert(os::nanotime() >= s.when, "not too early");
      sim_assert(os::nanotime() < s.when + 100 * kMilli, "a timer goes off in its time");
      if (auto* b = static_cast<Bell*>(s.arg); b->done != nullptr) b->done->one();
    };
  }
};
bool arm_in(Timer* t, std::int64_t ns) {
  RuntimeEntry entry;
  return timer_arm(t, os::nanotime() + ns, 0);
}
bool remove(Timer* t) {
  RuntimeEntry entry;
  return timer_remove(t);
}
void sleep_in_gort(std::int64_t ns) {
  const std::int64_t until = os::nanotime() + ns;
  {
    RuntimeEntry entry;
    BlockingWait wait(WaitReason::sleep, until, nullptr);
    wait.race();
    sim_assert(wait.park() == WaitEnd::timeout, "a sleep ends by its time");
  }
  sim_assert(os::nanotime() >= until, "not too early");
  sim_assert(os::nanotime() < until + 100 * kMilli, "in its time");
}

/// The watcher sleeps until far away; a foreign thread and this one set nearer ones, at any moment of that.
void timer_wakes_watcher(void*) {
  start({});
  os::sim_label(&sched.watch_until, sizeof sched.watch_until, "watch_until");
  Bell far(nullptr);
  Done done(2);
  Bell near1(&done), near2(&done);
  arm_in(&far, kHour);
  const int other =
      os::sim_spawn([](void* p) { arm_in(static_cast<Timer*>(p), 2 * kMilli); }, &near2);
  arm_in(&near1, kMilli);
  done.wait();
  os::sim_join(other);
  sim_assert(remove(&far), "the far one is still armed");
  remove(&near1);
  remove(&near2);
}

/// A timer that has gone off is armed by two at once. Whichever is the last, it goes off in that one's time.
void timer_armed_twice(void*) {
  start({});
  Done first(1), second(1);
  Bell bell(&first);
  arm_in(&bell, kMilli);
  first.wait();
  bell.done = &second;
  const int other = os::sim_spawn([](void* p) { arm_in(static_cast<Timer*>(p), kHour); }, &bell);
  arm_in(&bell, kMilli);
  os::sim_join(other);
  if (bell.when.load() < kHour) second.wait();
  remove(&bell);
}

template <bool Looks>
bool move_to(Timer* t, std::int64_t when) {
  RuntimeEntry entry;
  if (!timer_move(t, when)) return false;
  if (Looks) timer_moved(t, when);
  return true;
}

/// One that is armed is put off far, and brought forward just when the heap finds that it was put off. It goes off once.
template <bool Looks>
void timer_put_off(void*) {
  start({});
  Done done(1);
  Bell bell(&done);
  static std::int64_t first;
  first = os::nanotime() + kMilli;
  arm_in(&bell, kMilli);
  const bool put_off = move_to<Looks>(&bell, os::nanotime() + kHour);  // false: too late
  const int other = os::sim_spawn(
      [](void* p) {
        if (p == nullptr) return;
        auto* t = static_cast<Timer*>(p);
        os::sleep_ns(first - os::nanotime());
        // If its place is the hour's already, only arming finds the way forward.
        if (!move_to<Looks>(t, os::nanotime() + kMilli)) arm_in(t, kMilli);
      },
      put_off ? &bell : nullptr);
  os::sim_join(other);
  done.wait();
  sim_assert(!move_to<Looks>(&bell, os::nanotime() + kHour), "it has gone off");
  sleep_in_gort(kMilli);
  sim_assert(done.left.load() == 0, "it goes off once");
  remove(&bell);
}

/// Goroutines whose sleeps interleave, beside one that stops the world and one that changes the number of Ps.
void timers_beside_stops(void*) {
  start_with_signals();
  static Done* all;
  Done done(5);
  all = &done;
  for (std::int64_t i = 0; i < 3; ++i) {
    go(
        [](void* p) {
          const auto ns = reinterpret_cast<std::int64_t>(p);
          for (int k = 0; k < 3; ++k) {
            sleep_in_gort(ns);
            if (k == 1) yield_now();
          }
          all->one();
        },
        reinterpret_cast<void*>((3 - i) * kMilli / 10 + i));
  }
  go(
      [](void*) {
        for (int k = 0; k < 3; ++k) {
          {
            RuntimeEntry entry;
            start_the_world(stop_the_world(StopReason::test));
          }
          sleep_in_gort(kMilli / 8);
        }
        all->one();
      },
      nullptr);
  go(
      [](void*) {
        for (int k = 0; k < 3; ++k) {
          RuntimeEntry entry;
          gomaxprocs(1 + k % 2);
        }
        all->one();
      },
      nullptr);
  done.wait();
  expect_all_ps_idle();
}

constexpr Flaw kBreak[] = {{.name = "timer_break",
                            .what = "an earlier timer does not wake who sleeps until a later one",
                            .verdict = SimVerdict::assert,
                            .fault = Fault::timer_break}};

constexpr Flaw kNoLook[] = {{.name = "timer_moved",
                             .what = "who gives an armed timer another time does not look whether the heap moves it just then",
                             .verdict = SimVerdict::assert,
                             .body = timer_put_off<false>,
                             .pct = false}};

constexpr os::SimBound kDelay(1, os::SimBound::delays);  // departures: too many

constexpr Scenario kAll[] = {
    {.name = "timer_earlier",
     .what = "who sleeps until a timer is woken for an earlier one",
     .body = timer_wakes_watcher,
     .options = kTimers,
     .procs = {2, 1, 4},
     .flaws = kBreak},
    // The key of the past was found early enough for the second time.
    {.name = "timer_two_arm",
     .what = "a timer that has gone off is armed by two at once",
     .body = timer_armed_twice,
     .options = kTimers,
     .procs = {2, 1},
     .seeds = 300},
    {.name = "timer_put_off",
     .what = "an armed timer is given other times while it goes off",
     .body = timer_put_off<true>,
     .options = kTimers,
     .procs = {2, 1},
     .seeds = 300,
     .flaws = kNoLook},
    {.name = "timers_stops",
     .what = "sleeps end in their time beside stops and gomaxprocs",
     .body = timers_beside_stops,
     .options = kTimersStops,
     .procs = {2, 1, 3},
     .seeds = 100, .bound = kDelay},
};

}  // namespace

extern const std::span<const Scenario> timer_scenarios;
const std::span<const Scenario> timer_scenarios = kAll;

}  // namespace gort::inline v0::rt
