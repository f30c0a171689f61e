// Acceptance scenarios of the runtime semaphore: 20, 23, 24, 25; order and conservation under random use.
// test: labels=smoke timeout=120
#include "sema/sema.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "gort/gort.h"
#include "base/fault.h"
#include "sched/entry.h"
#include "sched/sched.h"
#include "sched/system_stack.h"
#include "sema/sema_root.h"

namespace {

using namespace gort;
using rt::SemWord;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kSlowdown = 10;
#else
constexpr int kSlowdown = 1;
#endif

void acquire(SemWord* w, rt::SemAcquire options = {}) {
  rt::RuntimeEntry entry;
  rt::sem_acquire(w, options);
}
void release(SemWord* w, rt::SemRelease options = {}) {
  rt::RuntimeEntry entry;
  rt::sem_release(w, options);
}
std::uint32_t waiting(SemWord* w) {
  rt::RuntimeEntry entry;
  return rt::sem_waiting(w);
}
void until_waiting(SemWord* w, std::uint32_t n) {
  while (waiting(w) != n) this_goroutine::yield();
}

/// `n` words whose waiters all live in one root.
class OneBucket {
 public:
  explicit OneBucket(std::size_t n) : memory_(std::make_unique<SemWord[]>(n * rt::kSemRoots * 2)) {
    const std::uint32_t root = rt::sem_root_index(&memory_[0]);
    for (std::size_t i = 0; words_.size() < n; ++i) {
      if (rt::sem_root_index(&memory_[i]) == root) words_.push_back(&memory_[i]);
    }
  }
  SemWord* operator[](std::size_t i) const { return words_[i]; }
  std::size_t size() const { return words_.size(); }

 private:
  std::unique_ptr<SemWord[]> memory_;
  std::vector<SemWord*> words_;
};

// ---- 20: semacquire on the scheduler's stack throws with a clear text ----------------------------

void acquire_on_system_stack(std::uint32_t units) {
  run([=] {
    SemWord w{units};
    rt::RuntimeEntry entry;
    rt::on_system_stack([](void* word) { rt::sem_acquire(static_cast<SemWord*>(word)); }, &w);
  });
}

TEST(SemaScenario20, AcquireOnTheSystemStackIsFatal) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(acquire_on_system_stack(0), testing::ExitedWithCode(2), "semacquire: not on a goroutine's stack");
  // The rule does not depend on luck: it is broken also where the unit is there.
  EXPECT_EXIT(acquire_on_system_stack(1), testing::ExitedWithCode(2), "semacquire: not on a goroutine's stack");
}

TEST(SemaScenario20, ElsewhereItIsNot) {
  SemWord w{2};
  acquire(&w);  // a foreign thread
  run([&] {
    acquire(&w);
    bool there = true;
    {
      rt::RuntimeEntry entry;
      rt::on_system_stack([](void* b) { *static_cast<bool*>(b) = rt::current_g() != nullptr; }, &there);
    }
    EXPECT_FALSE(there);
    EXPECT_NE(rt::current_g(), nullptr);
  });
  EXPECT_EQ(w.load(), 0u);
}

// ---- 23: SemaHandoff ---------------------------------------------------------------------------

/// One round: a waiter is parked, the releaser hands off. Who gets on first?
bool waiter_was_first() {
  SemWord sema{0};
  std::atomic<int> first{0};
  auto t = spawn([&] {
    acquire(&sema);
    int nobody = 0;
    first.compare_exchange_strong(nobody, 1);
  });
  until_waiting(&sema, 1);
  release(&sema, {.handoff = true});
  EXPECT_FALSE(rt::sem_try_acquire(&sema)) << "the unit is the waiter's";
  int nobody = 0;
  first.compare_exchange_strong(nobody, 2);
  t.join();
  return first == 1;
}

/// `noise` goroutines that always run, beside the pair.
void sema_handoff(int procs, int noise) {
  run({.max_procs = procs}, [=] {
    std::atomic<bool> stop{false};
    std::vector<task<void>> others;
    for (int i = 0; i < noise; ++i) {
      others.push_back(spawn([&] {
        while (!stop.load(std::memory_order_relaxed)) this_goroutine::yield();
      }));
    }
    const int rounds = 10000 / kSlowdown;
    int direct = 0;
    for (int i = 0; i < rounds; ++i) direct += waiter_was_first() ? 1 : 0;
    stop = true;
    for (auto& o : others) o.join();
    EXPECT_GE(direct * 3, rounds * 2) << direct << " of " << rounds;
  });
}

