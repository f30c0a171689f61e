// gort::held_locks (docs/held_locks.md): programs that hold a std::mutex over a park, and programs that do not.
// test: needs=GORT_UNSANITIZED
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>

#include "tests/support/runtime_fixture.h"

namespace shop {

/// Parks, and is woken by another goroutine.
[[gnu::noinline]] void wait_for_somebody() {
  gort::semaphore s(0);
  auto other = gort::spawn([&] { s.release(); });
  s.acquire();
  other.join();
}

[[gnu::noinline]] void locks_and_waits(std::mutex& m) {
  std::lock_guard guard(m);
  wait_for_somebody();
  asm volatile("");  // no tail call
}

[[gnu::noinline]] void locks_and_yields(std::mutex& m) {
  std::lock_guard guard(m);
  gort::go([] {});
  gort::this_goroutine::yield();
  asm volatile("");
}

}  // namespace shop

namespace {

using std::chrono::milliseconds;

int count(const std::string& text, const std::string& word) {
  int n = 0;
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++n;
  return n;
}

/// What the program says on stderr meanwhile.
std::string said(const std::function<void()>& program) {
  ::testing::internal::CaptureStderr();
  gort::run({.max_procs = 1}, program);
  return ::testing::internal::GetCapturedStderr();
}

class HeldLocks : public gort::test::RuntimeTest {};

TEST_F(HeldLocks, AMutexHeldOverAParkIsToldOncePerPlace) {
  GORT_TEST_START(1);
  std::mutex m;
  const std::string text = said([&] {
    for (int i = 0; i < 100; ++i) shop::locks_and_waits(m);
  });
  // Once with addresses, at the park; once with names, at the unlock. One place: the first park in there.
  EXPECT_EQ(count(text, " parks (semacquire) while it holds a std::mutex at 0x"), 2) << text;
  EXPECT_EQ(count(text, "gort: with names: "), 1) << text;
  EXPECT_GE(count(text, "shop::locks_and_waits"), 2) << "as the place of the lock, and in the traceback\n" << text;
  EXPECT_EQ(count(text, "shop::wait_for_somebody"), 1) << text;
}

TEST_F(HeldLocks, TwoPlacesAreToldTwice) {
  GORT_TEST_START(1);
  std::mutex m;
  const std::string text = said([&] {
    shop::locks_and_waits(m);
    m.lock();
    shop::wait_for_somebody();
    m.unlock();
  });
  EXPECT_EQ(count(text, "gort: goroutine "), 2) << text;
  EXPECT_EQ(count(text, "gort: with names: "), 2) << text;
}

TEST_F(HeldLocks, SoIsOneHeldOverAYieldAndOverTheEndOfBlocking) {
  GORT_TEST_START(1);
  std::mutex m;
  std::string text = said([&] { shop::locks_and_yields(m); });
  EXPECT_EQ(count(text, " yields while it holds a std::mutex at 0x"), 2) << text;
  text = said([&] {
    gort::blocking([&] { m.lock(); });
    m.unlock();
  });
  EXPECT_EQ(count(text, " leaves gort::blocking while it holds a std::mutex at 0x"), 2) << text;
}

TEST_F(HeldLocks, GortsOwnLocksMayBeHeldOverAnything) {
  GORT_TEST_START(1);
  gort::mutex m;
  gort::shared_mutex shared;
  const std::string text = said([&] {
    std::scoped_lock hold(m);
    std::shared_lock reads(shared);
    shop::wait_for_somebody();
    gort::this_goroutine::yield();
  });
  EXPECT_EQ(text, "");
}

TEST_F(HeldLocks, EveryWayOfLockingCounts) {
  GORT_TEST_START(1);
  const auto here = [] { asm volatile(""); };  // the place is this one: the call before is no tail call
  const auto told = [](const std::function<void()>& lock, const std::function<void()>& unlock) {
    return count(said([&] {
                   lock();
                   shop::wait_for_somebody();
                   unlock();
                 }),
                 "gort: goroutine ");
  };
  std::mutex m;
  std::timed_mutex timed;
  std::recursive_mutex recursive;
  std::shared_mutex shared;
  std::shared_timed_mutex shared_timed;
  EXPECT_EQ(told([&] { m.try_lock(), here(); }, [&] { m.unlock(); }), 1);
  EXPECT_EQ(told([&] { timed.try_lock_for(milliseconds(1)), here(); }, [&] { timed.unlock(); }), 1);
  EXPECT_EQ(told([&] { timed.try_lock_until(std::chrono::system_clock::now()), here(); }, [&] { timed.unlock(); }), 1);
  EXPECT_EQ(told([&] { shared.lock(), here(); }, [&] { shared.unlock(); }), 1);
  EXPECT_EQ(told([&] { shared.lock_shared(), here(); }, [&] { shared.unlock_shared(); }), 1);
  EXPECT_EQ(told([&] { shared.try_lock(), here(); }, [&] { shared.unlock(); }), 1);
  EXPECT_EQ(told([&] { shared.try_lock_shared(), here(); }, [&] { shared.unlock_shared(); }), 1);
  EXPECT_EQ(told([&] { shared_timed.try_lock_for(milliseconds(1)), here(); }, [&] { shared_timed.unlock(); }), 1);
  EXPECT_EQ(told([&] { shared_timed.try_lock_shared_for(milliseconds(1)), here(); }, [&] { shared_timed.unlock_shared(); }), 1);
  // Taken twice, released once.
  EXPECT_EQ(told(
                [&] {
                  recursive.lock();
                  recursive.lock();
                  recursive.unlock();
                },
                [&] { recursive.unlock(); }),
            1);
  // A wait gives the mutex back in between, and takes it again.
  std::condition_variable c;
  std::unique_lock lock(m, std::defer_lock);
  EXPECT_EQ(told(
                [&] {
                  lock.lock();
                  c.wait_for(lock, milliseconds(1));
                },
                [&] { lock.unlock(); }),
            1);
}

TEST_F(HeldLocks, WhoReleasesFirstIsLeftAlone) {
  GORT_TEST_START(1);
  std::mutex m;
  std::shared_mutex shared;
  std::recursive_mutex recursive;
  std::condition_variable c;
  bool ready = false;
  std::mutex busy;
  std::lock_guard by_a_foreign_thread(busy);
  const std::string text = said([&] {
    {
      std::lock_guard guard(m);
      std::shared_lock reader(shared);
      std::scoped_lock both(recursive, recursive);
    }
    EXPECT_FALSE(busy.try_lock());  // somebody else's
    gort::blocking([&] {
      std::thread other([&] {
        std::lock_guard guard(m);
        ready = true;
        c.notify_one();
      });
      {
        std::unique_lock lock(m);
        c.wait(lock, [&] { return ready; });
      }
      other.join();
    });
    shop::wait_for_somebody();
    gort::this_goroutine::yield();
  });
  EXPECT_EQ(text, "");
}

TEST_F(HeldLocks, WhoIsLockedToItsThreadMayHoldThem) {
  GORT_TEST_START(1);
  std::mutex m;
  const std::string text = said([&] {
    gort::os_thread_lock stay;
    shop::locks_and_waits(m);
    shop::locks_and_yields(m);
  });
  EXPECT_EQ(text, "");
}

using HeldLocksDeathTest = HeldLocks;

TEST_F(HeldLocksDeathTest, FatalMeansTheEnd) {
  EXPECT_EXIT(
      {
        ::setenv("GORT_DEBUG", "heldlocks=fatal", 1);
        std::mutex m;
        gort::run({.max_procs = 1}, [&] { shop::locks_and_waits(m); });  // with two, it may not have to wait
      },
      ::testing::ExitedWithCode(2),
      "fatal error: goroutine [0-9]+ parks \\(semacquire\\) while it holds a std::mutex at 0x[0-9a-f]+, locked at 0x"
      "(.|\n)*locked at\n\tshop::locks_and_waits(.|\n)*goroutine [0-9]+ \\[running"
      "(.|\n)*shop::wait_for_somebody");
}

}  // namespace
