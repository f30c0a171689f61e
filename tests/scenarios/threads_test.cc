// Threads come and go: limits, bursts, idleness, locked threads (acceptance scenarios 19, 45, 46, 49, 51, 52).
// test: labels=smoke
#include <fcntl.h>
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
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "os/signal.h"
#include "sched/invariants.h"
#include "sched/lock_thread.h"
#include "sched/start.h"
#include "tests/support/runtime_fixture.h"

using gort::test::count_threads;
using gort::test::now_ns;
using gort::test::yield_until;
using ::testing::ExitedWithCode;

namespace {

class Threads : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(Threads);
class ThreadsOnce : public gort::test::RuntimeTest {};

// Scenario 49: more calls that block than threads are allowed is fatal and says so.
TEST_F(ThreadsOnce, ExhaustionIsAClearFatalError) {
  EXPECT_EXIT(gort::run({.max_procs = 2, .max_threads = 10},
                        [] {
                          for (int i = 0; i < 100; ++i)
                            gort::go([] { gort::blocking([] { ::pause(); }); });
                          for (;;) gort::this_goroutine::yield();
                        }),
              ExitedWithCode(2),
              "^gort: program exceeds 10-thread limit\nfatal error: thread exhaustion\n");
}

int said_here[2] = {-1, -1};

/// Reads what the process says from now on to standard error, until `text` was in it.
void await_said(const char* text, const std::function<void()>& redirected) {
  if (::pipe(said_here) != 0 || ::dup2(said_here[1], 2) != 2) std::_Exit(10);
  redirected();
  std::string said;
  for (char c; said.find(text) == std::string::npos && ::read(said_here[0], &c, 1) == 1;) said += c;
}

[[noreturn]] void loop_at_the_limit() {
  ::alarm(100);
  std::atomic<int> inside{0};
  std::atomic<bool> come_back{false}, listens{false}, ran{false};
  std::thread reader;
  gort::run({.max_procs = 1, .max_threads = 3 + gort::rt::kSystemThreads}, [&] {
    for (int i = 0; i < 2; ++i) {
      gort::go([&] {
        gort::blocking([&] {
          ++inside;
          while (!come_back) ::usleep(1'000);
        });
      });
    }
    while (inside != 2) gort::this_goroutine::yield();
    reader = std::thread([&] {
      await_said("the 5-thread limit leaves no thread", [&] { listens = true; });
      come_back = true;
    });
    while (!listens) gort::this_goroutine::yield();
    gort::go([&] { ran = true; });
    while (!ran) asm volatile("");
  });
  reader.join();
  std::_Exit(0);
}
// At the limit, but there is no order: the only P is with a loop whose slices cannot end, for every other thread is in a
// call. That lasts until one comes back, and is said.
TEST_F(ThreadsOnce, ALoopAtTheLimitIsSpokenOf) {
  GORT_TEST_NEEDS_SIGNALS();
  EXPECT_EXIT(loop_at_the_limit(), ExitedWithCode(0), "");
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
/// Whether it has said this since.
bool said_again(const char* text) {
  ::fcntl(said_here[0], F_SETFL, O_NONBLOCK);
  std::string said;
  for (char c; ::read(said_here[0], &c, 1) == 1;) said += c;
  return said.find(text) != std::string::npos;
}

template <std::size_t kSize>
bool filter(sock_filter (&code)[kSize]) {
  sock_fprog program = {kSize, code};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

/// From here on the kernel has no new thread for any thread of this process (EAGAIN). Not to be undone.
bool forbid_threads() {
  sock_filter code[] = {
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
      {BPF_JMP | BPF_JEQ | BPF_K, 2, 0, SYS_clone},
      {BPF_JMP | BPF_JEQ | BPF_K, 1, 0, SYS_clone3},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EAGAIN},
  };
  return filter(code);
}

/// Likewise: no more memory for the signal stack of one. (A filter knows a mapping by its length.)
bool forbid_signal_stacks() {
  const auto page = static_cast<unsigned>(gort::os::page_size());
  const unsigned bytes = page + static_cast<unsigned>(gort::os::signal_stack_bytes()) + page;
  sock_filter code[] = {
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 3, SYS_mmap},
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, args) + sizeof(std::uint64_t)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, bytes},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOMEM},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  };
  return filter(code);
}

/// The system refuses new threads: that is said once, orders wait, and whichever thread goes idle serves them.
/// Nothing is lost and nothing hangs.
[[noreturn]] void old_threads_serve_orders(int procs, bool (*forbid)()) {
  ::alarm(300);
  std::atomic<bool> listens{false}, heard{false};
  std::thread reader([&] {
    await_said("gort: the system refuses a new thread; trying again (threads now: ",
               [&] { listens = true; });
    heard = true;
  });
  while (!listens) std::this_thread::yield();
  gort::start({.max_procs = procs});
  std::atomic<int> done{0};
  int wanted = 0;
  gort::run([&] {
    gort::spawn([] { gort::blocking([] { ::usleep(30'000); }); }).join();
    if (!forbid()) std::_Exit(77);
    do {  // once, if the template thread gets a processor meanwhile
      std::vector<gort::task<void>> tasks;
      for (int i = 0; i < 40; ++i) {
        tasks.push_back(gort::spawn([&done] {
          gort::blocking([] { ::usleep(20'000); });
          gort::spawn([] { gort::this_goroutine::yield(); }).join();
          ++done;
        }));
      }
      for (auto& t : tasks) t.join();
      wanted += 40;
    } while (!heard);
  });
  reader.join();
  std::_Exit(done == wanted && !said_again("gort:") ? 0 : 1);
}

void expect_old_threads_to_serve_orders(bool (*forbid)()) {
  for (const int procs : {1, 2, 4})
    EXPECT_EXIT(old_threads_serve_orders(procs, forbid), ExitedWithCode(0), "");
}

TEST_F(ThreadsOnce, WithoutNewThreadsTheOldOnesServeTheOrders) {
  expect_old_threads_to_serve_orders(forbid_threads);
}

TEST_F(ThreadsOnce, WithoutMemoryForNewThreadsLikewise) {
  expect_old_threads_to_serve_orders(forbid_signal_stacks);
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
  for (; looks < 5 && now_ns() < deadline; ::usleep(5'000))
    looks = count_threads("gort-m") <= 2 ? looks + 1 : 0;
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
    const double share = static_cast<double>(gort::test::process_cpu_ns() - cpu) /
                         static_cast<double>(now_ns() - start);
#if defined(GORT_TEST_TSAN)
    EXPECT_LT(share, 0.05) << when;  // TSan's own thread
#else
    EXPECT_LT(share, 0.005) << when;
#endif
  };
  gort::run([] { gort::spawn([] {}).join(); });
  idle_share("between runs");
  std::thread asker([&] { idle_share("main in a join"); });
  gort::run([] { gort::spawn([] { gort::blocking([] { ::usleep(1'000'000); }); }).join(); });
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
