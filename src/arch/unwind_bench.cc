// What a walk of 32 frames costs: by unwind tables, by frame pointers, and by libgcc.
#include <benchmark/benchmark.h>
#include <pthread.h>
#include <unwind.h>

#include <cstdint>

#include "arch/modules.h"
#include "arch/unwind.h"

namespace {

namespace arch = gort::arch;

constexpr std::size_t kFrames = 32;
std::uintptr_t g_pcs[kFrames];
arch::StackRange g_stack;

void per_frame(benchmark::State& state) {
  state.counters["ns/frame"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * kFrames / 1e9,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

template <class F>
[[gnu::noinline]] void deep(std::size_t n, const F& at_the_bottom) {
  if (n == 0) {
    at_the_bottom();
  } else {
    deep(n - 1, at_the_bottom);
  }
  asm volatile("");
}

template <class F>
void run(benchmark::State& state, F walk) {
  pthread_attr_t a;
  void* lo = nullptr;
  std::size_t n = 0;
  pthread_getattr_np(pthread_self(), &a);
  pthread_attr_getstack(&a, &lo, &n);
  pthread_attr_destroy(&a);
  g_stack = {reinterpret_cast<std::uintptr_t>(lo), reinterpret_cast<std::uintptr_t>(lo) + n};
  arch::refresh_modules();
  deep(kFrames + 2, [&] {
    for (auto _ : state) walk();
  });
  per_frame(state);
}

void by_tables(benchmark::State& state) {
  run(state, [] {
    arch::Cursor c = arch::cursor_here();
    c.allow(g_stack.lo, g_stack.hi);
    benchmark::DoNotOptimize(arch::collect(c, g_pcs, kFrames));
  });
}
BENCHMARK(by_tables);

void by_frame_pointers(benchmark::State& state) {
  run(state, [] {
    arch::Cursor c = arch::cursor_here();
    c.allow(g_stack.lo, g_stack.hi);
    benchmark::DoNotOptimize(arch::collect_fp(c, g_pcs, kFrames));
  });
}
BENCHMARK(by_frame_pointers);

void by_libgcc(benchmark::State& state) {
  run(state, [] {
    std::size_t n = 0;
    _Unwind_Backtrace([](_Unwind_Context* c, void* arg) {
      auto& i = *static_cast<std::size_t*>(arg);
      g_pcs[i++] = _Unwind_GetIP(c);
      return i < kFrames ? _URC_NO_REASON : _URC_NORMAL_STOP;
    }, &n);
  });
}
BENCHMARK(by_libgcc);

}  // namespace

BENCHMARK_MAIN();
