// A test with virtual time: inside a bubble the clock stands still while anybody runs, and jumps when all wait. A day
// passes in a millisecond, and every run gives the same result.
#include <gort/gort.h>
#include <gort/testing/bubble.h>

#include <chrono>
#include <cstdio>

using namespace std::chrono_literals;

namespace {

// What is to be tested: gives up after five attempts, with growing pauses.
bool connect_with_retries(gort::chan<int> attempts) {
  auto pause = 1h;
  for (int i = 1; i <= 5; ++i, pause *= 2) {
    attempts.send(i);
    gort::this_goroutine::sleep_for(pause);
  }
  attempts.close();
  return false;
}

}  // namespace

int main() {
  return gort::run([] {
    const auto real_start = std::chrono::steady_clock::now();
    gort::testing::bubble::run([] {
      gort::chan<int> attempts(8);
      const auto start = gort::clock::now();
      gort::task<bool> connected = gort::spawn(connect_with_retries, attempts);
      gort::testing::bubble::wait();  // until everybody else in here waits
      std::printf("%d attempt at once\n", static_cast<int>(attempts.len()));
      gort::this_goroutine::sleep_for(4h);
      gort::testing::bubble::wait();
      std::printf("%d attempts within 4 hours\n", static_cast<int>(attempts.len()));
      const bool ok = connected.get();
      const auto hours = std::chrono::duration_cast<std::chrono::hours>(gort::clock::now() - start).count();
      std::printf("%s after %d hours\n", ok ? "connected" : "gave up", static_cast<int>(hours));
    });
    if (std::chrono::steady_clock::now() - real_start > 10s) std::puts("and it took real time");
    return 0;
  });
}
// prints:
// 1 attempt at once
// 3 attempts within 4 hours
// gave up after 31 hours
