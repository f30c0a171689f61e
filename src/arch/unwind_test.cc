#include "arch/unwind.h"

#include <alloca.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unwind.h>

#include <algorithm>
#include <csetjmp>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

#include "arch/context.h"
#include "arch/modules.h"

extern "C" [[gnu::visibility("hidden")]] const char gort_v0_context_first[];

namespace {

namespace arch = gort::arch;
using Pcs = std::vector<std::uintptr_t>;

struct Loaded : testing::Environment {
  void SetUp() override { ASSERT_TRUE(arch::refresh_modules()); }
};
const auto* const kLoaded = testing::AddGlobalTestEnvironment(new Loaded);

arch::StackRange thread_range() {
  pthread_attr_t a;
  void* lo = nullptr;
  std::size_t n = 0;
  pthread_getattr_np(pthread_self(), &a);
  pthread_attr_getstack(&a, &lo, &n);
  pthread_attr_destroy(&a);
  const auto at = reinterpret_cast<std::uintptr_t>(lo);
  return {at, at + n};
}

void allow(arch::Cursor& c, arch::StackRange r) { ASSERT_TRUE(c.allow(r.lo, r.hi)); }

/// Walks to the end; the raw pcs.
Pcs walk(arch::Cursor& c) {
  Pcs out;
  do {
    out.push_back(c.pc);
  } while (out.size() < 100000 && arch::step(c));
  return out;
}

/// libgcc's walk from its caller. It reports an undefined return address as a last frame of pc 0.
[[gnu::noinline]] Pcs libgcc_walk() {
  Pcs out;
  _Unwind_Backtrace([](_Unwind_Context* c, void* arg) {
    static_cast<Pcs*>(arg)->push_back(_Unwind_GetIP(c));
    return _URC_NO_REASON;
  }, &out);
  while (!out.empty() && out.back() == 0) out.pop_back();
  return out;
}

/// Both walks start in the same function but at different calls: compares all frames above it.
void expect_same_callers(const Pcs& ours, const Pcs& theirs, std::uintptr_t first_common) {
  const auto a = std::find(ours.begin(), ours.end(), first_common);
  const auto b = std::find(theirs.begin(), theirs.end(), first_common);
  ASSERT_NE(a, ours.end());
  ASSERT_NE(b, theirs.end());
  EXPECT_EQ(Pcs(a, ours.end()), Pcs(b, theirs.end()));
}

bool passes_through(const Pcs& pcs, std::string_view module) {
  return std::any_of(pcs.begin(), pcs.end(), [module](std::uintptr_t pc) {
    const auto* m = arch::find_module(pc - 1);
    return m && std::string_view(m->path).find(module) != std::string_view::npos;
  });
}

bool in_context_first(std::uintptr_t pc) {
  const auto first = reinterpret_cast<std::uintptr_t>(gort_v0_context_first);
  return pc > first && pc < first + 64;
}

/// Both walks of one function's callers, taken on the way.
struct Both {
  arch::StackRange stack;
  Pcs ours{}, theirs{};
  arch::WalkEnd end = arch::WalkEnd::not_yet;
  std::uintptr_t caller = 0;
};

[[gnu::noinline]] void take_both(Both* b) {
  arch::Cursor c = arch::cursor_here();
  allow(c, b->stack);
  b->ours = walk(c);
  b->end = c.end;
  b->theirs = libgcc_walk();
  b->caller = reinterpret_cast<std::uintptr_t>(__builtin_return_address(0));
}

void expect_same(const Both& b) {
  EXPECT_EQ(b.end, arch::WalkEnd::bottom);
  expect_same_callers(b.ours, b.theirs, b.caller);
}

TEST(Unwind, ThisFunctionUpToTheProgramsStart) {
  Both b{.stack = thread_range()};
  take_both(&b);
  expect_same(b);
  EXPECT_GE(b.ours.size(), 5u);
  EXPECT_TRUE(passes_through(b.ours, "libc.so"));  // __libc_start_main
}

TEST(Unwind, OnAThreadToo) {
  std::thread([] {
    Both b{.stack = thread_range()};
    take_both(&b);
    expect_same(b);
  }).join();
}

TEST(Unwind, WithoutRangesTheStackIsTrusted) {
  arch::Cursor c = arch::cursor_here();
  EXPECT_GE(walk(c).size(), 5u);
  EXPECT_EQ(c.end, arch::WalkEnd::bottom);
}

Both* g_both;

TEST(Unwind, OutOfAComparatorThroughLibcsQsort) {
  Both b{.stack = thread_range()};
  g_both = &b;
  int v[] = {3, 1, 2};
  std::qsort(v, 3, sizeof v[0], [](const void* x, const void* y) {
    if (g_both->ours.empty()) take_both(g_both);
    return *static_cast<const int*>(x) - *static_cast<const int*>(y);
  });
  EXPECT_EQ(v[0], 1);
  expect_same(b);
}

/// A signal stack for the life of the object.
struct SignalStack {
  SignalStack() {
    const stack_t ss{.ss_sp = mem.get(), .ss_flags = 0, .ss_size = kBytes};
    sigaltstack(&ss, nullptr);
  }
  ~SignalStack() {
    const stack_t off{.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
    sigaltstack(&off, nullptr);
  }
  arch::StackRange range() const {
    const auto lo = reinterpret_cast<std::uintptr_t>(mem.get());
    return {lo, lo + kBytes};
  }
  static constexpr std::size_t kBytes = 256 * 1024;
  std::unique_ptr<char[]> mem{new char[kBytes]};
};

/// A handler for the life of the object.
struct Handler {
  Handler(int signo, void (*f)(int, siginfo_t*, void*), int flags) : sig(signo) {
    struct sigaction sa {};
    sa.sa_sigaction = f;
    sa.sa_flags = SA_SIGINFO | flags;
    sigaction(sig, &sa, &old);
  }
  ~Handler() { sigaction(sig, &old, nullptr); }
  int sig;
  struct sigaction old {};
};

struct FromHandler {
  arch::StackRange ranges[2];
  Pcs through, theirs, from_ucontext;
  arch::WalkEnd through_end, ucontext_end;
  std::uintptr_t interrupted;
};
FromHandler* g_from_handler;

void walk_from_handler(int, siginfo_t*, void* uc) {
  FromHandler& f = *g_from_handler;
  arch::Cursor here = arch::cursor_here();
  for (auto r : f.ranges) allow(here, r);
  f.through = walk(here);
  f.through_end = here.end;
  f.theirs = libgcc_walk();
  arch::Cursor there = arch::cursor_from_signal(uc);
  for (auto r : f.ranges) allow(there, r);
  f.interrupted = there.pc;
  f.from_ucontext = walk(there);
  f.ucontext_end = there.end;
}

void signal_frames(int flags) {
  SignalStack ss;
  FromHandler f{};
  f.ranges[0] = thread_range();
  f.ranges[1] = ss.range();
  g_from_handler = &f;
  {
    Handler h(SIGUSR1, walk_from_handler, flags);
    std::raise(SIGUSR1);
  }
  EXPECT_EQ(f.through_end, arch::WalkEnd::bottom);
  EXPECT_EQ(f.ucontext_end, arch::WalkEnd::bottom);
  expect_same_callers(f.through, f.theirs, f.interrupted);
  expect_same_callers(f.through, f.from_ucontext, f.interrupted);
  EXPECT_GE(f.from_ucontext.size(), 5u);
}

TEST(Unwind, ThroughASignalHandlersFrame) { signal_frames(0); }
TEST(Unwind, ThroughASignalHandlersFrameOnItsOwnStack) { signal_frames(SA_ONSTACK); }

sigjmp_buf g_back;

void walk_and_jump(int sig, siginfo_t* info, void* uc) {
  walk_from_handler(sig, info, uc);
  siglongjmp(g_back, 1);
}

[[gnu::noinline]] void call_nowhere(void (*f)()) {
  f();
  asm volatile("");
}

TEST(Unwind, ACallThroughANullPointerShowsItsCaller) {
  SignalStack ss;
  FromHandler f{};
  f.ranges[0] = thread_range();
  f.ranges[1] = ss.range();
  g_from_handler = &f;
  Both b{.stack = thread_range()};
  take_both(&b);
  {
    Handler h(SIGSEGV, walk_and_jump, SA_ONSTACK);
    void (*volatile nowhere)() = nullptr;
    if (sigsetjmp(g_back, 1) == 0) call_nowhere(nowhere);
  }
  EXPECT_EQ(f.ucontext_end, arch::WalkEnd::bottom);
  ASSERT_GE(f.from_ucontext.size(), 4u);
  EXPECT_EQ(f.from_ucontext[0], 0u);
  const auto in = reinterpret_cast<std::uintptr_t>(call_nowhere);
  EXPECT_GT(f.from_ucontext[1], in);
  EXPECT_LT(f.from_ucontext[1], in + 256);
  EXPECT_EQ(f.from_ucontext.size(), b.ours.size() + 1);
}

/// A context with a heap stack, which a walk may read.
struct Task {
  explicit Task(void (*f)(Task*)) : body(f) {
    arch::make_context(&self, mem.get() + kBytes, run, this);
  }
  void resume() { arch::switch_context(&maker, &self); }
  void park() { arch::switch_context(&self, &maker); }
  arch::StackRange range() const {
    const auto lo = reinterpret_cast<std::uintptr_t>(mem.get());
    return {lo, lo + kBytes};
  }
  arch::Cursor cursor() const {
    arch::Cursor c = arch::cursor_from_context(self);
    allow(c, range());
    return c;
  }

