// go, spawn, task: what the header promises.
#include "gort/go.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "sync/context.h"
#include "tests/support/runtime_fixture.h"

using namespace gort::literals;
using ::testing::ExitedWithCode;
using gort::test::yield_until;

namespace {

static_assert(!std::is_copy_constructible_v<gort::task<int>>);
static_assert(std::is_nothrow_move_constructible_v<gort::task<int>>);
static_assert(std::is_nothrow_move_assignable_v<gort::task<int>>);
static_assert(!gort::goroutine_function<int>);
static_assert(!gort::goroutine_function<void (*)(int), std::string>);
static_assert(!gort::goroutine_function<void (*)(int&), int&>, "no references unless std::ref says so");

class Go : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(Go);
class GoDeath : public gort::test::RuntimeTest {};

TEST_P(Go, ResultsOfEveryKind) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    EXPECT_EQ(gort::spawn([] { return 5; }).get(), 5);
    gort::spawn([] {}).get();
    int x = 0;
    gort::task<int&> by_ref = gort::spawn([&x]() -> int& { return x; });
    EXPECT_EQ(&by_ref.get(), &x);
    EXPECT_EQ(*gort::spawn([] { return std::make_unique<int>(8); }).get(), 8);
    struct no_default {
      explicit no_default(int m) : n(m) {}
      int n;
    };
    EXPECT_EQ(gort::spawn([] { return no_default(3); }).get().n, 3);
    EXPECT_THROW(gort::spawn([]() -> int { throw std::range_error("r"); }).get(), std::range_error);
    EXPECT_THROW(gort::spawn([] { throw 1; }).join(), int);
  });
}

TEST_P(Go, MoveOnlyCallablesAndArguments) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto p = std::make_unique<int>(1);
    EXPECT_EQ(gort::spawn([p = std::move(p)](std::unique_ptr<int> q, int r) { return *p + *q + r; },
                          std::make_unique<int>(2), 3)
                  .get(),
              6);
    std::atomic<int> got{0};
    gort::go([&got](std::unique_ptr<int> q) { got = *q; }, std::make_unique<int>(7));
    EXPECT_TRUE(yield_until([&] { return got == 7; }));
    // std::move_only_function's kin: called as an rvalue.
    struct once {
      std::unique_ptr<int> n = std::make_unique<int>(9);
      int operator()() && { return *n; }
    };
    EXPECT_EQ(gort::spawn(once()).get(), 9);
    struct member {
      int n;
      int add(int m) const { return n + m; }
    };
    EXPECT_EQ(gort::spawn(&member::add, member{4}, 5).get(), 9);
  });
}

TEST_P(Go, ArgumentsAreDecayedUnlessWrapped) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::string s = "before";
    auto t = gort::spawn([](const std::string& a) { return a; }, s);
    s = "after";
    EXPECT_EQ(t.get(), "before");
    gort::spawn([](std::string& a) { a = "changed"; }, std::ref(s)).join();
    EXPECT_EQ(s, "changed");
    const char text[] = "an array";
    EXPECT_EQ(gort::spawn([](const char* a) { return std::string(a); }, text).get(), "an array");
  });
}

struct counted {
  static inline std::atomic<int> alive{0};
  counted() { ++alive; }
  counted(const counted&) { ++alive; }
  counted(counted&&) noexcept { ++alive; }
  ~counted() { --alive; }
};

TEST_P(Go, TheCallableIsGoneWhenTheTaskIsDone) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (int i = 0; i < 50; ++i) {
      gort::spawn([c = counted()](counted) { gort::this_goroutine::yield(); }, counted()).join();
      EXPECT_EQ(counted::alive, 0);
      auto t = gort::spawn([c = counted()](counted) { throw 1; }, counted());
      EXPECT_THROW(t.get(), int);
      EXPECT_EQ(counted::alive, 0);
      auto u = gort::spawn([c = counted()] {
        counted local;
        gort::goexit();
      });
      EXPECT_THROW(u.get(), gort::goroutine_exit_error);
      EXPECT_EQ(counted::alive, 0);
    }
  });
}

// An exception in copying the arguments reaches the caller, and there is no goroutine.
struct throws_on_copy {
  throws_on_copy() = default;
  throws_on_copy(const throws_on_copy&) { throw std::domain_error("copy"); }
};

TEST_P(Go, AnExceptionInTheCopyLeavesNoGoroutineBehind) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const throws_on_copy bad;
    const std::int64_t before = gort::num_goroutine();
    for (int i = 0; i < 1'000; ++i) {
      EXPECT_THROW(gort::go([](const throws_on_copy&) {}, bad), std::domain_error);
      EXPECT_THROW(static_cast<void>(gort::spawn([](const throws_on_copy&) {}, bad)), std::domain_error);
      EXPECT_THROW(gort::go([c = counted()](const throws_on_copy&) {}, bad), std::domain_error);
    }
    EXPECT_EQ(counted::alive, 0);
    EXPECT_EQ(gort::num_goroutine(), before);
  });
}