TEST(SemaScenario23, Handoff) { sema_handoff(1, 0); }
TEST(SemaScenario23, HandoffOnSeveralPs) { sema_handoff(4, 0); }
TEST(SemaScenario23, HandoffBesideNoise1) { sema_handoff(2, 1); }
TEST(SemaScenario23, HandoffBesideNoise2) { sema_handoff(2, 4); }
TEST(SemaScenario23, HandoffBesideNoiseOnOneP) { sema_handoff(1, 3); }

// A plain release gives nothing away: the releaser goes on, and its next acquire is the first.
TEST(SemaScenario23, WithoutHandoffTheReleaserIsFirst) {
  run({.max_procs = 1}, [] {
    SemWord sema{0};
    auto t = spawn([&] { acquire(&sema); });
    until_waiting(&sema, 1);
    release(&sema);
    EXPECT_TRUE(rt::sem_try_acquire(&sema));
    release(&sema);
    t.join();
  });
}

// ---- 24: collisions in the table -----------------------------------------------------------------

/// Nanoseconds per acquire and release of a word in the bucket where `waiters` others wait on `addresses`
/// words. `parked`: the acquirer really waits (a pair hands a unit to and fro).
double cost_beside(const OneBucket& words, int waiters, int addresses, bool parked) {
  double best = 1e18;
  // The pair stands in the middle of all addresses, deep in a tree without balance, whatever order it grew in.
  const std::size_t middle = words.size() / 2;
  SemWord* const a = words[middle];
  SemWord* const b = words[middle + 1];
  auto around = [&](int i) {
    const auto at = static_cast<std::size_t>(i);
    return words[at < middle ? at : at + 2];
  };
  std::vector<task<void>> crowd;
  for (int i = 0; i < waiters; ++i) {
    SemWord* w = around(i % addresses);
    crowd.push_back(spawn([w] { acquire(w); }));
  }
  while ([] {
    rt::RuntimeEntry entry;
    return rt::sem_stats().waiters;
  }() != static_cast<std::uint64_t>(waiters)) {
    this_goroutine::yield();
  }
  const int rounds = 20000 / kSlowdown;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    if (parked) {
      auto other = spawn([=] {
        for (int i = 0; i < rounds; ++i) {
          acquire(a);
          release(b);
        }
      });
      for (int i = 0; i < rounds; ++i) {
        release(a);
        acquire(b);
      }
      other.join();
    } else {
      for (int i = 0; i < rounds; ++i) {
        release(a);
        acquire(a);
      }
    }
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    best = std::min(best, took.count() / rounds);
  }
  for (int i = 0; i < waiters; ++i) release(around(i % addresses));
  for (auto& c : crowd) c.join();
  return best;
}

TEST(SemaScenario24, ManyAddressesInOneBucketCostAboutAsMuchAsOne) {
  run({.max_procs = 1}, [] {
    constexpr int kWaiters = 2000;
    const OneBucket words(kWaiters + 2);
    for (bool parked : {false, true}) {
      const double one = cost_beside(words, kWaiters, 1, parked);
      const double many = cost_beside(words, kWaiters, kWaiters, parked);
      RecordProperty(parked ? "parked_one_ns" : "free_one_ns", std::to_string(one));
      RecordProperty(parked ? "parked_many_ns" : "free_many_ns", std::to_string(many));
      // A list over 2000 addresses costs a hundred times as much; a tree, a dozen cached steps.
      EXPECT_LT(many, 8 * one) << "one address " << one << " ns, many " << many << " ns";
    }
  });
}

// ---- 25: a handoff where yielding is forbidden ----------------------------------------------------

/// Parks one waiter, lets `let_go` release with handoff; whether the waiter ran before the release returned.
template <class F>
bool slice_was_given(F let_go) {
  bool given = false;
  run({.max_procs = 1}, [&] {
    SemWord w{0};
    bool ran = false;
    auto t = spawn([&] {
      acquire(&w);
      ran = true;
    });
    until_waiting(&w, 1);
    const std::uint32_t ticks = rt::self_m()->p->schedtick.load();
    let_go(&w);
    given = ran;
    if (!given) {
      EXPECT_EQ(rt::self_m()->p->schedtick.load(), ticks) << "the releaser has been switched away";
    }
    EXPECT_FALSE(rt::sem_try_acquire(&w)) << "the unit is the waiter's in any case";
    t.join();
    EXPECT_TRUE(ran);
  });
  return given;
}

