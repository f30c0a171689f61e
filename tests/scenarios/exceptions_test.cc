// Exceptions belong to the goroutine, not to the thread: throw, park in a catch block or in a destructor,
// go on elsewhere (traps silk #98, userver #1247, TBB #1293).
// test: labels=smoke
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/runtime_fixture.h"

namespace {

class Exceptions : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(Exceptions);

[[gnu::noinline]] pid_t this_thread() { return ::gettid(); }

/// Parks in several ways, and on another thread if there are several Ps: others keep this one's busy. What
/// matters is only that other goroutines run on this thread meanwhile.
void park_somehow(int i) {
  switch (i % 3) {
    case 0: gort::spawn([] { gort::this_goroutine::yield(); }).join(); break;
    case 1: gort::blocking([] { ::usleep(100); }); break;
    default:
      for (int k = 0; k < 5; ++k) gort::this_goroutine::yield();
  }
}

/// Runs f(i) in many goroutines at once, so that each park lets others throw and catch on the same threads.
template <class F>
void in_many(F f) {
  std::vector<gort::task<void>> tasks;
  for (int i = 0; i < 24; ++i) tasks.push_back(gort::spawn(f, i));
  for (auto& t : tasks) t.join();
}

TEST_P(Exceptions, ParkInACatchBlock) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    in_many([](int i) {
      const std::string mine = "mine " + std::to_string(i);
      for (int round = 0; round < 20; ++round) {
        try {
          throw std::runtime_error(mine);
        } catch (const std::exception& e) {
          EXPECT_EQ(std::uncaught_exceptions(), 0);
          park_somehow(i + round);
          EXPECT_EQ(e.what(), mine);
          EXPECT_EQ(std::uncaught_exceptions(), 0);
          // What is being handled here is still this one.
          try {
            std::rethrow_exception(std::current_exception());
          } catch (const std::runtime_error& again) {
            EXPECT_EQ(again.what(), mine);
          }
        }
        EXPECT_EQ(std::current_exception(), nullptr);
      }
    });
  });
}

TEST_P(Exceptions, RethrowAfterAPark) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    in_many([](int i) {
      for (int round = 0; round < 20; ++round) {
        int got = -1;
        try {
          try {
            throw i * 100 + round;
          } catch (...) {
            park_somehow(i + round);
            throw;
          }
        } catch (int v) {
          got = v;
        }
        EXPECT_EQ(got, i * 100 + round);
      }
    });
  });
}

TEST_P(Exceptions, ParkInADestructorDuringUnwinding) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    in_many([](int i) {
      struct parks {
        int i;
        explicit parks(int n) : i(n) {}
        parks(const parks&) = delete;
        ~parks() {
          EXPECT_EQ(std::uncaught_exceptions(), 1);
          park_somehow(i);
          EXPECT_EQ(std::uncaught_exceptions(), 1);
          // Another one, thrown and caught while the first unwinds.
          try {
            throw i;
          } catch (int v) {
            park_somehow(i + 1);
            EXPECT_EQ(v, i);
          }
          EXPECT_EQ(std::uncaught_exceptions(), 1);
        }
      };
      for (int round = 0; round < 10; ++round) {
        try {
          parks one(i + round);
          parks two(i + round + 1);
          throw std::logic_error("unwinding");
        } catch (const std::logic_error& e) {
          EXPECT_STREQ(e.what(), "unwinding");
        }
        EXPECT_EQ(std::uncaught_exceptions(), 0);
      }
    });
  });
}

TEST_P(Exceptions, NestedHandlersWithParksInEach) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    in_many([](int i) {
      try {
        throw std::string("outer");
      } catch (const std::string& outer) {
        park_somehow(i);
        try {
          throw std::string("inner");
        } catch (const std::string& inner) {
          park_somehow(i + 1);
          EXPECT_EQ(inner, "inner");
          try {
            throw;
          } catch (const std::string& again) {
            park_somehow(i + 2);
            EXPECT_EQ(again, "inner");
          }
        }
        park_somehow(i + 1);
        EXPECT_EQ(outer, "outer");
        try {
          throw;
        } catch (const std::string& again) {
          EXPECT_EQ(again, "outer");
        }
      }
    });
  });
}

