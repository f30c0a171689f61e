// The raw switch beside Boost.Context's: two contexts that only switch to each other. One iteration
// is a round trip, two switches; the counter `ns/switch` is half of it. Read the ratio of the two
// rows, from one run.
#include <benchmark/benchmark.h>
#include <boost/context/detail/fcontext.hpp>

#include <array>
#include <cstddef>

#include "arch/context.h"

namespace {

namespace arch = gort::arch;
namespace bc = boost::context::detail;

alignas(16) std::array<char, 64 * 1024> stack;

void per_switch(benchmark::State& state) {
  state.counters["ns/switch"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * 2 / 1e9,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

struct Pair {
  arch::Context main, other;
};

void echo(void* arg) {
  auto* p = static_cast<Pair*>(arg);
  for (;;) arch::switch_context(&p->other, &p->main);
}

void gort_switch(benchmark::State& state) {
  Pair p;
  arch::make_context(&p.other, stack.data() + stack.size(), echo, &p);
  for (auto _ : state) arch::switch_context(&p.main, &p.other);
  per_switch(state);
}
BENCHMARK(gort_switch);

// The same leaving by a jump.
void echo_jump(void* arg) {
  auto* p = static_cast<Pair*>(arg);
  for (;;) arch::switch_context_jump(&p->other, &p->main);
}

void gort_switch_jump(benchmark::State& state) {
  Pair p;
  arch::make_context(&p.other, stack.data() + stack.size(), echo_jump, &p);
  for (auto _ : state) arch::switch_context_jump(&p.main, &p.other);
  per_switch(state);
}
BENCHMARK(gort_switch_jump);

// The other side runs with another rounding mode: every switch loads MXCSR.
void gort_switch_other_rounding(benchmark::State& state) {
  Pair p;
  const unsigned before = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(before ^ 0x2000);
  arch::make_context(&p.other, stack.data() + stack.size(), echo, &p);
  __builtin_ia32_ldmxcsr(before);
  for (auto _ : state) arch::switch_context(&p.main, &p.other);
  per_switch(state);
}
BENCHMARK(gort_switch_other_rounding);

void nothing(void* arg) { benchmark::DoNotOptimize(arg); }

void gort_call_on_stack(benchmark::State& state) {
  for (auto _ : state) arch::call_on_stack(stack.data() + stack.size(), nothing, &state);
}
BENCHMARK(gort_call_on_stack);

void boost_echo(bc::transfer_t t) {
  for (;;) t = bc::jump_fcontext(t.fctx, nullptr);
}

void boost_fcontext(benchmark::State& state) {
  bc::transfer_t t{bc::make_fcontext(stack.data() + stack.size(), stack.size(), boost_echo),
                   nullptr};
  for (auto _ : state) t = bc::jump_fcontext(t.fctx, nullptr);
  per_switch(state);
}
BENCHMARK(boost_fcontext);

}  // namespace

BENCHMARK_MAIN();
