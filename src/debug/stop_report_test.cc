// The report of a slow stop, about Ps that tests keep from stopping by hand.
#include "debug/stop_report.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <regex.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

#include "debug/kernel_state.h"
#include "debug/symbols.h"
#include "sched/entry.h"
#include "sched/sched.h"
#include "sched/start.h"
#include "tests/support/apart.h"
#include "tests/support/runtime_fixture.h"
#include "world/pauses.h"

using namespace gort::rt;
using gort::test::yield_until;

namespace shop {

// A loop that has a name.
GORT_TEST_APART void hog(std::atomic<int>* state, std::atomic<int>* tid) {
  *tid = ::gettid();
  *state = 1;
  while (*state != 2) asm volatile("");
}

}  // namespace shop

namespace {

/// What is written to stderr while it lives.
class Stderr {
 public:
  Stderr() : file_(::memfd_create("stderr", MFD_CLOEXEC)), before_(::dup(2)) { ::dup2(file_, 2); }
  ~Stderr() {
    ::dup2(before_, 2);
    ::close(before_);
    ::close(file_);
  }
  std::string text() const {
    std::string s(static_cast<std::size_t>(::lseek(file_, 0, SEEK_END)), '\0');
    s.resize(static_cast<std::size_t>(::pread(file_, s.data(), s.size(), 0)));
    return s;
  }
  /// POSIX, extended; ^ and $ are the ends of all of it.
  bool says(const std::string& pattern) const {
    regex_t re;
    EXPECT_EQ(::regcomp(&re, pattern.c_str(), REG_EXTENDED | REG_NOSUB), 0) << pattern;
    const bool found = ::regexec(&re, text().c_str(), 0, nullptr, 0) == 0;
    ::regfree(&re);
    return found;
  }