  static constexpr std::size_t kBytes = 256 * 1024;
  std::unique_ptr<char[]> mem{new char[kBytes]};
  arch::Context maker, self;
  void (*body)(Task*);
  Pcs theirs;
  std::uintptr_t caller = 0;

 private:
  static void run(void* arg) {
    auto* t = static_cast<Task*>(arg);
    t->body(t);
    t->park();
  }
};

[[gnu::noinline]] void park_at(Task* t, int depth) {
  if (depth > 0) {
    park_at(t, depth - 1);
  } else {
    t->theirs = libgcc_walk();
    t->caller = reinterpret_cast<std::uintptr_t>(__builtin_return_address(0));
    t->park();
  }
  asm volatile("");
}

TEST(Unwind, AParkedContext) {
  Task t([](Task* self) { park_at(self, 7); });
  t.resume();
  arch::Cursor c = t.cursor();
  const Pcs ours = walk(c);
  EXPECT_EQ(c.end, arch::WalkEnd::bottom);
  expect_same_callers(ours, t.theirs, t.caller);
  EXPECT_GE(ours.size(), 9u);
  EXPECT_TRUE(in_context_first(ours.back()));
  t.resume();
}

TEST(Unwind, AContextThatNeverRanIsItsFirstFrameAlone) {
  Task t([](Task*) {});
  arch::Cursor c = t.cursor();
  const Pcs ours = walk(c);
  EXPECT_EQ(c.end, arch::WalkEnd::bottom);
  ASSERT_EQ(ours.size(), 1u);
  EXPECT_TRUE(in_context_first(ours[0]));
}

TEST(Unwind, ARunningContextEndsExactlyAtItsFirstFrame) {
  static Both b;
  b = {};
  Task t([](Task* self) {
    b.stack = self->range();
    take_both(&b);
  });
  t.resume();
  expect_same(b);
  EXPECT_TRUE(in_context_first(b.ours.back()));
}

TEST(Unwind, FromAnotherStackIntoTheCallers) {
  static Both b;
  b = {.stack = thread_range()};
  const auto system = std::make_unique<char[]>(64 * 1024);
  const auto lo = reinterpret_cast<std::uintptr_t>(system.get());
  static arch::StackRange other;
  other = {lo, lo + 64 * 1024};
  arch::call_on_stack(system.get() + 64 * 1024, [](void*) {
    arch::Cursor c = arch::cursor_here();
    allow(c, other);
    allow(c, b.stack);
    b.ours = walk(c);
    b.end = c.end;
    b.theirs = libgcc_walk();
    b.caller = reinterpret_cast<std::uintptr_t>(__builtin_return_address(0));
    std::uintptr_t pcs[64];
    EXPECT_EQ(arch::collect_fp(c, pcs, 64), 1u) << "c stands at the walk's end";
  }, nullptr);
  expect_same(b);
  EXPECT_TRUE(passes_through(b.ours, "libc.so"));
}

TEST(Unwind, AForbiddenStackEndsTheWalk) {
  const auto system = std::make_unique<char[]>(64 * 1024);
  const auto lo = reinterpret_cast<std::uintptr_t>(system.get());
  static arch::StackRange other;
  other = {lo, lo + 64 * 1024};
  arch::call_on_stack(system.get() + 64 * 1024, [](void*) {
    arch::Cursor c = arch::cursor_here();
    allow(c, other);
    EXPECT_LE(walk(c).size(), 3u);
    EXPECT_EQ(c.end, arch::WalkEnd::lost);
  }, nullptr);
}

// A tree of calls of random shape, of functions that make their frames in different ways. GCC
// leaves out the frame pointer here; Clang has no such switch within a file, so there libc alone
// stands for it.
#if !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("omit-frame-pointer")
#endif

struct Tree {
  std::minstd_rand random{12345};
  Both both;
  int walks = 0;

