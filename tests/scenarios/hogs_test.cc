// What no cooperative runtime passes: goroutines that never come back to the scheduler by themselves, in any code, and
// the rest of the program runs all the same.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "base/fault.h"
#include "gort/world.h"
#include "sched/entry.h"
#include "sched/sched.h"
#include "tests/support/runtime_fixture.h"
#include "world/world.h"

namespace gort::test {
namespace {

using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

double ms_since(clock::time_point t) { return std::chrono::duration<double, std::milli>(clock::now() - t).count(); }

std::atomic<bool> done{false};
bool goes_on() { return !done.load(std::memory_order_relaxed); }

// ---- the hogs ---------------------------------------------------------------------------------

void in_a_loop() {
  while (goes_on()) {}
}

void in_malloc() {
  while (goes_on()) {
    void* volatile p = std::malloc(64 + (reinterpret_cast<std::uintptr_t>(&p) & 0xff));
    std::free(p);
  }
}

void in_snprintf() {
  char text[128];
  for (double d = 0; goes_on(); d += 0.1) std::snprintf(text, sizeof text, "%g %s %d", d, "text", 7);
}

int slow_compare(const void* a, const void* b) {
  volatile int spin = 0;
  for (int i = 0; i < 1000; ++i) spin = spin + i;
  return *static_cast<const int*>(a) - *static_cast<const int*>(b);
}

void in_qsort() {
  std::vector<int> v(3000);
  while (goes_on()) {
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<int>(i * 7919 % v.size());
    std::qsort(v.data(), v.size(), sizeof(int), slow_compare);
  }
}

int pipe_ends[2] = {-1, -1};

void in_read() {
  char c;
  const ssize_t n = ::read(pipe_ends[0], &c, 1);  // until the end of the test
  if (n != 1) std::abort();                       // and it is not interrupted: SA_RESTART
}

std::mutex wanted;

/// One goroutine keeps what the others want, and computes.
void with_a_mutex() {
  while (goes_on()) {
    std::lock_guard<std::mutex> lock(wanted);
    for (int i = 0; i < 200'000 && goes_on(); ++i) asm volatile("");
  }
}

struct Hog {
  const char* name;
  void (*run)();
};
constexpr Hog kHogs[] = {{"loop", in_a_loop}, {"malloc", in_malloc}, {"snprintf", in_snprintf},
                         {"qsort", in_qsort}, {"read", in_read},     {"mutex", with_a_mutex}};

// ---- how often another goroutine runs beside them -----------------------------------------------

/// A goroutine that yields all the time: how often, and the gaps in which somebody else had its P, in ms, sorted.
struct Turns {
  long n = 0;
  std::vector<double> waits;
  double p99() const { return waits.empty() ? 0 : waits[(waits.size() * 99 - 1) / 100]; }
  double longest() const { return waits.empty() ? 0 : waits.back(); }
};

Turns turns(milliseconds how_long) {
  Turns t;
  t.waits.reserve(10'000);  // no time lost for that meanwhile
  const auto begin = clock::now();
  const auto end = begin + how_long;
  // Longer on a machine that has no time for us; but who is starved gets nowhere in any time.
  for (auto last = begin; last < end || (t.n <= 10 && last < begin + 30 * how_long); ++t.n) {
    gort::this_goroutine::yield();
    const auto now = clock::now();
    const double ms = std::chrono::duration<double, std::milli>(now - last).count();
    if (ms >= 1 && t.waits.size() < t.waits.capacity()) t.waits.push_back(ms);
    last = now;
  }
  std::sort(t.waits.begin(), t.waits.end());
  return t;
}

/// What the machine does to a plain thread that wants to run all the time, in ms: the longest of its gaps, while as
/// many others compute as there will be. Nothing that runs on it can do better.
double longest_gap_of_a_thread(int others) {
  std::atomic<bool> over{false};
  std::vector<std::thread> spinners;
  for (int i = 0; i < others; ++i) spinners.emplace_back([&] { while (!over.load(std::memory_order_relaxed)) {} });
  double longest = 0;
  const auto end = clock::now() + milliseconds(300);
  for (auto last = clock::now(); last < end;) {
    const auto now = clock::now();
    longest = std::max(longest, std::chrono::duration<double, std::milli>(now - last).count());
    last = now;
  }
  over = true;
  for (auto& t : spinners) t.join();
  return longest;
}

class Hogs : public RuntimeTestAtProcs {
 protected:
  void SetUp() override {
    GORT_TEST_NEEDS_SIGNALS();
    done = false;
    ASSERT_EQ(::pipe(pipe_ends), 0);
    machine_ms_ = longest_gap_of_a_thread(GetParam() - 1);
    std::printf("a plain thread here waits up to %.1f ms for a processor\n", machine_ms_);
  }
  /// Runs n hogs per P (0: one in all) and looks how often somebody else runs.
  void beside(const Hog& hog, int n, double bound_ms) {
    std::vector<gort::task<void>> tasks;
    for (int i = 0; i < n; ++i) tasks.push_back(gort::spawn(hog.run));
    // Until each of them has had its first slice: as long as they are not known as hogs, they take turns as one of many.
    if (n > 1) turns(milliseconds(25 * n));
    const Turns t = turns(milliseconds(quiet() ? 3000 : 600));
    std::printf("%-10s x %2d: %7ld turns, %3zu waits, p99 %5.1f ms, longest %5.1f ms\n", hog.name, n, t.n, t.waits.size(),
                t.p99(), t.longest());
    EXPECT_GT(t.n, 10) << hog.name;
    if (quiet()) {
      EXPECT_LE(t.p99(), bound_ms + machine_ms_) << hog.name;
    }
    stops(hog);
    done = true;
    for (int i = 0; i < n; ++i) ASSERT_EQ(::write(pipe_ends[1], "x", 1), 1);
    for (auto& task : tasks) task.join();
    done = false;
  }
  /// 200 stops of the world beside them.
  void stops(const Hog& hog) {
    std::vector<double> took(200);
    for (double& ms : took) {
      rt::RuntimeEntry entry;
      const auto t = clock::now();
      rt::WorldHold w = rt::stop_the_world(rt::StopReason::test);
      ms = ms_since(t);
      rt::start_the_world(std::move(w));
    }
    std::sort(took.begin(), took.end());
    std::printf("%-10s         stop p50 %.3f p99 %.3f max %.3f ms\n", hog.name, took[100], took[198], took.back());
    if (quiet()) {
      EXPECT_LT(took[198], 5.0 + machine_ms_) << hog.name;
    }
  }
  /// The promised times are about a machine that has nothing else to do: GORT_TEST_QUIET=1, and the bench. Where other
  /// tests run beside this one, each of n runnable threads gets an n-th of a processor; but whoever was starved by the
  /// scheduler would get no turn at all, and a stop that hung would never end.
  static bool quiet() { return std::getenv("GORT_TEST_QUIET") != nullptr; }
  double machine_ms_ = 0;  // what the machine adds to every wait
};

TEST_P(Hogs, OneAtATime) {
  GORT_TEST_START(GetParam());
  if (GetParam() == 4) GTEST_SKIP() << "at 1 and 2";
  gort::run([&] {
    for (const Hog& hog : kHogs) beside(hog, 1, 25);
  });
}

TEST_P(Hogs, ManyOfThem) {
  GORT_TEST_START(GetParam());
  if (GetParam() == 4) GTEST_SKIP() << "at 1 and 2";
  const int n = 6;
  gort::run([&] {
    // Every (N/P + 1) slices of 10 ms, and what it takes to find a slice over.
    for (const Hog& hog : kHogs) beside(hog, n, (n / GetParam() + 1) * 10.0 + 15);
  });
}

// A goroutine's slice is over for the first time, and there was no captive before: the others get the P for as long as
// it had it, not the new captive once more. (As if they had had it all the time until then: always two slices.)
TEST_P(Hogs, ANewHogHasOneSlice) {
  GORT_TEST_START(GetParam());
  if (GetParam() != 1) GTEST_SKIP() << "at 1";
  gort::run([&] {
    double least = 1e9;
    for (int i = 0; i < 10; ++i) {
      turns(milliseconds(30));
      rt::p_at(0)->serves_captives = false;  // as if nobody had been a captive yet; our P, and nobody else runs
      gort::task<void> a = gort::spawn([] {}), b = gort::spawn([] {});
      a.join();  // one of them begins a new slice, which the hog inherits
      b.join();
      gort::task<void> hog = gort::spawn(in_a_loop);
      const auto begin = clock::now();
      while (ms_since(begin) < 2) gort::this_goroutine::yield();
      least = std::min(least, ms_since(begin));
      done = true;
      hog.join();
      done = false;
    }
    std::printf("a new hog ran %.1f ms and more before somebody else did\n", least);
    EXPECT_LT(least, 18);
  });
}

/// How often the lock changed its owner, and how often somebody was found asleep for it.
struct Fight {
  long changes = 0;
  std::uint64_t asleep = 0;
};

Fight fight_for_a_lock() {
  Fight f;
  std::mutex lock;
  int last = -1;
  std::atomic<long> changes{0};
  const std::uint64_t before = rt::sched.found_asleep.load();
  const auto found = [&] { return rt::sched.found_asleep.load() - before; };
  const auto begin = clock::now();
  std::vector<gort::task<void>> tasks;
  for (int i = 0; i < 4; ++i) {
    tasks.push_back(gort::spawn([&, i] {
      while (goes_on()) {
        {
          std::lock_guard<std::mutex> guard(lock);
          if (last != i) {
            last = i;
            changes.fetch_add(1, std::memory_order_relaxed);
          }
          for (int k = 0; k < 1000; ++k) asm volatile("");
        }
        for (int k = 0; k < 100; ++k) asm volatile("");
      }
    }));
  }
  while (static_cast<std::uint64_t>(changes.load()) + found() < 150 && ms_since(begin) < 60'000) {
    gort::blocking([] { ::usleep(1000); });
  }
  f = {changes.load(), found()};
  done = true;
  for (auto& t : tasks) t.join();
  done = false;
  std::printf("%ld changes of the owner, %ld times somebody was found asleep\n", f.changes, static_cast<long>(f.asleep));
  return f;
}

// A lock that is held nine tenths of the time, and is not fair: who loses the P in the middle of that keeps the others from
// it for another turn.
TEST_P(Hogs, SlicesEndWhereTheLockIsFree) {
  GORT_TEST_START(GetParam());
  if (GetParam() != 1) GTEST_SKIP() << "at 1";
  gort::run([&] {
    const Fight f = fight_for_a_lock();
    EXPECT_GT(f.changes * 3, static_cast<long>(f.asleep));
#if defined(GORT_TESTING)
    rt::set_fault(rt::Fault::lock_slices, true);
    const Fight old = fight_for_a_lock();
    rt::set_fault(rt::Fault::lock_slices, false);
    EXPECT_LT(old.changes * 3, static_cast<long>(old.asleep));
#endif
  });
}

TEST_P(Hogs, AThousandRawWaitsAndTheOneWhoNotifies) {
  GORT_TEST_START(GetParam());
  if (GetParam() == 4) GTEST_SKIP() << "at 1 and 2";
  gort::run([&] {
    std::mutex m;
    std::condition_variable cv;
    bool told = false;
    std::atomic<int> waiting{0};
    std::vector<gort::task<void>> tasks;
    for (int i = 0; i < 1000; ++i) {
      tasks.push_back(gort::spawn([&] {
        ++waiting;
        std::unique_lock<std::mutex> lock(m);
        while (!told) cv.wait_for(lock, std::chrono::seconds(10));
      }));
    }
    const auto begin = clock::now();
    tasks.push_back(gort::spawn([&] {
      const double until = ms_since(begin);
      std::lock_guard<std::mutex> lock(m);
      told = true;
      cv.notify_all();
      std::printf("the 1001st ran after %.0f ms, %d waited by then, %d threads\n", until, waiting.load(), static_cast<int>(rt::sched.mcount));
      EXPECT_LT(until, quiet() ? 1000 : 20'000);
    }));
    tasks.push_back(gort::spawn([] {}));  // the newest goes first: so that is not the one who notifies
    for (auto& t : tasks) t.join();
    std::printf("all over after %.0f ms\n", ms_since(begin));
  });
}

GORT_TEST_AT_PROCS(Hogs);

}  // namespace
}  // namespace gort::test
