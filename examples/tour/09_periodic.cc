// Periodic work: a ticker that drops beats rather than piling them up, and a watchdog that must be fed.
#include <gort/gort.h>

#include <chrono>
#include <cstdio>

using namespace std::chrono_literals;

int main() {
  return gort::run([] {
    gort::event starved;
    gort::func_handle watchdog = gort::after_func(10s, [&] { starved.set(); });

    const auto start = gort::clock::now();
    gort::ticker beat(2ms);
    int beats = 0;
    for (gort::clock::time_point at : beat.channel()) {
      if (at < start + 2ms) return 1;  // a tick carries the time at which it went off
      watchdog.reset(10s);           // fed
      if (++beats == 5) break;
    }
    const bool prevented = watchdog.stop();
    const auto took = gort::clock::now() - start;
    std::printf("5 beats, %s, the watchdog slept: %s\n", took >= 10ms ? "not too early" : "too early",
                prevented && !starved.is_set() ? "yes" : "no");
    return 0;
  });
}
// prints:
// 5 beats, not too early, the watchdog slept: yes