  unsigned pick(unsigned n) { return static_cast<unsigned>(random() % n); }
  void branch(int depth);
};

volatile char g_sink;

[[gnu::noinline]] void small_frame(Tree* t, int depth) {
  t->branch(depth);
  g_sink = 1;
}

[[gnu::noinline]] void big_frame(Tree* t, int depth) {
  volatile char big[5000];
  big[t->pick(5000)] = 1;
  t->branch(depth);
  g_sink = big[t->pick(5000)];
}

[[gnu::noinline]] void dynamic_frame(Tree* t, int depth) {
  const std::size_t n = 1 + t->pick(700);
  auto* p = static_cast<volatile char*>(alloca(n));
  p[n - 1] = 1;
  t->branch(depth);
  g_sink = p[n - 1];
}

[[gnu::noinline]] void realigned_frame(Tree* t, int depth) {
  alignas(128) volatile char aligned[256];
  aligned[t->pick(256)] = 1;
  t->branch(depth);
  g_sink = aligned[0];
}

[[gnu::noinline]] void realigned_dynamic_frame(Tree* t, int depth, int a, int b, int c, int d,
                                               int e, int f) {
  alignas(64) volatile char aligned[64];
  auto* p = static_cast<volatile char*>(alloca(1 + t->pick(100)));
  p[0] = static_cast<char>(a + b + c + d + e + f);
  aligned[1] = p[0];
  t->branch(depth);
  g_sink = static_cast<char>(aligned[1] + p[0] + f);
}

[[gnu::noinline]] void many_registers(Tree* t, int depth) {
  unsigned long a = t->pick(9), b = t->pick(9), c = t->pick(9), d = t->pick(9), e = t->pick(9),
                f = t->pick(9);
  t->branch(depth);
  asm volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
  t->branch(depth - 1);
  g_sink = static_cast<char>(a + b + c + d + e + f);
}

void Tree::branch(int depth) {
  if (depth <= 0 || pick(12) == 0) {
    take_both(&both);
    expect_same(both);
    ++walks;
    return;
  }
  switch (pick(7)) {
    case 0: small_frame(this, depth - 1); break;
    case 1: big_frame(this, depth - 1); break;
    case 2: dynamic_frame(this, depth - 1); break;
    case 3: realigned_frame(this, depth - 1); break;
    case 4: realigned_dynamic_frame(this, depth - 1, 1, 2, 3, 4, 5, 6); break;
    case 5: many_registers(this, depth - 2); break;
    default: {
      struct Arg {
        Tree* t;
        int depth;
      };
      static Arg arg;
      arg = {this, depth - 1};
      const int key = 0, list[] = {0};
      std::bsearch(&key, list, 1, sizeof key, [](const void*, const void*) {
        small_frame(arg.t, arg.depth);
        return 0;
      });
    }
  }
  g_sink = 3;
}

#if !defined(__clang__)
#pragma GCC pop_options
#endif

TEST(Unwind, RandomTreesOfFrames) {
  Tree t;
  t.both.stack = thread_range();
  for (int i = 0; i < 300 && !HasFailure(); ++i) t.branch(3 + static_cast<int>(t.pick(30)));
  EXPECT_GT(t.walks, 300);
}

// Wherever the registers point and whatever the stack holds, a walk reads its ranges only (the
// pages around fault), and ends.
TEST(Unwind, BrokenStacksEndTheWalk) {
  constexpr std::size_t kPage = 4096, kPages = 4;
  void* area = mmap(nullptr, kPage * (kPages + 2), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(area, MAP_FAILED);
  auto* words = reinterpret_cast<std::uintptr_t*>(static_cast<char*>(area) + kPage);
  ASSERT_EQ(mprotect(words, kPage * kPages, PROT_READ | PROT_WRITE), 0);
  const std::size_t n = kPage * kPages / sizeof *words;
  const auto lo = reinterpret_cast<std::uintptr_t>(words);
  const auto hi = lo + kPage * kPages;
  std::mt19937_64 random(99);
  const auto all = arch::modules();
  const auto code = [&] {
    const auto& m = all.first[random() % all.count];
    return m.text_lo + random() % (m.text_hi - m.text_lo);
  };
  const auto word = [&]() -> std::uintptr_t {
    switch (random() % 8) {
      case 0: return random();
      case 1: return random() % 64;
      case 2:
      case 3: return code();
      default: return lo - 64 + random() % (hi - lo + 128) / 8 * 8;
    }
  };
  std::size_t steps = 0, longest = 0;
  for (int round = 0; round < 3000; ++round) {
    if (round % 10 == 0) std::generate(words, words + n, word);
    arch::Cursor c;
    c.allow(lo, hi);
    for (auto& r : c.regs.value) r = word();
    c.regs.known = ~std::uint64_t{0};
    c.regs.value[arch::reg::kSp] = lo + random() % n * sizeof *words;
    c.pc = random() % 8 ? code() : word();
    c.exact = random() % 2;
    std::uintptr_t pcs[8];
    EXPECT_LE(arch::collect_fp(c, pcs, 8), 8u);
    std::size_t here = 0;
    while (arch::step(c)) ++here;
    EXPECT_NE(c.end, arch::WalkEnd::not_yet);
    EXPECT_LE(here, n);
    steps += here;
    longest = std::max(longest, here);
  }
  EXPECT_GT(steps, 1000u) << "the words are too wild to test anything";
  EXPECT_GT(longest, 5u);
  munmap(area, kPage * (kPages + 2));
}

[[gnu::noinline]] void framed(int depth, arch::StackRange stack, Pcs* by_cfi, Pcs* by_fp) {
  if (depth > 0) {
    framed(depth - 1, stack, by_cfi, by_fp);
  } else {
    arch::Cursor c = arch::cursor_here();
    allow(c, stack);
    by_cfi->resize(64);
    by_fp->resize(64);
    by_cfi->resize(arch::collect(c, by_cfi->data(), 64));
    by_fp->resize(arch::collect_fp(c, by_fp->data(), 64));
  }
  asm volatile("");
}

TEST(Unwind, FramePointersShowTheSameFrames) {
  Pcs by_cfi, by_fp;
  framed(20, thread_range(), &by_cfi, &by_fp);
  ASSERT_GE(by_fp.size(), 21u);
  by_cfi.resize(21);
  by_fp.resize(21);
  EXPECT_EQ(by_cfi, by_fp);
}

TEST(Unwind, CollectStopsAtItsLimit) {
  std::uintptr_t pcs[3] = {0, 0, 7};
  arch::Cursor c = arch::cursor_here();
  allow(c, thread_range());
  EXPECT_EQ(arch::collect(c, pcs, 2), 2u);
  EXPECT_EQ(pcs[2], 7u);
  EXPECT_EQ(arch::collect(c, pcs, 0), 0u);
  EXPECT_EQ(arch::collect_fp(c, pcs, 1), 1u);
  EXPECT_EQ(arch::collect_fp(c, pcs, 0), 0u);
  EXPECT_EQ(pcs[0], c.pc + 1) << "an exact pc is stored one further, as return addresses stand";
}

}  // namespace
