// The process around the runtime: settings, signals, fork, first use from anywhere.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "gort/net.h"
#include "gort/os.h"
#include "os/os.h"
#include "sched/entry.h"
#include "sema/sema.h"
#include "tests/support/runtime_fixture.h"

using namespace std::chrono_literals;
using ::testing::ExitedWithCode;

namespace {

class Settings : public gort::test::RuntimeTest {
 protected:
  void TearDown() override {}  // the runtimes die in child processes
};

/// Starts and runs a little with the variable set, then exits with the number of Ps (100 more if larger).
[[noreturn]] void start_with(const char* name, const char* value) {
  ::setenv(name, value, 1);
  const int answer = gort::run([] { return gort::spawn([] { return 1; }).get(); });
  const int n = gort::num_procs();
  std::_Exit(answer == 1 ? (n < 100 ? n : 100) : 99);
}

struct bad {
  const char* name;
  const char* value;
  const char* message;  // regular expression
};

class BadSetting : public gort::test::RuntimeTest, public ::testing::WithParamInterface<bad> {
 protected:
  void TearDown() override {}
};

TEST_P(BadSetting, IsAMessageAndExitStatus2) {
  const auto [name, value, message] = GetParam();
  EXPECT_EXIT(start_with(name, value), ExitedWithCode(2), message);
}

constexpr const char* kProcs = ": a whole number of processors, 1 or more, is wanted\n$";
constexpr const char* kStack = ": a size in bytes from 1 to 1073741824 is wanted\n$";
constexpr const char* kThreads = ": a number of threads from 4 to 1000000 is wanted\n$";
constexpr const char* kDebug = "known: .*schedtrace=ms, scheddetail=0\\|1";

INSTANTIATE_TEST_SUITE_P(
    Environment, BadSetting,
    ::testing::Values(bad{"GORT_MAXPROCS", "abc", kProcs}, bad{"GORT_MAXPROCS", "0", kProcs},
                      bad{"GORT_MAXPROCS", "-1", kProcs}, bad{"GORT_MAXPROCS", "2x", kProcs},
                      bad{"GORT_MAXPROCS", " 2", kProcs}, bad{"GORT_MAXPROCS", "+2", kProcs},
                      bad{"GORT_MAXPROCS", "1.5", kProcs}, bad{"GORT_MAXPROCS", "-", kProcs},
                      bad{"GORT_MAXPROCS", "99999999999999999999", kProcs}, bad{"GORT_STACK", "many", kStack},
                      bad{"GORT_STACK", "0", kStack}, bad{"GORT_STACK", "-5", kStack},
                      bad{"GORT_STACK", "1073741825", kStack}, bad{"GORT_STACK", "256K", kStack},
                      bad{"GORT_MAXTHREADS", "3", kThreads}, bad{"GORT_MAXTHREADS", "x", kThreads},
                      bad{"GORT_MAXTHREADS", "1000001", kThreads}, bad{"GORT_DEBUG", "nonsense", kDebug},
                      bad{"GORT_DEBUG", "schedtrace", kDebug},
                      bad{"GORT_DEBUG", "forcemigrate=2", "forcemigrate wants 0 or 1"},
                      bad{"GORT_DEBUG", "heldlocks=off", "heldlocks wants warn or fatal"},
                      bad{"GORT_DEBUG", "heldlocks=warn", "heldlocks needs a program that is linked with gort::held_locks"},
                      bad{"GORT_DEBUG", "scheddetail=0,nonsense=1", kDebug},
                      bad{"GORT_DEBUG", "schedtrace=-1", "schedtrace wants milliseconds\n$"},
                      bad{"GORT_DEBUG", "schedtrace=x", "schedtrace wants milliseconds\n$"},
                      bad{"GORT_DEBUG", "scheddetail=2", "scheddetail wants 0 or 1\n$"}));

#if !defined(GORT_TESTING)
INSTANTIATE_TEST_SUITE_P(InARelease, BadSetting,
                         ::testing::Values(bad{"GORT_DEBUG", "forcemigrate=1",
                                               "forcemigrate needs a gort that was built with GORT_TESTING"}));
#endif

TEST_F(Settings, BadValuesNameTheSettingAndTheValue) {
  EXPECT_EXIT(start_with("GORT_MAXPROCS", "abc"), ExitedWithCode(2), "^gort: GORT_MAXPROCS=abc: a whole");
  EXPECT_EXIT(start_with("GORT_DEBUG", "nonsense"), ExitedWithCode(2), "^gort: GORT_DEBUG: no setting 'nonsense'");
  // Longer than the buffer in which one item is looked at: cut, not overrun.
  const std::string word(500, 'a');
  EXPECT_EXIT(start_with("GORT_DEBUG", word.c_str()), ExitedWithCode(2), "no setting 'aaaaaaaa");
}

TEST_F(Settings, GoodOnesCount) {
  EXPECT_EXIT(start_with("GORT_MAXPROCS", "3"), ExitedWithCode(3), "^$");
  EXPECT_EXIT(start_with("GORT_MAXPROCS", "1000000000"), ExitedWithCode(100),
              "^gort: GORT_MAXPROCS=1000000000 is more than the maximum; using 1024\n$");
}

TEST_F(Settings, EmptyIsNotSet) {
  const int n = gort::num_procs();
  EXPECT_EQ(n, 0) << "run alone, as ctest does";
  EXPECT_EXIT(start_with("GORT_MAXPROCS", ""), [](int status) { return WIFEXITED(status) && WEXITSTATUS(status) >= 1; },
              "^$");
  EXPECT_EXIT(start_with("GORT_DEBUG", ",,"), [](int status) { return WIFEXITED(status) && WEXITSTATUS(status) >= 1; },
              "^$");
}

TEST_F(Settings, TheEnvironmentWinsOverTheProgram) {
  EXPECT_EXIT(
      {
        ::setenv("GORT_MAXPROCS", "3", 1);
        gort::start({.max_procs = 2});
        std::_Exit(gort::num_procs());
      },
      ExitedWithCode(3), "^$");
}

TEST_F(Settings, TheFirstStartDecides) {
  EXPECT_EXIT(
      {
        gort::start({.max_procs = 3});
        gort::start({.max_procs = 2});
        std::_Exit(gort::run([] { return gort::num_procs(); }));
      },
      ExitedWithCode(3), "^$");
}

TEST_F(Settings, ARunMayNameAnotherNumberOfPs) {
  EXPECT_EXIT(
      {
        gort::start({.max_procs = 3});
        std::_Exit(gort::run({.max_procs = 4}, [] { return gort::num_procs(); }));
      },
      ExitedWithCode(4), "^$");
}

TEST_F(Settings, TheEnvironmentWinsOverEveryRun) {
  EXPECT_EXIT(
      {
        ::setenv("GORT_MAXPROCS", "3", 1);
        gort::run({.max_procs = 4}, [] {});
        std::_Exit(gort::run({.max_procs = 2}, [] { return gort::num_procs(); }));
      },
      ExitedWithCode(3), "^$");
}

class Process : public gort::test::RuntimeTest {};

TEST_F(Process, NothingRunsBeforeTheFirstUse) {
  EXPECT_EQ(gort::num_procs(), 0);
  EXPECT_EQ(gort::num_goroutine(), 0);
  EXPECT_EQ(gort::this_goroutine::id(), 0u);
  EXPECT_EQ(gort::this_goroutine::name(), "");
  gort::this_goroutine::yield();
  gort::poll();
  EXPECT_EQ(gort::test::count_threads("gort-m"), 0);
  EXPECT_EQ(gort::num_procs(), 0);
}

// The first use may come from several threads at once.
TEST_F(Process, FirstUseFromManyThreadsAtOnce) {
  std::atomic<int> ready{0};
  std::atomic<int> sum{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      ++ready;
      while (ready < 8) {
      }
      sum += gort::spawn([] { return 1; }).get();
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(sum, 8);
}

TEST_F(Process, GoexitOnAForeignThreadIsFatal) {
  EXPECT_EXIT(gort::goexit(), ExitedWithCode(2), "^fatal error: goexit: not on a goroutine\n");
}

// A signal handler that interrupts the runtime and calls into it: the thread's own byte says so.
TEST_F(Process, ACallFromAHandlerThatInterruptedTheRuntimeIsFatal) {
  EXPECT_EXIT(gort::run([] {
                gort::os::tls().in_runtime = 1;
                gort::this_goroutine::yield();
              }),
              ExitedWithCode(2), "^fatal error: gort was called from a signal handler that interrupted gort\n");
  EXPECT_EXIT(gort::run([] {
                gort::os::tls().in_runtime = 1;
                gort::go([] {});
              }),
              ExitedWithCode(2), "^fatal error: gort was called from a signal handler");
}

// One that interrupts user code runs on the thread's alternate stack: the stack pointer says so.
TEST_F(Process, ACallFromAHandlerThatInterruptedAGoroutineIsFatal) {
#if defined(GORT_TEST_TSAN)
  GTEST_SKIP() << "TSan calls handlers later, on the goroutine's stack";
#endif
  struct sigaction act = {};
  act.sa_flags = SA_ONSTACK;
  act.sa_handler = [](int) { gort::go([] {}); };
  ::sigaction(SIGUSR1, &act, nullptr);
  EXPECT_EXIT(gort::run([] { ::raise(SIGUSR1); }), ExitedWithCode(2),
              "^fatal error: gort was called from a signal handler\n");
  act.sa_handler = [](int) { gort::this_goroutine::yield(); };
  ::sigaction(SIGUSR1, &act, nullptr);
  EXPECT_EXIT(gort::run([] { ::raise(SIGUSR1); }), ExitedWithCode(2),
              "^fatal error: gort was called from a signal handler\n");
}

// Scenario 103, as far as the checks at runtime entries go: endless recursion that calls gort on its way.
[[gnu::noinline]] int recurse(int n) {
  volatile char frame[256];  // used after the call: no loop can be made of this
  frame[0] = static_cast<char>(n);
  gort::this_goroutine::yield();
  return n < 0 ? 0 : recurse(n + 1) + frame[0];
}

TEST_F(Process, StackOverflowIsNamedAtARuntimeEntry) {
  EXPECT_EXIT(gort::run([] { gort::spawn(recurse, 1).join(); }), ExitedWithCode(2),
              "^gort: goroutine [0-9]+ exceeds its stack of [0-9]+ bytes .*\n.*GORT_STACK=bytes\nfatal error: stack "
              "overflow\n");
}

// Signals meanwhile do not disturb parks, sleeps or calls (104: SIGCHLD survived).
TEST_F(Process, SignalsDisturbNothing) {
  GORT_TEST_START(2);
  struct sigaction act = {};
  static std::atomic<int> caught{0};
  act.sa_handler = [](int) { ++caught; };
  ::sigaction(SIGUSR1, &act, nullptr);  // no SA_RESTART: every sleep in the kernel is cut short
  ::sigaction(SIGCHLD, &act, nullptr);
  std::atomic<bool> stop{false};
  std::thread sender([&] {
    while (!stop) {
      ::kill(::getpid(), SIGUSR1);
      ::kill(::getpid(), SIGCHLD);
      ::usleep(200);
    }
  });
  gort::run([] {
    for (int i = 0; i < 300; ++i) {
      gort::spawn([] { gort::this_goroutine::yield(); }).join();
      gort::blocking([] { ::usleep(100); });
    }
  });
  stop = true;
  sender.join();
  EXPECT_GT(caught, 0);
}

// Trap (Photon #1521): fork in the middle of load; the child may exec and _exit and use malloc.
TEST_F(Process, AForkedChildMayExecExitAndAllocate) {
  GORT_TEST_START(4);
  gort::run([] {
    std::atomic<bool> stop{false};
    std::vector<gort::task<void>> load;
    for (int i = 0; i < 8; ++i) {
      load.push_back(gort::spawn([&stop] {
        while (!stop) {
          std::vector<int> memory(100);
          gort::spawn([] {}).join();
          gort::blocking([] { ::usleep(10); });
        }
      }));
    }
    auto end_of = [](pid_t pid) {
      int status = 0;
      const std::int64_t deadline = gort::test::now_ns() + 20'000'000'000;
      while (gort::blocking([&] { return ::waitpid(pid, &status, WNOHANG); }) == 0) {
        if (gort::test::now_ns() > deadline) {
          ::kill(pid, SIGKILL);
          gort::blocking([&] { return ::waitpid(pid, &status, 0); });
          return -1;
        }
        gort::blocking([] { ::usleep(500); });
      }
      return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    };
    for (int i = 0; i < 20; ++i) {
      const int kind = i % 3;
      const pid_t pid = gort::blocking([kind] {
        const pid_t child = ::fork();
        if (child != 0) return child;
        if (kind == 0) ::_exit(17);
        if (kind == 1) {
          ::execl("/bin/sh", "sh", "-c", "exit 17", nullptr);
          ::_exit(1);
        }
        std::vector<std::string> words(1000, std::string(100, 'x'));
        ::_exit(words.size() == 1000 ? 17 : 1);
      });
      ASSERT_GT(pid, 0);
      EXPECT_EQ(end_of(pid), 17) << kind;
    }
    stop = true;
    for (auto& t : load) t.join();
  });
}

// ... and nothing else: the goroutines, threads and locks of the parent are not there.
constexpr const char* kForked =
    "fatal error: gort: called in the child of a fork; only exec, _exit and malloc work there\n";

/// What a child that calls `f` says and how it ends.
template <class F>
void expect_fatal_in_child(const char* what, F f) {
  SCOPED_TRACE(what);
  int out[2];
  ASSERT_EQ(::pipe(out), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(out[1], 2);
    ::alarm(5);
    f();
    ::_exit(0);
  }
  ::close(out[1]);
  std::string said;
  char text[512];
  for (ssize_t n; (n = ::read(out[0], text, sizeof text)) > 0;) said.append(text, static_cast<std::size_t>(n));
  ::close(out[0]);
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 2) << status;
  EXPECT_EQ(said, kForked);
}

TEST_F(Process, AnyOtherCallInAForkedChildIsFatal) {
  GORT_TEST_START(2);
  auto all = [] {
    expect_fatal_in_child("go", [] { gort::go([] {}); });
    expect_fatal_in_child("spawn", [] { gort::spawn([] {}).join(); });
    expect_fatal_in_child("run", [] {
      if (!gort::detail::on_goroutine()) gort::run([] {});
      gort::lock_os_thread();
    });
    expect_fatal_in_child("semaphore", [] {
      gort::semaphore s(0);
      s.acquire();
    });
    expect_fatal_in_child("pool", [] { static_cast<void>(gort::pool<int>().get()); });
  };
  all();
  gort::run([&all] {
    all();
    expect_fatal_in_child("yield", [] { gort::this_goroutine::yield(); });
    expect_fatal_in_child("blocking", [] { gort::blocking([] {}); });
  });
#if !defined(GORT_TEST_TSAN)  // it has no new threads in the child of a process that had several
  expect_fatal_in_child("from a new thread", [] { std::thread([] { gort::go([] {}); }).join(); });
#endif
}

/// What a program may have in static objects, whose destructors the child's exit() calls.
struct Statics {
  gort::chan<std::string> lines{4};
  gort::task<void> task = gort::spawn([] { gort::this_goroutine::sleep_for(1h); });
  gort::scope scope;
  gort::timer timer{1h};
  gort::ticker ticker{1h};
  gort::func_handle func = gort::after_func(1h, [] {});
  gort::pool<std::string> pool;
  gort::pool<std::string>::lease lease = pool.borrow();
  gort::promise<int> promise;
  gort::promise_setter<int> setter = promise.setter();
  gort::chan<int> closed{1};
  gort::closing<int> closing{closed};
  gort::mutex mutex;
  gort::shared_mutex shared;
  gort::mutex of_changed;
  gort::condition_variable changed;
  gort::semaphore units{0};
  gort::wait_group group;
  gort::latch latch{1};
  gort::barrier<> barrier{2};
  gort::event event;
  gort::scope waiters;  // for each of those, for the time of the forks
  gort::context context = [] { return gort::with_cancel().context(); }();
  gort::context::callback callback = context.after_func([] {});
  gort::os::signals signals = gort::os::signals::on({SIGUSR2}).value();
  gort::os::file file = gort::os::file::open("/dev/null").value();
  gort::os::process process = gort::os::start({.argv = {"cat"}, .in = gort::os::stdio::pipe, .out = gort::os::stdio::pipe}).value();
  gort::net::listener listener;
  gort::net::read_half reader;
  gort::net::write_half writer;
  gort::net::conn peer;

