// What the machine itself costs, so that rows that cross threads can be read: the clock, two threads
// that wake each other through the kernel, on one core (--procs 1) and on two (--procs 2), and a
// signal to a thread that runs on another core.
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "harness.h"

namespace {

using bench::Options;
using bench::Result;
using bench::Timed;

void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  bench::check(sched_setaffinity(0, sizeof set, &set) == 0, "pinning a thread");
}

Result clock_read(const Options& o) {
  return bench::measure(o, 1000, [](std::uint64_t n) {
    const double start = bench::now();
    double last = start;
    for (std::uint64_t i = 0; i < n; ++i) {
      const double t = bench::now();
      bench::check(t >= last, "the clock does not go back");
      last = t;
    }
    return Timed{n, last - start};
  });
}

/// The n-th processor that this process may use.
int allowed_cpu(int n) {
  cpu_set_t set;
  bench::check(sched_getaffinity(0, sizeof set, &set) == 0, "reading the affinity mask");
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set) && n-- == 0) return cpu;
  }
  bench::fail("not enough processors");
}

Result thread_pingpong(const Options& o) {
  const int mine = allowed_cpu(0);
  const int theirs = allowed_cpu(o.procs > 1 ? 1 : 0);
  return bench::measure(o, 100, [=](std::uint64_t n) {
    sem_t ping, pong;
    sem_init(&ping, 0, 0);
    sem_init(&pong, 0, 0);
    std::uint64_t value = 0;
    std::thread echo([&] {
      pin(theirs);
      for (std::uint64_t i = 0; i < n; ++i) {
        while (sem_wait(&ping) != 0) {
        }
        ++value;
        sem_post(&pong);
      }
    });
    pin(mine);
    const double start = bench::now();
    for (std::uint64_t i = 0; i < n; ++i) {
      sem_post(&ping);
      while (sem_wait(&pong) != 0) {
      }
      bench::check(value == i + 1, "each trip is answered once");
    }
    const double took = bench::now() - start;
    echo.join();
    return Timed{n, took};
  });
}

std::atomic<bool> answered = false;

/// Median time from sending until the handler of a computing thread answers; both cores are awake.
Result signal_answer(const Options& o) {
  struct sigaction action{};
  action.sa_handler = [](int) { answered = true; };
  bench::check(sigaction(SIGURG, &action, nullptr) == 0, "installing a handler");
  std::atomic<bool> stop = false;
  std::atomic<pid_t> id = 0;
  const int theirs = allowed_cpu(1);
  std::thread computing([&] {
    pin(theirs);
    id = gettid();
    while (!stop.load(std::memory_order_relaxed)) {
    }
  });
  pin(allowed_cpu(0));
  while (id == 0) {
  }
  std::vector<double> took;
  Result r = bench::measure(o, 100, [&](std::uint64_t n) {
    took.assign(n, 0);
    const double start = bench::now();
    for (double& t : took) {
      answered = false;
      const double began = bench::now();
      bench::check(tgkill(getpid(), id, SIGURG) == 0, "sending a signal");
      while (!answered) {
      }
      t = bench::now() - began;
    }
    return Timed{n, bench::now() - start};
  });
  stop = true;
  computing.join();
  r.value = bench::add_quantiles(r, "", took);
  return r;
}

constexpr bench::Row kRows[] = {{"clock_read", clock_read},
                                {"thread_pingpong", thread_pingpong},
                                {"signal_answer", signal_answer}};

}  // namespace

int main(int argc, char** argv) {
  return bench::contender_main(argc, argv, "machine", R"("compiler":")" __VERSION__ R"(")", kRows);
}
