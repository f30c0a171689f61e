#include "arch/context.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <unwind.h>

#include <cfenv>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

extern "C" [[gnu::visibility("hidden")]] const char gort_v0_context_first[];

namespace {

namespace arch = gort::arch;
namespace frame = gort::arch::saved_frame;

struct Stack {
  explicit Stack(std::size_t n = 256 * 1024) : bytes(n), mem(new char[n]) {}
  char* lo() const { return mem.get(); }
  char* hi() const { return mem.get() + bytes; }
  bool contains(const void* p) const { return p >= lo() && p < hi(); }
  std::size_t bytes;
  std::unique_ptr<char[]> mem;
};

/// A context that runs one function object and then goes back to its maker for good.
struct Task {
  arch::Context maker, self;
  Stack stack;
  void (*body)(Task&);
  void* extra;
  bool done = false;

  explicit Task(void (*f)(Task&), void* x = nullptr, std::size_t n = 256 * 1024)
      : stack(n), body(f), extra(x) {
    arch::make_context(&self, stack.hi(), run, this);
  }
  void resume() { arch::switch_context(&maker, &self); }
  void yield() { arch::switch_context(&self, &maker); }

 private:
  static void run(void* arg) {
    auto& t = *static_cast<Task*>(arg);
    t.body(t);
    t.done = true;
    t.yield();
  }
};

TEST(Context, EntryGetsItsArgumentOnTheGivenStack) {
  const void* seen = nullptr;
  Task t([](Task& self) {
    char local = 0;
    EXPECT_TRUE(self.stack.contains(&local));
    *static_cast<const void**>(self.extra) = &self;
  }, &seen);
  t.resume();
  EXPECT_TRUE(t.done);
  EXPECT_EQ(seen, &t);
}

TEST(Context, RoundTripsKeepLocals) {
  std::vector<int> got;
  Task t([](Task& self) {
    auto& out = *static_cast<std::vector<int>*>(self.extra);
    for (int i = 0; i < 1000; ++i) {
      out.push_back(i);
      self.yield();
    }
  }, &got);
  for (int i = 0; i < 1000; ++i) {
    t.resume();
    ASSERT_EQ(got.size(), std::size_t(i + 1));
    ASSERT_EQ(got.back(), i);
  }
  t.resume();
  EXPECT_TRUE(t.done);
}

TEST(Context, SwitchToItselfReturnsAtOnce) {
  arch::Context c;
  arch::switch_context(&c, &c);
  EXPECT_NE(c.sp, nullptr);
}

TEST(Context, MakeTouchesOnlyTheTop) {
  Stack s(8192);
  std::memset(s.lo(), 0x5a, s.bytes);
  for (std::size_t skew = 0; skew < 16; ++skew) {
    arch::Context c;
    arch::make_context(&c, s.hi() - skew, [](void*) {}, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(c.sp) % 16, 0u);
    EXPECT_GE(static_cast<char*>(c.sp) + frame::kMadeBytes + 15, s.hi() - skew);
    EXPECT_LE(static_cast<char*>(c.sp) + frame::kMadeBytes, s.hi() - skew);
  }
  const std::size_t untouched = s.bytes - frame::kMadeBytes - 32;
  for (std::size_t i = 0; i < untouched; ++i) ASSERT_EQ(s.lo()[i], 0x5a) << i;
}

// rsp + 8 is a multiple of 16 at a function's first instruction; compilers rely on it for movaps.
TEST(Context, StackIsAlignedAtEntryWhateverTheTop) {
  for (std::size_t skew = 0; skew < 32; ++skew) {
    struct Arg {
      arch::Context maker, self;
      float sum = 0;
    } a;
    Stack s;
    arch::make_context(&a.self, s.hi() - skew, [](void* arg) {
      auto* p = static_cast<Arg*>(arg);
      alignas(16) volatile float v[4] = {1, 2, 3, 4};
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) % 16, 0u);
      asm volatile("movaps %0, %%xmm0" : : "m"(*const_cast<float(*)[4]>(&v)) : "xmm0");
      for (float f : v) p->sum += f;
      arch::switch_context(&p->self, &p->maker);
    }, &a);
    arch::switch_context(&a.maker, &a.self);
    EXPECT_EQ(a.sum, 10);
  }
}

TEST(Context, CallOnStackRunsThereAndComesBack) {
  Stack s;
  for (std::size_t skew = 0; skew < 16; ++skew) {
    struct Arg {
      const Stack* s;
      int calls = 0;
    } a{&s};
    arch::call_on_stack(s.hi() - skew, [](void* p) {
      alignas(16) char local[16] = {};
      auto* in = static_cast<Arg*>(p);
      EXPECT_TRUE(in->s->contains(local));
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) % 16, 0u);
      ++in->calls;
    }, &a);
    EXPECT_EQ(a.calls, 1);
  }
}

