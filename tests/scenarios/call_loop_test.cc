// A goroutine that makes one short blocking call after the other takes its P back each time; the time slice
// must end all the same, or the others of its P never run (seen as a hang at one P).
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>

#include "gort/gort.h"

namespace {

TEST(CallLoop, OthersRunBesideShortBlockingCalls) {
  gort::start({.max_procs = 1});
  gort::run([] {
    std::atomic<bool> other_ran{false};
    std::atomic<bool> caller_runs{false};
    auto caller = gort::spawn([&] {
      while (!other_ran) {
        gort::blocking([] { ::usleep(1'000); });
        caller_runs = true;
      }
    });
    while (!caller_runs) gort::this_goroutine::yield();
    gort::go([&] { other_ran = true; });
    caller.join();
  });
}

}  // namespace
