// Acceptance scenarios of preemption: 34, 36, 37, 38, 40. Where Go's tests have a collection, these have a stop.
// test: timeout=120
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <vector>

#include "base/fault.h"
#include "gort/semaphore.h"
#include "gort/world.h"
#include "sched/entry.h"
#include "sched/sched.h"
#include "tests/support/runtime_fixture.h"
#include "world/world.h"

namespace gort::test {
namespace {

class Preempt : public RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(Preempt);

void stop_and_start() {
  rt::RuntimeEntry entry;
  rt::start_the_world(rt::stop_the_world(rt::StopReason::test));
}

void spin_until(const std::atomic<bool>& over) {
  while (!over.load(std::memory_order_relaxed)) {}
}

// 34: as many endless loops as there are Ps, and more, do not keep the others from running.
TEST_P(Preempt, LoopsDoNotStopOthers) {
  GORT_TEST_NEEDS_SIGNALS();
  GORT_TEST_START(GetParam());
  gort::run([&] {
    std::atomic<bool> over{false};
    std::vector<gort::task<void>> loops;
    for (int i = 0; i < GetParam() + 2; ++i) loops.push_back(gort::spawn([&] { spin_until(over); }));
    for (int i = 0; i < 10; ++i) gort::spawn([] { gort::this_goroutine::yield(); }).join();
    over = true;
    for (auto& t : loops) t.join();
  });
}

// 36: one P, several loops that never yield; the world stops.
TEST_F(RuntimeTest, OnePSeveralLoopsAndStops) {
  GORT_TEST_NEEDS_SIGNALS();
  GORT_TEST_START(1);
  gort::run([] {
    std::atomic<bool> over{false};
    std::vector<gort::task<void>> loops;
    for (int i = 0; i < 5; ++i) loops.push_back(gort::spawn([&] { spin_until(over); }));
    for (int i = 0; i < 20; ++i) {
      stop_and_start();
      gort::this_goroutine::yield();  // the loops have the P; we get it back by a slice's end
    }
    over = true;
    for (auto& t : loops) t.join();
  });
}

// 37: preempted in a function with a large frame, which is all there afterwards.
[[gnu::noinline]] bool large_frame(const std::atomic<bool>& over, unsigned char with) {
  unsigned char frame[100'000];
  bool whole = true;
  do {
    std::memset(frame, with, sizeof frame);
    asm volatile("" : : "r"(frame) : "memory");
    for (std::size_t i = 0; i < sizeof frame; i += 97) whole = whole && frame[i] == with;
  } while (!over.load(std::memory_order_relaxed));
  return whole;
}

TEST_P(Preempt, InALargeFrame) {
  GORT_TEST_NEEDS_SIGNALS();
  GORT_TEST_START(GetParam());
  gort::run([&] {
    std::atomic<bool> over{false};
    std::vector<gort::task<bool>> tasks;
    for (int i = 0; i < GetParam() + 2; ++i) {
      tasks.push_back(gort::spawn([&, i] { return large_frame(over, static_cast<unsigned char>(i + 1)); }));
    }
    for (int i = 0; i < 100; ++i) {
      stop_and_start();
      if (i % 10 == 0) gort::this_goroutine::yield();
    }
    over = true;
    for (auto& t : tasks) EXPECT_TRUE(t.get());
  });
}

// 38: PreemptionAfterSyscall: short blocking calls and loops in turn; the world stops all the same.
TEST_P(Preempt, AfterBlockingCalls) {
  GORT_TEST_NEEDS_SIGNALS();
  GORT_TEST_START(GetParam());
  gort::run([&] {
    for (long us : {10, 100, 1000}) {
      std::atomic<bool> over{false};
      std::vector<gort::task<void>> tasks;
      for (int i = 0; i < 8; ++i) {
        tasks.push_back(gort::spawn([&, us] {
          while (!over.load(std::memory_order_relaxed)) {
            gort::blocking([&] {
              timespec t = {0, us * 1000};
              ::nanosleep(&t, nullptr);
            });
            for (int k = 0; k < 20'000 && !over.load(std::memory_order_relaxed); ++k) {}
          }
        }));
      }
      for (int i = 0; i < 50; ++i) {
        stop_and_start();
        gort::blocking([] { ::usleep(1000); });
      }
      over = true;
      for (auto& t : tasks) t.join();
    }
  });
}

int this_p() {
  rt::RuntimeEntry entry;
  return rt::self_m()->p->id.load();
}

/// Two goroutines that yield to each other on one of two Ps while another one sleeps in the kernel with the other P: whether
/// they get that one, too, within so many ms. Its own queue is empty: nobody waits for *it*.
bool sleeper_leaves_its_p(int ms, const std::function<void(int)>& sleep_until_written) {
  int fds[2];
  EXPECT_EQ(::pipe(fds), 0);
  bool leaves = false;
  gort::run([&] {
    std::atomic<bool> sleeps{false}, over{false};
    auto sleeper = gort::spawn([&] {
      sleeps = true;
      sleep_until_written(fds[0]);
    });
    while (!sleeps) gort::this_goroutine::yield();
    std::atomic<int> at{0};
    auto partner = gort::spawn([&] {
      for (; !over; gort::this_goroutine::yield()) at = this_p();
    });
    // At the same time on different Ps. (Where they are may be over when we look, so it counts if it stays like that.)
    int apart = 0;
    leaves = yield_until([&] { return (apart = at != this_p() ? apart + 1 : 0) > 10; }, ms);
    over = true;
    partner.join();
    EXPECT_EQ(::write(fds[1], "x", 1), 1);
    sleeper.join();
  });
  ::close(fds[0]);
  ::close(fds[1]);
  return leaves;
}

// The call is made again without a P.
void read_one(int fd) {
  char c;
  EXPECT_EQ(::read(fd, &c, 1), 1);
}
TEST_F(RuntimeTest, WhoReadsLeavesItsPToThoseOfAnother) {
  GORT_TEST_NEEDS_SIGNALS();
  GORT_TEST_START(2);
  EXPECT_TRUE(sleeper_leaves_its_p(10'000, read_one));
}
#if defined(GORT_TESTING)
TEST_F(RuntimeTest, WhoReadsKeepsItsPIfOnlyItsOwnQueueCounts) {
  GORT_TEST_NEEDS_SIGNALS();
  GORT_TEST_START(2);
  rt::set_fault(rt::Fault::sleeper_p, true);
  // Whoever happens to be in the global queue when sysmon looks takes the P all the same.
  int kept = 0;
  for (int i = 0; i < 10 && kept == 0; ++i) kept += !sleeper_leaves_its_p(500, read_one);
  EXPECT_EQ(kept, 1);
  rt::set_fault(rt::Fault::sleeper_p, false);
}
#endif

// It returns with EINTR, or a thread gives its P up where it stands.
TEST_F(RuntimeTest, WhoPollsLeavesItsPToThoseOfAnother) {
  GORT_TEST_NEEDS_SIGNALS();
  GORT_TEST_START(2);
  EXPECT_TRUE(sleeper_leaves_its_p(10'000, [](int fd) {
    pollfd one{.fd = fd, .events = POLLIN, .revents = 0};
    while (::poll(&one, 1, -1) != 1) {
    }
  }));
}

// 40: a hog beside a pair that plays ping-pong. Both finish, and neither gets more than 20 times the other's time.
struct Pair {
  gort::semaphore there{0}, back{0};
  std::atomic<long> rounds{0};
  std::atomic<bool> over{false};
};

void ping(Pair& p) {
  while (!p.over.load()) {
    p.there.release();
    p.back.acquire();
    ++p.rounds;
  }
  p.there.release();  // perhaps it has not noticed
}

void pong(Pair& p) {
  for (;;) {
    p.there.acquire();
    const bool over = p.over.load();
    p.back.release();
    if (over) return;
  }
}

void hog(std::atomic<long>& count, const std::atomic<bool>& over) {
  long n = 0;
  while (!over.load(std::memory_order_relaxed)) count.store(++n, std::memory_order_relaxed);
}

struct Counts {
  double pair = 0, hog = 0;
};

/// Who gets on how far in a second of the process' CPU time per P.
Counts play(bool with_pair, bool with_hog) {
  Pair p;
  std::atomic<long> count{0};
  std::vector<gort::task<void>> tasks;
  const std::int64_t until = process_cpu_ns() + gort::num_procs() * 500'000'000;
  if (with_pair) {
    tasks.push_back(gort::spawn([&] { pong(p); }));
    tasks.push_back(gort::spawn([&] { ping(p); }));
  }
  if (with_hog) tasks.push_back(gort::spawn([&] { hog(count, p.over); }));
  // As a thread that is no goroutine, so as not to take part.
  const std::int64_t deadline = now_ns() + 20'000'000'000;
  gort::blocking([&] {
    while (process_cpu_ns() < until && now_ns() < deadline) ::usleep(1000);
  });
  p.over = true;
  for (auto& t : tasks) t.join();
  return {static_cast<double>(p.rounds.load()), static_cast<double>(count.load())};
}

void ping_pong_hog() {
  const Counts pair_alone = play(true, false);
  const Counts hog_alone = play(false, true);
  const Counts both = play(true, true);
  const double pair_share = both.pair / pair_alone.pair;
  const double hog_share = both.hog / hog_alone.hog;
  ::testing::Test::RecordProperty("pair_share_percent", static_cast<int>(100 * pair_share));
  ::testing::Test::RecordProperty("hog_share_percent", static_cast<int>(100 * hog_share));
  EXPECT_GT(both.pair, 0);
  EXPECT_GT(both.hog, 0);
  EXPECT_LT(pair_share / hog_share, 20);
  EXPECT_LT(hog_share / pair_share, 20);
}

TEST_F(RuntimeTest, PingPongHogOnOneP) {
  GORT_TEST_NEEDS_SIGNALS();
  GORT_TEST_START(1);
  gort::run(ping_pong_hog);
}
TEST_F(RuntimeTest, PingPongHogOnTwoPs) {
  GORT_TEST_NEEDS_SIGNALS();
  GORT_TEST_START(2);
  gort::run(ping_pong_hog);
}

}  // namespace
}  // namespace gort::test
