#include "world/pauses.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <string>
#include <thread>

using namespace gort::rt;

namespace {

constexpr StopReason reason(int i) { return static_cast<StopReason>(i); }

std::uint64_t samples(const TimeHistogram& h) {
  TimeHistogram::Snapshot s;
  h.read(&s);
  return s.count;
}

TEST(StopReason, EachHasItsText) {
  std::set<std::string> texts;
  for (int i = 0; i < kStopReasons; ++i) texts.insert(stop_reason_text(reason(i)));
  EXPECT_EQ(texts.size(), static_cast<std::size_t>(kStopReasons));
  EXPECT_FALSE(texts.contains("?"));
  // Other tools know these words.
  EXPECT_STREQ(stop_reason_text(StopReason::gomaxprocs), "GOMAXPROCS");
  EXPECT_STREQ(stop_reason_text(StopReason::gc_mark_start), "GC sweep termination");
}

TEST(Pauses, EachStopIsOneSampleOfItsKind) {
  int gc = 0, other = 0;
  for (int i = 0; i < kStopReasons; ++i) {
    if (reason(i) == StopReason::for_each_p) continue;
    for (int n = 0; n <= i; ++n) {
      record_pause(reason(i), 1000 + n, 2000 + n);
      ++(is_gc_reason(reason(i)) ? gc : other);
    }
  }
  EXPECT_EQ(samples(pauses_stopping(true)), static_cast<std::uint64_t>(gc));
  EXPECT_EQ(samples(pauses_total(true)), static_cast<std::uint64_t>(gc));
  EXPECT_EQ(samples(pauses_stopping(false)), static_cast<std::uint64_t>(other));
  EXPECT_EQ(samples(pauses_total(false)), static_cast<std::uint64_t>(other));
  std::uint64_t all = 0;
  for (int i = 0; i < kStopReasons; ++i) {
    const PausesOfReason p = pauses_of(reason(i));
    all += p.stops;
    if (reason(i) == StopReason::for_each_p) {
      EXPECT_EQ(p.stops, 0u);
      continue;
    }
    EXPECT_EQ(p.stops, static_cast<std::uint64_t>(i + 1)) << stop_reason_text(reason(i));
    EXPECT_EQ(p.longest_stopping_ns, 1000 + i);
    EXPECT_EQ(p.longest_total_ns, 2000 + i);
  }
  EXPECT_EQ(all, static_cast<std::uint64_t>(gc + other));
}

TEST(Pauses, TheLongestOfEachTimeIsKeptByItself) {
  record_pause(StopReason::user, 90'000, 100'000);
  record_pause(StopReason::user, 10, 7'000'000);
  EXPECT_EQ(pauses_of(StopReason::user).longest_stopping_ns, 90'000);
  EXPECT_EQ(pauses_of(StopReason::user).longest_total_ns, 7'000'000);
  EXPECT_GE(pauses_total(false).max_ns(), 7'000'000);
}

// Readers need no permission: nothing that they see ever goes down, and they see all of it in the end.
TEST(Pauses, AreReadWhileTheyAreBooked) {
  constexpr int kStops = 200'000;
  const std::uint64_t before = samples(pauses_total(true));
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (int i = 0; i < kStops; ++i) record_pause(StopReason::gc_mark_end, i, 2 * i);
    done = true;
  });
  TimeHistogram::Snapshot last, now;
  bool shrinks = false;
  while (!done) {
    pauses_total(true).read(&now);
    for (std::size_t i = 0; i < TimeHistogram::kBuckets; ++i) shrinks |= now.counts[i] < last.counts[i];
    shrinks |= now.count < last.count || now.sum_ns < last.sum_ns || now.max_ns < last.max_ns;
    last = now;
  }
  writer.join();
  EXPECT_FALSE(shrinks);
  EXPECT_EQ(samples(pauses_total(true)), before + kStops);
}

}  // namespace
