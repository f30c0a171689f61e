// Compiled with gort_add_polls, as is polled_part.cc: must work before gort starts and in goroutines. (run.cmake looks
// whether there are polls in the loop.)
#include <gort/gort.h>
#include <unistd.h>

#include <atomic>

long polled_part(long n);

int main() {
  constexpr long kTurns = 1000;
  if (polled_part(kTurns) != kTurns * (kTurns - 1) / 2) return 1;
  return gort::run({.max_procs = 1}, [] {
    std::atomic<bool> others{false};
    gort::go([&] { others = true; });
    // Time slices run out meanwhile. The thread stays the same, although another goroutine waits.
    const int tid = ::gettid();
    for (int i = 0; i < 50; ++i) {
      polled_part(2'000'000);
      if (::gettid() != tid) return 3;
    }
    gort::this_goroutine::yield();
    return others ? 0 : 4;
  });
}