// Puts known values into every register that a function must keep, switches, and looks at them.
struct Kept {
  std::uintptr_t before[6], after[6];
};

[[gnu::noinline]] void switch_with_known_registers(Kept* k, arch::Context* from,
                                                   arch::Context* to) {
#if defined(__x86_64__)
  // rbp cannot be named as clobbered where it is the frame pointer: it is saved by hand.
  asm volatile(
      "leaq -128(%%rsp), %%rsp\n\t"  // the compiler may keep locals in the red zone
      "pushq %%rbp\n\t"
      "pushq %%rdx\n\t"
      "movq 0(%%rdx), %%rbx\n\t"
      "movq 8(%%rdx), %%rbp\n\t"
      "movq 16(%%rdx), %%r12\n\t"
      "movq 24(%%rdx), %%r13\n\t"
      "movq 32(%%rdx), %%r14\n\t"
      "movq 40(%%rdx), %%r15\n\t"
      "call *%%rax\n\t"
      "popq %%rdx\n\t"
      "movq %%rbx, 48(%%rdx)\n\t"
      "movq %%rbp, 56(%%rdx)\n\t"
      "movq %%r12, 64(%%rdx)\n\t"
      "movq %%r13, 72(%%rdx)\n\t"
      "movq %%r14, 80(%%rdx)\n\t"
      "movq %%r15, 88(%%rdx)\n\t"
      "popq %%rbp\n\t"
      "leaq 128(%%rsp), %%rsp"
      : "+D"(from), "+S"(to), "+d"(k)
      : "a"(arch::gort_v0_switch)
      : "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc", "xmm0",
        "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
        "xmm12", "xmm13", "xmm14", "xmm15");
#endif
}

#if defined(__x86_64__)
TEST(Context, EveryCalleeSavedRegisterIsKeptOnBothSides) {
  struct Arg {
    arch::Context maker, self;
    Kept kept;
  } a;
  Stack s;
  arch::make_context(&a.self, s.hi(), [](void* arg) {
    auto* p = static_cast<Arg*>(arg);
    for (std::uintptr_t i = 0; i < 6; ++i) p->kept.before[i] = 0xbbbb0000 + i;
    for (;;) switch_with_known_registers(&p->kept, &p->self, &p->maker);
  }, &a);
  for (std::uintptr_t round = 0; round < 4; ++round) {
    Kept mine{};
    std::memset(a.kept.after, 0, sizeof a.kept.after);
    for (std::uintptr_t i = 0; i < 6; ++i) mine.before[i] = 0xaaaa0000 + 16 * round + i;
    switch_with_known_registers(&mine, &a.maker, &a.self);
    for (int i = 0; i < 6; ++i) {
      EXPECT_EQ(mine.before[i], mine.after[i])
          << "register " << i << " of the maker, round " << round;
      if (round == 0) continue;
      EXPECT_EQ(a.kept.before[i], a.kept.after[i]) << "register " << i << " of the context";
    }
  }
}

std::uint16_t x87_control() {
  std::uint16_t w;
  asm volatile("fnstcw %0" : "=m"(w));
  return w;
}
void set_x87_control(std::uint16_t w) { asm volatile("fldcw %0" : : "m"(w)); }

TEST(Context, ControlWordsBelongToTheContext) {
  struct Seen {
    unsigned mxcsr;
    std::uint16_t x87;
  } seen[3] = {};
  const unsigned mxcsr = __builtin_ia32_stmxcsr();
  const std::uint16_t x87 = x87_control();
  __builtin_ia32_ldmxcsr(mxcsr ^ 0x2000);  // a rounding mode of its own, inherited from its maker
  Task t([](Task& self) {
    auto* out = static_cast<Seen*>(self.extra);
    out[0] = {__builtin_ia32_stmxcsr(), x87_control()};
    __builtin_ia32_ldmxcsr(out[0].mxcsr ^ 0x8000);
    set_x87_control(out[0].x87 ^ 0x0800);
    self.yield();
    out[1] = {__builtin_ia32_stmxcsr(), x87_control()};
    self.yield();
    out[2] = {__builtin_ia32_stmxcsr(), x87_control()};
  }, seen);
  __builtin_ia32_ldmxcsr(mxcsr);
  for (int i = 0; i < 3; ++i) {
    t.resume();
    EXPECT_EQ(__builtin_ia32_stmxcsr(), mxcsr);
    EXPECT_EQ(x87_control(), x87);
  }
  EXPECT_TRUE(t.done);
  EXPECT_EQ(seen[0].mxcsr, mxcsr ^ 0x2000);
  EXPECT_EQ(seen[0].x87, x87);
  for (int i = 1; i < 3; ++i) {
    EXPECT_EQ(seen[i].mxcsr, mxcsr ^ 0x2000 ^ 0x8000);
    EXPECT_EQ(seen[i].x87, x87 ^ 0x0800);
  }
}
#endif

