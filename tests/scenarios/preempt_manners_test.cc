// What a program notices of being stopped and preempted: nothing, but for what docs/preemption.md says. Its errno,
// its registers and its red zone are its own, its system calls go on, its SIGURGs arrive, its signal masks hold.
// test: timeout=120
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "gort/world.h"
#include "sched/entry.h"
#include "sched/sched.h"
#include "tests/support/runtime_fixture.h"
#include "world/world.h"

namespace gort::test {
namespace {

class Manners : public RuntimeTestAtProcs {
 protected:
  void SetUp() override { GORT_TEST_NEEDS_SIGNALS(); }
};
GORT_TEST_AT_PROCS(Manners);

/// The world is stopped again and again, from outside, while `f` runs on more goroutines than there are Ps, so that
/// they are stopped and made captive in the middle of it. For `ns` at least, and until each of them has begun.
template <class F>
void under_fire(int procs, F f, std::int64_t ns = 400'000'000) {
  gort::run([&] {
    std::atomic<bool> over{false};
    std::atomic<int> begun{0};
    std::vector<gort::task<void>> tasks;
    for (int i = 0; i < procs + 1; ++i) {
      tasks.push_back(gort::spawn([&, i] {
        ++begun;
        f(i, over);
      }));
    }
    std::thread storm([&] {
      const std::int64_t until = now_ns() + ns;
      while (now_ns() < until || begun <= procs) {
        {
          rt::RuntimeEntry entry;
          rt::start_the_world(rt::stop_the_world(rt::StopReason::test));
        }
        for (int k = 0; k < 10'000; ++k) asm volatile("");
      }
      over = true;
    });
    for (auto& t : tasks) t.join();
    gort::blocking([&] { storm.join(); });
  });
}

TEST_P(Manners, ErrnoStays) {
  GORT_TEST_START(GetParam());
  std::atomic<long> wrong{0};
  under_fire(GetParam(), [&](int i, std::atomic<bool>& over) {
    // No call that changes the thread: errno's address stays good.
    while (!over.load(std::memory_order_relaxed)) {
      errno = 1000 + i;
      for (int k = 0; k < 1000; ++k) asm volatile("");
      if (errno != 1000 + i) ++wrong;
    }
  });
  EXPECT_EQ(wrong, 0);
}

// ---- registers and stack --------------------------------------------------------------------------------

#if defined(__x86_64__)
/// All sixteen vector registers hold known values over a loop without memory traffic.
[[gnu::noinline]] bool sse_stays(std::uint64_t seed) {
  alignas(16) std::uint64_t in[16][2], out[16][2];
  for (int i = 0; i < 16; ++i) in[i][0] = seed + static_cast<std::uint64_t>(i), in[i][1] = ~in[i][0];
  asm volatile(
      "movaps 0(%0), %%xmm0\n\tmovaps 16(%0), %%xmm1\n\tmovaps 32(%0), %%xmm2\n\tmovaps 48(%0), %%xmm3\n\t"
      "movaps 64(%0), %%xmm4\n\tmovaps 80(%0), %%xmm5\n\tmovaps 96(%0), %%xmm6\n\tmovaps 112(%0), %%xmm7\n\t"
      "movaps 128(%0), %%xmm8\n\tmovaps 144(%0), %%xmm9\n\tmovaps 160(%0), %%xmm10\n\tmovaps 176(%0), %%xmm11\n\t"
      "movaps 192(%0), %%xmm12\n\tmovaps 208(%0), %%xmm13\n\tmovaps 224(%0), %%xmm14\n\tmovaps 240(%0), %%xmm15\n\t"
      "movl $20000, %%ecx\n1:\tdecl %%ecx\n\tjnz 1b\n\t"
      "movaps %%xmm0, 0(%1)\n\tmovaps %%xmm1, 16(%1)\n\tmovaps %%xmm2, 32(%1)\n\tmovaps %%xmm3, 48(%1)\n\t"
      "movaps %%xmm4, 64(%1)\n\tmovaps %%xmm5, 80(%1)\n\tmovaps %%xmm6, 96(%1)\n\tmovaps %%xmm7, 112(%1)\n\t"
      "movaps %%xmm8, 128(%1)\n\tmovaps %%xmm9, 144(%1)\n\tmovaps %%xmm10, 160(%1)\n\tmovaps %%xmm11, 176(%1)\n\t"
      "movaps %%xmm12, 192(%1)\n\tmovaps %%xmm13, 208(%1)\n\tmovaps %%xmm14, 224(%1)\n\tmovaps %%xmm15, 240(%1)\n\t"
      :
      : "r"(in), "r"(out)
      : "memory", "ecx", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
  return __builtin_memcmp(in, out, sizeof in) == 0;
}

[[gnu::noinline, gnu::target("avx")]] bool avx_stays(std::uint64_t seed) {
  alignas(32) std::uint64_t in[4][4], out[4][4];
  for (int i = 0; i < 16; ++i) in[i / 4][i % 4] = seed * static_cast<std::uint64_t>(i + 3);
  asm volatile(
      "vmovaps 0(%0), %%ymm0\n\tvmovaps 32(%0), %%ymm5\n\tvmovaps 64(%0), %%ymm10\n\tvmovaps 96(%0), %%ymm15\n\t"
      "movl $20000, %%ecx\n1:\tdecl %%ecx\n\tjnz 1b\n\t"
      "vmovaps %%ymm0, 0(%1)\n\tvmovaps %%ymm5, 32(%1)\n\tvmovaps %%ymm10, 64(%1)\n\tvmovaps %%ymm15, 96(%1)\n\t"
      "vzeroupper\n\t"
      :
      : "r"(in), "r"(out)
      : "memory", "ecx", "xmm0", "xmm5", "xmm10", "xmm15");
  return __builtin_memcmp(in, out, sizeof in) == 0;
}

/// x87: eight values on its stack, and its rounding mode, and SSE's.
[[gnu::noinline]] bool x87_stays() {
  const std::uint16_t mode_in = 0x0f7f;  // towards zero
  const std::uint32_t csr_in = 0x7f80;   // likewise
  std::uint16_t mode_before, mode_out;
  std::uint32_t csr_before, csr_out;
  double out[4];
  asm volatile(
      "fnstcw %0\n\tstmxcsr %1\n\tfldcw %8\n\tldmxcsr %9\n\t"
      "fld1\n\tfldpi\n\tfldl2e\n\tfldln2\n\t"
      "movl $20000, %%ecx\n1:\tdecl %%ecx\n\tjnz 1b\n\t"
      "fstpl %3\n\tfstpl %4\n\tfstpl %5\n\tfstpl %6\n\t"
      "fnstcw %2\n\tstmxcsr %7\n\tfldcw %0\n\tldmxcsr %1\n\t"
      : "=m"(mode_before), "=m"(csr_before), "=m"(mode_out), "=m"(out[0]), "=m"(out[1]), "=m"(out[2]), "=m"(out[3]),
        "=m"(csr_out)
      : "m"(mode_in), "m"(csr_in)
      : "ecx", "memory", "st", "st(1)", "st(2)", "st(3)");
  return mode_out == mode_in && (csr_out & 0xffc0) == (csr_in & 0xffc0) && out[3] == 1.0 &&
         out[2] > 3.14159 && out[2] < 3.1416 && out[1] > 1.4426 && out[1] < 1.4428 && out[0] > 0.6931 &&
         out[0] < 0.6932;
}

/// A leaf with values in the 128 bytes below its stack pointer.
[[gnu::naked, gnu::noinline]] std::uint64_t red_zone(std::uint64_t) {
  asm(R"(
      movq %rdi, -8(%rsp)
      movq %rdi, -64(%rsp)
      movq %rdi, -120(%rsp)
      movq %rdi, -128(%rsp)
      movl $20000, %ecx
   1: decl %ecx
      jnz 1b
      movq -8(%rsp), %rax
      cmpq %rax, -64(%rsp)
      jne 2f
      cmpq %rax, -120(%rsp)
      jne 2f
      cmpq %rax, -128(%rsp)
      jne 2f
      ret
   2: xorl %eax, %eax
      ret
  )");
}

TEST_P(Manners, RegistersAndRedZoneStay) {
  GORT_TEST_START(GetParam());
  std::atomic<long> sse{0}, avx{0}, x87{0}, zone{0}, rounds{0};
  const bool has_avx = __builtin_cpu_supports("avx");
  under_fire(GetParam(), [&](int i, std::atomic<bool>& over) {
    for (std::uint64_t n = 1; !over.load(std::memory_order_relaxed); ++n) {
      const std::uint64_t seed = n * 1000003 + static_cast<std::uint64_t>(i) + 1;
      if (!sse_stays(seed)) ++sse;
      if (has_avx && !avx_stays(seed)) ++avx;
      if (!x87_stays()) ++x87;
      if (red_zone(seed) != seed) ++zone;
      ++rounds;
    }
  });
  EXPECT_GT(rounds, 0);
  EXPECT_EQ(sse, 0);
  EXPECT_EQ(avx, 0);
  EXPECT_EQ(x87, 0);
  EXPECT_EQ(zone, 0);
}
#endif

// ---- a stack of the user's own ----------------------------------------------------------------------------

struct Coroutine {
  ucontext_t outside, inside;
  const std::atomic<bool>* over;
  long steps = 0;
  static void main(unsigned lo, unsigned hi) {
    auto* c = reinterpret_cast<Coroutine*>(static_cast<std::uintptr_t>(hi) << 32 | lo);
    do ++c->steps;
    while (!c->over->load(std::memory_order_relaxed));
  }
};

TEST_P(Manners, OnAStackOfTheUsersOwn) {
#if defined(GORT_TEST_ASAN)
  GTEST_SKIP() << "swapcontext and ASan's shadow stack do not agree";
#else
  GORT_TEST_START(GetParam());
  std::atomic<long> ran{0};
  under_fire(GetParam(), [&](int, std::atomic<bool>& over) {
    std::vector<char> stack(64 * 1024);
    Coroutine c;
    c.over = &over;
    ::getcontext(&c.inside);
    c.inside.uc_stack.ss_sp = stack.data();
    c.inside.uc_stack.ss_size = stack.size();
    c.inside.uc_link = &c.outside;
    const auto self = reinterpret_cast<std::uintptr_t>(&c);
    ::makecontext(&c.inside, reinterpret_cast<void (*)()>(&Coroutine::main), 2, static_cast<unsigned>(self),
                  static_cast<unsigned>(self >> 32));
    ::swapcontext(&c.outside, &c.inside);
    if (c.steps > 0) ++ran;
  });
  EXPECT_EQ(ran, GetParam() + 1);
#endif
}

// ---- exceptions -----------------------------------------------------------------------------------------------

[[gnu::noinline]] void throws_from_below(int value) {
  std::uint8_t frame[64];
  std::memset(frame, value, sizeof frame);
  asm volatile("" : : "r"(frame) : "memory");
  throw frame[value & 63];
}

/// No frame of its own, so that a sanitizer has nothing to do between the catch and the signal.
[[gnu::noinline]] bool catches(int value) {
  try {
    throws_from_below(value);
  } catch (std::uint8_t caught) {
    for (int k = 0; k < 2'000; ++k) asm volatile("");
    return caught == static_cast<std::uint8_t>(value);
  }
  return false;
}

/// Keeps a frame of the size of that of throws_from_below while that throws; how often anything was wrong.
[[gnu::noinline]] long keeps_a_frame(int value, const std::atomic<bool>& over, std::atomic<long>& rounds) {
  std::uint8_t frame[64];
  std::memset(frame, value, sizeof frame);
  long wrong = 0;
  for (; !over.load(std::memory_order_relaxed); ++rounds) {
    if (!catches(value)) ++wrong;
    asm volatile("" : : "r"(frame) : "memory");
    for (const std::uint8_t byte : frame) {
      if (byte != value) ++wrong;
    }
  }
  return wrong;
}

// The frames of the interrupted functions stay what they are when an exception has just been caught in them. (ASan's
// list of frames is put in order by the first function that runs after a throw, which may be gort's handler.)
TEST_P(Manners, FramesStayWhenAnExceptionIsCaught) {
  GORT_TEST_START(GetParam());
  std::atomic<long> wrong{0}, rounds{0};
  under_fire(
      GetParam(), [&](int i, std::atomic<bool>& over) { wrong += keeps_a_frame(i + 1, over, rounds); }, 2'000'000'000);
  EXPECT_GT(rounds, 0);
  EXPECT_EQ(wrong, 0);
}

// ---- system calls -------------------------------------------------------------------------------------------

// A raw read on a pipe sleeps in the kernel with a P, is interrupted again and again, and returns its data.
TEST_P(Manners, AReadGoesOn) {
  GORT_TEST_START(GetParam());
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  std::atomic<int> interrupted{0}, wrong{0}, got{0};
  constexpr int kBytes = 40;
  std::thread writer([&] {
    for (int i = 0; i < kBytes; ++i) {
      ::usleep(10'000);
      if (::write(ends[1], "x", 1) != 1) std::abort();
    }
    ::close(ends[1]);
  });
  std::atomic<bool> first{true};
  under_fire(GetParam(), [&](int, std::atomic<bool>& over) {
    if (!first.exchange(false)) {
      while (!over.load(std::memory_order_relaxed)) {}
      return;
    }
    for (;;) {
      char c = 0;
      errno = 0;
      const ssize_t n = ::read(ends[0], &c, 1);
      if (n == 0) return;
      if (n < 0) ++(errno == EINTR ? interrupted : wrong);
      if (n == 1) c == 'x' ? ++got : ++wrong;
      if (n < 0 && wrong > 0) return;
    }
  });
  writer.join();
  ::close(ends[0]);
  EXPECT_EQ(interrupted, 0);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(got, kBytes);
}

// ---- signals --------------------------------------------------------------------------------------------------

std::atomic<long> hosts_urgs{0};

class MannersOfSignals : public RuntimeTest {};

// The host's handler was there before; it gets the SIGURGs that are not ours.
TEST_F(MannersOfSignals, TheHostsOwnUrgArrives) {
#if defined(GORT_TEST_TSAN)
  GTEST_SKIP() << "TSan delivers a signal when it pleases";
#endif
  struct sigaction action = {};
  action.sa_handler = [](int) { ++hosts_urgs; };
  ASSERT_EQ(::sigaction(SIGURG, &action, nullptr), 0);
  GORT_TEST_START(2);
  long sent = 0;
  std::atomic<bool> over{false};
  std::thread outside([&] {
    // One at a time: pending ones of the same number are one.
    for (; sent < 200; ++sent) {
      const long before = hosts_urgs;
      if (::kill(::getpid(), SIGURG) != 0) std::abort();
      const std::int64_t limit = now_ns() + 5'000'000'000;
      while (hosts_urgs == before && now_ns() < limit) std::this_thread::yield();
      if (hosts_urgs == before) break;
    }
    over = true;
  });
  under_fire(2, [&](int, std::atomic<bool>& storm_over) {
    while (!storm_over.load(std::memory_order_relaxed)) {}
  });
  outside.join();
  EXPECT_EQ(sent, 200);
  EXPECT_GE(hosts_urgs, sent);
}

struct sigaction found_urg;
std::atomic<bool> passes_on{false};

void late_host(int signo, siginfo_t* info, void* context) {
  ++hosts_urgs;
  if (passes_on) found_urg.sa_sigaction(signo, info, context);
}

// A handler that the host installs when the runtime runs takes ours away. Stops notice that; the host's goes on getting
// what is its own, and may pass on to what it found, which is ours.
void late_handler(bool pass_on) {
  passes_on = pass_on;
  hosts_urgs = 0;
  gort::run([] {
    std::atomic<bool> over{false}, runs{false};
    gort::task<void> hog = gort::spawn([&] {
      runs = true;
      while (!over.load(std::memory_order_relaxed)) {}
    });
    while (!runs) gort::this_goroutine::yield();
    struct sigaction action = {};
    action.sa_sigaction = late_host;
    action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    ASSERT_EQ(::sigaction(SIGURG, &action, &found_urg), 0);
    for (int i = 0; i < 3; ++i) {
      rt::RuntimeEntry entry;
      rt::start_the_world(rt::stop_the_world(rt::StopReason::test));  // would never end
    }
    const long before = hosts_urgs;
    ASSERT_EQ(::kill(::getpid(), SIGURG), 0);
    while (hosts_urgs == before) gort::this_goroutine::yield();
    over = true;
    hog.join();
  });
}

TEST_F(MannersOfSignals, AHandlerThatIsInstalledLaterIsPutBehindOurs) {
#if defined(GORT_TEST_TSAN)
  GTEST_SKIP() << "TSan delivers a signal when it pleases";
#endif
  GORT_TEST_START(2);
  late_handler(false);
}

TEST_F(MannersOfSignals, AHandlerThatIsInstalledLaterMayPassOn) {
#if defined(GORT_TEST_TSAN)
  GTEST_SKIP() << "TSan delivers a signal when it pleases";
#endif
  GORT_TEST_START(2);
  late_handler(true);
}

// A goroutine that blocks every signal only delays a stop until it lets them through again.
TEST_P(Manners, BlockedSignalsOnlyDelayAStop) {
  GORT_TEST_START(GetParam());
  std::atomic<long> blocked{0};
  under_fire(GetParam(), [&](int, std::atomic<bool>& over) {
    while (!over.load(std::memory_order_relaxed)) {
      sigset_t all, before, now;
      ::sigfillset(&all);
      ::pthread_sigmask(SIG_BLOCK, &all, &before);
      for (int k = 0; k < 300'000; ++k) asm volatile("");
      ::pthread_sigmask(SIG_SETMASK, &before, &now);
      if (::sigismember(&now, SIGTERM) == 1 && ::sigismember(&now, SIGURG) == 1) ++blocked;
      for (int k = 0; k < 1000; ++k) asm volatile("");
    }
  });
  EXPECT_GT(blocked, 0);
}

}  // namespace
}  // namespace gort::test
