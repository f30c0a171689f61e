#include "sched/alone.h"

#include "base/fault.h"

namespace gort::inline v0::rt {

constinit Alone alone_words;

void alone_start() noexcept {
  if (!os::process_barrier_init()) return;
  std::uint32_t expected = Alone::kNotYet;
  alone_words.state.compare_exchange_strong(expected, Alone::kMaySkip, os::memory_order_seq_cst);
}

void alone_wait_outside() noexcept {
  for (int round = 0; alone_words.inside.load(os::memory_order_acquire) != 0; ++round) {
    if (round < 100) {
      os::cpu_relax(8);
    } else {
      os::thread_yield();  // it has lost its processor
    }
  }
}

void alone_ends_slow() noexcept {
  const std::uint32_t before = alone_words.state.exchange(Alone::kShared, os::memory_order_seq_cst);  // F1
  if (before != Alone::kNotYet && !fault(Fault::alone)) {
    os::process_barrier();  // F2
    alone_wait_outside();   // F3
  }
  alone_words.settled.store(1, os::memory_order_release);
}

}  // namespace gort::inline v0::rt
