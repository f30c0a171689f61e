// The table alone against a model, and what acquire and release promise. Stress and the acceptance
// scenarios are in tests/scenarios/sema_test.cc.
#include "sema/sema.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <climits>
#include <cstdlib>
#include <deque>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "base/alloc.h"
#include "gort/gort.h"
#include "os/linux/test_support.h"
#include "sched/entry.h"
#include "sched/sched.h"
#include "sched/system_stack.h"
#include "sema/sema_root.h"

namespace {

using namespace gort;
using rt::SemWord;

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
std::uint32_t units(const SemWord& w) { return w.load(); }

// ---- the table --------------------------------------------------------------------------------

struct Locked {
  explicit Locked(rt::SemRoot& r) : root(r) { root.lock.lock(); }
  ~Locked() { root.lock.unlock(); }
  rt::SemRoot& root;
};

std::vector<waiter*> listed(rt::SemRoot::Taken t) {
  std::vector<waiter*> out;
  for (waiter* w = t.first; w != nullptr; w = w->next) out.push_back(w);
  return out;
}

void table_against_model(std::uint32_t seed, std::size_t addresses, int steps) {
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  auto root = std::make_unique<rt::SemRoot>();
  std::vector<std::uint32_t> words(addresses);
  std::vector<waiter> waiters(addresses * 3);
  std::vector<waiter*> idle;
  for (waiter& w : waiters) idle.push_back(&w);
  std::map<const void*, std::deque<waiter*>> model;
  Locked held(*root);
  for (int step = 0; step < steps; ++step) {
    const void* key = &words[random() % addresses];
    auto& line = model[key];
    if (random() % 2 == 0 && !idle.empty()) {
      waiter* w = idle.back();
      idle.pop_back();
      w->key = key;
      const bool front = random() % 3 == 0;
      root->nwait.store(root->nwait.load() + 1);
      root->queue(w, front);
      front ? line.push_front(w) : line.push_back(w);
    } else {
      const std::uint32_t max = random() % 5;
      rt::SemRoot::Taken taken = root->dequeue(key, max);
      const std::size_t expect = std::min<std::size_t>(max, line.size());
      ASSERT_EQ(taken.n, expect);
      ASSERT_EQ(listed(taken), std::vector<waiter*>(line.begin(), line.begin() + static_cast<long>(expect)));
      const std::uint32_t keep = random() % 2 == 0 ? taken.n : random() % (taken.n + 1);
      root->put_back(&taken, keep);
      ASSERT_EQ(taken.n, keep);
      const std::vector<waiter*> kept = listed(taken);
      ASSERT_EQ(kept, std::vector<waiter*>(line.begin(), line.begin() + keep));
      root->settle(taken);
      idle.insert(idle.end(), kept.begin(), kept.end());
      line.erase(line.begin(), line.begin() + keep);
    }
    ASSERT_EQ(root->waiting(key), line.size());
    rt::check_sem_root(*root);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(SemTable, AgainstModel) {
  for (std::uint32_t seed = 1; seed <= 30; ++seed) {
    table_against_model(seed, 1 + seed % 7 * seed, 3000);
    if (HasFatalFailure()) return;
  }
}

// Waiters stand in the tree or beside it, as there is memory: the same table.
TEST(SemTable, AgainstModelWithoutMemory) {
#if defined(GORT_TEST_SANITIZED)
  GTEST_SKIP() << "sanitizers live on address space";
#endif
  for (std::uint32_t seed = 1; seed <= 5; ++seed) {
    EXPECT_EQ(gort::test::in_child([seed] {
                mallopt(M_TRIM_THRESHOLD, INT_MAX);  // malloc keeps some for the model
                mallopt(M_MMAP_THRESHOLD, 32 << 20);
                void* volatile much = std::malloc(16 << 20);
                std::free(much);
                const rlimit most{static_cast<rlim_t>(gort::test::status_kib("VmSize")) * 1024, RLIM_INFINITY};
                if (setrlimit(RLIMIT_AS, &most) != 0) return 2;
                while (rt::persistent_try_alloc(64, 8) != nullptr) {
                }
                table_against_model(seed, 2000, 10'000);
                return testing::Test::HasFailure() ? 1 : 0;
              }),
              0)
        << "seed " << seed;
  }
}

/// Depth of the tree over `n` neighbouring addresses, inserted in ascending order.
int depth(const rt::SemAddr* a) { return a == nullptr ? 0 : 1 + std::max(depth(a->left), depth(a->right)); }

TEST(SemTable, TreeStaysShallow) {
  rt::SemRoot root;
  std::vector<std::uint32_t> words(4096);
  std::vector<waiter> waiters(words.size());
  Locked held(root);
  for (std::size_t i = 0; i < words.size(); ++i) {
    waiters[i].key = &words[i];
    root.nwait.store(root.nwait.load() + 1);
    root.queue(&waiters[i], false);
  }
  rt::check_sem_root(root);
  EXPECT_GE(depth(root.tree()), 12);
  EXPECT_LE(depth(root.tree()), 48);  // expected 2 ln n ~ 17..30; a list would be 4096
}

TEST(SemTable, EveryStrideSpreads) {
  for (int shift = 2; shift <= 30; ++shift) {
    std::array<int, rt::kSemRoots> hits{};
    constexpr int kWords = 16 * rt::kSemRoots;
    for (std::uint64_t i = 0; i < kWords; ++i) {
      ++hits[rt::sem_root_index(reinterpret_cast<void*>(0x7f3a12345000 + (i << shift)))];
    }
    EXPECT_LE(*std::max_element(hits.begin(), hits.end()), 3 * 16) << "stride 2^" << shift;
    EXPECT_GT(*std::min_element(hits.begin(), hits.end()), 0) << "stride 2^" << shift;
  }
}

// ---- acquire and release ------------------------------------------------------------------------

TEST(Sema, UnitsWithoutWaiters) {
  run([] {
    SemWord w{2};
    acquire(&w);
    EXPECT_TRUE(rt::sem_try_acquire(&w));
    EXPECT_FALSE(rt::sem_try_acquire(&w));
    release(&w, {.n = 3});
    EXPECT_EQ(units(w), 3u);
    release(&w, {.handoff = true, .n = 2});
    EXPECT_EQ(units(w), 5u);
    release(&w, {.n = 0});
    EXPECT_EQ(units(w), 5u);
  });
}

/// Parks `n` goroutines on w, in order, and gives the order in which `let_go` lets them through.
template <class F>
std::vector<int> order_of(int n, bool lifo, F let_go) {
  std::vector<int> order;
  run({.max_procs = 1}, [&] {
    SemWord w{0};
    std::vector<task<void>> tasks;
    for (int i = 0; i < n; ++i) {
      tasks.push_back(spawn([&w, &order, i, lifo] {
        acquire(&w, {.lifo = lifo});
        order.push_back(i);
      }));
      until_waiting(&w, static_cast<std::uint32_t>(i + 1));
    }
    let_go(w);
    for (auto& t : tasks) t.join();
    EXPECT_EQ(units(w), 0u);
    EXPECT_EQ(waiting(&w), 0u);
  });
  return order;
}

TEST(Sema, FifoOneByOne) {
  for (bool handoff : {false, true}) {
    EXPECT_EQ(order_of(6, false, [=](SemWord& w) {
                for (int i = 0; i < 6; ++i) {
                  release(&w, {.handoff = handoff});
                  this_goroutine::yield();
                }
              }),
              (std::vector{0, 1, 2, 3, 4, 5}));
  }
}

TEST(Sema, FifoAllAtOnce) {
  for (bool handoff : {false, true}) {
    EXPECT_EQ(order_of(6, false, [=](SemWord& w) { release(&w, {.handoff = handoff, .n = 6}); }),
              (std::vector{0, 1, 2, 3, 4, 5}));
  }
}

TEST(Sema, LifoOnRequest) {
  EXPECT_EQ(order_of(5, true, [](SemWord& w) { release(&w, {.handoff = true, .n = 5}); }),
            (std::vector{4, 3, 2, 1, 0}));
}

TEST(Sema, ReleaseWakesAsManyAsThereAreUnits) {
  for (bool handoff : {false, true}) {
    run({.max_procs = 1}, [=] {
      SemWord w{0};
      std::vector<task<void>> tasks;
      for (int i = 0; i < 5; ++i) tasks.push_back(spawn([&w] { acquire(&w); }));
      until_waiting(&w, 5);
      release(&w, {.handoff = handoff, .n = 3});
      EXPECT_EQ(waiting(&w), 2u);
      EXPECT_EQ(units(w), handoff ? 0u : 3u);
      release(&w, {.handoff = handoff, .n = 4});
      EXPECT_EQ(waiting(&w), 0u);
      for (auto& t : tasks) t.join();
      EXPECT_EQ(units(w), 2u);
    });
  }
}

// A plain release lets whoever runs take the unit. The waiter that was woken in vain is still the oldest.
TEST(Sema, BargedWaiterGoesToTheFront) {
  run({.max_procs = 1}, [] {
    SemWord w{0};
    std::vector<int> order;
    std::vector<task<void>> tasks;
    for (int i = 0; i < 2; ++i) {
      tasks.push_back(spawn([&, i] {
        acquire(&w);
        order.push_back(i);
      }));
      until_waiting(&w, static_cast<std::uint32_t>(i + 1));
    }
    release(&w);
    EXPECT_TRUE(rt::sem_try_acquire(&w));  // 0 is awake, but not running yet
    EXPECT_EQ(waiting(&w), 1u);
    until_waiting(&w, 2);
    EXPECT_TRUE(order.empty());
    release(&w, {.handoff = true, .n = 2});
    for (auto& t : tasks) t.join();
    EXPECT_EQ(order, (std::vector{0, 1}));
  });
}

TEST(Sema, HandoffLeavesNothingForTheReleaser) {
  run({.max_procs = 1}, [] {
    SemWord w{0};
    auto t = spawn([&w] { acquire(&w); });
    until_waiting(&w, 1);
    release(&w, {.handoff = true, .yield = false});
    EXPECT_FALSE(rt::sem_try_acquire(&w));
    t.join();
  });
}

TEST(Sema, WalkAndStats) {
  run({.max_procs = 1}, [] {
    std::array<SemWord, 40> words{};
    std::vector<task<void>> tasks;
    for (std::size_t i = 0; i < words.size(); ++i) {
      for (std::size_t k = 0; k <= i % 3; ++k) tasks.push_back(spawn([&w = words[i]] { acquire(&w); }));
      until_waiting(&words[i], static_cast<std::uint32_t>(i % 3 + 1));
    }
    // Nothing may be allocated inside the runtime.
    struct Seen {
      std::array<std::pair<const void*, const waiter*>, 100> all;
      std::size_t n = 0;
    } seen;
    rt::SemStats s;
    {
      rt::RuntimeEntry entry;
      s = rt::sem_stats();
      rt::sem_for_each_waiter(
          [](const void* addr, const waiter* w, void* arg) noexcept {
            auto* to = static_cast<Seen*>(arg);
            if (to->n < to->all.size()) to->all[to->n] = {addr, w};
            ++to->n;
          },
          &seen);
    }
    EXPECT_EQ(s.waiters, tasks.size());
    EXPECT_EQ(s.addresses, words.size());
    EXPECT_GE(s.roots_in_use, 10u);
    EXPECT_GE(s.most_addresses, 1u);
    ASSERT_EQ(seen.n, tasks.size());
    std::map<const void*, int> per_word;
    for (std::size_t i = 0; i < seen.n; ++i) {
      EXPECT_EQ(seen.all[i].second->key, seen.all[i].first);
      ++per_word[seen.all[i].first];
    }
    for (std::size_t i = 0; i < words.size(); ++i) {
      EXPECT_EQ(per_word[&words[i]], static_cast<int>(i % 3 + 1));
      release(&words[i], {.handoff = true, .n = static_cast<std::uint32_t>(i % 3 + 1)});
    }
    for (auto& t : tasks) t.join();
    for (SemWord& w : words) EXPECT_EQ(waiting(&w), 0u);
  });
}

TEST(Sema, ForeignThreadsWaitAndRelease) {
  SemWord there{0};
  SemWord back{0};
  std::thread other([&] {
    for (int i = 0; i < 1000; ++i) {
      acquire(&there);
      release(&back, {.handoff = i % 2 == 0});
    }
  });
  for (int i = 0; i < 1000; ++i) {
    release(&there, {.handoff = i % 3 == 0});
    acquire(&back);
  }
  other.join();
  EXPECT_EQ(units(there) + units(back), 0u);
}

// A goroutine of an ended run will never take anything: the unit must go to who can.
TEST(Sema, LeftOverGoroutineIsPassedOver) {
  static SemWord w{0};
  for (bool handoff : {false, true}) {
    run({.max_procs = 1, .grace = {}, .quiet = true}, [] {
      go([] { acquire(&w); });
      until_waiting(&w, 1);
    });
    ASSERT_EQ(waiting(&w), 1u);
    run([=] {
      auto t = spawn([] { acquire(&w); });
      until_waiting(&w, 2);
      release(&w, {.handoff = handoff});
      t.join();
    });
    EXPECT_EQ(units(w), 0u);
    EXPECT_EQ(waiting(&w), 0u);
  }
}

// Whoever got the unit may free the word, although the release is still on its way out.
TEST(Sema, WordMayDieWithItsLastUse) {
  run({.max_procs = 2}, [] {
    for (int i = 0; i < 20000; ++i) {
      auto* w = new SemWord{0};
      auto t = spawn([w, i] { release(w, {.handoff = i % 2 == 0}); });
      acquire(w);
      w->store(0xdeadbeef);  // any touch now would be seen as a wrong unit by ASan, or as a wrong count here
      delete w;
      t.join();
    }
  });
  std::atomic<SemWord*> box{nullptr};
  std::thread other([&] {
    for (int i = 0; i < 20000; ++i) {
      SemWord* w = nullptr;
      while ((w = box.exchange(nullptr)) == nullptr) std::this_thread::yield();
      release(w, {.handoff = i % 2 == 0});
    }
  });
  for (int i = 0; i < 20000; ++i) {
    auto* w = new SemWord{0};
    box = w;
    acquire(w);
    delete w;
  }
  other.join();
}

// ---- misuse -------------------------------------------------------------------------------------

// The children need a runtime of their own: a fork of a process with running Ms has none.
class SemaDeath : public testing::Test {
 protected:
  void SetUp() override { testing::GTEST_FLAG(death_test_style) = "threadsafe"; }
};

TEST_F(SemaDeath, Overflow) {
  EXPECT_EXIT(
      {
        SemWord w{rt::kSemMax - 1};
        release(&w);
        release(&w);
      },
      testing::ExitedWithCode(2), "semaphore overflow");
  EXPECT_EXIT(
      {
        SemWord w{0};
        release(&w, {.handoff = true, .n = rt::kSemMax + 1});
      },
      testing::ExitedWithCode(2), "semaphore overflow");
}

TEST_F(SemaDeath, WaitingWithPreemptionDisabled) {
  EXPECT_EXIT(run([] {
                SemWord w{0};
                rt::RuntimeEntry entry;
                rt::NoPreempt hold;
                rt::sem_acquire(&w);
              }),
              testing::ExitedWithCode(2), "semacquire would wait with preemption disabled");
}

TEST_F(SemaDeath, PublicOneNamesItsBreaches) {
  EXPECT_EXIT(semaphore(-1), testing::ExitedWithCode(2), "gort::semaphore: constructed");
  EXPECT_EXIT(
      {
        semaphore s(0);
        s.release(-1);
      },
      testing::ExitedWithCode(2), "gort::semaphore: release of less than 0");
  EXPECT_EXIT(
      {
        semaphore s(semaphore::max());
        s.release();
      },
      testing::ExitedWithCode(2), "semaphore overflow");
}

TEST(Semaphore, CountsAndServesInOrder) {
  static constinit semaphore s(1);
  run({.max_procs = 1}, [] {
    s.acquire();
    EXPECT_FALSE(s.try_acquire());
    std::vector<int> order;
    std::vector<task<void>> tasks;
    for (int i = 0; i < 4; ++i) {
      tasks.push_back(spawn([&order, i] {
        s.acquire();
        order.push_back(i);
      }));
      this_goroutine::yield();
    }
    s.release(4);
    EXPECT_TRUE(order.empty()) << "release has given the slice away";
    EXPECT_FALSE(s.try_acquire()) << "the units are the waiters'";
    for (auto& t : tasks) t.join();
    EXPECT_EQ(order, (std::vector{0, 1, 2, 3}));
    s.release(0);
    EXPECT_FALSE(s.try_acquire());
    s.release(2);
    EXPECT_TRUE(s.try_acquire());
    EXPECT_TRUE(s.try_acquire());
    EXPECT_FALSE(s.try_acquire());
  });
}

}  // namespace
