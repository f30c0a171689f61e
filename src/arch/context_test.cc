#include "arch/context.h"

#include <gtest/gtest.h>
#include <unwind.h>

#include <boost/context/detail/fcontext.hpp>
#include <cfenv>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

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

  explicit Task(void (*f)(Task&), void* x = nullptr, std::size_t n = 256 * 1024) : stack(n), body(f), extra(x) {
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

}  // namespace
