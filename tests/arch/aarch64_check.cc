// What src/arch promises, checked on aarch64 without any library but libc's and libstdc++'s, so
// that a cross compiler and qemu are enough (aarch64_qemu.sh). Prints the failures and returns
// their number.
#include <alloca.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>
#include <unwind.h>

#include <algorithm>
#include <cfenv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <stdexcept>
#include <string>
#include <vector>

#include "arch/context.h"
#include "arch/modules.h"
#include "arch/unwind.h"
#include "os/os.h"

extern "C" [[gnu::visibility("hidden")]] const char gort_v0_context_first[];

#if defined(GORT_CHECK_OWN_MEMORY)  // built without src/os/linux
namespace gort::inline v0::os {
std::size_t page_size() noexcept { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }
void* mem_map(std::size_t bytes, std::size_t) noexcept {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return p == MAP_FAILED ? nullptr : p;
}
void mem_unmap(void* p, std::size_t bytes) noexcept { munmap(p, bytes); }
}  // namespace gort::inline v0::os
#endif

namespace {

namespace arch = gort::arch;
using Pcs = std::vector<std::uintptr_t>;

int failures;
#define CHECK(x) \
  ((x) ? void() : (std::printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #x), void(++failures)))

constexpr std::size_t kStack = 256 * 1024;
alignas(16) char task_stack[kStack];
alignas(16) char system_stack[kStack];

arch::StackRange range_of(const char* lo) {
  return {reinterpret_cast<std::uintptr_t>(lo), reinterpret_cast<std::uintptr_t>(lo) + kStack};
}

arch::StackRange thread_range() {
  pthread_attr_t a;
  void* lo = nullptr;
  std::size_t n = 0;
  pthread_getattr_np(pthread_self(), &a);
  pthread_attr_getstack(&a, &lo, &n);
  pthread_attr_destroy(&a);
  return {reinterpret_cast<std::uintptr_t>(lo), reinterpret_cast<std::uintptr_t>(lo) + n};
}
arch::StackRange thread_stack;

void allow_all(arch::Cursor& c) {
  for (const auto& r : {thread_stack, range_of(task_stack), range_of(system_stack)})
    CHECK(c.allow(r.lo, r.hi));
}

bool in_first(std::uintptr_t pc) {
  const auto first = reinterpret_cast<std::uintptr_t>(gort_v0_context_first);
  return pc > first && pc < first + 16;
}

Pcs walk(arch::Cursor& c) {
  Pcs out;
  do out.push_back(c.pc);
  while (out.size() < 1000 && arch::step(c));
  return out;
}

[[gnu::noinline]] Pcs libgcc_walk() {
  Pcs out;
  _Unwind_Backtrace([](_Unwind_Context* c, void* arg) {
    static_cast<Pcs*>(arg)->push_back(_Unwind_GetIP(c));
    return _URC_NO_REASON;
  }, &out);
  while (!out.empty() && out.back() == 0) out.pop_back();
  return out;
}

bool same_from(const Pcs& a, const Pcs& b, std::uintptr_t pc) {
  const auto x = std::find(a.begin(), a.end(), pc), y = std::find(b.begin(), b.end(), pc);
  return x != a.end() && y != b.end() && Pcs(x, a.end()) == Pcs(y, b.end());
}

int walks;
[[gnu::noinline]] void compare_walks() {
  arch::Cursor c = arch::cursor_here();
  allow_all(c);
  const Pcs ours = walk(c);
  CHECK(c.end == arch::WalkEnd::bottom);
  CHECK(same_from(ours, libgcc_walk(),
                  reinterpret_cast<std::uintptr_t>(__builtin_return_address(0))));
  ++walks;
}

struct Pair {
  arch::Context main, task;
  int turns = 0;
  std::string caught;
  Pcs theirs;
};

// ---- the switch -----------------------------------------------------------------------------

[[gnu::noinline]] void thrower(int n) {
  if (n == 0) throw std::runtime_error("from the depths");
  thrower(n - 1);
  asm volatile("");
}

void round_trips() {
  Pair p;
  arch::make_context(&p.task, task_stack + kStack - 5, [](void* arg) {
    auto* q = static_cast<Pair*>(arg);
    CHECK(reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) % 16 == 0);
    for (;;) {
      try {
        thrower(10);
      } catch (const std::exception& e) {
        q->caught = e.what();
      }
      compare_walks();
      ++q->turns;
      arch::switch_context(&q->task, &q->main);
    }
  }, &p);
  arch::Cursor fresh = arch::cursor_from_context(p.task);
  allow_all(fresh);
  CHECK(walk(fresh).size() == 1 && in_first(fresh.pc) && fresh.end == arch::WalkEnd::bottom);
  for (int i = 0; i < 100; ++i) arch::switch_context(&p.main, &p.task);
  CHECK(p.turns == 100);
  CHECK(p.caught == "from the depths");
  arch::Cursor parked = arch::cursor_from_context(p.task);
  allow_all(parked);
  CHECK(walk(parked).size() <= 3 && in_first(parked.pc) && parked.end == arch::WalkEnd::bottom);
}

/// x19 ... x28, then d8 ... d15, before and after a switch.
struct Kept {
  std::uint64_t before[18], after[18];
};

[[gnu::noinline]] void switch_with_known_registers(Kept* k, arch::Context* from,
                                                   arch::Context* to) {
  register arch::Context* x0 asm("x0") = from;
  register arch::Context* x1 asm("x1") = to;
  register Kept* x2 asm("x2") = k;
  register auto x3 asm("x3") = arch::gort_v0_switch;
  asm volatile(
      "str x2, [sp, #-16]!\n\t"
      "ldp x19, x20, [x2]\n\t"
      "ldp x21, x22, [x2, #16]\n\t"
      "ldp x23, x24, [x2, #32]\n\t"
      "ldp x25, x26, [x2, #48]\n\t"
      "ldp x27, x28, [x2, #64]\n\t"
      "ldp d8, d9, [x2, #80]\n\t"
      "ldp d10, d11, [x2, #96]\n\t"
      "ldp d12, d13, [x2, #112]\n\t"
      "ldp d14, d15, [x2, #128]\n\t"
      "blr x3\n\t"
      "ldr x2, [sp], #16\n\t"
      "stp x19, x20, [x2, #144]\n\t"
      "stp x21, x22, [x2, #160]\n\t"
      "stp x23, x24, [x2, #176]\n\t"
      "stp x25, x26, [x2, #192]\n\t"
      "stp x27, x28, [x2, #208]\n\t"
      "stp d8, d9, [x2, #224]\n\t"
      "stp d10, d11, [x2, #240]\n\t"
      "stp d12, d13, [x2, #256]\n\t"
      "stp d14, d15, [x2, #272]"
      : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)
      :
      : "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17",
        "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x30", "d8", "d9",
        "d10", "d11", "d12", "d13", "d14", "d15", "memory", "cc");
}

void kept_registers() {
  struct Arg {
    arch::Context main, task;
    Kept kept;
  } a;
  arch::make_context(&a.task, task_stack + kStack, [](void* arg) {
    auto* p = static_cast<Arg*>(arg);
    for (std::uint64_t i = 0; i < 18; ++i) p->kept.before[i] = 0xbbbb0000 + i;
    for (;;) switch_with_known_registers(&p->kept, &p->task, &p->main);
  }, &a);
  for (std::uint64_t round = 0; round < 3; ++round) {
    Kept mine{};
    for (std::uint64_t i = 0; i < 18; ++i) mine.before[i] = 0xaaaa0000 + 32 * round + i;
    switch_with_known_registers(&mine, &a.main, &a.task);
    CHECK(std::equal(mine.before, mine.before + 18, mine.after));
    CHECK(round == 0 || std::equal(a.kept.before, a.kept.before + 18, a.kept.after));
  }
}

void rounding_modes() {
  Pair p;
  arch::make_context(&p.task, task_stack + kStack, [](void* arg) {
    auto* q = static_cast<Pair*>(arg);
    CHECK(std::fegetround() == FE_TONEAREST);
    std::fesetround(FE_UPWARD);
    arch::switch_context(&q->task, &q->main);
    CHECK(std::fegetround() == FE_UPWARD);
    ++q->turns;
    arch::switch_context(&q->task, &q->main);
  }, &p);
  for (int i = 0; i < 2; ++i) {
    arch::switch_context(&p.main, &p.task);
    CHECK(std::fegetround() == FE_TONEAREST);
  }
  CHECK(p.turns == 1);
}

void other_stacks() {
  static int calls;
  arch::call_on_stack(system_stack + kStack - 3, [](void*) {
    ++calls;
    compare_walks();
  }, nullptr);
  CHECK(calls == 1);
}

// ---- the walk -------------------------------------------------------------------------------

std::uint32_t random_state = 1;
unsigned pick(unsigned n) {
  random_state = random_state * 1664525 + 1013904223;
  return (random_state >> 8) % n;
}

volatile char sink;
void branch(int depth);

[[gnu::noinline]] void small_frame(int depth) {
  branch(depth);
  sink = 1;
}
[[gnu::noinline]] void big_frame(int depth) {
  volatile char big[70000];
  big[pick(70000)] = 1;
  branch(depth);
  sink = big[pick(70000)];
}
[[gnu::noinline]] void dynamic_frame(int depth) {
  const std::size_t n = 1 + pick(700);
  auto* p = static_cast<volatile char*>(alloca(n));
  p[n - 1] = 1;
  branch(depth);
  sink = p[n - 1];
}
[[gnu::noinline]] void realigned_frame(int depth) {
  alignas(128) volatile char aligned[256];
  aligned[pick(256)] = 1;
  branch(depth);
  sink = aligned[0];
}

void branch(int depth) {
  if (depth <= 0) return compare_walks();
  switch (pick(5)) {
    case 0: small_frame(depth - 1); break;
    case 1: big_frame(depth - 1); break;
    case 2: dynamic_frame(depth - 1); break;
    case 3: realigned_frame(depth - 1); break;
    default: {
      static int next;
      next = depth - 1;
      const int key = 0, list[] = {0};
      std::bsearch(&key, list, 1, sizeof key, [](const void*, const void*) {
        small_frame(next);
        return 0;
      });
    }
  }
  sink = 2;
}

void random_trees() {
  const int before = walks;
  for (int i = 0; i < 200; ++i) branch(static_cast<int>(pick(25)));
  CHECK(walks - before == 200);
}

constexpr int kSamples = 1000;
volatile int samples, in_loader;
int different, not_bottom;

/// libgcc walks through the signal frame, we start from the interrupted registers.
void on_timer(int, siginfo_t*, void* uc) {
  static std::uintptr_t theirs[300];
  static std::size_t n;
  arch::Cursor c = arch::cursor_from_signal(uc);
  allow_all(c);
  const std::uintptr_t pc = c.pc;
  n = 0;
  const auto* m = arch::find_module(pc);
  if (m && std::strstr(m->path, "ld-linux")) {
    // glibc's table for lazy binding is wrong by two words: libgcc's walk goes astray there and can
    // fault. Ours has to arrive.
    while (arch::step(c)) ++n;
    if (c.end != arch::WalkEnd::bottom || n < 3) ++not_bottom;
    samples = samples + 1;
    in_loader = in_loader + 1;
    return;
  }
  _Unwind_Backtrace([](_Unwind_Context* u, void*) {
    if (n < 300) theirs[n++] = _Unwind_GetIP(u);
    return _URC_NO_REASON;
  }, nullptr);
  while (n > 0 && theirs[n - 1] == 0) --n;
  const std::uintptr_t* t = std::find(theirs, theirs + n, pc);
  // Linkers write no tables for their stubs here: libgcc's walk is over in one, ours goes on by
  // x30.
  const bool in_stub = theirs + n - t == 1;
  bool same = true;
  do same = same && (t < theirs + n ? *t++ == c.pc : in_stub);
  while (arch::step(c));
  if (!same || t != theirs + n) ++different;
  if (c.end != arch::WalkEnd::bottom) ++not_bottom;
  samples = samples + 1;
}

void random_interrupts() {
  struct sigaction sa {};
  sa.sa_sigaction = on_timer;
  sa.sa_flags = SA_SIGINFO | SA_RESTART;
  sigaction(SIGUSR1, &sa, nullptr);
  sigevent ev{};
  ev.sigev_notify = SIGEV_SIGNAL;
  ev.sigev_signo = SIGUSR1;
  timer_t timer;
  CHECK(timer_create(CLOCK_MONOTONIC, &ev, &timer) == 0);
  const itimerspec every{.it_interval = {0, 300000}, .it_value = {0, 300000}};
  CHECK(timer_settime(timer, 0, &every, nullptr) == 0);
  Pair p;
  arch::make_context(&p.task, task_stack + kStack, [](void* arg) {
    auto* q = static_cast<Pair*>(arg);
    for (;; ++q->turns) {
      char text[80];
      std::snprintf(text, sizeof text, "%d %.17g", q->turns, q->turns / 3.0);
      arch::switch_context(&q->task, &q->main);
    }
  }, &p);
  while (samples < kSamples) {
    for (int i = 0; i < 50; ++i) arch::switch_context(&p.main, &p.task);
    int v[64];
    for (int i = 0; i < 64; ++i) v[i] = i * 37 % 64;
    std::qsort(v, 64, sizeof v[0], [](const void* a, const void* b) {
      return *static_cast<const int*>(a) - *static_cast<const int*>(b);
    });
  }
  timer_delete(timer);
  std::printf("%d random interrupts, %d in the loader: ", samples + 0, in_loader + 0);
  std::printf("%d walks differ from libgcc's, %d did not reach the bottom\n", different,
              not_bottom);
  CHECK(different == 0);
  CHECK(not_bottom == 0);
}

void broken_stacks() {
  const std::size_t page = gort::os::page_size(), n = 4 * page / sizeof(std::uintptr_t);
  void* area = mmap(nullptr, 6 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  auto* words = reinterpret_cast<std::uintptr_t*>(static_cast<char*>(area) + page);
  CHECK(mprotect(words, 4 * page, PROT_READ | PROT_WRITE) == 0);
  const auto lo = reinterpret_cast<std::uintptr_t>(words);
  const auto all = arch::modules();
  const auto word = [&]() -> std::uintptr_t {
    const auto& m = all.first[pick(static_cast<unsigned>(all.count))];
    switch (pick(4)) {
      case 0: return std::uintptr_t{pick(1u << 24)} << pick(40);
      case 1: return m.text_lo + pick(static_cast<unsigned>(m.text_hi - m.text_lo)) / 4 * 4;
      default: return lo - 64 + pick(static_cast<unsigned>(4 * page + 128)) / 8 * 8;
    }
  };
  std::size_t steps = 0;
  for (int round = 0; round < 1000; ++round) {
    if (round % 10 == 0) std::generate(words, words + n, word);
    arch::Cursor c;
    c.allow(lo, lo + 4 * page);
    for (auto& r : c.regs.value) r = word();
    c.regs.known = ~std::uint64_t{0};
    c.regs.value[arch::reg::kSp] = lo + pick(static_cast<unsigned>(n)) * sizeof *words;
    c.pc = word();
    c.exact = pick(2);
    std::uintptr_t pcs[8];
    arch::collect_fp(c, pcs, 8);
    while (arch::step(c)) ++steps;
    CHECK(c.end != arch::WalkEnd::not_yet);
  }
  CHECK(steps > 300);
}

}  // namespace

int main() {
  thread_stack = thread_range();
  CHECK(arch::refresh_modules());
  round_trips();
  kept_registers();
  rounding_modes();
  other_stacks();
  random_trees();
  broken_stacks();
  random_interrupts();
  std::printf(failures ? "%d FAILED\n" : "all passed\n", failures);
  return failures ? 1 : 0;
}