TEST(SemaScenario25, AllowedItYields) {
  EXPECT_TRUE(slice_was_given([](SemWord* w) { release(w, {.handoff = true}); }));
}

TEST(SemaScenario25, NotOnRequest) {
  EXPECT_FALSE(slice_was_given([](SemWord* w) { release(w, {.handoff = true, .yield = false}); }));
}

TEST(SemaScenario25, NotWithPreemptionDisabled) {
  EXPECT_FALSE(slice_was_given([](SemWord* w) {
    rt::RuntimeEntry entry;
    rt::NoPreempt hold;
    rt::sem_release(w, {.handoff = true});
  }));
}

#if defined(GORT_TESTING)
// The measure off: golang/go#35424.
TEST(SemaScenario25DeathTest, WithPreemptionDisabledAYieldWouldBeAnError) {
  EXPECT_EXIT(slice_was_given([](SemWord* w) {
                rt::set_fault(rt::Fault::handoff_yields, true);
                rt::RuntimeEntry entry;
                rt::NoPreempt hold;
                rt::sem_release(w, {.handoff = true});
              }),
              ::testing::ExitedWithCode(2), "yield with runtime locks held");
}
#endif

TEST(SemaScenario25, NotFromTheSystemStack) {
  EXPECT_FALSE(slice_was_given([](SemWord* w) {
    rt::RuntimeEntry entry;
    rt::on_system_stack([](void* word) { rt::sem_release(static_cast<SemWord*>(word), {.handoff = true}); }, w);
  }));
}

TEST(SemaScenario25, NotFromAForeignThread) {
  run({.max_procs = 1}, [] {
    SemWord w{0};
    auto t = spawn([&] { acquire(&w); });
    until_waiting(&w, 1);
    std::thread([&] { release(&w, {.handoff = true}); }).join();
    t.join();
  });
}

// ---- order, against a model -------------------------------------------------------------------------

class Driver {
 public:
  explicit Driver(std::uint32_t seed) : random_(seed), words_(kWords), lines_(kWords), units_(kWords) {}

  void step() {
    const std::size_t i = random_() % kWords;
    if (random_() % 5 < 3) {
      wait_on(i);
    } else {
      let_go(i, random_() % 4);
    }
  }
  void finish() {
    for (std::size_t i = 0; i < kWords; ++i) let_go(i, static_cast<std::uint32_t>(lines_[i].size()));
    for (auto& t : tasks_) t.join();
    for (std::size_t i = 0; i < kWords; ++i) EXPECT_EQ(words_[i]->load(), units_[i]);
  }

 private:
  void wait_on(std::size_t i) {
    const int id = static_cast<int>(tasks_.size());
    const bool lifo = random_() % 4 == 0;
    const std::size_t done = log_.size();
    tasks_.push_back(spawn([this, i, id, lifo] {
      acquire(words_[i], {.lifo = lifo});
      log_.push_back(id);
    }));
    if (units_[i] > 0) {
      --units_[i];
      while (log_.size() == done) this_goroutine::yield();
      ASSERT_EQ(log_.back(), id);
      return;
    }
    lifo ? lines_[i].push_front(id) : lines_[i].push_back(id);
    until_waiting(words_[i], static_cast<std::uint32_t>(lines_[i].size()));
    ASSERT_EQ(log_.size(), done);
  }

  void let_go(std::size_t i, std::uint32_t n) {
    auto& line = lines_[i];
    const std::size_t woken = std::min<std::size_t>(n, line.size());
    std::vector<int> expected(log_);
    expected.insert(expected.end(), line.begin(), line.begin() + static_cast<long>(woken));
    line.erase(line.begin(), line.begin() + static_cast<long>(woken));
    units_[i] += n - static_cast<std::uint32_t>(woken);
    release(words_[i], {.handoff = random_() % 2 == 0, .n = n, .yield = random_() % 2 == 0});
    ASSERT_EQ(waiting(words_[i]), line.size());
    while (log_.size() < expected.size()) this_goroutine::yield();
    ASSERT_EQ(log_, expected);
    rt::RuntimeEntry entry;
    rt::SemRoot& root = rt::sem_root(words_[i]);
    rt::LockGuard guard(root.lock);
    rt::check_sem_root(root);
  }

