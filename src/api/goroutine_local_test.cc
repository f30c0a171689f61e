// goroutine_local: one value per goroutine, made on demand, destroyed at its end.
#include "gort/goroutine_local.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/runtime_fixture.h"

namespace {

class GoroutineLocal : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(GoroutineLocal);

struct tracked {
  static inline std::atomic<int> alive{0};
  static inline std::atomic<std::uint64_t> destroyed_on{0};
  int value = 0;
  tracked() { ++alive; }
  tracked(const tracked&) = delete;
  ~tracked() {
    --alive;
    destroyed_on = gort::this_goroutine::id();
  }
};

gort::goroutine_local<tracked> local;
gort::goroutine_local<std::string> text;

TEST_P(GoroutineLocal, IsMadeOnDemandAndDestroyedAtTheEndOnThatGoroutine) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (int i = 0; i < 30; ++i) {
      const int how = i % 3;
      std::uint64_t id = 0;
      auto t = gort::spawn([&id, how] {
        EXPECT_EQ(local->value, 0) << "nothing is left from an earlier goroutine";
        local->value = 5;
        gort::this_goroutine::yield();
        EXPECT_EQ(local->value, 5);
        id = gort::this_goroutine::id();
        if (how == 1) throw 1;
        if (how == 2) gort::goexit();
      });
      try {
        t.get();
      } catch (...) {
      }
      // The task is done when the function is; the locals go a moment later.
      EXPECT_TRUE(gort::test::yield_until([] { return tracked::alive == 0; }));
      EXPECT_EQ(tracked::destroyed_on, id);
    }
  });
}

TEST_P(GoroutineLocal, ChildrenInheritNothingAndForeignThreadsHaveTheirOwn) {
  GORT_TEST_START(GetParam());
  *text = "thread";
  std::thread([] { EXPECT_EQ(*text, ""); }).join();
  gort::run([] {
    EXPECT_EQ(*text, "");
    *text = "parent";
    gort::spawn([] {
      EXPECT_EQ(*text, "");
      *text = "child";
    }).join();
    EXPECT_EQ(*text, "parent");
    // A blocking call is still this goroutine.
    gort::blocking([] { EXPECT_EQ(*text, "parent"); });
  });
  EXPECT_EQ(*text, "thread");
}

// A destructor that uses other goroutine_locals makes new ones; those go too.
struct restless {
  static inline std::atomic<int> left{0};
  ~restless() {
    if (left > 0) {
      --left;
      *text = "again";
      static_cast<void>(local->value);
    }
  }
};
gort::goroutine_local<restless> uneasy;

TEST_P(GoroutineLocal, DestructorsMayUseOthers) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    restless::left = 1;
    gort::spawn([] { static_cast<void>(uneasy.get()); }).join();
    EXPECT_TRUE(gort::test::yield_until([] { return restless::left == 0 && tracked::alive == 0; }));
  });
}

/// Made with the help of one whose place comes behind its own.
struct helped {
  helped();
  int value = 0;
};
gort::goroutine_local<helped> with_help;
gort::goroutine_local<std::array<char, 8>> helpers[40];
helped::helped() {
  for (auto& h : helpers) static_cast<void>(h.get());
}

TEST_P(GoroutineLocal, ConstructorsMayUseOthers) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::spawn([] {
      with_help->value = 5;
      EXPECT_EQ(with_help->value, 5) << "it has been made twice";
    }).join();
  });
  std::thread([] {
    with_help->value = 6;
    EXPECT_EQ(with_help->value, 6);
  }).join();
}

TEST_P(GoroutineLocal, ManyOfThem) {
  GORT_TEST_START(GetParam());
  static std::vector<std::unique_ptr<gort::goroutine_local<int>>> many;
  for (int i = 0; i < 200; ++i) many.push_back(std::make_unique<gort::goroutine_local<int>>());
  gort::run([] {
    for (int i = 199; i >= 0; --i) **many[static_cast<std::size_t>(i)] = i;
    for (int i = 0; i < 200; ++i) EXPECT_EQ(**many[static_cast<std::size_t>(i)], i);
  });
}

void* leak(std::size_t n) {
  static void* volatile last;
  last = std::malloc(n);
  return last;
}

/// Used by a static destructor, when main's thread_locals are gone.
struct used_at_exit {
  gort::goroutine_local<std::string> text;
  bool armed = false;
  ~used_at_exit() {
    if (!armed) return;
    // Whatever the thread has freed is somebody else's now.
    for (std::size_t n = 16; n <= 1024; n += 16) {
      for (int i = 0; i < 8; ++i) std::memset(leak(n), 0x5a, n);
    }
    if (!text->empty()) std::_Exit(3);  // destroyed with the thread's others
    text->assign(100, 'x');
    std::_Exit(text->size() == 100 ? 0 : 4);
  }
} at_exit_object;

class GoroutineLocalAtExit : public gort::test::RuntimeTest {};

TEST_F(GoroutineLocalAtExit, StaticDestructorsMayUseThem) {
  EXPECT_EXIT(
      {
        at_exit_object.armed = true;
        at_exit_object.text->assign(200, 'a');
        std::exit(1);
      },
      ::testing::ExitedWithCode(0), "^$");
  // ... and run() as well.
  static struct runs_at_exit {
    bool armed = false;
    ~runs_at_exit() {
      if (armed) std::_Exit(gort::run([] { return gort::spawn([] { return 17; }).get(); }));
    }
  } runs;
  EXPECT_EXIT(
      {
        runs.armed = true;
        gort::run([] {});
        std::exit(1);
      },
      ::testing::ExitedWithCode(17), "^$");
}

}  // namespace
