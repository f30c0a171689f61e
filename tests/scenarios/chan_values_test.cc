// What travels through channels: nothing is lost, nothing leaks, sending is strong, whatever T does.
// test: labels=smoke timeout=120
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/fault.h"
#include "gort/gort.h"
#include "sched/alone.h"
#include "sched/g.h"
#include "sched/entry.h"
#include "sync/cancel.h"
#include "tests/support/runtime_fixture.h"

namespace {

using namespace gort;

#if defined(GORT_TEST_TSAN) || defined(GORT_TEST_ASAN)
constexpr int kSlowdown = 10;
#else
constexpr int kSlowdown = 1;
#endif

void yield_some(int n = 30) {
  for (int i = 0; i < n; ++i) this_goroutine::yield();
}

struct oops {};

/// Counts its objects; copies and moves throw when told to.
struct counted {
  static std::atomic<int> alive;
  static std::atomic<std::uint64_t> fuse_of;  // whose copies and moves burn it; 0: everybody's
  static std::atomic<int> fuse;  // that many copies or moves succeed; negative: all
  static std::atomic<bool> once;  // after one that throws, all succeed

  explicit counted(int v) : value(v) { ++alive; }
  counted(const counted& o) : value(o.value) { burn(), ++alive; }
  counted(counted&& o) : value(o.value) { burn(), o.value = -1, ++alive; }
  counted& operator=(const counted& o) {
    burn();
    value = o.value;
    return *this;
  }
  counted& operator=(counted&& o) {
    burn();
    value = o.value;
    o.value = -1;
    return *this;
  }
  ~counted() { --alive; }
  static void burn() {
    if (fuse_of != 0 && fuse_of != this_goroutine::id()) return;
    int left = fuse.load();
    while (left >= 0) {
      if (left == 0) {
        if (once) fuse = -1;
        throw oops();
      }
      if (fuse.compare_exchange_weak(left, left - 1)) return;
    }
  }
  int value;
};
std::atomic<int> counted::alive{0};
std::atomic<int> counted::fuse{-1};
std::atomic<std::uint64_t> counted::fuse_of{0};
std::atomic<bool> counted::once{false};

static_assert(!detail::travels_by_bytes<counted>);
static_assert(!detail::travels_by_bytes<std::string>);
static_assert(detail::travels_by_bytes<std::unique_ptr<int>>);
static_assert(detail::travels_by_bytes<std::vector<int>>);

class ChanValues : public testing::TestWithParam<int> {
 protected:
  template <class F>
  void run_here(F&& f) {
    counted::fuse = -1;
    run({.max_procs = GetParam()}, f);
    EXPECT_EQ(counted::alive, 0) << "leaked";
  }
};
INSTANTIATE_TEST_SUITE_P(procs, ChanValues, testing::Values(1, 2), testing::PrintToStringParamName());

TEST_P(ChanValues, ThrowingSendLosesNothing) {
  run_here([] {
    chan<counted> c(2);
    counted v(7);
    counted::fuse = 0;
    EXPECT_THROW(c.send(v), oops);
    EXPECT_THROW(c.send(std::move(v)), oops);
    EXPECT_THROW(static_cast<void>(c.try_send(std::move(v))), oops);
    EXPECT_THROW(select(c.on_send(std::move(v))), oops);
    EXPECT_THROW(select(c.on_send(v), otherwise), oops);
    counted::fuse = -1;
    EXPECT_EQ(v.value, 7);
    EXPECT_EQ(c.len(), 0u);
    c.send(std::move(v));
    EXPECT_EQ(c.recv()->value, 7);
  });
}

TEST_P(ChanValues, ThrowingReceiveLeavesTheValueFirst) {
  run_here([] {
    for (std::ptrdiff_t cap : {0, 3}) {
      chan<counted> c(cap);
      auto t = spawn([=] {
        for (int i = 1; i <= 3;) {
          try {
            c.send(counted(i));
            ++i;
          } catch (const oops&) {  // the fuse was meant for the receiver
            this_goroutine::yield();
          }
        }
      });
      while (cap != 0 && c.len() != 3) this_goroutine::yield();
      counted::fuse_of = this_goroutine::id();  // not the sender's, who goes on with the next one
      yield_some();
      counted::fuse = 0;
      EXPECT_THROW(c.recv(), oops);
      EXPECT_EQ(c.len(), cap == 0 ? 1u : 3u);
      EXPECT_THROW(static_cast<void>(c.try_recv()), oops);
      std::optional<counted> v;
      EXPECT_THROW(select(c.on_recv(v)), oops);
      EXPECT_THROW(select(c.on_recv(v), otherwise), oops);
      EXPECT_FALSE(v);
      counted::fuse = -1;
      for (int i = 1; i <= 3; ++i) EXPECT_EQ(c.recv()->value, i);
      t.join();
      EXPECT_EQ(c.try_recv().error(), chan_status::empty);
      // After close as well.
      if (cap == 0) continue;
      c.send(counted(9));
      c.close();
      counted::fuse = 0;
      EXPECT_THROW(c.recv(), oops);
      counted::fuse = -1;
      EXPECT_EQ(c.recv()->value, 9);
      EXPECT_FALSE(c.recv());
    }
    counted::fuse_of = 0;
  });
}

TEST_P(ChanValues, ThrowingMovesInALoopLoseNothing) {
  run_here([] {
    chan<counted> c(3);
    for (int i = 1; i <= 3; ++i) c.send(counted(i));
    c.close();
    auto at = c.begin();
    EXPECT_EQ(at->value, 1);
    for (int fuse : {0, 1}) {
      ++at;
      counted::fuse = fuse;
      bool threw = false;
      try {
        EXPECT_NE(at, c.end());
      } catch (const oops&) {
        threw = true;
      }
      counted::fuse = -1;
      EXPECT_EQ(threw, fuse == 0);
      ASSERT_NE(at, c.end());
      EXPECT_EQ(at->value, fuse + 2);
    }
    ++at;
    EXPECT_EQ(at, c.end());
  });
}

TEST_P(ChanValues, AValueGivenBackGoesToWhoWaits) {
  run_here([] {
    chan<counted> c(unbuffered);
    std::atomic<int> threw{0}, got{0};
    std::vector<task<void>> all;
    for (int i = 0; i < 2; ++i) {
      all.push_back(spawn([&] {
        try {
          got = c.recv()->value;
        } catch (const oops&) {
          ++threw;
        }
      }));
    }
    yield_some();
    counted v(5);
    counted::once = true;
    counted::fuse = 1;  // into the box, but not out of it
    c.send(v);
    for (auto& t : all) t.join();
    counted::once = false;
    EXPECT_EQ(threw, 1);
    EXPECT_EQ(got, 5);
  });
}

TEST_P(ChanValues, RandomThrowsLoseNothing) {
  run_here([] {
    for (std::ptrdiff_t cap : {0, 1, 4}) {
      const int n = 5000 / kSlowdown;
      chan<counted> c(cap);
      std::atomic<std::int64_t> sum{0};
      std::atomic<bool> over{false};
      auto saboteur = spawn([&] {
        std::mt19937 random(1);
        while (!over) {
          counted::fuse = static_cast<int>(random() % 5);
          yield_some(3);
          counted::fuse = -1;
          yield_some(1);
        }
        counted::fuse = -1;
      });
      std::vector<task<void>> receivers, senders;
      std::atomic<int> received{0};
      for (int r = 0; r < 3; ++r) {
        receivers.push_back(spawn([&, r] {
          for (;;) {
            try {
              if (r == 0) {
                std::optional<counted> v;
                select(c.on_recv(v));
                if (!v) return;
                sum += v->value, ++received;
              } else {
                auto v = c.recv();
                if (!v) return;
                sum += v->value, ++received;
              }
            } catch (const oops&) {
              this_goroutine::yield();
            }
          }
        }));
      }
      for (int s = 0; s < 2; ++s) {
        senders.push_back(spawn([&] {
          for (int i = 1; i <= n; ++i) {
            for (;;) {
              try {
                c.send(counted(i));
                break;
              } catch (const oops&) {
                this_goroutine::yield();
              }
            }
          }
        }));
      }
      for (auto& t : senders) t.join();
      while (received != 2 * n) this_goroutine::yield();
      over = true;
      saboteur.join();
      c.close();
      for (auto& t : receivers) t.join();
      EXPECT_EQ(sum, static_cast<std::int64_t>(n) * (n + 1));
    }
  });
}

TEST_P(ChanValues, WhatNobodyReceivedIsDestroyed) {
  run_here([] {
    auto one = std::make_shared<int>(1);
    {
      chan<counted> c(3);
      chan<std::shared_ptr<int>> p(3);
      chan<std::string> s(2);
      for (int i = 0; i < 3; ++i) c.send(counted(i)), p.send(one);
      s.send("a text that does not fit into the string itself");
      c.recv();
      counted::fuse = 0;
      EXPECT_THROW(c.recv(), oops);
      counted::fuse = -1;
      EXPECT_EQ(one.use_count(), 4);
      EXPECT_EQ(counted::alive, 2);
    }
    EXPECT_EQ(one.use_count(), 1);
    EXPECT_EQ(counted::alive, 0);
  });
}

TEST_P(ChanValues, StrongForClosedChannels) {
  run_here([] {
    chan<std::unique_ptr<int>> p(unbuffered);
    chan<std::string> s(unbuffered);
    auto mine = std::make_unique<int>(3);
    std::string text(100, 'x');
    EXPECT_FALSE(p.try_send(std::move(mine)));
    EXPECT_FALSE(s.try_send(std::move(text)));
    EXPECT_EQ(*mine, 3);
    EXPECT_EQ(text, std::string(100, 'x'));
    // While it waits.
    auto closer = spawn([=] {
      yield_some();
      p.close(), s.close();
    });
    EXPECT_THROW(p.send(std::move(mine)), closed);
    EXPECT_EQ(*mine, 3);
    EXPECT_THROW(s.send(std::move(text)), closed);
    EXPECT_EQ(text, std::string(100, 'x'));
    closer.join();
  });
}

/// User code that would deadlock or die if it ran under a lock of the runtime's.
struct busy {
  explicit busy(int v) : value(v) {}
  busy(busy&& o) noexcept : value(o.value) {
    this_goroutine::yield();
    inner.send(1), inner.recv();
    const std::string text(1000, 'x');
    value += static_cast<int>(text.size()) - 1000;
  }
  busy& operator=(busy&&) = delete;
  int value;
  static chan<int> inner;
};
chan<int> busy::inner(100);

TEST_P(ChanValues, MovesMayDoAnything) {
  run_here([] {
    chan<busy> c(1);
    auto t = spawn([=] {
      closing done(c);
      for (int i = 0; i < 100; ++i) c.send(busy(i));
    });
    int expected = 0;
    for (busy& b : c) EXPECT_EQ(b.value, expected++);
    EXPECT_EQ(expected, 100);
    t.join();
    busy one(4);
    EXPECT_EQ(c.try_recv().error(), chan_status::closed);
    EXPECT_THROW(c.send(std::move(one)), closed);
    EXPECT_EQ(one.value, 4);
  });
}

// ---- cancellation, with the core's own means ---------------------------------------------------------

class source {
 public:
  gort::context context() const { return scope_.context(); }
  void cancel() { scope_.cancel(); }

