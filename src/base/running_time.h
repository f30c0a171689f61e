// gort: how long something has lasted, in time in which this process ran.
//
// Whoever looks again and again counts of the time between two looks no more than kMostBetween. So a process that was
// stopped by SIGSTOP, or with its virtual machine, does not find that everything took long when it goes on.
#pragma once

#include <cstdint>

namespace gort::inline v0::rt {

class RunningTime {
 public:
  static constexpr std::int64_t kMostBetween = 100'000'000;  ///< ns; looks come more often

  /// From now on.
  void begin(std::int64_t now) noexcept {
    last_ = now;
    ns_ = 0;
  }
  /// One look, at nanotime `now`: how long it has lasted.
  std::int64_t look(std::int64_t now) noexcept {
    const std::int64_t since = now - last_;
    ns_ += since < kMostBetween ? since : kMostBetween;
    last_ = now;
    return ns_;
  }

 private:
  std::int64_t last_ = 0;
  std::int64_t ns_ = 0;
};

}  // namespace gort::inline v0::rt
