// The unwinder at every single instruction: the trap flag makes the processor raise SIGTRAP after
// each instruction of a program that goes through context switches, libc, the loader's lazy
// binding, the vdso and C++ exceptions. At each, our walk from the signal's registers must see what
// libgcc's walk sees through the signal frame.
#include <gtest/gtest.h>

#if defined(__x86_64__)

#include <pthread.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "arch/context.h"
#include "arch/modules.h"
#include "arch/unwind.h"

extern "C" {
[[gnu::visibility("hidden")]] extern const char gort_v0_context_first[];
[[gnu::visibility("hidden")]] extern const char gort_v0_context_start[];
}

namespace {

namespace arch = gort::arch;

constexpr std::size_t kMaxFrames = 200;
constexpr std::size_t kStack = 256 * 1024;

alignas(16) char g_task_stack[kStack];
alignas(16) char g_system_stack[kStack];
alignas(16) char g_signal_stack[kStack];
arch::StackRange g_thread;

struct Frames {
  std::uintptr_t pc[kMaxFrames];
  std::size_t n;
};

struct Result {
  Frames ours, theirs;
  arch::WalkEnd end;
  std::uintptr_t pc, sp;
};

struct Tally {
  std::size_t traps, samples, different, not_bottom, lost_in_landing, wrong_stack, in_switch,
      in_first, in_call, fp_frames;
  Result first_different, first_not_bottom;
};
Tally g_tally;
std::size_t g_stride = 1;  ///< looks at each g_stride-th instruction
volatile bool g_stop;

void allow(arch::Cursor& c) {
  const auto add = [&c](const char* lo) {
    c.allow(reinterpret_cast<std::uintptr_t>(lo), reinterpret_cast<std::uintptr_t>(lo) + kStack);
  };
  c.allow(g_thread.lo, g_thread.hi);
  add(g_task_stack);
  add(g_system_stack);
  add(g_signal_stack);
}

/// libgcc's frames above the signal frame. No malloc: the program may be in the middle of it.
[[gnu::noinline]] void libgcc_walk(Frames* f, std::uintptr_t interrupted) {
  f->n = 0;
  _Unwind_Backtrace([](_Unwind_Context* c, void* arg) {
    auto* out = static_cast<Frames*>(arg);
    if (out->n == kMaxFrames) return _URC_NORMAL_STOP;
    out->pc[out->n++] = _Unwind_GetIP(c);
    return _URC_NO_REASON;
  }, f);
  while (f->n > 0 && f->pc[f->n - 1] == 0) --f->n;
  auto* end = f->pc + f->n;
  auto* from = std::find(f->pc, end, interrupted);
  std::copy(from, end, f->pc);
  f->n = static_cast<std::size_t>(end - from);
}

bool within(std::uintptr_t pc, const void* begin, std::size_t n) {
  return pc - reinterpret_cast<std::uintptr_t>(begin) < n;
}

// What the switch's rules say of the caller's registers: switch_with_pattern gives each register a
// value that tells it and its side, and one step up from any instruction of the switch must find
// these.
constexpr unsigned kKept[] = {3, 6, 12, 13, 14, 15};  // rbx rbp r12 ... r15
constexpr std::uintptr_t kMainPattern = 0xaaaa0000, kTaskPattern = 0xbbbb0000;
bool g_look_at_registers;

[[gnu::noinline]] void switch_with_pattern(arch::Context* from, arch::Context* to,
                                           std::uintptr_t pattern) {
  asm volatile(
      "leaq -128(%%rsp), %%rsp\n\t"  // the compiler may keep locals in the red zone
      "pushq %%rbp\n\t"
      "leaq 3(%%rdx), %%rbx\n\t"
      "leaq 6(%%rdx), %%rbp\n\t"
      "leaq 12(%%rdx), %%r12\n\t"
      "leaq 13(%%rdx), %%r13\n\t"
      "leaq 14(%%rdx), %%r14\n\t"
      "leaq 15(%%rdx), %%r15\n\t"
      "call *%%rax\n\t"
      "popq %%rbp\n\t"
      "leaq 128(%%rsp), %%rsp"
      : "+D"(from), "+S"(to), "+d"(pattern)
      : "a"(arch::gort_v0_switch)
      : "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
}

void look_at_registers(ucontext_t* uc) {
  arch::Cursor c = arch::cursor_from_signal(uc);
  if (!within(c.pc, reinterpret_cast<const void*>(arch::gort_v0_switch), 0x80)) return;
  allow(c);
  const bool on_task = within(c.sp() - 1, g_task_stack, kStack);
  ++g_tally.in_switch;
  if (!arch::step(c)) ++g_tally.not_bottom;
  for (unsigned r : kKept) {
    g_tally.different += c.regs.value[r] != (on_task ? kTaskPattern : kMainPattern) + r;
  }
}

void on_trap(int, siginfo_t*, void* arg) {
  auto* uc = static_cast<ucontext_t*>(arg);
  if (g_stop) {
    uc->uc_mcontext.gregs[REG_EFL] &= ~0x100;
    return;
  }
  if (g_look_at_registers) return look_at_registers(uc);
  if (g_tally.traps++ % g_stride != 0) return;
  static Result r;
  arch::Cursor c = arch::cursor_from_signal(uc);
  allow(c);
  r.pc = c.pc;
  r.sp = c.sp();
  std::uintptr_t by_fp[kMaxFrames];
  g_tally.fp_frames +=
      arch::collect_fp(c, by_fp, kMaxFrames);  // must not fault, wherever rbp points
  r.ours.n = 0;
  do {
    r.ours.pc[r.ours.n++] = c.pc;
  } while (r.ours.n < kMaxFrames && arch::step(c));
  r.end = c.end;
  libgcc_walk(&r.theirs, r.pc);
  Tally& t = g_tally;
  ++t.samples;
  t.in_switch += within(r.pc, reinterpret_cast<const void*>(arch::gort_v0_switch), 0x80);
  t.in_call += within(r.pc, reinterpret_cast<const void*>(arch::gort_v0_call_on_stack), 0x20);
  t.in_first += within(r.pc, gort_v0_context_first, 0x10);
  // The oracle reads the same tables, so a fault in our assembly's would fool both. But a walk must
  // end on the stack that it began on: in the context's first frame if, and only if, sp is on its
  // stack.
  const bool on_task = within(r.sp - 1, g_task_stack, kStack);
  t.wrong_stack += on_task != within(r.ours.pc[r.ours.n - 1], gort_v0_context_first, 0x20);
  if (r.end != arch::WalkEnd::bottom) {
    // libgcc lands in a handler by restoring its registers first and the stack pointer last; its
    // own tables do not describe that, so for a few instructions of each catch nobody can walk.
    const auto* m = arch::find_module(r.pc);
    if (m && std::strstr(m->path, "libgcc_s")) {
      ++t.lost_in_landing;
    } else if (t.not_bottom++ == 0) {
      t.first_not_bottom = r;
    }
  }
  if ((r.ours.n != r.theirs.n || !std::equal(r.ours.pc, r.ours.pc + r.ours.n, r.theirs.pc)) &&
      t.different++ == 0) {
    t.first_different = r;
  }
}

void on_start(int, siginfo_t*, void* arg) {
  static_cast<ucontext_t*>(arg)->uc_mcontext.gregs[REG_EFL] |= 0x100;
}

void print(const char* what, const Result& r) {
  const auto frames = [](const char* whose, const Frames& f) {
    for (std::size_t i = 0; i < f.n; ++i) {
      const auto* m = arch::find_module(f.pc[i]);
      std::printf("    %s %#lx %s+%#lx\n", whose, f.pc[i], m ? m->path : "?",
                  m ? f.pc[i] - m->base : 0);
    }
  };
  std::printf("%s: pc %#lx sp %#lx\n", what, r.pc, r.sp);
  frames("ours  ", r.ours);
  frames("libgcc", r.theirs);
}

template <class F>
void single_step(F program, std::size_t stride = 1) {
  pthread_attr_t a;
  void* lo = nullptr;
  std::size_t n = 0;
  pthread_getattr_np(pthread_self(), &a);
  pthread_attr_getstack(&a, &lo, &n);
  pthread_attr_destroy(&a);
  g_thread = {reinterpret_cast<std::uintptr_t>(lo), reinterpret_cast<std::uintptr_t>(lo) + n};
  ASSERT_TRUE(arch::refresh_modules());
  static Frames warm;
  libgcc_walk(&warm, 0);

  const stack_t ss{.ss_sp = g_signal_stack, .ss_flags = 0, .ss_size = kStack};
  ASSERT_EQ(sigaltstack(&ss, nullptr), 0);
  struct sigaction trap {}, start {};
  trap.sa_sigaction = on_trap;
  start.sa_sigaction = on_start;
  trap.sa_flags = start.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGTRAP, &trap, nullptr);
  sigaction(SIGUSR2, &start, nullptr);
  g_tally = {};
  g_stride = stride;
  g_stop = false;
  std::raise(SIGUSR2);
  program();
  g_stop = true;
  asm volatile("nop");
  std::signal(SIGTRAP, SIG_DFL);
  std::signal(SIGUSR2, SIG_DFL);

  const Tally& t = g_tally;
  std::printf("%zu walks, %zu differ from libgcc's, %zu did not reach the bottom\n", t.samples,
              t.different, t.not_bottom);
  EXPECT_EQ(t.different, 0u);
  EXPECT_EQ(t.not_bottom, 0u);
  EXPECT_EQ(t.wrong_stack, 0u);
  EXPECT_LE(t.lost_in_landing, 60u);
  if (t.different) print("first difference", t.first_different);
  if (t.not_bottom) print("first lost walk", t.first_not_bottom);
}

struct Pair {
  arch::Context main, task;
};

TEST(UnwindEverywhere, SwitchesAndStackCalls) {
  static Pair p;
  static volatile int turns;
  turns = 0;
  single_step([] {
    arch::make_context(&p.task, g_task_stack + kStack, [](void*) {
      for (;;) {
        turns = turns + 1;
        arch::switch_context(&p.task, &p.main);
      }
    }, nullptr);
    for (int i = 0; i < 3; ++i) {
      arch::switch_context(&p.main, &p.task);
      arch::call_on_stack(g_system_stack + kStack, [](void*) { turns = turns + 10; }, nullptr);
    }
  });
  EXPECT_EQ(turns, 33);
  EXPECT_GE(g_tally.in_switch, 6 * 20u);
  EXPECT_GE(g_tally.in_first, 3u);
  EXPECT_GE(g_tally.in_call, 3 * 8u);
}

TEST(UnwindEverywhere, TheSwitchsRulesFindTheCallersRegisters) {
  static Pair p;
  arch::make_context(&p.task, g_task_stack + kStack, [](void*) {
    for (;;) switch_with_pattern(&p.task, &p.main, kTaskPattern);
  }, nullptr);
  arch::switch_context(&p.main, &p.task);  // so that the task has registers to come back to
  g_look_at_registers = true;
  single_step([] {
    for (int i = 0; i < 3; ++i) switch_with_pattern(&p.main, &p.task, kMainPattern);
  });
  g_look_at_registers = false;
  EXPECT_GE(g_tally.in_switch, 6 * 20u);
}

TEST(UnwindEverywhere, LibcAndTheLoader) {
  single_step([] {
    char text[200];
    std::snprintf(text, sizeof text, "%d %s %.17g %Lg %p", 42, "words", 0.1, 1.25L,
                  static_cast<void*>(text));
    void* blocks[20];
    for (std::size_t i = 0; i < 20; ++i) blocks[i] = std::malloc(i * i * 100);
    for (void* b : blocks) std::free(b);
    int v[64];
    for (int i = 0; i < 64; ++i) v[i] = i * 37 % 64;
    std::qsort(v, 64, sizeof v[0], [](const void* a, const void* b) {
      return *static_cast<const int*>(a) - *static_cast<const int*>(b);
    });
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);  // the vdso
    const std::time_t when = 1000000000;
    std::tm parts;
    gmtime_r(&when, &parts);
    std::strftime(text, sizeof text, "%A %c", &parts);
    std::strtod("3.14159265358979", nullptr);
    std::memmove(text + 1, text, 100);
    getpid();
  });
  EXPECT_GT(g_tally.samples, 5000u);
}

[[gnu::noinline]] void throw_deep(int n) {
  std::string local = "a string long enough to be in memory of its own";
  if (n == 0) throw std::runtime_error(local);
  throw_deep(n - 1);
}

TEST(UnwindEverywhere, CxxLibraryAndExceptions) {
  single_step([] {
    std::map<std::string, std::vector<int>> m;
    for (int i = 0; i < 20; ++i) m[std::to_string(i * 7919)].push_back(i);
    std::string all;
    for (const auto& [k, v] : m) all += k;
    try {
      throw_deep(3);
    } catch (const std::exception& e) {
      all += e.what();
    }
  }, 5);
  EXPECT_GT(g_tally.samples, 5000u);
}

}  // namespace

#else
TEST(UnwindEverywhere, OnlyX86HasATrapFlag) {
  GTEST_SKIP() << "no single stepping in process on this CPU";
}
#endif
