// Threads come and go: limits, bursts, idleness, locked threads (acceptance scenarios 19, 45, 46, 49, 51, 52).
// test: labels=smoke
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "sched/invariants.h"
#include "sched/lock_thread.h"
#include "sched/start.h"
#include "tests/support/runtime_fixture.h"

using ::testing::ExitedWithCode;
using gort::test::count_threads;
using gort::test::now_ns;
using gort::test::yield_until;

namespace {

class Threads : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(Threads);
class ThreadsOnce : public gort::test::RuntimeTest {};

// Scenario 49: more calls that block than threads are allowed is fatal and says so.
TEST_F(ThreadsOnce, ExhaustionIsAClearFatalError) {
  EXPECT_EXIT(gort::run({.max_procs = 2, .max_threads = 10},
                        [] {
                          for (int i = 0; i < 100; ++i) gort::go([] { gort::blocking([] { ::pause(); }); });
                          for (;;) gort::this_goroutine::yield();
                        }),
              ExitedWithCode(2), "^gort: program exceeds 10-thread limit\nfatal error: thread exhaustion\n");
}

// The environment's limit wins over the program's.
TEST_F(ThreadsOnce, TheEnvironmentsLimitWins) {
  EXPECT_EXIT(
      {
        ::setenv("GORT_MAXTHREADS", "8", 1);
        gort::run({.max_procs = 2, .max_threads = 1000}, [] {
          for (int i = 0; i < 100; ++i) gort::go([] { gort::blocking([] { ::pause(); }); });
          for (;;) gort::this_goroutine::yield();
        });
      },
      ExitedWithCode(2), "^gort: program exceeds 8-thread limit\n");
}

// At the limit but not beyond it: short calls come back and serve the others. Whoever is about to go idle is
// not taken for a thread that is stuck.
TEST_P(Threads, AtTheLimitShortCallsGoOn) {
  GORT_TEST_START(GetParam(), GetParam() + gort::rt::kSystemThreads);
  std::atomic<int> done{0};
  std::vector<std::thread> foreign;
  for (int k = 0; k < 2; ++k) {
    foreign.emplace_back([&] {
      for (int i = 0; i < 1'500; ++i) gort::spawn([&done] { ++done; }).join();
    });
  }
  for (auto& t : foreign) t.join();
  EXPECT_EQ(done, 3'000);
  EXPECT_LE(count_threads("gort-m"), GetParam());
}

#if !defined(GORT_TEST_TSAN)
/// From here on the kernel has no new thread for any thread of this process (EAGAIN). Not to be undone.
bool forbid_threads() {
  sock_filter code[] = {
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
      {BPF_JMP | BPF_JEQ | BPF_K, 2, 0, SYS_clone},
      {BPF_JMP | BPF_JEQ | BPF_K, 1, 0, SYS_clone3},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EAGAIN},
  };
  sock_fprog program = {static_cast<unsigned short>(std::size(code)), code};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

// The system refuses new threads: that is said once, orders wait, and whichever thread goes idle serves them.
// Nothing is lost and nothing hangs.
TEST_F(ThreadsOnce, WithoutNewThreadsTheOldOnesServeTheOrders) {
  for (const int procs : {1, 2, 4}) {
    EXPECT_EXIT(
        {
          gort::start({.max_procs = procs});
          std::atomic<int> done{0};
          gort::run([&] {
            gort::spawn([] { gort::blocking([] { ::usleep(30'000); }); }).join();
            if (!forbid_threads()) std::_Exit(77);
            std::vector<gort::task<void>> tasks;
            for (int i = 0; i < 40; ++i) {
              tasks.push_back(gort::spawn([&done] {
                gort::blocking([] { ::usleep(20'000); });
                gort::spawn([] { gort::this_goroutine::yield(); }).join();
                ++done;
              }));
            }
            for (auto& t : tasks) t.join();
          });
          std::_Exit(done);
        },
        ExitedWithCode(40), "^gort: the system refuses a new thread; trying again \\(threads now: [0-9]+\\)\n$");
  }
}
#endif

#if defined(GORT_TESTING)
// Scenario 51: a burst of calls that block makes threads, bounded by the calls, and the threads go away
// when they have been idle for a while.
TEST_P(Threads, ABurstOfBlockingCallsShrinksAfterwards) {
  GORT_TEST_START(GetParam());
  gort::rt::set_idle_thread_life_for_test(20'000'000);
  constexpr int kBurst = 150;
  int most = 0;
  gort::run([&] {
    for (int round = 0; round < 3; ++round) {
      int fds[2];
      ASSERT_EQ(::pipe(fds), 0);
      std::atomic<int> in_call{0};
      std::vector<gort::task<void>> tasks;
      for (int i = 0; i < kBurst; ++i) {
        tasks.push_back(gort::spawn([&] {
          gort::blocking([&] {
            ++in_call;
            char c;
            EXPECT_EQ(::read(fds[0], &c, 1), 1);
          });
        }));
      }
      ASSERT_TRUE(yield_until([&] { return in_call == kBurst; }, 30'000));
      most = std::max(most, count_threads("gort-m"));
      ASSERT_EQ(::write(fds[1], std::string(kBurst, 'x').data(), kBurst), kBurst);
      for (auto& t : tasks) t.join();
      ::close(fds[0]);
      ::close(fds[1]);
    }
  });
  EXPECT_GE(most, kBurst);
  EXPECT_LE(most, kBurst + 2 * GetParam() + 8);
  // Idle: the spares stay, and as many as were woken in turns; all others go.
  const std::int64_t deadline = now_ns() + 20'000'000'000;
  // Several looks in a row: threads that end make the list of threads skip others.
  int looks = 0;
  for (; looks < 5 && now_ns() < deadline; ::usleep(5'000)) looks = count_threads("gort-m") <= 2 ? looks + 1 : 0;
  EXPECT_EQ(looks, 5) << count_threads("gort-m");
  // And it still works.
  EXPECT_EQ(gort::run([] { return gort::spawn([] { return 3; }).get(); }), 3);
}
#endif

// Scenario 52: nothing to do costs nothing. Between two runs, with a main that is parked, and with a
// foreign thread present (then the deadlock suspicion stays and is looked at once a second).
TEST_F(ThreadsOnce, IdleCostsNoCpu) {
  GORT_TEST_START(2);
  auto idle_share = [](const char* when) {
    ::usleep(100'000);  // what was going on has ended
    const std::int64_t cpu = gort::test::process_cpu_ns();
    const std::int64_t start = now_ns();
    ::usleep(700'000);
    const double share = static_cast<double>(gort::test::process_cpu_ns() - cpu) / static_cast<double>(now_ns() - start);
#if defined(GORT_TEST_TSAN)
    EXPECT_LT(share, 0.05) << when;  // TSan's own thread
#else
    EXPECT_LT(share, 0.005) << when;
#endif
  };
  gort::run([] { gort::spawn([] {}).join(); });
  idle_share("between runs");
  std::thread asker([&] { idle_share("main in a join"); });
  gort::run([] {
    gort::spawn([] { gort::blocking([] { ::usleep(1'000'000); }); }).join();
  });
  asker.join();
}

// Scenario 45: the lock nests; unlocking beyond zero is harmless.
TEST_P(Threads, LocksNest) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    EXPECT_EQ(gort::rt::os_thread_lock_depth(), 0u);
    gort::unlock_os_thread();
    EXPECT_EQ(gort::rt::os_thread_lock_depth(), 0u);
    gort::lock_os_thread();
    gort::lock_os_thread();
    {
      gort::os_thread_lock third;
      EXPECT_EQ(gort::rt::os_thread_lock_depth(), 3u);
    }
    EXPECT_EQ(gort::rt::os_thread_lock_depth(), 2u);
    const pid_t thread = ::gettid();
    gort::unlock_os_thread();
    for (int i = 0; i < 20; ++i) {
      gort::spawn([thread] { EXPECT_NE(::gettid(), thread); }).join();
      EXPECT_EQ(::gettid(), thread);
    }
    gort::unlock_os_thread();
    gort::unlock_os_thread();
    EXPECT_EQ(gort::rt::os_thread_lock_depth(), 0u);
  });
  // On a foreign thread: nothing.
  gort::lock_os_thread();
  gort::unlock_os_thread();
  gort::unlock_os_thread();
}

TEST_P(Threads, ALockTakenOrEndedInsideABlockingCall) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::blocking([] { gort::lock_os_thread(); });
    EXPECT_EQ(gort::rt::os_thread_lock_depth(), 1u);
    const pid_t thread = ::gettid();
    gort::spawn([thread] { EXPECT_NE(::gettid(), thread); }).join();
    EXPECT_EQ(::gettid(), thread);
    gort::blocking([] { gort::unlock_os_thread(); });
    EXPECT_EQ(gort::rt::os_thread_lock_depth(), 0u);
    gort::spawn([] {}).join();
  });
}

// A locked goroutine comes back to its thread from everything that parks it.
TEST_P(Threads, ALockedGoroutineKeepsItsThread) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::vector<gort::task<void>> tasks;
    for (int k = 0; k < 4; ++k) {
      tasks.push_back(gort::spawn([] {
        gort::os_thread_lock lock;
        const pid_t thread = ::gettid();
        for (int i = 0; i < 50; ++i) {
          gort::this_goroutine::yield();
          ASSERT_EQ(::gettid(), thread);
          gort::spawn([thread] { EXPECT_NE(::gettid(), thread); }).join();
          ASSERT_EQ(::gettid(), thread);
          gort::blocking([] { ::usleep(30); });
          ASSERT_EQ(::gettid(), thread);
        }
      }));
    }
    for (auto& t : tasks) t.join();
  });
}

// Scenario 46: a goroutine that ends while locked ends its thread.
TEST_P(Threads, AGoroutineThatEndsLockedEndsItsThread) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (int i = 0; i < 20; ++i) {
      const bool by_goexit = i % 2 == 0;
      pid_t thread = 0;
      auto t = gort::spawn([&, by_goexit] {
        gort::lock_os_thread();
        thread = ::gettid();
        gort::this_goroutine::yield();
        if (by_goexit) gort::goexit();
      });
      t.wait();
      EXPECT_TRUE(yield_until([&] { return ::syscall(SYS_tgkill, ::getpid(), thread, 0) != 0; }));
    }
  });
}

// Scenario 46, the other half: main's goroutine ends while locked; the process goes on and exits cleanly.
TEST_P(Threads, MainMayEndLocked) {
  GORT_TEST_START(GetParam());
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(gort::run([i] {
                gort::lock_os_thread();
                gort::this_goroutine::yield();
                return i;
              }),
              i);
  }
}

// Scenario 19: what a locked goroutine did to its thread (here: the processors that it may use, and its own
// working directory) is not inherited by threads that the runtime makes because of it.
TEST_P(Threads, NewThreadsDoNotInheritFromALockedOne) {
  GORT_TEST_START(GetParam());
  if (::sysconf(_SC_NPROCESSORS_ONLN) < 2) GTEST_SKIP() << "one processor: no two affinities";
  gort::run([] {
    cpu_set_t all;
    ASSERT_EQ(::sched_getaffinity(0, sizeof all, &all), 0);
    if (CPU_COUNT(&all) < 2) GTEST_SKIP() << "one processor: no two affinities";
    auto altered = gort::spawn([&] {
      gort::lock_os_thread();  // and never unlocks: the thread is spoilt
      cpu_set_t one;
      CPU_ZERO(&one);
      for (int c = 0; c < CPU_SETSIZE; ++c) {
        if (CPU_ISSET(c, &all)) {
          CPU_SET(c, &one);
          break;
        }
      }
      ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
      // Blocking calls out of this thread's goroutine and its children make new threads.
      int fds[2];
      ASSERT_EQ(::pipe(fds), 0);
      std::atomic<int> in_call{0};
      std::atomic<int> wrong{0};
      std::vector<gort::task<void>> tasks;
      for (int i = 0; i < 20; ++i) {
        tasks.push_back(gort::spawn([&] {
          gort::blocking([&] {
            cpu_set_t mine;
            if (::sched_getaffinity(0, sizeof mine, &mine) != 0 || !CPU_EQUAL(&mine, &all)) ++wrong;
            ++in_call;
            char c;
            EXPECT_EQ(::read(fds[0], &c, 1), 1);
          });
        }));
      }
      EXPECT_TRUE(yield_until([&] { return in_call == 20; }, 30'000));
      EXPECT_EQ(wrong, 0);
      ASSERT_EQ(::write(fds[1], "xxxxxxxxxxxxxxxxxxxx", 20), 20);
      for (auto& t : tasks) t.join();
      ::close(fds[0]);
      ::close(fds[1]);
    });
    altered.join();
  });
}

}  // namespace
