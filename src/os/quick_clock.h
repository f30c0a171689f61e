// gort: the time for deadlines, from the processor's counter: half the price of the clock's.
//
// A deadline need not be exact, but it must not be early. So it can come from the cycle counter, where this thread has
// compared that with the clock a moment ago:
//
//   soon()  =  ns + (ticks now - ticks) * rate + kLate        while (ticks now - ticks) < window
//              clock's time + kLate                           else: what one thread is told does not go back by more than the
//                                                             rate's error
//
//   what could make it wrong                            what is done about it
//   the counter changes its pace, or stops              used only where the kernel's own clock is made of it, which implies
//   the processors' counters differ                     that the kernel has found neither so far (quick_clock_usable)
//   the pair (ticks, ns) was not read at one time:      the counter is read before the clock, which errs to the late side, and
//   a signal, another thread in between                 again after it: too far apart, the pair is not kept
//   the clock is slewed, up to 0.05 %; the rate was     kLate is more than 1 % of a window
//   measured inaccurately, 0.02 %
//   reads of the counter overtake each other            kLate: that is some dozen ns
//   the machine moves to one whose counter has another  the rate is checked each millisecond. Until then, once: early by a
//   pace                                                part of a window, 20 us at most. After a few such times: the clock
//   seldom asked: comparing costs more than it gives    compared only if asked twice within kOften
#pragma once

#include <cstdint>

#include "os/os.h"

namespace gort::inline v0::os {

/// Whether the kernel makes its monotonic clock of cputicks(), and reading those is cheaper. Reads a file; once.
bool quick_clock_usable() noexcept;

/// What a QuickClock is of. Tests have their own.
struct CpuCounter {
  static std::uint64_t ticks() noexcept { return cputicks(); }
  static std::int64_t nanotime() noexcept { return os::nanotime(); }
  enum Measure { kCheckRate, kReadTogether };
  static constexpr bool off(Measure) noexcept { return false; }
};

/// A thread's. Used by that one only.
template <class Counter>
class QuickClock {
 public:
  static constexpr std::int64_t kLate = 250;                 ///< ns
  static constexpr std::int64_t kWindow = 20'000;            ///< ns: so old a comparison may be
  static constexpr std::uint64_t kOften = 1 << 18;           ///< ticks
  static constexpr std::uint64_t kTogether = 1 << 12;        ///< ticks
  static constexpr std::int64_t kMeasured = 20'000'000;      ///< ns: so long a measuring of the rate takes
  static constexpr std::int64_t kChecked = 1'000'000;        ///< ns: so often it is checked
  static constexpr std::uint64_t kMostRate = std::uint64_t{1} << 40;  ///< 256 ns per tick: that is no cycle counter
  static constexpr int kMostFailures = 8;                    ///< then it is the clock for good

  constexpr QuickClock() noexcept = default;
  /// Else it is the clock itself, always.
  void use() noexcept { usable_ = true; }

  /// Not before the clock's time at the call, and not much more than kLate after it. About 10 ns if asked often.
  std::int64_t soon() noexcept {
    if (window_ != 0) {
      const std::uint64_t gone = Counter::ticks() - ticks_;
      if (__builtin_expect(gone < window_, 1)) return ns_ + static_cast<std::int64_t>(gone * rate_ >> 32) + kLate;
    }
    return usable_ ? ask() : Counter::nanotime();
  }

  /// It goes by the counter; for tests.
  bool quick() const noexcept { return window_ != 0; }

 private:
  [[gnu::noinline]] std::int64_t ask() noexcept {
    const std::uint64_t ticks = Counter::ticks();
    const std::int64_t ns = Counter::nanotime();
    const bool often = ticks - asked_ < kOften;
    asked_ = ticks;
    if (often && (Counter::ticks() - ticks < kTogether || Counter::off(Counter::kReadTogether))) compare(ticks, ns);
    return ns + kLate;
  }

  void compare(std::uint64_t ticks, std::int64_t ns) noexcept {
    if (since_ns_ == 0) return begin(ticks, ns);
    const std::int64_t gone = ns - since_ns_;
    if (window_ == 0) {
      if (gone < kMeasured) return;
      if (ticks > since_ticks_) rate_ = static_cast<std::uint64_t>(scaled(gone) / (ticks - since_ticks_));
      if (ticks <= since_ticks_ || rate_ == 0 || rate_ > kMostRate) return fail(ticks, ns);
      window_ = static_cast<std::uint64_t>(scaled(kWindow) / rate_);
      begin(ticks, ns);
    } else if (gone >= kChecked) {
      if (!rate_holds(ticks - since_ticks_, gone) && !Counter::off(Counter::kCheckRate)) return fail(ticks, ns);
      begin(ticks, ns);
    }
    ticks_ = ticks;
    ns_ = ns;
  }

  /// A measuring of the rate, or the next time after which it is checked.
  void begin(std::uint64_t ticks, std::int64_t ns) noexcept {
    since_ticks_ = ticks;
    since_ns_ = ns;
  }
  void fail(std::uint64_t ticks, std::int64_t ns) noexcept {
    window_ = 0;
    usable_ = ++failures_ < kMostFailures;
    begin(ticks, ns);
  }

  bool rate_holds(std::uint64_t ticks, std::int64_t gone) const noexcept {
    const unsigned __int128 by_counter = static_cast<unsigned __int128>(ticks) * rate_ >> 32;
    const auto by_clock = static_cast<unsigned __int128>(gone), slack = by_clock / 256 + kLate;
    return by_counter <= by_clock + slack && by_clock <= by_counter + slack;
  }

  /// Ticks or ns as a fraction of 2^32.
  static unsigned __int128 scaled(std::int64_t n) noexcept { return static_cast<unsigned __int128>(n) << 32; }

  // The comparison in use.
  std::uint64_t ticks_ = 0;
  std::int64_t ns_ = 0;
  std::uint64_t window_ = 0;  ///< kWindow in ticks; 0: the rate is not known
  std::uint64_t rate_ = 0;    ///< ns per tick, times 2^32

  std::uint64_t asked_ = 0;        ///< ticks when the clock was asked last
  std::uint64_t since_ticks_ = 0;  ///< begin of the measuring of the rate, or of the time after which it is checked
  std::int64_t since_ns_ = 0;      ///< 0: nothing has begun
  int failures_ = 0;
  bool usable_ = false;
};

}  // namespace gort::inline v0::os