// Closures of any size and alignment arrive whole and are destroyed, wherever they are kept.
TEST_P(Go, ClosuresOfAnySize) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::array<char, 200'000> large;
    for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i % 127);
    std::atomic<int> good{0};
    auto body = [&good, c = counted()](const std::array<char, 200'000>& a) {
      for (std::size_t i = 0; i < a.size(); ++i) {
        if (a[i] != static_cast<char>(i % 127)) return;
      }
      ++good;
    };
    gort::go({.stack = 2_MiB}, body, large);
    gort::go({.stack = 512_KiB}, body, large);
    EXPECT_TRUE(yield_until([&] { return good == 2; }));
    EXPECT_TRUE(yield_until([&] { return counted::alive == 1; })) << "ours alone";
    struct alignas(256) aligned {
      char bytes[300] = {};
    };
    const bool is_aligned = gort::spawn([a = aligned()] {
                              return reinterpret_cast<std::uintptr_t>(&a) % 256 == 0;
                            }).get();
    EXPECT_TRUE(is_aligned);
  });
}

/// N bytes go in, N bytes come out; others like it come and go while the result waits for its owner.
template <std::size_t N>
void frame_of() {
  std::array<unsigned char, N> in;
  for (std::size_t i = 0; i < N; ++i) in[i] = static_cast<unsigned char>(i * 7 + N);
  auto body = [in, c = counted()] { return std::pair(in, c); };
  auto kept = gort::spawn(body);
  auto dropped = gort::spawn(body);
  kept.wait();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(gort::spawn(body).get().first == in) << N;
  gort::spawn(body).detach();
  dropped = {};
  EXPECT_TRUE(kept.get().first == in) << N;
}

template <std::size_t... I>
void frames_of(std::index_sequence<I...>) {
  (frame_of<I * 8 + 1>(), ...);
}

// A task's frame, small or large, in its context's record or on the heap, is the task's alone, and gone with it.
TEST_P(Go, TaskFramesOfAnySize) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const std::size_t contexts = gort::rt::contexts_in_use();
    frames_of(std::make_index_sequence<24>());
    frame_of<10'000>();
    const throws_on_copy bad;
    for (int i = 0; i < 100; ++i) {
      EXPECT_THROW(static_cast<void>(gort::spawn([](const throws_on_copy&) {}, bad)), std::domain_error);
    }
    EXPECT_TRUE(yield_until([&] { return counted::alive == 0 && gort::rt::contexts_in_use() == contexts; }))
        << counted::alive << " values, " << gort::rt::contexts_in_use() - contexts << " contexts";
  });
}

/// Touches `bytes` of stack, page by page.
[[gnu::noinline]] int deep(std::size_t bytes) {
  volatile char page[4096];
  page[0] = 1;
  return bytes <= 8192 ? page[0] : deep(bytes - 4096) + page[0];
}

TEST_P(Go, StacksOfAnySize) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    EXPECT_EQ(gort::spawn({.stack = 1}, [] { return 1; }).get(), 1);
    EXPECT_EQ(gort::spawn({.stack = 100}, [] { return gort::spawn([] { return 1; }).get(); }).get(), 1);
#if !defined(GORT_TEST_ASAN) && !defined(GORT_TEST_TSAN)
    EXPECT_GT(gort::spawn({.stack = 1_MiB}, [] { return deep(700_KiB); }).get(), 0);
    EXPECT_GT(gort::spawn({.stack = 64_MiB}, [] { return deep(40_MiB); }).get(), 0);
#endif
    for (int i = 0; i < 100; ++i) EXPECT_EQ(gort::spawn({.stack = 64_MiB}, [] { return 1; }).get(), 1);
    EXPECT_THROW(gort::go({.stack = std::size_t{1} << 60}, [] {}), std::bad_alloc);
    EXPECT_THROW(static_cast<void>(gort::spawn({.stack = std::size_t{1} << 60}, [] {})), std::bad_alloc);
  });
}

TEST_P(Go, Names) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    EXPECT_EQ(gort::this_goroutine::name(), "main");
    auto name = [] { return std::string(gort::this_goroutine::name()); };
    EXPECT_EQ(gort::spawn({.name = "rx"}, name).get(), "rx");
    EXPECT_EQ(gort::spawn(name).get(), "") << "no name is left from the last goroutine on this G";
    EXPECT_EQ(gort::spawn({.name = std::string(23, 'n')}, name).get(), std::string(23, 'n'));
    EXPECT_EQ(gort::spawn({.name = std::string(1000, 'n')}, name).get(), std::string(23, 'n'));
    const char not_terminated[3] = {'a', 'b', 'c'};
    EXPECT_EQ(gort::spawn({.name = std::string_view(not_terminated, 2)}, name).get(), "ab");
  });
}

