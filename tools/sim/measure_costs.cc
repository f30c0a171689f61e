// What the simulator's cost model is made of (src/os/sim/costs.h), measured on this machine, in nanoseconds, as one line of
// JSON. Each figure is the lower decile of many short rounds: what the thing itself costs when nobody else wants the
// processor, since other programs only add. docs/scaling.md has those of the model.
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <thread>
#include <vector>

namespace {

using Word = std::atomic<std::uint32_t>;

std::int64_t now() {
  timespec t;
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

void pause_once() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  asm volatile("yield");
#endif
}

long futex(Word* w, int op, std::uint32_t v) {
  return ::syscall(SYS_futex, w, op | FUTEX_PRIVATE_FLAG, v, nullptr, nullptr, 0);
}

/// Onto the i-th processor that this process may use; the same one again if there are fewer.
void pin(int i) {
  static const cpu_set_t allowed = [] {
    cpu_set_t s;
    ::sched_getaffinity(0, sizeof s, &s);
    return s;
  }();
  const int n = CPU_COUNT(&allowed);
  int skip = i % n;
  for (int c = 0; c < CPU_SETSIZE; ++c) {
    if (!CPU_ISSET(c, &allowed) || skip-- > 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(c, &one);
    ::pthread_setaffinity_np(::pthread_self(), sizeof one, &one);
    return;
  }
}

constexpr int kRounds = 60;

double low(std::vector<double>& all) {
  std::ranges::sort(all);
  return all[all.size() / 10];
}

/// ns of one call of f, in rounds of n.
template <class F>
double each(int n, F f) {
  std::vector<double> all;
  for (int r = 0; r < kRounds; ++r) {
    const std::int64_t begin = now();
    for (int i = 0; i < n; ++i) f();
    all.push_back(static_cast<double>(now() - begin) / n);
  }
  return low(all);
}

/// Two threads hand a word to and fro; ns of one way. `sleep`: in the kernel, by futex.
double one_way(int cpu_a, int cpu_b, bool sleep, int n) {
  alignas(128) Word turn{0};
  const auto wait_for = [&](std::uint32_t mine) {
    while (turn.load(std::memory_order_acquire) != mine) {
      if (sleep) futex(&turn, FUTEX_WAIT, 1 - mine);
    }
  };
  const auto pass = [&](std::uint32_t to) {
    turn.store(to, std::memory_order_release);
    if (sleep) futex(&turn, FUTEX_WAKE, 1);
  };
  std::thread other([&] {
    pin(cpu_b);
    for (int i = 0; i < kRounds * n; ++i) wait_for(1), pass(0);
  });
  pin(cpu_a);
  std::vector<double> all;
  for (int r = 0; r < kRounds; ++r) {
    const std::int64_t begin = now();
    for (int i = 0; i < n; ++i) pass(1), wait_for(0);
    all.push_back(static_cast<double>(now() - begin) / (2.0 * n));
  }
  other.join();
  return low(all);
}

struct Wake {
  double call, run;  // until FUTEX_WAKE returns; until the sleeper runs
};
/// The sleeper is on another processor.
Wake wake_other_cpu() {
  Word bell{0};
  std::atomic<std::int64_t> awake{0};
  std::atomic<bool> over{false};
  std::thread sleeper([&] {
    pin(1);
    while (!over.load()) {
      futex(&bell, FUTEX_WAIT, 0);
      awake.store(now());
    }
  });
  pin(0);
  std::vector<double> call, run;
  while (call.size() < 300) {
    for (int i = 0; i < 1000; ++i) pause_once();
    awake = 0;
    const std::int64_t begin = now();
    if (futex(&bell, FUTEX_WAKE, 1) != 1) continue;
    call.push_back(static_cast<double>(now() - begin));
    while (awake.load() == 0) pause_once();
    run.push_back(static_cast<double>(awake.load() - begin));
  }
  over = true;
  bell.store(1);
  futex(&bell, FUTEX_WAKE, 1);
  sleeper.join();
  return {low(call), low(run)};
}

// ---- signals ----------------------------------------------------------------------------------------

std::atomic<std::int64_t> handled_at{0};
void on_signal(int) { handled_at.store(now(), std::memory_order_release); }

struct Signals {
  double send, arrive, handle;
};
Signals signals() {
  struct sigaction a{};
  a.sa_handler = on_signal;
  ::sigaction(SIGURG, &a, nullptr);
  Signals s{};
  const double self = each(50, [] { ::syscall(SYS_tgkill, ::getpid(), ::gettid(), SIGURG); });
  const double nothing = each(50, [] { ::syscall(SYS_tgkill, ::getpid(), ::gettid(), 0); });
  s.handle = self - nothing;
  std::atomic<int> tid{0};
  std::atomic<bool> over{false};
  std::thread target([&] {
    pin(1);
    tid = ::gettid();
    while (!over.load(std::memory_order_relaxed)) pause_once();
  });
  pin(0);
  while (tid == 0) pause_once();
  std::vector<double> send, arrive;
  for (int i = 0; i < 400; ++i) {
    handled_at = 0;
    const std::int64_t begin = now();
    ::syscall(SYS_tgkill, ::getpid(), tid.load(), SIGURG);
    send.push_back(static_cast<double>(now() - begin));
    while (handled_at.load() == 0) pause_once();
    arrive.push_back(static_cast<double>(handled_at.load() - begin));
  }
  over = true;
  target.join();
  s.send = low(send);
  s.arrive = low(arrive);
  return s;
}

double map_and_touch() {
  constexpr std::size_t kBytes = 1u << 16;
  return each(5, [] {
    auto* p = static_cast<char*>(
        ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (p != MAP_FAILED) *p = 1;
    ::munmap(p, kBytes);
  });
}

}  // namespace

int main() {
  pin(0);
  alignas(128) static Word mine{0};
  static volatile std::uint32_t plain = 0;
  const double clock = each(500, [] { (void)now(); });
  const double local = each(5000, [] { plain = plain + 1; });
  const double atomic = each(5000, [] { mine.fetch_add(1); });
  const double pause = each(200, [] { pause_once(); });
  const double nobody = each(100, [] { futex(&mine, FUTEX_WAKE, 1); });
  const double yield = each(50, [] { ::sched_yield(); });
  const double memory = map_and_touch();
  const double create = each(1, [] { std::thread([] {}).join(); });
  const double remote = one_way(0, 1, false, 50);
  const double one_cpu = one_way(0, 0, true, 20);
  const Wake wake = wake_other_cpu();
  const Signals s = signals();
  std::printf(
      "{\"local\": %.1f, \"atomic\": %.1f, \"remote\": %.1f, \"clock\": %.1f, \"pause\": %.1f, "
      "\"futex_call\": %.0f, \"futex_wake\": %.0f, \"wake_to_run\": %.0f, \"switch_one_cpu\": "
      "%.0f, "
      "\"yield\": %.0f, \"signal_send\": %.0f, \"signal_arrive\": %.0f, \"signal_handle\": %.0f, "
      "\"map_and_touch\": %.0f, \"thread\": %.0f}\n",
      local, atomic, remote, clock, pause, nobody, wake.call, wake.run, one_cpu, yield, s.send,
      s.arrive, s.handle, memory, create);
}
