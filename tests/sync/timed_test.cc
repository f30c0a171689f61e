// The timed forms of mutex, shared_mutex and condition_variable: had just in time, given up while queued, unlocked while
// the time runs out. Nothing is lost, nobody behind is forgotten.
// test: labels=smoke timeout=120
#include <condition_variable>
#include <cstdio>
#include <random>
#include <shared_mutex>

#include "tests/sync/sync.h"

namespace {

using namespace gort;
using namespace gort::test;
using namespace std::chrono_literals;

class Timed : public SyncTest {};
GORT_TEST_AT_PROCS(Timed);

/// Seeds are new in each run and printed, so that a failure can be repeated: GORT_TEST_SEED=n.
std::uint64_t seed() {
  static const std::uint64_t s = [] {
    const char* given = std::getenv("GORT_TEST_SEED");
    const std::uint64_t n =
        given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    std::printf("GORT_TEST_SEED=%llu\n", static_cast<unsigned long long>(n));
    std::fflush(stdout);
    return n;
  }();
  return s;
}

/// Random numbers for the n-th goroutine.
std::minstd_rand random_for(int n) {
  return std::minstd_rand(
      static_cast<std::uint32_t>(seed() + 7919u * static_cast<unsigned>(n) + 1));
}

/// Not before its time.
template <class F>
bool given_up_after(std::chrono::nanoseconds at_least, F f) {
  const std::int64_t before = now_ns();
  const bool had = f();
  EXPECT_FALSE(had);
  EXPECT_GE(now_ns() - before, at_least.count());
  return !had;
}

TEST_P(Timed, AMutexThatIsHeldIsGivenUpInTimeAndNotBefore) {
  GORT_TEST_START(GetParam());
  run([] {
    gort::mutex m;
    m.lock();
    spawn([&] { given_up_after(2ms, [&] { return m.try_lock_for(2ms); }); }).join();
    spawn([&] {
      const auto when = std::chrono::steady_clock::now() + 2ms;
      EXPECT_FALSE(m.try_lock_until(when));
      EXPECT_GE(std::chrono::steady_clock::now(), when);
    }).join();
    EXPECT_EQ(waiting(), 0u);
    m.unlock();
    EXPECT_TRUE(m.try_lock_for(0s));
    m.unlock();
  });
}

TEST_P(Timed, AMutexIsHadWhileItIsWaitedFor) {
  GORT_TEST_START(GetParam());
  run([] {
    gort::mutex m;
    m.lock();
    auto waits = spawn([&] {
      if (!m.try_lock_for(1h)) return false;
      m.unlock();
      return true;
    });
    until_waiting(1);
    m.unlock();
    EXPECT_TRUE(waits.get());
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

// One who gives up stands before, between and behind those who do not.
TEST_P(Timed, WhoGivesUpAMutexHoldsNobodyUp) {
  GORT_TEST_START(GetParam());
  run([] {
    for (int place = 0; place < 3; ++place) {
      gort::mutex m;
      m.lock();
      std::vector<task<void>> all;
      std::atomic<int> had{0};
      std::atomic<bool> gone{false};
      for (int i = 0; i < 3; ++i) {
        if (i == place) {
          all.push_back(
              spawn([&] { gone = given_up_after(5ms, [&] { return m.try_lock_for(5ms); }); }));
        } else {
          all.push_back(spawn([&] {
            std::scoped_lock hold(m);
            ++had;
          }));
        }
        while (waiting() != static_cast<std::uint64_t>(i + 1) && !gone) this_goroutine::yield();
      }
      while (!gone) this_goroutine::yield();
      EXPECT_EQ(had, 0);
      m.unlock();
      for (auto& t : all) t.join();
      EXPECT_EQ(had, 2);
    }
  });
}

/// Times near those for which the lock is held.
std::chrono::microseconds some_time(std::minstd_rand& random) {
  return std::chrono::microseconds(random() % 200);
}

void beside_work(std::minstd_rand& random) {
  if (random() % 2 == 0) {
    this_goroutine::yield();
  } else {
    spin_for(static_cast<std::int64_t>(random() % 50'000));
  }
}

// Unlocked just when time runs out, again and again. A wake that is lost leaves the patient ones asleep: a hang.
TEST_P(Timed, AMutexIsUnlockedWhileTimesRunOut) {
  GORT_TEST_START(GetParam());
  seed();
  run([] {
    gort::mutex m;
    std::int64_t count = 0;
    std::atomic<std::int64_t> had{0};
    std::atomic<int> number{0};
    const int rounds = 1000 / kSlowdown;
    auto impatient = [&] {
      auto random = random_for(++number);
      for (int i = 0; i < rounds; ++i) {
        if (!m.try_lock_for(some_time(random))) continue;
        ++count;
        ++had;
        beside_work(random);
        m.unlock();
      }
    };
    auto patient = [&] {
      auto random = random_for(++number);
      for (int i = 0; i < rounds; ++i) {
        std::scoped_lock hold(m);
        ++count;
        ++had;
        beside_work(random);
      }
    };
    Threads threads(1, impatient);
    std::vector<task<void>> all;
    for (int i = 0; i < 4; ++i) all.push_back(spawn(impatient));
    for (int i = 0; i < 2; ++i) all.push_back(spawn(patient));
    for (auto& t : all) t.join();
    threads.join();
    EXPECT_EQ(count, had);
    EXPECT_GE(had, 2 * rounds);
    EXPECT_EQ(waiting(), 0u);
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

// ---- shared_mutex ---------------------------------------------------------------------------

TEST_P(Timed, ASharedMutexThatIsHeldIsGivenUp) {
  GORT_TEST_START(GetParam());
  run([] {
    gort::shared_mutex m;
    m.lock();
    given_up_after(2ms, [&] { return m.try_lock_for(2ms); });
    given_up_after(2ms, [&] { return m.try_lock_shared_for(2ms); });
    EXPECT_FALSE(m.try_lock_shared_until(std::chrono::steady_clock::now() + 1ms));
    EXPECT_FALSE(m.try_lock_until(std::chrono::steady_clock::now() + 1ms));
    m.unlock();
    EXPECT_TRUE(m.try_lock_shared());
    given_up_after(2ms, [&] { return m.try_lock_for(2ms); });
    EXPECT_TRUE(m.try_lock_shared()) << "the writer that waited has gone";
    m.unlock_shared();
    m.unlock_shared();
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST_P(Timed, ASharedMutexIsHadWhileItIsWaitedFor) {
  GORT_TEST_START(GetParam());
  run([] {
    gort::shared_mutex m;
    m.lock();
    auto reader = spawn([&] {
      const bool had = m.try_lock_shared_for(1h);
      if (had) m.unlock_shared();
      return had;
    });
    auto writer = spawn([&] {
      const bool had = m.try_lock_for(1h);
      if (had) m.unlock();
      return had;
    });
    until_waiting(2);
    m.unlock();
    EXPECT_TRUE(reader.get());
    EXPECT_TRUE(writer.get());
  });
}

// Readers that wait because a writer does get in as soon as that gives up, beside the reader that it waited for.
TEST_P(Timed, AWriterThatGivesUpLetsReadersIn) {
  GORT_TEST_START(GetParam());
  run([] {
    for (int i = 0; i < 20; ++i) {
      gort::shared_mutex m;
      m.lock_shared();
      auto writer = spawn([&] { given_up_after(3ms, [&] { return m.try_lock_for(3ms); }); });
      std::vector<task<void>> readers;
      for (int k = 0; k < 3; ++k) {
        readers.push_back(spawn([&] {
          m.lock_shared();
          m.unlock_shared();
        }));
      }
      for (auto& r : readers) r.join();  // while we still read
      writer.join();
      m.unlock_shared();
      ASSERT_TRUE(m.try_lock());
      m.unlock();
    }
  });
}

TEST_P(Timed, ASharedMutexIsUnlockedWhileTimesRunOut) {
  GORT_TEST_START(GetParam());
  seed();
  run([] {
    gort::shared_mutex m;
    std::atomic<int> readers{0}, writers{0}, number{0};
    const int rounds = 700 / kSlowdown;
    auto read = [&](std::minstd_rand& random) {
      ++readers;
      EXPECT_EQ(writers, 0);
      beside_work(random);
      --readers;
      m.unlock_shared();
    };
    auto write = [&](std::minstd_rand& random) {
      EXPECT_EQ(writers++, 0);
      EXPECT_EQ(readers, 0);
      beside_work(random);
      --writers;
      m.unlock();
    };
    auto impatient = [&] {
      auto random = random_for(++number);
      for (int i = 0; i < rounds; ++i) {
        if (random() % 3 == 0) {
          if (m.try_lock_for(some_time(random))) write(random);
        } else {
          if (m.try_lock_shared_for(some_time(random))) read(random);
        }
      }
    };
    auto patient = [&] {
      auto random = random_for(++number);
      for (int i = 0; i < rounds; ++i) {
        if (random() % 3 == 0) {
          m.lock();
          write(random);
        } else {
          m.lock_shared();
          read(random);
        }
      }
    };
    Threads threads(1, impatient);
    std::vector<task<void>> all;
    for (int i = 0; i < 4; ++i) all.push_back(spawn(impatient));
    for (int i = 0; i < 3; ++i) all.push_back(spawn(patient));
    for (auto& t : all) t.join();
    threads.join();
    EXPECT_EQ(waiting(), 0u);
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

// ---- condition_variable ---------------------------------------------------------------------

TEST_P(Timed, AConditionThatNobodyTellsIsGivenUpWithTheLockHeld) {
  GORT_TEST_START(GetParam());
  run([] {
    gort::mutex m;
    gort::condition_variable cv;
    std::unique_lock hold(m);
    std::int64_t before = now_ns();
    EXPECT_EQ(cv.wait_for(hold, 2ms), std::cv_status::timeout);
    EXPECT_GE(now_ns() - before, 2'000'000);
    EXPECT_TRUE(hold.owns_lock());
    EXPECT_FALSE(m.try_lock());
    before = now_ns();
    EXPECT_FALSE(cv.wait_for(hold, 2ms, [] { return false; }));
    EXPECT_GE(now_ns() - before, 2'000'000);
    EXPECT_TRUE(cv.wait_for(hold, 0s, [] { return true; }));
    auto teller = spawn([&] {
      std::scoped_lock wait_until_it_sleeps(m);
      cv.notify_one();
    });
    EXPECT_EQ(cv.wait_for(hold, 1h), std::cv_status::no_timeout);
    hold.unlock();
    teller.join();
  });
}

// A notification that meets a time that runs out: whoever takes it says so, else it is for the next one.
TEST_P(Timed, ANotificationIsTakenByWhoSaysSo) {
  GORT_TEST_START(GetParam());
  seed();
  run([] {
    auto random = random_for(0);
    const int rounds = 1000 / kSlowdown;
    for (int i = 0; i < rounds; ++i) {
      gort::mutex m;
      gort::condition_variable cv;
      bool told = false;
      const auto time = some_time(random);
      auto leaver = spawn([&] {
        std::unique_lock hold(m);
        return cv.wait_for(hold, time) == std::cv_status::no_timeout;
      });
      auto stayer = spawn([&] {
        std::unique_lock hold(m);
        while (!told) cv.wait(hold);
      });
      spin_for(static_cast<std::int64_t>(random() % 200'000));
      while (waiting() == 0) this_goroutine::yield();
      {
        std::scoped_lock hold(m);
        told = true;
      }
      cv.notify_one();
      if (leaver.get()) cv.notify_one();  // it was for the leaver, then
      stayer.join();
    }
  });
}

// A queue whose users look at it again and again: a notification that a time running out has swallowed leaves the
// patient ones asleep.
TEST_P(Timed, NothingIsLostInAQueueOfTheImpatient) {
  GORT_TEST_START(GetParam());
  seed();
  run([] {
    gort::mutex m;
    gort::condition_variable not_empty, not_full;
    int items = 0;
    std::atomic<int> number{0};
    const int rounds = 1000 / kSlowdown;
    // Who gives up in time passes on what he may have been told meanwhile: he has not been told.
    auto put = [&](bool patient) {
      auto random = random_for(++number);
      for (int i = 0; i < rounds; ++i) {
        std::unique_lock hold(m);
        while (items == 2)
          patient ? not_full.wait(hold)
                  : static_cast<void>(not_full.wait_for(hold, some_time(random)));
        ++items;
        not_empty.notify_one();
      }
    };
    auto take = [&](bool patient) {
      auto random = random_for(++number);
      for (int i = 0; i < rounds; ++i) {
        std::unique_lock hold(m);
        while (items == 0)
          patient ? not_empty.wait(hold)
                  : static_cast<void>(not_empty.wait_for(hold, some_time(random)));
        --items;
        not_full.notify_one();
      }
    };
    std::vector<task<void>> all;
    for (int i = 0; i < 2; ++i) {
      all.push_back(spawn([&] { put(true); }));
      all.push_back(spawn([&] { put(false); }));
      all.push_back(spawn([&] { take(true); }));
      all.push_back(spawn([&] { take(false); }));
    }
    Threads one(1, [&] { put(false); }), other(1, [&] { take(false); });
    for (auto& t : all) t.join();
    one.join();
    other.join();
    EXPECT_EQ(items, 0);
  });
}

}  // namespace