 private:
  int file_;
  int before_;
};

/// Reports as the goroutine does that waits for the others: its own P counts as stopped, and it is in the runtime,
/// where debug builds abort on malloc.
void report_as_stopper(std::int64_t waited_ns) {
  RuntimeEntry entry;
  P* p = self_m()->p;
  p->status.store(PStatus::stopped);
  report_slow_stop(waited_ns);
  p->status.store(PStatus::running);
}

/// All signals blocked, for the duration.
class Deaf {
 public:
  Deaf() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~Deaf() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

TEST(KernelState, OfThisThread) {
  const KernelState k = read_kernel_state(::gettid());
  EXPECT_TRUE(k.alive);
  EXPECT_EQ(k.state, 'R');
  EXPECT_TRUE(k.urg_known);
  EXPECT_FALSE(k.urg_blocked);
  const Deaf deaf;
  EXPECT_TRUE(read_kernel_state(::gettid()).urg_blocked);
  EXPECT_FALSE(read_kernel_state(::gettid()).urg_pending);
  ::tgkill(::getpid(), ::gettid(), SIGURG);
  EXPECT_TRUE(read_kernel_state(::gettid()).urg_pending);
}

// Then nothing is known, not even that there is no such thread.
TEST(KernelState, WithoutADescriptor) {
  rlimit files;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  const rlimit none{0, files.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const KernelState k = read_kernel_state(::gettid());
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
  EXPECT_FALSE(k.readable);
  char text[128];
  {
    Printer out(text, sizeof text);
    print(out, k);
  }
  EXPECT_STREQ(text, "not to be had (no descriptor left, or no /proc)");
}

TEST(KernelState, OfNoThread) {
  const KernelState k = read_kernel_state(1 << 30);
  EXPECT_FALSE(k.alive);
  char text[64];
  {
    Printer out(text, sizeof text);
    print(out, k);
  }
  EXPECT_STREQ(text, "no such thread");
}

class StopReport : public gort::test::RuntimeTest {};

TEST_F(StopReport, NamesAGoroutineThatTakesNoSignals) {
  GORT_TEST_START(2);
  gort::run([] {
    std::atomic<int> state{0}, tid{0};
    auto deaf_one = gort::spawn({.name = "deaf"}, [&] {
      const Deaf deaf;
      shop::hog(&state, &tid);
    });
    ASSERT_TRUE(yield_until([&] { return state == 1; }));
    const Stderr err;
    report_as_stopper(1'234'567'890);
    state = 2;
    deaf_one.join();
    EXPECT_TRUE(err.says("^gort: stopping the world has taken 1234 ms; 1 of 2 Ps has not stopped "
                         "\\(asked for by M [0-9]+, goroutine [0-9]+ \"main\"\\)\n"
                         "P [01]: running, M [0-9]+, thread " + std::to_string(tid) + ", goroutine [0-9]+ \"deaf\"\n"
                         "\tdoes not answer; kernel: R \\(running or ready\\).*, SIGURG blocked, one pending\n$"))
        << err.text();
  });
}

TEST_F(StopReport, NamesTheSystemCallOfAThreadThatSleeps) {
  GORT_TEST_START(2);
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  gort::run([&] {
    std::atomic<int> tid{0};
    auto sleeper = gort::spawn([&] {
      const Deaf deaf;
      tid = ::gettid();
      char c;
      EXPECT_EQ(::read(pipe[0], &c, 1), 1);
    });
    ASSERT_TRUE(yield_until([&] { return tid != 0 && read_kernel_state(tid).state == 'S'; }));
    const Stderr err;
    report_as_stopper(1'000'000'000);
    EXPECT_TRUE(err.says("does not answer; kernel: S \\(sleep\\).*, system call " + std::to_string(SYS_read) +
                         ", SIGURG blocked, one pending\n"))
        << err.text();
    EXPECT_EQ(::write(pipe[1], "x", 1), 1);
    sleeper.join();
  });
  ::close(pipe[0]);
  ::close(pipe[1]);
}

// One that answers shows where it is: addresses at once, names when the template thread comes to it.
TEST_F(StopReport, ShowsWhereAThreadIsThatAnswers) {
#if defined(GORT_TEST_TSAN)
  GTEST_SKIP() << "TSan keeps signals back until the next system call";
#endif
  GORT_TEST_START(2);
  gort::run([] {
    std::atomic<int> state{0}, tid{0};
    auto hog = gort::spawn({.name = "hog"}, [&] { shop::hog(&state, &tid); });
    ASSERT_TRUE(yield_until([&] { return state == 1; }));
    const Stderr err;
    // Its thread may have to wait for a processor longer than one report waits for it.
    EXPECT_TRUE(yield_until([&] {
      report_as_stopper(1'000'000'000);
      return err.says("goroutine [0-9]+ \"hog\"\n\t0x[0-9a-f]+ ");
    })) << err.text();
    EXPECT_TRUE(yield_until([&] { return err.says("\ngoroutine [0-9]+ \\[held up a stop of the world, name \"hog\"\\]:\n"); }))
        << err.text();
    if (symbols_have_lines()) {
      EXPECT_TRUE(yield_until([&] { return err.says("\nshop::hog\\("); })) << err.text();
    }
    state = 2;
    hog.join();
  });
}

// The whole way: a stop that somebody holds up is reported, and comes about when he lets go.
TEST_F(StopReport, IsPrintedByAStopThatTakesLong) {
  debug_settings.slow_stop_ns = 20'000'000;
  GORT_TEST_START(2);
  gort::run([] {
    std::atomic<int> state{0}, tid{0};
    auto deaf_one = gort::spawn({.name = "deaf"}, [&] {
      const Deaf deaf;
      shop::hog(&state, &tid);
    });
    ASSERT_TRUE(yield_until([&] { return state == 1; }));
    const Stderr err;
    // Somebody else's eyes: this goroutine waits for the stop.
    std::thread lets_go([&] {
      while (!err.says("SIGURG blocked, one pending\n")) ::usleep(1000);
      state = 2;
    });
    {
      RuntimeEntry entry;
      start_the_world(stop_the_world(StopReason::test));
    }
    lets_go.join();
    deaf_one.join();
    EXPECT_TRUE(err.says("^gort: stopping the world has taken [0-9]+ ms; 1 of 2 Ps has not stopped \\(asked for by M "
                         "[0-9]+\\)\nP [01]: running, M [0-9]+, thread " +
                         std::to_string(tid) + ", goroutine [0-9]+ \"deaf\"\n"))
        << err.text();
  });
  EXPECT_EQ(pauses_of(StopReason::test).stops, 1u);
  EXPECT_GE(pauses_of(StopReason::test).longest_stopping_ns, 20'000'000);
}

// Rule R broken: a P that is idle and on no list.
TEST_F(StopReport, NamesWhoHadAPThatIsInNobodysHand) {
#if defined(GORT_TEST_TSAN)
  GTEST_SKIP() << "TSan keeps signals back until the next system call";
#endif
  GORT_TEST_START(2);
  const Stderr err;
  std::atomic<int> step{0};
  std::int64_t m_id = -1;
  std::thread stopper([&] {
    while (step != 1) ::sched_yield();
    report_slow_stop(1'000'000'000);
    step = 2;
  });
  gort::run([&] {
    for (bool had = false; !had;) {
      RuntimeEntry entry;
      sched.lock.lock();
      MaybeOwnedP p = pidle_get();
      sched.lock.unlock();
      if (!p) continue;
      had = true;
      OwnedP hand = p.take();
      m_id = self_m()->id;
      step = 1;
      while (step != 2) asm volatile("");
      LockGuard guard(sched.lock);
      pidle_put(std::move(hand));
    }
  });
  stopper.join();
  EXPECT_TRUE(err.says("; 2 of 2 Ps have not stopped \\(asked for by thread [0-9]+\\)\n")) << err.text();
  EXPECT_TRUE(err.says("\nP [01]: idle, on no list: in nobody's hand. It was last in that of this thread, M " +
                       std::to_string(m_id) + ", thread [0-9]+, goroutine [0-9]+ \"main\"\n"
                       "\t(0x[0-9a-f]+ |does not answer; kernel: R)"))
      << err.text();
}

TEST_F(StopReport, NamesNobodyWhereAForeignThreadHadIt) {
  GORT_TEST_START(2);
  gort::start();
  ASSERT_TRUE(yield_until([] { return sched.npidle == 2; }));
  const Stderr err;
  sched.lock.lock();
  MaybeOwnedP p = pidle_get();
  sched.lock.unlock();
  ASSERT_TRUE(static_cast<bool>(p));
  OwnedP hand = p.take();
  std::thread([] { report_slow_stop(1'000'000'000); }).join();
  sched.lock.lock();
  pidle_put(std::move(hand));
  sched.lock.unlock();
  EXPECT_TRUE(err.says("in nobody's hand. It was last in that of a thread that is no M\n")) << err.text();
  EXPECT_TRUE(err.says("\nP [01]: idle, on the idle list\n")) << err.text();
}

// Whoever holds sched.lock may be the one who holds up the stop.
TEST_F(StopReport, DoesNotWaitForSchedLock) {
  GORT_TEST_START(2);
  gort::start();
  ASSERT_TRUE(yield_until([] { return sched.npidle == 2; }));
  const Stderr err;
  sched.lock.lock();
  std::thread([] { report_slow_stop(1'000'000'000); }).join();
  sched.lock.unlock();
  EXPECT_TRUE(err.says("\nP 0: idle, on the idle list\nP 1: idle, on the idle list\n$")) << err.text();
}

}  // namespace