TEST_P(Exceptions, CurrentExceptionTravelsToAnotherGoroutine) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    in_many([](int i) {
      std::exception_ptr seen;
      try {
        throw i;
      } catch (...) {
        seen = std::current_exception();
        park_somehow(i);
        EXPECT_EQ(std::current_exception(), seen);
        gort::spawn([seen, i] {
          EXPECT_EQ(std::current_exception(), nullptr);
          try {
            std::rethrow_exception(seen);
          } catch (int v) {
            EXPECT_EQ(v, i);
          }
        }).join();
        EXPECT_EQ(std::current_exception(), seen);
      }
    });
  });
}

// The same, with proof that the goroutine has changed threads in the catch block: it yields to one that keeps
// this thread until we have gone on, which can only be elsewhere.
TEST_P(Exceptions, TheCatchBlockGoesOnOnAnotherThread) {
  if (GetParam() == 1) GTEST_SKIP() << "one P: nobody else could take it";
  GORT_TEST_START(GetParam());
  gort::run([] {
    int moved = 0;
    for (int attempt = 0; attempt < 50; ++attempt) {
      try {
        throw attempt;
      } catch (int v) {
        const pid_t before = this_thread();
        std::atomic<bool> there{false};
        auto hog = gort::spawn([&there] {
          const std::int64_t start = gort::test::now_ns();
          while (!there && gort::test::now_ns() - start < 5'000'000'000) {
          }
        });
        gort::this_goroutine::yield();
        if (this_thread() != before) ++moved;
        there = true;
        EXPECT_EQ(v, attempt);
        EXPECT_NE(std::current_exception(), nullptr);
        hog.join();
        EXPECT_EQ(v, attempt);
      }
      EXPECT_EQ(std::current_exception(), nullptr);
    }
    EXPECT_GT(moved, 0);
  });
}

TEST_P(Exceptions, GoexitUnwindsThroughParksAndHandlers) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::atomic<int> destroyed{0};
    for (int i = 0; i < 20; ++i) {
      auto t = gort::spawn([&destroyed, i] {
        struct parks {
          std::atomic<int>& n;
          int i;
          ~parks() {
            park_somehow(i);
            ++n;
          }
        } one{destroyed, i};
        try {
          parks two{destroyed, i + 1};
          gort::goexit();
        } catch (const std::exception&) {
          ADD_FAILURE() << "goexit is no std::exception";
        }
        ADD_FAILURE() << "goexit came back";
      });
      EXPECT_THROW(t.get(), gort::goroutine_exit_error);
    }
    EXPECT_EQ(destroyed, 40);
  });
}

// goexit from within a handler, and from within a blocking call.
TEST_P(Exceptions, GoexitFromAHandlerAndFromABlockingCall) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto a = gort::spawn([] {
      try {
        throw 1;
      } catch (int) {
        gort::goexit();
      }
    });
    EXPECT_THROW(a.get(), gort::goroutine_exit_error);
    auto b = gort::spawn([] { gort::blocking([] { gort::goexit(); }); });
    EXPECT_THROW(b.get(), gort::goroutine_exit_error);
    auto c = gort::spawn([] { gort::blocking([] { throw 7; }); });
    EXPECT_THROW(c.get(), int);
  });
}

// Compilers take errno's address for constant within a function (docs/tls.md): a function of its own each.
[[gnu::noinline]] int get_errno() {
  asm volatile("" ::: "memory");
  return errno;
}
[[gnu::noinline]] void set_errno(int e) {
  asm volatile("" ::: "memory");
  errno = e;
}

// errno after a blocking call is what the call left, whatever thread the goroutine is on then.
TEST_P(Exceptions, ErrnoComesAlongFromABlockingCall) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    in_many([](int i) {
      for (int round = 0; round < 50; ++round) {
        gort::blocking([i] {
          ::usleep(static_cast<useconds_t>(20 + i));
          set_errno(1000 + i);
        });
        EXPECT_EQ(get_errno(), 1000 + i);
        set_errno(5);
        gort::this_goroutine::yield();
      }
    });
  });
}

TEST_P(Exceptions, BlockingPassesResultsReferencesAndNestingOn) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    int x = 3;
    int& r = gort::blocking([&]() -> int& { return x; });
    EXPECT_EQ(&r, &x);
    EXPECT_EQ(gort::blocking([](int a, int b) { return a + b; }, 2, 3), 5);
    EXPECT_EQ(gort::blocking([] { return gort::blocking([] { return gort::spawn([] { return 9; }).get(); }); }), 9);
  });
  EXPECT_EQ(gort::blocking([] { return 4; }), 4);  // a foreign thread
}

}  // namespace
