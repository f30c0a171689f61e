#include "tests/support/runtime_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "os/os.h"
#include "sched/invariants.h"

namespace gort::test {

void expect_every_p_idle() {
#if defined(GORT_TESTING)
  if (gort::num_procs() == 0) return;
  const rt::PAccount a = rt::await_quiet(20'000'000'000);
  EXPECT_TRUE(a.quiet()) << "idle " << a.idle << ", running " << a.running << ", handed " << a.handed
                         << ", in calls " << a.syscall << ", in hand " << a.in_hand << " of " << a.total << "; Ms "
                         << a.all_m << ", idle " << a.idle_m << "+" << a.idle_locked_m << ", orders " << a.orders
                         << "; " << a.text;
#endif
}

RuntimeTest::RuntimeTest() {
  // A death test forks; threads of a runtime that an earlier case started would be missing in the child.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
}

void RuntimeTest::TearDown() { expect_every_p_idle(); }

bool RuntimeTest::started_with(int procs, int max_threads) {
  static int threads = 0;
  if (gort::num_procs() == 0) threads = max_threads;
  gort::start({.max_procs = procs, .max_threads = max_threads});
  return gort::num_procs() == procs && threads == max_threads;
}

std::int64_t now_ns() { return os::nanotime(); }

std::int64_t process_cpu_ns() {
  timespec t = {};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

bool yield_until(const std::function<bool()>& condition, int ms) {
  const std::int64_t deadline = now_ns() + std::int64_t{ms} * 1'000'000;
  while (!condition()) {
    if (now_ns() > deadline) return condition();
    gort::this_goroutine::yield();
  }
  return true;
}

int count_threads(const std::string& name) {
  int n = 0;
  std::error_code gone;  // a thread may end while we look
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task", gone)) {
    std::ifstream comm(entry.path() / "comm");
    std::string line;
    if (!std::getline(comm, line)) continue;
    if (name.empty() || line == name) ++n;
  }
  return n;
}

Ended run_self(const std::string& variable, const std::string& value, int limit_ms) {
  Ended end;
  int pipe_ends[2];
  if (::pipe2(pipe_ends, O_CLOEXEC) != 0) return end;
  std::string setting = variable + "=" + value;
  std::vector<char*> env;
  for (char** e = environ; *e != nullptr; ++e) env.push_back(*e);
  env.push_back(setting.data());
  env.push_back(nullptr);
  char self[] = "/proc/self/exe";
  char* argv[] = {self, nullptr};
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(pipe_ends[1], 2);
    ::execve(self, argv, env.data());
    ::_exit(127);
  }
  ::close(pipe_ends[1]);
  const std::int64_t deadline = now_ns() + std::int64_t{limit_ms} * 1'000'000;
  char buf[4096];
  for (;;) {
    const std::int64_t left = (deadline - now_ns()) / 1'000'000;
    pollfd p = {pipe_ends[0], POLLIN, 0};
    if (left <= 0 || ::poll(&p, 1, static_cast<int>(left)) == 0) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
      ::close(pipe_ends[0]);
      return end;
    }
    const ssize_t n = ::read(pipe_ends[0], buf, sizeof buf);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    end.err.append(buf, static_cast<std::size_t>(n));
  }
  ::close(pipe_ends[0]);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  end.status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  return end;
}

}  // namespace gort::test
