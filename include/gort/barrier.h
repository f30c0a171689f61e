// gort: a barrier: a number of goroutines meet, again and again; none goes on before all have come. std::barrier.
//
//   gort::barrier step(workers, [&]() noexcept { swap(now, next); });
//   …  compute(now, next);  step.arrive_and_wait();        // each worker, each round
//
// A phase ends when as many have arrived as are expected. Whoever arrives last calls the completion function, within its
// arrive(), arrive_and_wait() or arrive_and_drop(), in its own goroutine and as plain user code: it may do anything
// but throw. After that all who wait go on, and the next phase begins.
//
//   arrive()          counts; gives a token; never blocks, apart from the completion function
//   wait(token)       waits until the phase of that token is over
//   arrive_and_wait   both
//   arrive_and_drop   counts, and lowers the number expected in all later phases
//
// Promised: what happened before an arrival is visible to the completion function, what that did is visible after wait.
// It may be destroyed as soon as all waits have returned, even if the call that ended the phase has not. Foreign threads
// may take part and block.
// Cancellation: wait and arrive_and_wait in a cancelled context do nothing and throw gort::cancelled; one that is
// cancelled while it waits throws it, too, and its arrival counts. The barrier then lacks one: let the others be
// cancelled as well, or drop.
// Misuse, each a fatal error: more arrivals than are expected in a phase; a count below 0 or above max().
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include "gort/clock.h"
#include "gort/config.h"
#include "gort/detail/sync_words.h"

namespace gort::inline v0 {

namespace detail {

struct barrier_core {
  word32 phase{0};      ///< the phase's number times 2; and 1 if somebody waits for its end
  word32 left;          ///< arrivals that this phase still lacks
  word32 expected;      ///< arrivals in the next phases
};
/// Ends the phase: everybody goes on. The core is not touched after that.
void barrier_next(barrier_core& core) noexcept;
void barrier_wait(barrier_core& core, std::uint32_t phase);

struct barrier_nothing {
  void operator()() const noexcept {}
};

}  // namespace detail

template <class CompletionFunction = detail::barrier_nothing>
class barrier {
  static_assert(std::is_nothrow_invocable_v<CompletionFunction&>,
                "the completion function of a barrier must be noexcept, as std::barrier's");

 public:
  class arrival_token {
   public:
    arrival_token(arrival_token&&) = default;
    arrival_token& operator=(arrival_token&&) = default;

   private:
    friend barrier;
    explicit arrival_token(std::uint32_t phase) noexcept : phase_(phase) {}
    std::uint32_t phase_;
  };

  static constexpr std::ptrdiff_t max() noexcept { return detail::kCountMax; }

  constexpr explicit barrier(std::ptrdiff_t expected, CompletionFunction f = CompletionFunction())
      : core_{{0}, static_cast<std::uint32_t>(expected), static_cast<std::uint32_t>(expected)}, complete_(std::move(f)) {
    if (expected < 0 || expected > max()) {
      detail::sync_misuse("gort::barrier: constructed with a count below 0 or above max()");
    }
  }
  barrier(const barrier&) = delete;
  barrier& operator=(const barrier&) = delete;
#if defined(GORT_DEBUG)
  ~barrier() {
    detail::sync_destroyed((core_.phase.load(std::memory_order_relaxed) & 1) != 0,
                           "gort::barrier: destroyed while somebody waits");
  }
#else
  ~barrier() = default;
#endif

  /// n, 1 or more, of those expected in this phase have come.
  [[nodiscard]] arrival_token arrive(std::ptrdiff_t n = 1) {
    // Read before it counts: after that the phase may end.
    arrival_token token(core_.phase.load(std::memory_order_relaxed) >> 1);
    const auto came = static_cast<std::uint32_t>(n);
    if (n <= 0 || n > max()) detail::sync_misuse("gort::barrier: arrive() of less than 1 or more than max()");
    const std::uint32_t before = core_.left.fetch_sub(came, std::memory_order_acq_rel);
    if (before < came) detail::sync_misuse("gort::barrier: more arrivals than are expected in a phase");
    if (before == came) {
      complete_();
      core_.left.store(core_.expected.load(std::memory_order_relaxed), std::memory_order_relaxed);
      detail::barrier_next(core_);
    }
    return token;
  }
  /// Returns when the token's phase, the current or the last one, is over.
  void wait(arrival_token&& token) { detail::barrier_wait(core_, token.phase_); }
  void arrive_and_wait() {
    detail::throw_if_cancelled();
    wait(arrive());
  }
  void arrive_and_drop() {
    core_.expected.fetch_sub(1, std::memory_order_relaxed);
    static_cast<void>(arrive());
  }

 private:
  detail::barrier_core core_;
  [[no_unique_address]] CompletionFunction complete_;
};

}  // namespace gort::inline v0