 private:
  gort::scope scope_;
};

class in_context {
 public:
  explicit in_context(source& s) : in_(s.context()) {}

 private:
  gort::with_context in_;
};

void fire(source& s) { s.cancel(); }

struct nothing {};

template <std::size_t kSize>
struct of_size {
  std::array<unsigned char, kSize> bytes;
  explicit of_size(unsigned char first) { std::iota(bytes.begin(), bytes.end(), first); }
  friend bool operator==(const of_size&, const of_size&) = default;
};

/// Round a ring of three, by operations that need not wait and by ones that find it full or empty.
template <std::size_t kSize>
void go_round() {
  const chan<of_size<kSize>> c(3);
  unsigned char in = 0, out = 0;
  for (int round = 0; round < 50; ++round) {
    for (int n = round % 4; n > 0; --n) c.send(of_size<kSize>(in++));
    while (c.try_send(of_size<kSize>(in))) ++in;
    EXPECT_EQ(c.len(), 3U);
    for (int n = round % 3; n > 0; --n) EXPECT_EQ(c.recv(), of_size<kSize>(out++));
    if (round % 2 == 0) {
      EXPECT_EQ(c.recv_for(std::chrono::hours(1)), of_size<kSize>(out++));
    }
    while (auto v = c.try_recv()) EXPECT_EQ(*v, of_size<kSize>(out++));
    EXPECT_EQ(in, out);
  }
  c.send(of_size<kSize>(in));
  c.close();
  EXPECT_THROW(c.send(of_size<kSize>(0)), closed);
  EXPECT_EQ(c.recv(), of_size<kSize>(out));
  EXPECT_FALSE(c.recv());
}

TEST_P(ChanValues, OfEverySizeGoRoundTheRing) {
  run_here([] {
    [&]<std::size_t... kLess>(std::index_sequence<kLess...>) {
      (go_round<kLess + 1>(), ...);
    }(std::make_index_sequence<72>());
    const chan<nothing> none(2);
    for (int i = 0; i < 5; ++i) {
      none.send({});
      none.send({});
      EXPECT_FALSE(none.try_send({}));
      EXPECT_TRUE(none.recv());
      EXPECT_TRUE(none.recv());
      EXPECT_FALSE(none.try_recv());
    }
  });
}

/// Types that give nobody their address.
struct plain {
  int value = 0;
  plain* operator&() = delete;
  const plain* operator&() const = delete;
};
struct boxed {
  std::string value;
  boxed() = default;
  explicit boxed(std::string v) : value(std::move(v)) {}
  boxed(const boxed&) = default;
  boxed(boxed&&) noexcept = default;
  boxed& operator=(const boxed&) = delete;
  boxed& operator=(boxed&& o) noexcept(false) = delete;
  boxed* operator&() = delete;
  const boxed* operator&() const = delete;
};

TEST(ChanTypes, WithAnAddressOperatorOfTheirOwn) {
  run([] {
    chan<plain> numbers(1);
    chan<boxed> words(1);
    plain n{1};
    boxed w("word");
    const boxed same("same");
    numbers.send(n);
    words.send(std::move(w));
    EXPECT_FALSE(numbers.try_send(std::move(n)));
    w.value = "kept";
    EXPECT_FALSE(words.try_send(std::move(w)));
    EXPECT_EQ(w.value, "kept");
    EXPECT_FALSE(words.send_for(same, std::chrono::nanoseconds(1)));
    EXPECT_EQ(select(words.on_send(std::move(w)), numbers.on_send(n), otherwise), 2u);
    EXPECT_EQ(w.value, "kept");
    EXPECT_EQ(numbers.recv()->value, 1);
    EXPECT_EQ(words.begin()->value, "word");
  });
}

TEST_P(ChanValues, CancelledSendersKeepTheirValue) {
  run_here([] {
    for (int round = 0; round < 300 / kSlowdown; ++round) {
      class source source;
      chan<std::unique_ptr<int>> p(unbuffered);
      chan<std::string> s(unbuffered);
      auto a = spawn([&] {
        in_context here(source);
        auto mine = std::make_unique<int>(3);
        EXPECT_THROW(p.send(std::move(mine)), cancelled);
        EXPECT_EQ(*mine, 3);
        EXPECT_THROW(p.send(std::move(mine)), cancelled) << "at once, from now on";
        EXPECT_FALSE(p.try_send(std::move(mine))) << "which never looks";
        EXPECT_EQ(*mine, 3);
      });
      auto b = spawn([&] {
        in_context here(source);
        std::string text(100, 'x');
        EXPECT_THROW(s.send(std::move(text)), cancelled);
        EXPECT_EQ(text, std::string(100, 'x'));
      });
      auto c = spawn([&] {
        in_context here(source);
        std::string text(100, 'x');
        std::optional<std::unique_ptr<int>> v;
        EXPECT_THROW(select(chan<int>(0).on_recv(), chan<std::string>(0).on_send(std::move(text))), cancelled);
        EXPECT_EQ(text, std::string(100, 'x'));
        EXPECT_EQ(select(chan<int>(0).on_recv(), otherwise), 1u);
        EXPECT_THROW(chan<int>().recv(), cancelled);
        EXPECT_THROW(select(), cancelled);
      });
      if (round % 2 == 0) yield_some();
      fire(source);
      a.join(), b.join(), c.join();
      EXPECT_EQ(p.try_recv().error(), chan_status::empty) << "their nodes are gone";
      EXPECT_EQ(s.try_recv().error(), chan_status::empty);
    }
  });
}

// Each value is either received or still its sender's, however a cancellation meets a receiver.
TEST_P(ChanValues, CancellationAgainstDelivery) {
  run_here([] {
    std::mt19937 random(3);
    for (int round = 0; round < 3000 / kSlowdown; ++round) {
      class source source;
      chan<std::unique_ptr<int>> c(unbuffered), other(unbuffered);
      std::atomic<int> kept{0}, taken{0};
      std::vector<task<void>> all;
      for (int i = 0; i < 3; ++i) {
        all.push_back(spawn([&, i] {
          in_context here(source);
          auto mine = std::make_unique<int>(1);
          try {
            if (i == 0) {
              select(other.on_recv(), c.on_send(std::move(mine)));
            } else {
              c.send(std::move(mine));
            }
            EXPECT_EQ(mine, nullptr);
          } catch (const cancelled&) {
            EXPECT_NE(mine, nullptr);
            ++kept;
          }
        }));
      }
      all.push_back(spawn([&] {
        for (int i = 0; i < 40; ++i) {
          if (c.try_recv()) ++taken;
          if (i % 4 == 0) this_goroutine::yield();
        }
      }));
      for (unsigned i = random() % 8; i > 0; --i) this_goroutine::yield();
      fire(source);
      for (auto& t : all) t.join();
      EXPECT_EQ(kept + taken, 3);
    }
  });
}

#if defined(GORT_TESTING)
// ---- sched/alone.h: the first foreign thread, and who skips the lock at this moment --------------------

/// Whether values get lost when foreign threads come while a goroutine is alone. One attempt: there is one first time.
bool counts_match() {
  chan<int> c(64);
  std::atomic<bool> over{false};
  std::atomic<std::int64_t> in{0}, out{0};
  std::thread foreign;
  run({.max_procs = 1}, [&] {
    foreign = std::thread([&] {
      while (!over) {
        if (c.try_send(1)) ++in;
        if (c.try_recv()) ++out;
      }
    });
    for (int i = 0; i < 200000 / kSlowdown; ++i) {
      if (c.try_send(1)) ++in;
      if (c.try_recv()) ++out;
    }
    over = true;
    gort::blocking([&] { foreign.join(); });
  });
  return in - out == static_cast<std::int64_t>(c.len());
}

TEST(ChanAlone, NothingIsLostWhenTheFirstForeignThreadComes) { EXPECT_TRUE(counts_match()); }

std::atomic<bool> inside{false}, sent{false}, foreign_done{false}, overlapped{false};

/// In the middle of a stretch without the lock: gives the foreign thread time to come between.
void linger(void* ms) noexcept {
  if (inside.exchange(true)) return;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(reinterpret_cast<std::intptr_t>(ms));
  while (!foreign_done && std::chrono::steady_clock::now() < end) {
  }
  overlapped = foreign_done.load();
}

/// Whether a foreign thread's operation is over while a goroutine is in such a stretch. At most `ms` for it.
bool comes_between(std::intptr_t ms) {
  run({.max_procs = 1}, [&] {
    chan<int> c(64);
    std::thread foreign([&] {
      while (!inside && !sent) {
      }
      EXPECT_TRUE(c.try_send(1));
      foreign_done = true;
    });
    rt::set_test_hook(rt::TestPoint::alone_inside, linger, reinterpret_cast<void*>(ms));
    EXPECT_TRUE(c.try_send(2));
    sent = true;
    rt::set_test_hook(rt::TestPoint::alone_inside, nullptr, nullptr);
    gort::blocking([&] { foreign.join(); });
    EXPECT_EQ(c.len(), 2u);
  });
  return overlapped;
}

TEST(ChanAlone, AForeignThreadWaitsForWhoSkipsTheLock) {
  EXPECT_FALSE(comes_between(50));
  EXPECT_TRUE(inside) << "nobody has skipped a lock: this shows nothing (run it alone, as ctest does)";
}
TEST(ChanAlone, WithoutThatItComesBetween) {
  rt::set_fault(rt::Fault::alone, true);
  EXPECT_TRUE(comes_between(20'000));
}
#endif

}  // namespace
