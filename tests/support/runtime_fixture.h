// gort tests: a fixture for tests that run goroutines, and help for scenarios.
//
// The runtime is process-wide and cannot be restarted. Under ctest each case is a process of its own, so
// each case may start the runtime with its own number of Ps. In a plain run of the whole program the
// first case decides, and cases that want another number are skipped.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "gort/gort.h"

#if defined(__SANITIZE_THREAD__)
#define GORT_TEST_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GORT_TEST_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define GORT_TEST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GORT_TEST_ASAN 1
#endif
#endif

/// For cases in which goroutines must be stopped or preempted in the middle of user code.
#if defined(GORT_TEST_TSAN)
#define GORT_TEST_NEEDS_SIGNALS() GTEST_SKIP() << "TSan keeps signals back: goroutines stop at calls into gort only"
#else
#define GORT_TEST_NEEDS_SIGNALS() static_cast<void>(0)
#endif

namespace gort::test {

/// Part of a loop of user code that a stop has to wait for: nothing, for it is stopped in place; a poll under TSan.
inline void poll_for_tsan() {
#if defined(GORT_TEST_TSAN)
  gort::poll();
#endif
}

/// Every P must be accounted for when a case has ended (GORT_TESTING builds; nothing else is checked).
void expect_every_p_idle();

class RuntimeTest : public ::testing::Test {
 protected:
  RuntimeTest();
  void TearDown() override;

  /// Whether the runtime has `procs` Ps now. If not, the case is to be skipped: GORT_TEST_START does both.
  static bool started_with(int procs, int max_threads = 0);
};

/// The same, once for each of 1, 2 and 4 Ps (acceptance scenario 108).
class RuntimeTestAtProcs : public RuntimeTest, public ::testing::WithParamInterface<int> {};

#define GORT_TEST_START(...)                                                         \
  do {                                                                               \
    if (!started_with(__VA_ARGS__)) GTEST_SKIP() << "started with other options: run it alone, as ctest does"; \
  } while (false)

#define GORT_TEST_AT_PROCS(suite) \
  INSTANTIATE_TEST_SUITE_P(procs, suite, ::testing::Values(1, 2, 4), ::testing::PrintToStringParamName())

/// Yields until the condition holds; false if it does not within `ms` (a goroutine or a foreign thread).
bool yield_until(const std::function<bool()>& condition, int ms = 10'000);

/// Threads of this process, by name as far as `name` is given ("gort-m").
int count_threads(const std::string& name = {});

/// CPU time of the whole process in nanoseconds.
std::int64_t process_cpu_ns();
std::int64_t now_ns();

struct Ended {
  int status = -1;     ///< exit status, or 1000 + signal; -1: it did not end in time and was killed
  std::string err;     ///< what it wrote to stderr
};

/// Runs this test program once more with one more environment variable and gives its end. For what happens
/// outside of main(): a static initializer of the program looks at the variable.
Ended run_self(const std::string& variable, const std::string& value, int limit_ms = 30'000);

}  // namespace gort::test
