// Scopes: children end before the scope does, errors, cancellation, limits.
// test: labels=smoke
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "sync/context.h"
#include "tests/support/runtime_fixture.h"

using gort::cancel_reason;
using gort::test::yield_until;

namespace {

class Scope : public gort::test::RuntimeTestAtProcs {
 protected:
  void TearDown() override {
    gort::test::RuntimeTestAtProcs::TearDown();
    EXPECT_EQ(gort::rt::contexts_in_use(), 0u);
  }
};
GORT_TEST_AT_PROCS(Scope);

void wait_for_ever() {
  gort::event never;
  never.wait();
}

std::string joined(gort::scope& s) {
  try {
    s.join();
  } catch (const std::exception& e) {
    return e.what();
  } catch (const gort::cancelled& e) {
    return "cancelled: " + e.cause().message();
  }
  return "ok";
}

TEST_P(Scope, JoinWaitsForAllAndSeesWhatTheyDid) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::vector<int> out(100);
    gort::scope s;
    for (int i = 0; i < 100; ++i) {
      s.go([&out](int k) {
        gort::this_goroutine::yield();
        out[static_cast<std::size_t>(k)] = k;
      }, i);
    }
    s.join();
    for (int i = 0; i < 100; ++i) EXPECT_EQ(out[static_cast<std::size_t>(i)], i);
    s.join();
    int again = 0;
    s.go([&] { again = 1; });
    s.join();
    EXPECT_EQ(again, 1);
  });
}

TEST_P(Scope, AnEmptyOne) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    { gort::scope s; }
    gort::scope s;
    EXPECT_EQ(joined(s), "ok");
  });
}

TEST_P(Scope, TheFirstExceptionCancelsTheOthersAndIsRethrown) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::scope s;
    std::optional<std::error_code> seen;
    gort::event started;
    s.go([&] {
      started.set();
      try {
        wait_for_ever();
      } catch (const gort::cancelled& e) {
        seen = e.cause();
        throw;
      }
    });
    s.go([&] {
      started.wait();
      throw std::runtime_error("first");
    });
    s.go([] {
      try {
        wait_for_ever();
      } catch (const gort::cancelled&) {
      }
      throw std::runtime_error("second");
    });
    EXPECT_EQ(joined(s), "first");
    EXPECT_EQ(seen, cancel_reason::sibling_failed);
    EXPECT_FALSE(gort::this_goroutine::cancelled()) << "the body is not in the scope's context";
    EXPECT_TRUE(s.context().cancelled());
    EXPECT_EQ(joined(s), "ok");
  });
}

TEST_P(Scope, LeavingWithoutJoinCancelsAndWaits) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::atomic<int> ended{0};
    struct counts {
      std::atomic<int>* n;
      ~counts() { ++*n; }
    };
    {
      gort::scope s;
      for (int i = 0; i < 10; ++i) {
        s.go([&] {
          counts c{&ended};
          wait_for_ever();
        });
      }
    }
    EXPECT_EQ(ended, 10);
    try {
      gort::scope s;
      for (int i = 0; i < 10; ++i) {
        s.go([&] {
          counts c{&ended};
          wait_for_ever();
        });
      }
      throw 1;
    } catch (int) {
    }
    EXPECT_EQ(ended, 20);
  });
}

TEST_P(Scope, WhatAChildThrowsIsDroppedWithoutJoin) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::scope s;
    s.go([] { throw std::runtime_error("nobody asks"); });
  });
}

TEST_P(Scope, AJoinerThatIsCancelledCancelsAndWaits) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::atomic<int> ended{0};
    std::atomic<int> causes{0};
    gort::event waiting;
    auto t = gort::spawn([&] {
      gort::scope s;
      for (int i = 0; i < 5; ++i) {
        s.go([&] {
          try {
            wait_for_ever();
          } catch (const gort::cancelled& e) {
            if (e.cause() == std::errc::io_error) ++causes;
          }
          ++ended;
        });
      }
      waiting.set();
      try {
        s.join();
      } catch (const gort::cancelled& e) {
        EXPECT_EQ(e.cause(), std::errc::io_error);
        EXPECT_EQ(ended, 5);
        throw;
      }
    });
    waiting.wait();
    t.cancel(std::make_error_code(std::errc::io_error));
    EXPECT_THROW(t.get(), gort::cancelled);
    EXPECT_EQ(causes, 5);
  });
}

TEST_P(Scope, JoinInACancelledContext) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::with_cancel c;
    gort::scope s;
    bool ran = false;
    s.go([&] { ran = true; });
    c.cancel(std::make_error_code(std::errc::io_error));
    EXPECT_EQ(joined(s), "cancelled: " + std::make_error_code(std::errc::io_error).message());
    EXPECT_TRUE(ran);
  });
}

TEST_P(Scope, ACancelledParentCancelsNestedScopes) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::atomic<int> ended{0};
    gort::scope outer;
    for (int i = 0; i < 3; ++i) {
      outer.go([&] {
        gort::scope inner;
        for (int k = 0; k < 3; ++k) {
          inner.go([&] {
            struct counts {
              std::atomic<int>* n;
              ~counts() { ++*n; }
            } c{&ended};
            wait_for_ever();
          });
        }
        inner.join();
      });
    }
    for (int i = 0; i < 20; ++i) gort::this_goroutine::yield();
    outer.cancel();
    EXPECT_EQ(joined(outer), "ok") << "cancelled goroutines are no error";
    EXPECT_EQ(ended, 9);
  });
}

