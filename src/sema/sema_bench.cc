// The runtime semaphore's price: uncontended, and as the only way two goroutines on one P talk.
#include <benchmark/benchmark.h>

#include "gort/gort.h"
#include "sched/entry.h"
#include "sema/sema.h"

namespace {

using namespace gort;
using rt::SemWord;

void inside(void (*body)(benchmark::State&), benchmark::State& state) {
  run({.max_procs = 1}, [&] { body(state); });
}

// What an upper floor pays: it has opened the entry already.
void uncontended(benchmark::State& state) {
  inside(
      [](benchmark::State& s) {
        SemWord w{1};
        rt::RuntimeEntry entry;
        for (auto _ : s) {
          rt::sem_acquire(&w);
          rt::sem_release(&w);
        }
      },
      state);
}
BENCHMARK(uncontended);

void public_uncontended(benchmark::State& state) {
  inside(
      [](benchmark::State& s) {
        semaphore sem(1);
        for (auto _ : s) {
          sem.acquire();
          sem.release();
        }
      },
      state);
}
BENCHMARK(public_uncontended);

// One iteration is a round trip: two releases, two parks, two switches.
template <bool handoff>
void ping_pong(benchmark::State& state) {
  inside(
      [](benchmark::State& s) {
        SemWord there{0};
        SemWord back{0};
        bool stop = false;
        auto echo = spawn([&] {
          rt::RuntimeEntry entry;
          while (rt::sem_acquire(&there), !stop) rt::sem_release(&back, {.handoff = handoff, .yield = false});
        });
        {
          rt::RuntimeEntry entry;
          for (auto _ : s) {
            rt::sem_release(&there, {.handoff = handoff, .yield = false});
            rt::sem_acquire(&back);
          }
          stop = true;
          rt::sem_release(&there);
        }
        echo.join();
      },
      state);
}
BENCHMARK(ping_pong<false>);
BENCHMARK(ping_pong<true>);

void public_ping_pong(benchmark::State& state) {
  inside(
      [](benchmark::State& s) {
        semaphore there(0);
        semaphore back(0);
        bool stop = false;
        auto echo = spawn([&] {
          while (there.acquire(), !stop) back.release();
        });
        for (auto _ : s) {
          there.release();
          back.acquire();
        }
        stop = true;
        there.release();
        echo.join();
      },
      state);
}
BENCHMARK(public_ping_pong);

}  // namespace