  /// All of them wait.
  static bool they_wait() {
    int n = 0;
    gort::rt::RuntimeEntry entry;
    gort::rt::sem_for_each_waiter([](const void*, const gort::waiter*, void* sum) noexcept { ++*static_cast<int*>(sum); }, &n);
    return n == 8;
  }
  void let_them_go() {
    mutex.unlock();
    shared.unlock_shared();
    changed.notify_one();
    units.release();
    group.done();
    latch.count_down();
    static_cast<void>(barrier.arrive());
    event.set();
    waiters.join();
  }

  explicit Statics(const std::string& path) : listener(gort::net::listen(path).value()) {
    mutex.lock();
    shared.lock_shared();
    group.add();
    waiters.go([this] { const std::scoped_lock hold(mutex); });
    waiters.go([this] { const std::scoped_lock hold(shared); });
    waiters.go([this] {
      std::unique_lock hold(of_changed);
      changed.wait(hold);
    });
    waiters.go([this] { units.acquire(); });
    waiters.go([this] { group.wait(); });
    waiters.go([this] { latch.wait(); });
    waiters.go([this] { barrier.arrive_and_wait(); });
    waiters.go([this] { event.wait(); });
    lines.send("one that nobody receives, and that is too long to stay in a string");
    scope.go([] { gort::this_goroutine::sleep_for(1h); });
    pool.put(std::make_unique<std::string>("kept"));
    auto [a, b] = gort::net::socket_pair().value();
    std::tie(reader, writer) = std::move(a).split();
    peer = std::move(b);
  }
};

// They neither end the child with an error nor touch what is the parent's: connections, child processes, sockets' names.
TEST_F(Process, DestructorsInAForkedChildLeaveTheParentsAlone) {
  GORT_TEST_START(2);
  const std::string path = ::testing::TempDir() + "gort_forked_" + std::to_string(::getpid()) + ".sock";
  gort::run([&path] {
    auto statics = std::make_unique<Statics>(path);
    ASSERT_TRUE(gort::test::yield_until(Statics::they_wait));
    for (const bool inside : {false, true}) {
      pid_t pid = -1;
      const auto fork_here = [&] {
        pid = ::fork();
        if (pid != 0) return;
        ::alarm(20);
        statics.reset();
        ::_exit(17);
      };
      if (inside) {
        gort::blocking(fork_here);
      } else {
        fork_here();
      }
      int status = 0;
      ASSERT_EQ(gort::blocking([&] { return ::waitpid(pid, &status, 0); }), pid);
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 17) << status;

      char room[16];
      ASSERT_TRUE(statics->writer.write_all("to the peer"));
      EXPECT_EQ(statics->peer.read_some(room).value_or(0), 11u);
      ASSERT_TRUE(statics->process.in.write_all("to cat"));
      EXPECT_EQ(statics->process.out.read_some(room).value_or(0), 6u);
      EXPECT_TRUE(gort::net::dial(path)) << "its name is gone";
      EXPECT_TRUE(statics->listener.accept());
      EXPECT_EQ(statics->lines.len(), 1u);
      EXPECT_FALSE(statics->task.wait_for(0s));
    }
    statics->process.in.close();
    EXPECT_TRUE(statics->process.wait().value().ok());
    statics->let_them_go();
    EXPECT_FALSE(statics->promise.is_set());
    EXPECT_TRUE(statics->closed.try_send(1));
  });
}