TEST_P(Scope, AnInnerFailureComesOutThroughTheOuterOne) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::scope outer;
    outer.go(wait_for_ever);
    outer.go([] {
      gort::scope inner;
      inner.go(wait_for_ever);
      inner.go([] { throw std::runtime_error("deep"); });
      inner.join();
    });
    EXPECT_EQ(joined(outer), "deep");
  });
}

TEST_P(Scope, CancelledThatIsNotOursIsAnError) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::scope s;
    s.go([] {
      gort::with_cancel own;
      own.cancel(cancel_reason::timed_out);
      wait_for_ever();
    });
    s.go(wait_for_ever);
    EXPECT_EQ(joined(s), "cancelled: timed out");
  });
}

TEST_P(Scope, GoexitIsAPlainEnd) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::scope s;
    s.go([] { gort::goexit(); });
    EXPECT_EQ(joined(s), "ok");
  });
}

TEST_P(Scope, TheLimitHolds) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::scope s({.limit = 3});
    std::atomic<int> now{0};
    std::atomic<int> most{0};
    for (int i = 0; i < 50; ++i) {
      s.go([&] {
        const int n = ++now;
        for (int m = most; m < n && !most.compare_exchange_weak(m, n);) {
        }
        gort::this_goroutine::yield();
        --now;
      });
    }
    s.join();
    EXPECT_LE(most, 3);
    EXPECT_GT(most, 0);
  });
}

TEST_P(Scope, ALimitThatIsNone) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::scope s({.limit = UINT32_MAX});
    int ran = 0;
    s.go([&] { ++ran; });
    s.join();
    EXPECT_EQ(ran, 1);
  });
}

TEST_P(Scope, GoWaitingForAPlaceIsCancelled) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::event waiting;
    auto t = gort::spawn([&] {
      gort::scope s({.limit = 1});
      s.go(wait_for_ever);
      waiting.set();
      s.go([] { ADD_FAILURE() << "not started"; });
    });
    waiting.wait();
    gort::this_goroutine::yield();
    t.cancel();
    EXPECT_THROW(t.get(), gort::cancelled);
  });
}

TEST_P(Scope, AChildMayStartMore) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::scope s;
    std::atomic<int> n{0};
    struct tree {
      static void grow(gort::scope& in, std::atomic<int>& count, int depth) {
        ++count;
        if (depth == 0) return;
        for (int i = 0; i < 3; ++i) in.go([&in, &count, depth] { grow(in, count, depth - 1); });
      }
    };
    s.go([&] { tree::grow(s, n, 5); });
    s.join();
    EXPECT_EQ(n, 1 + 3 + 9 + 27 + 81 + 243);
  });
}

TEST_P(Scope, ClosuresOfAllSizesDieBeforeJoinReturns) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto token = std::make_shared<int>(0);
    std::array<char, 200> large{};
    gort::scope s;
    for (int i = 0; i < 50; ++i) {
      s.go([token] { gort::this_goroutine::yield(); });
      s.go([token, large] { static_cast<void>(large); });
      s.go([token, p = std::make_unique<int>(1)] { throw *p; });
    }
    try {
      s.join();
      ADD_FAILURE();
    } catch (int i) {
      EXPECT_EQ(i, 1);
    }
    EXPECT_EQ(token.use_count(), 1);
  });
}

TEST_P(Scope, OnAForeignThread) {
  GORT_TEST_START(GetParam());
  std::atomic<int> n{0};
  std::thread([&] {
    gort::scope s;
    for (int i = 0; i < 10; ++i) s.go([&] { ++n; });
    s.join();
    EXPECT_EQ(n, 10);
    s.go(wait_for_ever);
    s.go([] { throw std::runtime_error("far"); });
    EXPECT_EQ(joined(s), "far");
  }).join();
}

// A task has an owner, and that is not the scope whose goroutine started it.
TEST_P(Scope, ATaskThatWasGivenAwayOutlivesAScopeThatEndsWell) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::optional<gort::task<int>> given;
    gort::event go_on;
    {
      gort::scope s;
      s.go([&] {
        given.emplace(gort::spawn([&go_on] {
          go_on.wait();
          return 7;
        }));
      });
      s.join();
    }
    go_on.set();
    EXPECT_EQ(given->get(), 7);
  });
}

TEST_P(Scope, FailuresAndEndsRace) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (int i = 0; i < 500; ++i) {
      gort::scope s;
      std::atomic<int> ended{0};
      for (int k = 0; k < 6; ++k) {
        s.go([&ended, k, i] {
          struct counts {
            std::atomic<int>* n;
            ~counts() { ++*n; }
          } c{&ended};
          if (k == i % 6) throw std::runtime_error("x");
          if (k % 2 == 0) wait_for_ever();
        });
      }
      if (i % 2 == 0) {
        ASSERT_EQ(joined(s), "x");
        ASSERT_EQ(ended, 6);
      }
    }
  });
}

}  // namespace
