#include "os/quick_clock.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <random>

#include "os/os.h"

namespace {

using namespace gort::os;

/// A processor with a clock of its own: reading either takes some ns.
struct Made {
  enum Measure { kCheckRate, kReadTogether, kNone };
  static inline double now = 0, ticks_per_ns = 3, counter = 0;
  static inline Measure switched_off = kNone;
  static inline int counter_reads = 0, clock_reads = 0;
  static inline double delay_before_clock = 0;

  static void pass(double ns) {
    now += ns;
    counter += ns * ticks_per_ns;
  }
  static std::uint64_t ticks() {
    ++counter_reads;
    pass(10);
    return static_cast<std::uint64_t>(counter);
  }
  static std::int64_t nanotime() {
    ++clock_reads;
    pass(20 + delay_before_clock);
    return static_cast<std::int64_t>(now);
  }
  static bool off(Measure m) { return switched_off == m; }
  static void reset(Measure without = kNone) {
    now = 1e9, ticks_per_ns = 3, counter = 7e12, switched_off = without, delay_before_clock = 0;
    counter_reads = clock_reads = 0;
  }
};
using Clock = QuickClock<Made>;
constexpr double kUs = 1e3, kMs = 1e6;

/// Least and greatest of what soon() says beyond the time at its call, asked every so many ns for so long.
struct Errors {
  double least = 1e18, most = -1e18;
  Errors(Clock& c, double every, double during) {
    for (const double end = Made::now + during; Made::now < end; Made::pass(every)) {
      const double before = Made::now;
      const double error = static_cast<double>(c.soon()) - before;
      least = error < least ? error : least;
      most = error > most ? error : most;
    }
  }
};
constexpr double kMost = Clock::kLate + 60.0;  // and what the reads themselves take

TEST(OsQuickClock, IsNotEarlyAndSoonQuick) {
  Made::reset();
  Clock c;
  c.use();
  const Errors errors(c, 30, 50 * kMs);
  EXPECT_TRUE(c.quick());
  EXPECT_GE(errors.least, 0);
  EXPECT_LE(errors.most, kMost);
  const int before = Made::clock_reads;
  const Errors more(c, 30, 1 * kMs);
  EXPECT_LE(Made::clock_reads - before, 60);  // one for each 20 us
  EXPECT_GE(more.least, 0);
}

TEST(OsQuickClock, SlewedByTheMostThatTheKernelDoesItIsNotEarly) {
  for (const double slew : {0.9995, 1.0005}) {
    Made::reset();
    Clock c;
    c.use();
    const Errors measured(c, 30, 50 * kMs);
    Made::ticks_per_ns *= slew;
    const Errors errors(c, 30, 50 * kMs);
    EXPECT_TRUE(c.quick());
    EXPECT_GE(errors.least, 0);
    EXPECT_LE(errors.most, kMost);
  }
}

TEST(OsQuickClock, NotToldToItAsksTheClock) {
  Made::reset();
  Clock c;
  const Errors errors(c, 30, 50 * kMs);
  EXPECT_FALSE(c.quick());
  EXPECT_EQ(Made::counter_reads, 0);
  EXPECT_LE(errors.most, 25);
}

TEST(OsQuickClock, SeldomAskedItDoesNotCompare) {
  Made::reset();
  Clock c;
  c.use();
  const Errors errors(c, 200 * kUs, 500 * kMs);
  EXPECT_FALSE(c.quick());
  EXPECT_EQ(Made::counter_reads, Made::clock_reads);  // one each, to learn that
  EXPECT_GE(errors.least, 0);
}

/// It moves to where the counter is slower: how early it is after the first millisecond there, by a whole window at most.
double early_after_move(Made::Measure without) {
  Made::reset(without);
  Clock c;
  c.use();
  const Errors before(c, 30, 50 * kMs);
  EXPECT_TRUE(c.quick());
  Made::ticks_per_ns = 2;
  const Errors first(c, 30, 1.1 * kMs);
  EXPECT_GE(first.least, -static_cast<double>(Clock::kWindow));
  const Errors after(c, 30, 50 * kMs);
  EXPECT_TRUE(c.quick());  // with the new rate
  return -after.least;
}

TEST(OsQuickClock, AnotherPaceIsFoundWithinAMillisecond) {
  EXPECT_GE(early_after_move(Made::kCheckRate), 5 * kUs);
  EXPECT_LE(early_after_move(Made::kNone), 0);
}

/// The thread is interrupted between the two reads of a pair: how late it says it is after that. (For longer than a window,
/// and the pair is too old at once.)
double late_after_delay(Made::Measure without) {
  Made::reset(without);
  Clock c;
  c.use();
  const Errors before(c, 30, 50 * kMs);
  Made::pass(25 * kUs);  // older than a window
  Made::delay_before_clock = 15 * kUs;
  c.soon();
  Made::delay_before_clock = 0;
  return Errors(c, 30, 50 * kUs).most;
}

TEST(OsQuickClock, APairThatWasNotReadTogetherIsNotKept) {
  EXPECT_GE(late_after_delay(Made::kReadTogether), 10 * kUs);
  EXPECT_LE(late_after_delay(Made::kNone), kMost);
}

TEST(OsQuickClock, ACounterThatIsNoneIsGivenUp) {
  for (const double pace : {0.0, 1e-3}) {
    Made::reset();
    Made::ticks_per_ns = pace;
    Clock c;
    c.use();
    const Errors errors(c, 30, 500 * kMs);
    EXPECT_FALSE(c.quick());
    EXPECT_GE(errors.least, 0);
    const int reads = Made::counter_reads;
    c.soon();
    EXPECT_EQ(Made::counter_reads, reads) << "it has not been given up";
  }
}

TEST(OsQuickClock, ACounterThatJumpsIsGivenUp) {
  Made::reset();
  Clock c;
  c.use();
  std::mt19937_64 random(1);
  for (int i = 0; i < 60; ++i) {
    const Errors errors(c, 30, 21 * kMs);
    EXPECT_GE(errors.least, -static_cast<double>(Clock::kWindow));
    EXPECT_LE(errors.most, Clock::kWindow + kMost);
    Made::counter = static_cast<double>(random() >> 12);  // exact in a double
  }
  EXPECT_FALSE(c.quick());
  const int reads = Made::counter_reads;
  c.soon();
  EXPECT_EQ(Made::counter_reads, reads) << "it has not been given up";
}

TEST(OsQuickClock, ThisMachinesCounterIsNotEarly) {
  if (!quick_clock_usable()) GTEST_SKIP() << "the kernel's clock is not this processor's counter";
  QuickClock<CpuCounter> c;
  c.use();
  std::int64_t early = 0;
  bool was_quick = false;
  for (const std::int64_t end = nanotime() + 200'000'000; nanotime() < end;) {
    const std::int64_t before = nanotime();
    const std::int64_t soon = c.soon();
    early = before - soon > early ? before - soon : early;
    was_quick |= c.quick();
  }
  EXPECT_TRUE(was_quick);
  EXPECT_EQ(early, 0);
}

}  // namespace