TEST_F(Process, AGoroutineThatReturnsInAForkedChildIsFatal) {
  GORT_TEST_START(2);
  for (const bool inside : {false, true}) {
    // The child leaves gort::blocking, or ends the goroutine: both are calls.
    int out[2];
    ASSERT_EQ(::pipe(out), 0);
    pid_t forked = 0;
    const auto fork_here = [&] {
      forked = ::fork();
      if (forked == 0) {
        ::dup2(out[1], 2);
        ::alarm(5);
      }
    };
    std::atomic<pid_t> child = 0;
    gort::go([&, inside] {
      if (inside) {
        gort::blocking(fork_here);
        if (forked == 0) ::_exit(0);
      } else {
        fork_here();
      }
      if (forked > 0) child = forked;  // the last that the parent's goroutine has to do with our locals
    });
    ASSERT_TRUE(gort::test::yield_until([&child] { return child > 0; }));
    const pid_t pid = child;
    ::close(out[1]);
    std::string said;
    char text[512];
    for (ssize_t n; (n = ::read(out[0], text, sizeof text)) > 0;) said.append(text, static_cast<std::size_t>(n));
    ::close(out[0]);
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 2) << status;
    EXPECT_EQ(said, kForked);
  }
}

/// Blocked signals of the threads with this name, as bit masks.
std::vector<std::uint64_t> blocked_in(const std::string& name) {
  std::vector<std::uint64_t> masks;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream comm(task.path() / "comm");
    std::string is;
    std::getline(comm, is);
    if (is != name) continue;
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("SigBlk:")) masks.push_back(std::stoull(line.substr(7), nullptr, 16));
    }
  }
  return masks;
}

