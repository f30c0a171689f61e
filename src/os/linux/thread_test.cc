#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "os/linux/test_support.h"
#include "os/os.h"

namespace {

using namespace gort::os;

/// A gate that a thread waits at.
struct Gate {
  atomic<std::uint32_t> open{0};
  void wait() {
    while (open.load() == 0) futex_wait(&open, 0, -1);
  }
  void release() {
    open.store(1);
    futex_wake(&open, 1 << 30);
  }
};

void reap(Thread t) {
  int r;
  while ((r = thread_try_reap(t)) == EBUSY) thread_yield();
  EXPECT_EQ(r, 0);
}

struct Probe {
  Gate go;
  Gate done;
  int tid = 0;
  std::uintptr_t lo = 0, hi = 0, here = 0;
  sigset_t mask;
  std::string name;
};

void probe_thread(void* p) {
  auto* probe = static_cast<Probe*>(p);
  thread_set_name("a-name-longer-than-fifteen");
  char name[16];
  pthread_getname_np(pthread_self(), name, sizeof name);
  probe->name = name;
  probe->tid = thread_id();
  probe->here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  if (!thread_stack(&probe->lo, &probe->hi)) probe->lo = 0;
  pthread_sigmask(SIG_BLOCK, nullptr, &probe->mask);
  probe->done.release();
  probe->go.wait();
}

TEST(OsThread, RunsIsBusyAndIsReaped) {
  Probe probe;
  Thread t;
  ASSERT_EQ(thread_create(&t, probe_thread, &probe, 0), 0);
  probe.done.wait();
  EXPECT_EQ(thread_try_reap(t), EBUSY);
  EXPECT_NE(probe.tid, thread_id());
  EXPECT_EQ(probe.name, "a-name-longer-t");
  EXPECT_LT(probe.lo, probe.here);
  EXPECT_LT(probe.here, probe.hi);
  probe.go.release();
  reap(t);
}

TEST(OsThread, DetachedOnesEndWithoutAReaper) {
  constexpr int kThreads = 200;
  atomic<int> ran{0};
  const int before = process_thread_count();
  for (int i = 0; i < kThreads; ++i) {
    Thread t;
    ASSERT_EQ(thread_create(
                  &t,
                  [](void* p) {
                    thread_detach();
                    static_cast<atomic<int>*>(p)->fetch_add(1);
                  },
                  &ran, 64 << 10),
              0);
  }
  while (ran.load() < kThreads || process_thread_count() > before) thread_yield();
}

TEST(OsThread, HasTheStackThatWasAskedFor) {
  for (std::size_t bytes : {std::size_t{1}, std::size_t{300'001}, std::size_t{16} << 20}) {
    Probe probe;
    Thread t;
    ASSERT_EQ(thread_create(&t, probe_thread, &probe, bytes), 0) << bytes;
    probe.done.wait();
    EXPECT_GE(probe.hi - probe.lo, bytes);
    EXPECT_LT(probe.hi - probe.lo, bytes + (1 << 20));
    probe.go.release();
    reap(t);
  }
}

TEST(OsThread, InheritsTheCreatorsSignalMask) {
  sigset_t usr, before;
  sigemptyset(&usr);
  sigaddset(&usr, SIGUSR2);
  pthread_sigmask(SIG_BLOCK, &usr, &before);
  Probe probe;
  Thread t;
  ASSERT_EQ(thread_create(&t, probe_thread, &probe, 0), 0);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  probe.done.wait();
  EXPECT_TRUE(sigismember(&probe.mask, SIGUSR2));
  EXPECT_FALSE(sigismember(&probe.mask, SIGUSR1));
  probe.go.release();
  reap(t);
}

TEST(OsThread, MoreThanTheStartTableHolds) {
  constexpr int kThreads = 200;
  atomic<int> ran{0};
  std::vector<Thread> threads(kThreads);
  for (auto& t : threads) {
    ASSERT_EQ(thread_create(
                  &t, [](void* p) { static_cast<atomic<int>*>(p)->fetch_add(1); }, &ran, 64 << 10),
              0);
  }
  for (auto t : threads) reap(t);
  EXPECT_EQ(ran.load(), kThreads);
}

TEST(OsThread, TooLargeAStackIsAnError) {
  Thread t;
  errno = 4242;
  EXPECT_NE(thread_create(&t, probe_thread, nullptr, std::size_t{1} << 62), 0);
  EXPECT_NE(thread_create(&t, probe_thread, nullptr, SIZE_MAX), 0);
  // What failed must have given its start record back: 64 of them would exhaust the table.
  for (int i = 0; i < 100; ++i) {
    EXPECT_NE(thread_create(&t, probe_thread, nullptr, std::size_t{1} << 62), 0);
  }
}

TEST(OsThread, StackOfTheMainThread) {
  std::uintptr_t lo, hi;
  ASSERT_TRUE(thread_stack(&lo, &hi));
  auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  EXPECT_LT(lo, here);
  EXPECT_LT(here, hi);
}

TEST(OsThread, CountsThreadsWhateverTheProgramIsCalled) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "TSan starts a thread of its own in the child";
#endif
  // In a child, which has no threads of earlier tests on their last instructions in the kernel.
  EXPECT_EQ(gort::test::in_child([] {
              const int before = process_thread_count();
              if (before < 1) return 1;
              Probe probe;
              Thread t;
              if (thread_create(&t, probe_thread, &probe, 0) != 0) return 2;
              probe.done.wait();
              if (process_thread_count() != before + 1) return 3;
              // The name is the second field of the file that is read.
              thread_set_name(") R 1 (2 3) 4");
              if (process_thread_count() != before + 1) return 4;
              rlimit files;
              if (getrlimit(RLIMIT_NOFILE, &files) != 0) return 5;
              const rlimit none{0, files.rlim_max};
              if (setrlimit(RLIMIT_NOFILE, &none) != 0) return 6;
              if (process_thread_count() != before + 1) return 7;
              setrlimit(RLIMIT_NOFILE, &files);
              probe.go.release();
              reap(t);
              while (process_thread_count() != before) thread_yield();
              return 0;
            }),
            0);
}

TEST(OsThread, SignalReachesTheNamedThread) {
  static atomic<int> got{0};
  struct sigaction action = {}, before;
  action.sa_handler = [](int) { got.store(thread_id()); };
  sigaction(SIGUSR1, &action, &before);
  Probe probe;
  Thread t;
  ASSERT_EQ(thread_create(&t, probe_thread, &probe, 0), 0);
  probe.done.wait();
  EXPECT_EQ(signal_thread(probe.tid, SIGUSR1), 0);
  while (got.load() == 0) thread_yield();
  EXPECT_EQ(got.load(), probe.tid);
  probe.go.release();
  reap(t);
  // A reaped thread may be on its last instructions in the kernel still.
  int gone;
  while ((gone = signal_thread(probe.tid, SIGUSR1)) == 0) thread_yield();
  EXPECT_EQ(gone, ESRCH);
  EXPECT_EQ(signal_thread(-1, SIGUSR1), EINVAL);
  EXPECT_EQ(signal_thread(thread_id(), 12345), EINVAL);
  sigaction(SIGUSR1, &before, nullptr);
}

TEST(OsProcess, ExitsAtOnce) {
  EXPECT_EQ(gort::test::in_child([] {
              std::atexit([] { _exit(99); });
              exit_process(42);
              return 1;
            }),
            42);
}

TEST(OsProcess, AbortCannotBeCaughtOrBlocked) {
  EXPECT_EQ(gort::test::in_child([] {
              rlimit none = {0, 0};
              setrlimit(RLIMIT_CORE, &none);
              signal(SIGABRT, [](int) { _exit(1); });
              sigset_t all;
              sigfillset(&all);
              pthread_sigmask(SIG_BLOCK, &all, nullptr);
              abort_process();
              return 2;
            }),
            1000 + SIGABRT);
}

}  // namespace