TEST_P(Go, TasksAreMovedDetachedAndJoinedByTheirDestructor) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::atomic<int> ended{0};
    auto body = [&ended] {
      gort::this_goroutine::yield();
      ++ended;
    };
    {
      auto t = gort::spawn(body);
      EXPECT_TRUE(t.valid());
      gort::task<void> u = std::move(t);
      EXPECT_FALSE(t.valid());  // NOLINT: that is the point
      EXPECT_TRUE(u.valid());
    }
    EXPECT_EQ(ended, 1) << "the destructor waits";
    {
      auto t = gort::spawn(body);
      t = gort::spawn(body);
      EXPECT_GE(ended, 2) << "so does assignment over it";
    }
    EXPECT_EQ(ended, 3);
    gort::spawn(body).detach();
    EXPECT_TRUE(yield_until([&] { return ended == 4; }));
    auto t = gort::spawn(body);
    while (ended != 5) gort::this_goroutine::yield();
    std::move(t).detach();  // after its end
    EXPECT_FALSE(t.valid());  // NOLINT
    auto u = gort::spawn([] { return 3; });
    u.wait();
    u.wait();
    EXPECT_EQ(u.get(), 3);
    EXPECT_FALSE(u.valid());
    gort::task<int> empty;
    EXPECT_FALSE(empty.valid());
    // An exception of a detached one is dropped; one of a destroyed one too.
    gort::spawn([] { throw 1; }).detach();
    { auto dropped = gort::spawn([] { throw 1; }); }
    // Joined by unwinding.
    EXPECT_THROW(
        {
          auto joined = gort::spawn(body);
          throw 5;
        },
        int);
    EXPECT_EQ(ended, 6);
  });
}

TEST_P(Go, ForeignThreadsSpawnAndJoin) {
  GORT_TEST_START(GetParam());
  std::vector<std::thread> threads;
  std::atomic<int> sum{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&sum] {
      for (int k = 0; k < 100; ++k) {
        sum += gort::spawn([] { return gort::spawn([] { return 1; }).get(); }).get();
        gort::spawn([] {}).detach();
        EXPECT_THROW(gort::spawn([] { throw 1; }).get(), int);
      }
      EXPECT_EQ(gort::this_goroutine::id(), 0u);
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(sum, 400);
}

// What came before spawn is visible in the goroutine, and what it did is visible after the join: plain
// variables, so that TSan has something to say.
TEST_P(Go, SpawnAndJoinSynchronise) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    int plain = 0;
    for (int i = 0; i < 500; ++i) {
      plain = i;
      gort::spawn([&plain, i] {
        EXPECT_EQ(plain, i);
        plain = -i;
      }).join();
      EXPECT_EQ(plain, -i);
    }
    auto chained = gort::spawn([&plain] { plain = 1000; });
    gort::spawn([&plain, t = std::move(chained)]() mutable {
      t.join();
      EXPECT_EQ(plain, 1000);
      plain = 2000;
    }).join();
    EXPECT_EQ(plain, 2000);
  });
  int plain = 1;
  gort::spawn([&plain] { plain = 2; }).join();  // out of a foreign thread
  EXPECT_EQ(plain, 2);
}

TEST_F(GoDeath, TwiceIsFatalAndSaysSo) {
  const auto exits = ExitedWithCode(2);
  EXPECT_EXIT(gort::run([] {
                auto t = gort::spawn([] {});
                t.get();
                t.get();
              }),
              exits, "^fatal error: gort::task: get on an empty task");
  EXPECT_EXIT(gort::run([] {
                auto t = gort::spawn([] {});
                t.join();
                t.join();
              }),
              exits, "^fatal error: gort::task: join on an empty task");
  EXPECT_EXIT(gort::task<int>().wait(), exits, "^fatal error: gort::task: wait on an empty task");
  EXPECT_EXIT(gort::run([] {
                auto t = gort::spawn([] {});
                std::move(t).detach();
                std::move(t).detach();
              }),
              exits, "^fatal error: gort::task: detach on an empty task");
}

TEST_F(GoDeath, TwoThatWaitForOneTaskIsFatal) {
  EXPECT_EXIT(gort::run([] {
                auto t = gort::spawn([] { gort::blocking([] { ::pause(); }); });
                gort::go([&t] { t.wait(); });
                gort::go([&t] { t.wait(); });
                for (;;) gort::this_goroutine::yield();
              }),
              ExitedWithCode(2), "^fatal error: gort::task: two wait for one task: it has one owner");
}

}  // namespace
