// When nobody can ever run again, the program says so and ends (acceptance scenarios 102 and 103).
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>

#include "sched/entry.h"
#include "sched/park.h"
#include "tests/support/runtime_fixture.h"

using ::testing::ExitedWithCode;

namespace {

// The first line, exactly.
constexpr const char* kAsleep = "^fatal error: all goroutines are asleep - deadlock!\n";
constexpr const char* kMainGone = "^fatal error: no goroutines \\(main called goexit\\) - deadlock!\n";

/// Parks the calling goroutine; nobody knows it.
void park_for_ever() {
  gort::rt::RuntimeEntry entry;
  gort::rt::park(nullptr, nullptr, gort::rt::WaitReason::test);
}

// For InitDeadlock: this program again, with the variable set, deadlocks before main().
const char kInit[] = "GORT_TEST_DEADLOCK_IN_INIT";
[[maybe_unused]] const int at_init = [] {
  if (std::getenv(kInit) != nullptr) gort::run([] { park_for_ever(); });
  return 0;
}();

class Deadlock : public gort::test::RuntimeTestAtProcs {
 protected:
  void TearDown() override {}  // the cases' runtimes die in child processes
};
GORT_TEST_AT_PROCS(Deadlock);

TEST_P(Deadlock, Simple) {
  EXPECT_EXIT(
      {
        gort::start({.max_procs = GetParam()});
        gort::run([] { park_for_ever(); });
      },
      ExitedWithCode(2), kAsleep);
}

TEST_P(Deadlock, Several) {
  EXPECT_EXIT(
      {
        gort::start({.max_procs = GetParam()});
        gort::run([] {
          for (int i = 0; i < 10; ++i) gort::go([] { park_for_ever(); });
          gort::spawn([] { park_for_ever(); }).join();
        });
      },
      ExitedWithCode(2), kAsleep);
}

TEST_P(Deadlock, Locked) {
  EXPECT_EXIT(
      {
        gort::start({.max_procs = GetParam()});
        gort::run([] {
          gort::lock_os_thread();
          park_for_ever();
        });
      },
      ExitedWithCode(2), kAsleep);
}

TEST_P(Deadlock, LockedWithAPartner) {
  EXPECT_EXIT(
      {
        gort::start({.max_procs = GetParam()});
        gort::run([] {
          gort::go([] {
            gort::lock_os_thread();
            park_for_ever();
          });
          gort::lock_os_thread();
          gort::this_goroutine::yield();
          park_for_ever();
        });
      },
      ExitedWithCode(2), kAsleep);
}

TEST_P(Deadlock, MainCalledGoexitAndOthersSleep) {
  EXPECT_EXIT(
      {
        gort::start({.max_procs = GetParam()});
        gort::run([] {
          gort::go([] { park_for_ever(); });
          gort::goexit();
        });
      },
      ExitedWithCode(2), kAsleep);
}

// Scenario 103, the goexit family: main calls goexit, the others end, nobody is left.
TEST_P(Deadlock, MainCalledGoexit) {
  EXPECT_EXIT(
      {
        gort::start({.max_procs = GetParam()});
        gort::run([] {
          gort::go([] { gort::this_goroutine::yield(); });
          gort::goexit();
        });
      },
      ExitedWithCode(2), kMainGone);
}

TEST_P(Deadlock, AfterManyThreadsHaveComeAndGone) {
  EXPECT_EXIT(
      {
        gort::start({.max_procs = GetParam()});
        gort::run([] {
          for (int i = 0; i < 20; ++i) {
            gort::spawn([] { gort::lock_os_thread(); }).join();  // ends its thread
          }
          park_for_ever();
        });
      },
      ExitedWithCode(2), kAsleep);
}

TEST_P(Deadlock, ForeignThreadsThatWaitCannotHelp) {
  EXPECT_EXIT(
      {
        gort::start({.max_procs = GetParam()});
        auto never = gort::spawn([] { park_for_ever(); });
        std::thread waits([&] { never.wait(); });
        gort::run([] { park_for_ever(); });
      },
      ExitedWithCode(2), kAsleep);
}

/// From a foreign thread.
void until_parked(const std::atomic<gort::rt::G*>& g) {
  while (g.load() == nullptr || g.load()->status.load() != gort::rt::GStatus::waiting) ::usleep(1'000);
}

// Negative: a foreign thread that will still call in. Twice the monitor's interval of one second, so that it
// has looked in the meantime.
TEST_P(Deadlock, NotWhileAForeignThreadCouldCallIn) {
  EXPECT_EXIT(
      {
        gort::start({.max_procs = GetParam()});
        std::atomic<gort::rt::G*> sleeper{nullptr};
        std::thread helper([&] {
          until_parked(sleeper);
          ::usleep(2'200'000);
          gort::rt::RuntimeEntry entry;
          gort::rt::ready(sleeper.load());
        });
        const int answer = gort::run([&] {
          sleeper = gort::rt::current_g();
          park_for_ever();
          return 42;
        });
        helper.join();
        std::_Exit(answer);
      },
      ExitedWithCode(42), "^$");
}

// Negative: the kernel does not say how many threads there are (no descriptor left to ask it with).
TEST_P(Deadlock, NotWhileThreadsCannotBeCounted) {
  EXPECT_EXIT(
      {
        gort::start({.max_procs = GetParam()});
        std::atomic<gort::rt::G*> sleeper{nullptr};
        rlimit none = {};
        if (::setrlimit(RLIMIT_NOFILE, &none) != 0) std::_Exit(1);
        std::thread helper([&] {
          until_parked(sleeper);
          ::usleep(300'000);
          gort::rt::RuntimeEntry entry;
          gort::rt::ready(sleeper.load());
        });
        const int answer = gort::run([&] {
          sleeper = gort::rt::current_g();
          park_for_ever();
          return 42;
        });
        helper.join();
        std::_Exit(answer);
      },
      ExitedWithCode(42), "^$");
}

// The one-shot report does not come because a foreign thread is there; when that ends, it does.
TEST_P(Deadlock, OnceTheForeignThreadIsGone) {
  EXPECT_EXIT(
      {
        gort::start({.max_procs = GetParam()});
        std::thread([] { ::usleep(300'000); }).detach();
        gort::run([] { park_for_ever(); });
      },
      ExitedWithCode(2), kAsleep);
}

// Negative: a blocking call that takes longer than the monitor's second look.
TEST_P(Deadlock, NotWhileABlockingCallLasts) {
  EXPECT_EXIT(
      {
        gort::start({.max_procs = GetParam()});
        gort::run([] { gort::blocking([] { ::usleep(1'300'000); }); });
        std::_Exit(42);
      },
      ExitedWithCode(42), "^$");
}

// Negative, and the case that happens to everybody: the end of a run, and the time between two.
TEST_P(Deadlock, NotAtTheEndOfARunNorBetweenTwo) {
  EXPECT_EXIT(
      {
        gort::start({.max_procs = GetParam()});
        for (int i = 0; i < 300; ++i) gort::run([] { gort::spawn([] {}).join(); });
        ::usleep(50'000);
        for (int i = 0; i < 300; ++i) gort::run([] {});
        std::_Exit(42);
      },
      ExitedWithCode(42), "^$");
}

class DeadlockInInit : public gort::test::RuntimeTest {};

TEST_F(DeadlockInInit, InAStaticInitializer) {
  const gort::test::Ended end = gort::test::run_self(kInit, "1");
  EXPECT_EQ(end.status, 2);
  EXPECT_EQ(end.err.rfind(kAsleep + 1, 0), 0u) << end.err;
}

}  // namespace