TEST(Context, RoundingModeAndExceptionFlagsAreTheContexts) {
  std::fesetround(FE_TONEAREST);
  std::feclearexcept(FE_ALL_EXCEPT);
  Task t([](Task& self) {
    EXPECT_EQ(std::fegetround(), FE_TONEAREST);
    std::fesetround(FE_UPWARD);
    self.yield();
    EXPECT_EQ(std::fegetround(), FE_UPWARD);
    EXPECT_EQ(std::fetestexcept(FE_DIVBYZERO), 0) << "the maker divided by zero, not this context";
    std::fesetround(FE_TONEAREST);
  });
  t.resume();
  EXPECT_EQ(std::fegetround(), FE_TONEAREST);
  volatile double zero = 0, one = 1;
  volatile double r = one / zero;
  (void)r;
  t.resume();
  EXPECT_TRUE(t.done);
  EXPECT_NE(std::fetestexcept(FE_DIVBYZERO), 0);
  std::feclearexcept(FE_ALL_EXCEPT);
}

[[gnu::noinline]] int deep(int n, volatile int* sum) {
  volatile int here[64];
  here[n % 64] = n;
  if (n == 0) return 0;
  const int below = deep(n - 1, sum);
  *sum = *sum + here[n % 64];
  return below + 1;
}

TEST(Context, DeepRecursion) {
  volatile int sum = 0;
  Task t([](Task& self) {
    auto* s = static_cast<volatile int*>(self.extra);
    EXPECT_EQ(deep(10000, s), 10000);
  }, const_cast<int*>(&sum), 16 << 20);
  t.resume();
  EXPECT_EQ(sum, 10000 * 10001 / 2);
}

[[gnu::noinline]] void thrower(int n) {
  if (n == 0) throw std::runtime_error("from the depths");
  thrower(n - 1);
  asm volatile("");
}

TEST(Context, ExceptionsAreThrownAndCaughtInside) {
  std::string caught;
  Task t([](Task& self) {
    for (int i = 0; i < 3; ++i) {
      try {
        thrower(20);
      } catch (const std::runtime_error& e) {
        *static_cast<std::string*>(self.extra) += e.what();
      }
      self.yield();
    }
  }, &caught);
  for (int i = 0; i < 4; ++i) t.resume();
  EXPECT_TRUE(t.done);
  EXPECT_EQ(caught, "from the depthsfrom the depthsfrom the depths");
}

struct Walk {
  std::vector<std::uintptr_t> pcs;
  int calls = 0;
};

[[gnu::noinline]] void libgcc_walk(Walk* w) {
  const auto why = _Unwind_Backtrace([](_Unwind_Context* c, void* arg) {
    auto* in = static_cast<Walk*>(arg);
    in->pcs.push_back(_Unwind_GetIP(c));
    return ++in->calls > 1000 ? _URC_NORMAL_STOP : _URC_NO_REASON;
  }, w);
  EXPECT_EQ(why, _URC_END_OF_STACK);
}

TEST(Context, LibgccsWalkEndsAtTheFirstFrame) {
  Walk w;
  Task t([](Task& self) { libgcc_walk(static_cast<Walk*>(self.extra)); }, &w);
  t.resume();
  ASSERT_GE(w.pcs.size(), 3u);
  EXPECT_LE(w.pcs.size(), 8u);
  // libgcc reports the undefined return address as a last frame.
  if (w.pcs.back() == 0) w.pcs.pop_back();
  const auto first = reinterpret_cast<std::uintptr_t>(gort_v0_context_first);
  EXPECT_GT(w.pcs.back(), first);
  EXPECT_LT(w.pcs.back(), first + 64);
}

TEST(Context, FrameWordsOfTheFirstFrameAreNull) {
  Stack s;
  void* end_of_chain = &s;  // of frame pointers; a lambda may be called through a helper of its own
  struct Arg {
    arch::Context maker, self;
    void** out;
  } a{{}, {}, &end_of_chain};
  arch::make_context(&a.self, s.hi(), [](void* arg) {
    auto* p = static_cast<Arg*>(arg);
    void* fp = __builtin_frame_address(0);
    for (int frames = 0; fp && frames < 4; ++frames) fp = *static_cast<void**>(fp);
    *p->out = fp;
    arch::switch_context(&p->self, &p->maker);
  }, &a);
  void* top[2];
  std::memcpy(top, s.hi() - 16, sizeof top);
  EXPECT_EQ(top[0], nullptr);
  EXPECT_EQ(top[1], nullptr);
  arch::switch_context(&a.maker, &a.self);
  EXPECT_EQ(end_of_chain, nullptr);
}

