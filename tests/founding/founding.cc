#include "tests/founding/founding.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <regex>
#include <thread>
#include <utility>

#include "debug/stop_report.h"
#include "gort/gort.h"
#include "gort/world.h"
#include "sched/entry.h"
#include "sched/sched.h"
#include "tests/support/runtime_fixture.h"
#include "world/world.h"

namespace gort::test {

namespace {

constexpr int kFailed = 85;  // a requirement did not hold
constexpr int kHung = 86;    // the watchdog
constexpr int kShown = 87;
constexpr int kSlowStopMs = 150;
constexpr int kNoReportMs = 20'000;
constexpr std::size_t kShownOfErr = 6'000;
#if defined(GORT_TEST_ASAN) || defined(GORT_TEST_TSAN)
constexpr int kSlower = 4;
#else
constexpr int kSlower = 1;
#endif

using Clock = std::chrono::steady_clock;

std::atomic<Clock::time_point> deadline{Clock::time_point::max()};
bool off = false;

// ---- in the child: when the report of the slow stop is out -----------------------------------------

std::atomic<bool> reported{false}, named{false};

void report_and_say_so(std::int64_t waited_ns) noexcept {
  rt::report_slow_stop(waited_ns);
  reported = true;
  rt::want_threads();  // names come when the template thread has made what was wanted of it
}

void names_and_say_so() noexcept {
  const bool last = reported.load();
  rt::report_slow_stop_names();
  if (last) named = true;
}

/// Before the runtime starts: its threads look at the hooks from then on.
void watch_reports() {
  rt::sched_hooks.spare_time = names_and_say_so;
  rt::sched_hooks.stop_slow = report_and_say_so;
}

void say(const char* text) {
  const ssize_t n = ::write(2, text, std::strlen(text));
  static_cast<void>(n);
}

/// A foreign thread: no stop of the world concerns it.
void watch() {
  for (;;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const auto now = Clock::now();
    if (now < deadline.load()) continue;
    if (off && !named && now < deadline.load() + std::chrono::milliseconds(kNoReportMs)) continue;
    say("founding: the run hangs\n");
    if (!off && rt::sched_hooks.schedtrace != nullptr) rt::sched_hooks.schedtrace(true);  // nobody has foreseen that
    if (::getenv("FOUNDING_HOLD") != nullptr) ::pause();  // for a debugger
    ::_exit(kHung);
  }
}

[[noreturn]] void be_child(Recipe recipe, int runs, const std::string& fault, int limit_ms, int err) {
  ::dup2(err, 2);
  off = !fault.empty();
  watch_reports();
  ::setenv("GORT_DEBUG", ("slowstop=" + std::to_string(off ? kSlowStopMs : limit_ms * kSlower / 2)).c_str(), 1);
  ::setenv("GORT_FAULT", fault.c_str(), 1);
  std::thread(watch).detach();
  for (int i = 0; i < runs; ++i) {
    deadline = Clock::now() + std::chrono::milliseconds(limit_ms * kSlower);
    recipe(i);
  }
  ::_exit(0);
}

int shown_runs() { return std::max(3, founding_runs() / 25); }

void record(const char* bug, const char* which, int runs, int bad, double seconds) {
  testing::Test::RecordProperty("bug", bug);
  testing::Test::RecordProperty("recipe", which);
  testing::Test::RecordProperty("runs", runs);
  testing::Test::RecordProperty("hit", bad);
  testing::Test::RecordProperty("seconds", std::to_string(seconds));
}

}  // namespace

int founding_runs() {
  const char* v = std::getenv("FOUNDING_RUNS");
  const int n = v != nullptr ? std::atoi(v) : 20;
  return n > 0 ? n : 20;
}

bool measure_off() { return off; }

void require(bool holds, const char* what) {
  if (holds) return;
  say("founding: not so: ");
  say(what);
  say("\n");
  ::_exit(kFailed);
}

void shown(const char* how) {
  say("founding: shown: ");
  say(how);
  say("\n");
  ::_exit(kShown);
}

Child run_child(Recipe recipe, int runs, const std::string& fault, int limit_ms) {
  Child c;
  int ends[2];
  if (::pipe(ends) != 0) std::abort();
  const auto start = Clock::now();
  const pid_t pid = ::fork();
  if (pid == 0) be_child(recipe, runs, fault, limit_ms, ends[1]);
  ::close(ends[1]);
  char buf[4096];
  for (ssize_t n = 0; (n = ::read(ends[0], buf, sizeof buf)) > 0 || (n < 0 && errno == EINTR);) {
    if (n > 0) c.err.append(buf, static_cast<std::size_t>(n));
  }
  ::close(ends[0]);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  c.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  c.status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  c.hung = c.status == kHung;
  c.shown = c.status == kShown;
  return c;
}

void expect_passes(const char* bug, const char* which, Recipe recipe, int runs_per_child, int limit_ms) {
  const int all = founding_runs();
  if (runs_per_child == 0) runs_per_child = all;
  int bad = 0;
  double seconds = 0;
  for (int done = 0; done < all && bad < 3; done += runs_per_child) {
    const Child c = run_child(recipe, std::min(runs_per_child, all - done), "", limit_ms);
    seconds += c.seconds;
    if (c.ended_well()) continue;
    ++bad;
    ADD_FAILURE() << bug << ", " << which << ", after " << done << " runs: status " << c.status << "\n" << c.err.substr(0, kShownOfErr);
  }
  record(bug, which, all, bad, seconds);
}

void expect_ends(Recipe scenario, int limit_ms) {
  const Child c = run_child(scenario, 1, "", limit_ms);
  EXPECT_TRUE(c.ended_well()) << "status " << c.status << "\n" << c.err.substr(0, kShownOfErr);
}

void expect_shown(const char* bug, Recipe recipe, std::initializer_list<const char*> culprit, int limit_ms) {
  const int all = shown_runs();
  const auto names = [&](const std::string& text) {
    return std::all_of(culprit.begin(), culprit.end(), [&](const char* p) { return std::regex_search(text, std::regex(p)); });
  };
  int hits = 0;
  double seconds = 0;
  for (int i = 0; i < all; ++i) {
    const Child c = run_child(recipe, 1, bug, limit_ms);
    seconds += c.seconds;
    if ((c.hung || c.shown) && names(c.err)) {
      ++hits;
      continue;
    }
    ADD_FAILURE() << bug << " with the measure off, run " << i << ": status " << c.status << ", wanted: "
                  << *std::prev(culprit.end()) << "\n" << c.err.substr(0, kShownOfErr);
    break;
  }
  record(bug, "off", all, hits, seconds);
}

// ---- what recipes are made of -----------------------------------------------------------------------

void start_with_procs(int procs) {
  gort::start({.max_procs = procs});
  if (gort::num_procs() != procs) gort::max_procs(procs);
  require(gort::num_procs() == procs, "the runtime has the number of Ps that the recipe wants");
}

void computes() {
#if defined(GORT_TEST_TSAN)
  if (os::tls().in_runtime == 0) gort::poll();
#endif
}

void wait_for(const std::function<bool()>& condition) {
  const auto limit = Clock::now() + std::chrono::seconds(10 * kSlower);
  for (; !condition(); computes()) require(Clock::now() < limit, "what is waited for comes within ten seconds");
}

long stop_once() {
  const auto start = Clock::now();
  rt::RuntimeEntry entry;
  rt::WorldHold w = rt::stop_the_world(rt::StopReason::test);
  const auto ns = (Clock::now() - start).count();
  rt::start_the_world(std::move(w));
  return ns;
}

}  // namespace gort::test
