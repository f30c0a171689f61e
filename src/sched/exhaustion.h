// gort: for how long there has been no thread for an order, while the limit allows none: at some point that is fatal.
//
// Counted is time in which the process ran: of the time between two looks, which come each millisecond, no more than
// kMostBetween. So a process that was stopped by SIGSTOP, or with its virtual machine, does not die when it goes on
// because a call that came back meanwhile has not been noticed yet.
#pragma once

#include <cstdint>

namespace gort::inline v0::rt {

class Exhaustion {
 public:
  /// An M that is just about to serve an order may have lost its processor to other programs: 20 ms were too short on a
  /// busy machine.
  static constexpr std::int64_t kFatalAfter = 500'000'000;  ///< ns
  static constexpr std::int64_t kMostBetween = 20'000'000;  ///< ns

  /// One look: whether it is so, orders served ever, nanotime. True: it has been so for too long without any being served.
  bool look(bool is_so, std::uint64_t served, std::int64_t now) noexcept {
    if (!is_so || !lasts_ || served != served_) {
      lasts_ = is_so;
      served_ = served;
      lasted_ = 0;
    } else {
      const std::int64_t since = now - last_;
      lasted_ += since < kMostBetween ? since : kMostBetween;
    }
    last_ = now;
    return lasted_ > kFatalAfter;
  }

  /// It was so at the last look: look again soon.
  bool lasts() const noexcept { return lasts_; }

 private:
  bool lasts_ = false;
  std::uint64_t served_ = 0;
  std::int64_t last_ = 0;
  std::int64_t lasted_ = 0;
};

}  // namespace gort::inline v0::rt
