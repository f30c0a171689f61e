// gort::call_once and once_value.
#include <stdexcept>

#include "tests/sync/sync.h"

namespace {

using namespace gort;
using namespace gort::test;

using Once = SyncTest;
GORT_TEST_AT_PROCS(Once);

TEST_P(Once, OneRunsTheOthersWait) {
  GORT_TEST_START(GetParam());
  run([] {
    const int rounds = 300 / kSlowdown + 1;
    for (int i = 0; i < rounds; ++i) {
      once_flag flag;
      int calls = 0;
      auto use = [&] {
        call_once(
            flag,
            [&](int n) {
              this_goroutine::yield();
              calls += n;
            },
            1);
        EXPECT_EQ(calls, 1);
      };
      Threads threads(i % 10 == 0 ? 2 : 0, use);
      in_goroutines(5, use);
    }
  });
}

// An exception goes to its caller; somebody else tries again. As std.
TEST_P(Once, AnExceptionIsNotTheEnd) {
  GORT_TEST_START(GetParam());
  run([] {
    const int rounds = 300 / kSlowdown + 1;
    for (int i = 0; i < rounds; ++i) {
      once_flag flag;
      int calls = 0;
      std::atomic<int> thrown{0};
      in_goroutines(6, [&] {
        try {
          call_once(flag, [&] {
            this_goroutine::yield();
            if (++calls < 4) throw std::runtime_error("not yet");
          });
          EXPECT_EQ(calls, 4);
        } catch (const std::runtime_error&) {
          ++thrown;
        }
      });
      EXPECT_EQ(calls, 4);
      EXPECT_EQ(thrown, 3);
    }
  });
}

TEST_P(Once, GoexitIsNotTheEnd) {
  GORT_TEST_START(GetParam());
  run([] {
    once_flag flag;
    std::atomic<bool> inside{false};
    go([&] {
      call_once(flag, [&] {
        inside = true;
        until_waiting(1);
        goexit();
      });
    });
    while (!inside) this_goroutine::yield();
    int calls = 0;
    call_once(flag, [&] { ++calls; });
    call_once(flag, [&] { ++calls; });
    EXPECT_EQ(calls, 1);
  });
}

TEST_P(Once, Value) {
  GORT_TEST_START(GetParam());
  run([] {
    int calls = 0;
    once_value v([&] {
      if (++calls == 1) throw std::runtime_error("first");
      return std::string("made");
    });
    EXPECT_THROW(v(), std::runtime_error);
    in_goroutines(4, [&] { EXPECT_EQ(v(), "made"); });
    EXPECT_EQ(calls, 2);
    EXPECT_EQ(&v(), &v());
  });
}

}  // namespace