// The oracle: the same program, three players passing a ball in an order that each decides from its
// own state, over our contexts and over Boost.Context, tells the same story.
constexpr int kPlayers = 3;
constexpr int kMoves = 3000;

std::uint32_t next_random(std::uint32_t* x) {
  *x ^= *x << 13;
  *x ^= *x >> 17;
  return *x ^= *x << 5;
}

struct Ours {
  arch::Context main, players[kPlayers];
  Stack stacks[kPlayers];
  int at = -1;
  void (*play)(Ours*, int) = nullptr;

  void start(void (*p)(Ours*, int)) {
    play = p;
    for (int i = 0; i < kPlayers; ++i) {
      arch::make_context(&players[i], stacks[i].hi(), [](void* arg) {
        auto* o = static_cast<Ours*>(arg);
        o->play(o, o->at);
      }, this);
    }
    go(-1, 0);
  }
  void go(int from, int to) {
    at = to;
    arch::switch_context(from < 0 ? &main : &players[from], to < 0 ? &main : &players[to]);
  }
  std::vector<std::uint32_t> story;
};

/// Boost.Context's assembly, loaded if it is installed: an oracle is no reason to link with it.
struct Fcontext {
  struct Transfer {
    void* fctx;
    void* data;
  };
  void* (*make)(void* hi, std::size_t bytes, void (*entry)(Transfer));
  Transfer (*jump)(void* to, void* data);

  bool load() {
    void* lib = nullptr;
    for (const char* name : {"libboost_context.so", "libboost_context.so.1.74.0"}) {
      if (!lib) lib = dlopen(name, RTLD_NOW);
    }
    if (!lib) return false;
    make = reinterpret_cast<decltype(make)>(dlsym(lib, "make_fcontext"));
    jump = reinterpret_cast<decltype(jump)>(dlsym(lib, "jump_fcontext"));
    return make && jump;
  }
} bc;

struct Boosts {
  void *main = nullptr, *players[kPlayers] = {};
  Stack stacks[kPlayers];
  int at = -1, from = -1;
  void (*play)(Boosts*, int) = nullptr;

  void arrived(Fcontext::Transfer t) { (from < 0 ? main : players[from]) = t.fctx; }
  void start(void (*p)(Boosts*, int)) {
    play = p;
    for (int i = 0; i < kPlayers; ++i) {
      players[i] = bc.make(stacks[i].hi(), stacks[i].bytes, [](Fcontext::Transfer t) {
        auto* o = static_cast<Boosts*>(t.data);
        o->arrived(t);
        o->play(o, o->at);
      });
    }
    go(-1, 0);
  }
  void go(int source, int to) {
    from = source;
    at = to;
    arrived(bc.jump(to < 0 ? main : players[to], this));
  }
  std::vector<std::uint32_t> story;
};

template <class World>
void play(World* w, int me) {
  std::uint32_t seed = 77u + static_cast<std::uint32_t>(me);
  double weight = me + 0.5;
  for (;;) {
    const std::uint32_t r = next_random(&seed);
    weight = weight * 1.25 + r % 7;
    if (weight > 1e6) weight = 1;
    w->story.push_back(r ^ static_cast<std::uint32_t>(weight) ^
                       static_cast<std::uint32_t>(me) << 30);
    if (w->story.size() >= kMoves) w->go(me, -1);
    const int to = static_cast<int>(r % kPlayers);
    if (to != me) w->go(me, to);
  }
}

TEST(Context, TellsTheSameStoryAsBoostContext) {
  if (!bc.load()) GTEST_SKIP() << "skipped: libboost_context.so is not installed";
  Ours ours;
  ours.start(play<Ours>);
  Boosts boosts;
  boosts.start(play<Boosts>);
  EXPECT_EQ(ours.story.size(), std::size_t{kMoves});
  EXPECT_EQ(ours.story, boosts.story);
}

void return_from_entry() {
  Stack s;
  arch::Context maker, c;
  arch::make_context(&c, s.hi(), [](void*) {}, nullptr);
  arch::switch_context(&maker, &c);
}

TEST(ContextDeathTest, EntryThatReturnsTraps) {
  EXPECT_EXIT(return_from_entry(), testing::KilledBySignal(SIGILL), "");
}

}  // namespace
