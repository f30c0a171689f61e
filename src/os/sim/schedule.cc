#include "os/sim/schedule.h"

namespace gort::inline v0::os::sim {

namespace {

constexpr std::uint64_t kScheduleStream = 1;

class Uniform final : public Schedule {
 public:
  void begin(const SimOptions& options) noexcept override {
    random_ = Random(options.seed, kScheduleStream);
  }
  void created(int) noexcept override {}

  int pick(const Choice& c) noexcept override {
    const int first = c.runnable[random_.below(static_cast<std::uint32_t>(c.count))];
    // A second draw for who only waits: spinning is legal, but teaches nothing.
    if (first != c.current || !c.yields()) return first;
    return c.runnable[random_.below(static_cast<std::uint32_t>(c.count))];
  }

 private:
  Random random_;
};

/// Priorities: a new thread's is random and not negative; a fallen thread's is below all others so far. Who fell at one
/// of the random steps stays below those who fell since because they only wait: else the next one that spins for a lock
/// would bring its holder back at once, and nobody would ever be seen to give up spinning.
class Pct final : public Schedule {
 public:
  void begin(const SimOptions& options) noexcept override {
    random_ = Random(options.seed, kScheduleStream);
    floor_ = 0;
    streak_ = 0;
    changes_ = options.pct_depth - 1;
    if (changes_ < 0) changes_ = 0;
    if (changes_ > kMaxChanges) changes_ = kMaxChanges;
    ++epoch_;
    patience_ = 0;
    const std::uint64_t length = options.pct_steps > 0 ? options.pct_steps : 1;
    for (int i = 0; i < changes_; ++i) change_at_[i] = 1 + random_.next() % length;
  }

  void created(int thread) noexcept override {
    priority_[thread] = static_cast<std::int64_t>(random_.next() >> 2);
  }

  int pick(const Choice& c) noexcept override {
    if (c.current >= 0) {
      // Fairness, which the algorithm as published lacks: without it a spinning thread of high
      // priority would spin for ever and every spin lock would be called a livelock.
      if (c.yields() || ++streak_ > kStreak) {
        if (c.yields() && patience_ > 0) {
          --patience_;
        } else {
          ++epoch_;
        }
        fall(c.current);
      }
      for (int i = 0; i < changes_; ++i) {
        if (change_at_[i] != c.step) continue;
        fall(c.current);
        held_[c.current] = epoch_;
        patience_ = kPatience;
      }
    }
    int best = c.runnable[0];
    for (int i = 1; i < c.count; ++i) {
      if (above(c.runnable[i], best)) best = c.runnable[i];
    }
    if (best != c.current) streak_ = 0;
    return best;
  }

 private:
  static constexpr int kMaxChanges = 64;
  static constexpr int kStreak = 2000;  // steps in a row
  static constexpr int kPatience = 64;  // yields

  bool above(int a, int b) const noexcept {
    const bool a_held = held_[a] == epoch_;
    const bool b_held = held_[b] == epoch_;
    return a_held != b_held ? b_held : priority_[a] > priority_[b];
  }

  void fall(int thread) noexcept {
    priority_[thread] = --floor_;
    streak_ = 0;
  }

  Random random_;
  std::int64_t floor_ = 0;
  int streak_ = 0;
  int changes_ = 0;
  std::uint64_t change_at_[kMaxChanges] = {};
  std::int64_t priority_[kMaxThreads] = {};
  std::uint64_t epoch_ = 0;               // with its end all that were held are no longer
  std::uint64_t held_[kMaxThreads] = {};  // the epoch in which a thread fell at a random step
  int patience_ = 0;                      // yields until then
};

constinit Uniform uniform;
constinit Pct pct;

}  // namespace

Schedule& schedule_of(SimStrategy s) noexcept {
  if (s == SimStrategy::pct) return pct;
  if (s == SimStrategy::exhaustive) return exhaustive_schedule();
  return uniform;  // a script asks nobody
}

}  // namespace gort::inline v0::os::sim