  static constexpr std::size_t kWords = 60;
  std::mt19937 random_;
  OneBucket words_;
  std::vector<std::deque<int>> lines_;   // the model: who waits where, oldest first
  std::vector<std::uint32_t> units_;
  std::vector<int> log_;                 // in which order they got through; one P, so no race
  std::vector<task<void>> tasks_;
};

TEST(SemaModel, OrderOnManyAddresses) {
  run({.max_procs = 1}, [] {
    for (std::uint32_t seed = 1; seed <= 10; ++seed) {
      // No SCOPED_TRACE: it keeps a thread's state, and the driver parks.
      auto driver = std::make_unique<Driver>(seed);
      for (int i = 0; i < 1500 / kSlowdown && !testing::Test::HasFatalFailure(); ++i) driver->step();
      driver->finish();
      if (testing::Test::HasFatalFailure()) {
        ADD_FAILURE() << "seed " << seed;
        return;
      }
    }
  });
}

// ---- conservation: goroutines and foreign threads together ------------------------------------------

struct Permits {
  SemWord* word = nullptr;
  std::uint32_t limit = 0;
  std::atomic<std::uint32_t> inside{0};
};

void agent(std::uint32_t seed, std::vector<std::unique_ptr<Permits>>& all, int rounds,
           std::atomic<bool>& broken) {
  std::mt19937 random(seed);
  for (int i = 0; i < rounds; ++i) {
    Permits& p = *all[random() % all.size()];
    acquire(p.word, {.lifo = random() % 8 == 0});
    std::uint32_t n = 1;
    if (random() % 4 == 0 && rt::sem_try_acquire(p.word)) ++n;
    if (p.inside.fetch_add(n) + n > p.limit) broken = true;
    if (random() % 4 == 0) this_goroutine::yield();
    p.inside.fetch_sub(n);
    release(p.word, {.handoff = random() % 2 == 0, .n = n, .yield = random() % 2 == 0});
  }
}

void conservation(std::uint32_t seed, int procs, int goroutines, int threads, int rounds) {
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  const OneBucket words(12);
  std::vector<std::unique_ptr<Permits>> all;
  for (std::size_t i = 0; i < 12; ++i) {
    all.push_back(std::make_unique<Permits>());
    all[i]->word = words[i];
    all[i]->limit = static_cast<std::uint32_t>(1 + i % 3);
    words[i]->store(all[i]->limit);
  }
  std::atomic<bool> broken{false};
  std::vector<std::thread> outside;
  run({.max_procs = procs}, [&] {
    for (int i = 0; i < threads; ++i) {
      outside.emplace_back([&, i] { agent(seed * 100 + static_cast<std::uint32_t>(i), all, rounds, broken); });
    }
    std::vector<task<void>> inside;
    for (int i = 0; i < goroutines; ++i) {
      inside.push_back(
          spawn([&, i] { agent(seed * 1000 + static_cast<std::uint32_t>(i), all, rounds, broken); }));
    }
    for (int i = 0; i < 200; ++i) {
      {
        rt::RuntimeEntry entry;
        rt::SemRoot& root = rt::sem_root(words[0]);
        rt::LockGuard guard(root.lock);
        rt::check_sem_root(root);
      }
      this_goroutine::yield();
    }
    for (auto& t : inside) t.join();
  });
  for (auto& t : outside) t.join();
  EXPECT_FALSE(broken) << "more units out than there are";
  for (auto& p : all) {
    EXPECT_EQ(p->word->load(), p->limit);
    EXPECT_EQ(waiting(p->word), 0u);
  }
}

TEST(SemaConservation, Goroutines) {
  for (std::uint32_t seed = 1; seed <= 5; ++seed) conservation(seed, 2, 30, 0, 2000 / kSlowdown);
}
TEST(SemaConservation, GoroutinesOnOneP) {
  for (std::uint32_t seed = 1; seed <= 5; ++seed) conservation(seed, 1, 30, 0, 2000 / kSlowdown);
}
TEST(SemaConservation, ForeignThreads) {
  for (std::uint32_t seed = 1; seed <= 3; ++seed) conservation(seed, 2, 0, 6, 1000 / kSlowdown);
}
TEST(SemaConservation, Mixed) {
  for (std::uint32_t seed = 1; seed <= 5; ++seed) conservation(seed, 3, 20, 4, 1000 / kSlowdown);
}

}  // namespace
