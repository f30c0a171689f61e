// A goroutine that makes one short blocking call after the other takes its P back each time; the time slice
// must end all the same, or the others of its P never run (seen as a hang at one P).
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>

#include "gort/gort.h"

namespace {

TEST(CallLoop, OthersRunBesideShortBlockingCalls) {
  gort::start({.max_procs = 1});
  gort::run([] {
    // Something that neither blocks nor calls the kernel, until the monitor looks every 10 ms only: then it
    // never finds the P twice in the same call.
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
    while (std::chrono::steady_clock::now() < until) gort::this_goroutine::yield();
    std::atomic<bool> other_ran{false};
    auto caller = gort::spawn([&] {
      gort::go([&] { other_ran = true; });
      while (!other_ran) gort::blocking([] { ::usleep(1'000); });
    });
    caller.join();
  });
}

}  // namespace