// A host's signal handler must not run on the runtime's own threads (it may call gort, or take long); on the
// threads that run goroutines the mask is the one that the host had when it started the runtime.
TEST_F(Process, SystemThreadsBlockTheHostsSignals) {
  sigset_t usr2;
  sigemptyset(&usr2);
  sigaddset(&usr2, SIGUSR2);
  ::pthread_sigmask(SIG_BLOCK, &usr2, nullptr);
  GORT_TEST_START(2);
  gort::run([] {});
  const auto bit = [](int signo) { return std::uint64_t{1} << (signo - 1); };
  for (const char* name : {"gort-template", "gort-sysmon"}) {
    std::vector<std::uint64_t> masks;
    ASSERT_TRUE(gort::test::yield_until([&] {
      masks = blocked_in(name);
      return !masks.empty() && (masks[0] & bit(SIGTERM)) != 0;
    })) << name;
    for (const int signo : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGCHLD, SIGALRM, SIGRTMIN}) {
      EXPECT_NE(masks[0] & bit(signo), 0u) << name << " " << signo;
    }
    for (const int signo : {SIGSEGV, SIGBUS, SIGURG, SIGPROF, SIGABRT}) {
      EXPECT_EQ(masks[0] & bit(signo), 0u) << name << " " << signo;
    }
    // setuid() and pthread_cancel() use these, behind sigfillset's back.
    for (const int signo : {32, 33}) EXPECT_EQ(masks[0] & bit(signo), 0u) << name << " " << signo;
  }
  const auto ms = blocked_in("gort-m");
  EXPECT_FALSE(ms.empty());
  for (const std::uint64_t m : ms) {
    EXPECT_EQ(m & (bit(SIGTERM) | bit(SIGINT) | bit(SIGUSR1) | bit(SIGCHLD)), 0u);
    EXPECT_NE(m & bit(SIGUSR2), 0u);
  }
}

}  // namespace
