// Rules L3 and L4 (docs/HACKING.md): progress between two stops, and windows. L2 is captured_locks_test.cc's; L1 is
// watched by the malloc guard (tests/support/malloc_guard.h) and by tools/check_symbols.
// test: needs=GORT_UNSANITIZED
#include <signal.h>

#include <algorithm>
#include <cstdio>

#include "sched/window.h"
#include "tests/scenarios/captured.h"

namespace gort::test {
namespace {

using captured::until;

// ---- L3 -----------------------------------------------------------------------------------------

/// What a computing goroutine had of 4000 stops that follow each other at once, by two threads.
struct Progress {
  int moved = 0;    ///< stops before which it had executed something since the one before
  int longest = 0;  ///< most stops in a row before which it had not
};

Progress beside_looping_stops() {
  constexpr int kStops = 2000;
  static std::atomic<bool> over{false};
  static std::atomic<std::uint64_t> count{0};
  over = false;
  count = 0;
  Progress result;
  gort::run([&] {
    gort::task<void> hog = gort::spawn([] {
      for (std::uint64_t n = 1; !over.load(std::memory_order_relaxed); ++n) count.store(n, std::memory_order_relaxed);
    });
    std::uint64_t seen = 0;
    int still = 0;
    auto stops = [&] {
      until([] { return count.load() != 0; });
      for (int i = 0; i < kStops; ++i) {
        captured::stopped([&] {  // one of the two at a time
          const std::uint64_t now = count.load();
          still = now != seen ? 0 : still + 1;
          result.moved += now != seen ? 1 : 0;
          result.longest = std::max(result.longest, still);
          seen = now;
        });
      }
    };
    std::thread a(stops), b(stops);
    gort::blocking([&] {
      a.join();
      b.join();
    });
    over = true;
    hog.join();
  });
  return result;
}

class Rules : public RuntimeTest {};

TEST_F(Rules, L3AHogGoesOnBetweenStops) {
  GORT_TEST_START(1);
  const Progress with = beside_looping_stops();
  std::printf("with L3:    it ran before %d of 4000 stops, %d in a row without\n", with.moved, with.longest);
  EXPECT_GT(with.moved, 400);
#if defined(GORT_TESTING)
  rt::set_fault(rt::Fault::progress, true);
  const Progress without = beside_looping_stops();
  rt::set_fault(rt::Fault::progress, false);
  std::printf("without L3: it ran before %d of 4000 stops, %d in a row without\n", without.moved, without.longest);
  EXPECT_GT(without.longest, with.longest);
  EXPECT_LT(without.moved, with.moved);
#endif
}

// ---- L4 -----------------------------------------------------------------------------------------

#if defined(GORT_TESTING)

/// How often the goroutine captured::who has become a captive, in a signal handler and elsewhere.
struct Captures {
  std::atomic<int> in_handler{0}, elsewhere{0};
};
Captures captures;

void count_capture(void*) noexcept {
  if (rt::current_g() != captured::who.load()) return;
  ++(os::tls().in_handler != 0 ? captures.in_handler : captures.elsewhere);
}

/// What happened to a goroutine in a stretch that is longer than its slice, beside others, and to a stop meanwhile.
struct Stretch {
  int inside = 0;         ///< captures before the end of the stretch
  int after = 0;          ///< captures right after it
  int not_by_signal = 0;  ///< of all these, by the end of the stretch itself
  bool stopped_inside = false;
};

/// The stretch: enter, compute until its slice is over and has been asked for, and a stop has been asked for; leave.
template <class Enter>
Stretch in_a_stretch(Enter in) {
  static std::atomic<bool> over{false};
  over = false;
  captured::leave = captured::inside = false;
  captures.in_handler = captures.elsewhere = 0;
  rt::set_test_hook(rt::TestPoint::captive_queued, count_capture, nullptr);
  Stretch s;
  std::atomic<bool> stop_done{false};
  gort::run([&] {
    gort::task<void> one = gort::spawn([&] {
      captured::who = rt::current_g();
      int before_end = 0;
      in([&] {
        captured::here();
        s.stopped_inside = stop_done.load();
        before_end = captures.in_handler + captures.elsewhere;
      });
      s.inside = before_end;
      s.not_by_signal = captures.elsewhere.load();
      s.after = captures.in_handler.load() + s.not_by_signal - before_end;
      captured::who = nullptr;
    });
    std::thread director([&] {
      until([] { return captured::inside.load(); });
      const rt::M* m = captured::who.load()->m;
      // Asked for, and not served; or served long ago.
      until([&] { return captures.in_handler != 0 || (m->pending.load() & rt::kPendingYield) != 0; });
      ::usleep(30'000);
      std::thread stops([&] { captured::stopped([&] { stop_done = true; }); });
      until([&] { return stop_done.load() || (m->pending.load() & rt::kPendingStop) != 0; });
      ::usleep(30'000);  // it repeats its request
      captured::leave = true;
      stops.join();
    });
    gort::task<void> hog = gort::spawn([] {
      while (!over.load(std::memory_order_relaxed)) {}
    });
    one.join();
    over = true;
    hog.join();
    gort::blocking([&] { director.join(); });
  });
  rt::set_test_hook(rt::TestPoint::captive_queued, nullptr, nullptr);
  EXPECT_TRUE(stop_done.load());
  return s;
}

TEST_F(Rules, L4AWindowIsLeftAloneAndItsEndServes) {
  GORT_TEST_START(1);
  const Stretch s = in_a_stretch([](auto compute) {
    rt::Window w;
    compute();
  });
  EXPECT_EQ(s.inside, 0) << "it was taken off its P in a window";
  EXPECT_FALSE(s.stopped_inside);
  EXPECT_GE(s.after, 1) << "the request that came in the window was served by nobody";
}

TEST_F(Rules, L4WithoutTheByteItIsCapturedInside) {
  GORT_TEST_START(1);
  const Stretch s = in_a_stretch([](auto compute) { compute(); });
  EXPECT_GE(s.inside, 1);
  EXPECT_TRUE(s.stopped_inside);
  EXPECT_EQ(s.not_by_signal, 0);
}

// The byte alone is half of it: nobody looks at its end, and if no other signal comes, the request stays.
TEST_F(Rules, L4WithoutTheLookAtItsEndTheRequestStays) {
  GORT_TEST_START(1);
  const Stretch s = in_a_stretch([](auto compute) {
    os::tls().window = 1;
    compute();
    sigset_t urg, before;  // as if the repeated signals had all come already
    ::sigemptyset(&urg);
    ::sigaddset(&urg, SIGURG);
    ::pthread_sigmask(SIG_BLOCK, &urg, &before);
    os::tls().window = 0;
    EXPECT_NE(rt::self_m()->pending.load() & rt::kPendingHere, 0u);
    EXPECT_EQ(captures.in_handler + captures.elsewhere, 0);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);  // the pending one is delivered here
  });
  EXPECT_EQ(s.inside, 0);
  EXPECT_EQ(s.not_by_signal, 0);
}

TEST_F(Rules, L4WindowsAreNotNested) {
#if defined(GORT_DEBUG)
  EXPECT_DEATH(
      {
        rt::Window outer;
        rt::Window inner;
      },
      "a window inside the runtime, or in another window");
#endif
}

// A foreign thread may have one: nothing is asked of it.
TEST_F(Rules, L4OnAForeignThread) {
  { rt::Window w; EXPECT_EQ(os::tls().window, 1); }
  EXPECT_EQ(os::tls().window, 0);
}

#endif

}  // namespace
}  // namespace gort::test
