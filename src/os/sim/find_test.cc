// The simulator against classical bugs, written by hand: each is found, and its repaired twin is
// not accused. The twin has the same body, so that a body that cannot fail would be noticed.
#include <gtest/gtest.h>

#include <string>

#include "os/os.h"
#include "os/sim/sim.h"

namespace gort::inline v0::os {
namespace {

using Word = atomic<std::uint32_t>;

std::string tell(const SimResult& r) {
  return std::string(sim_verdict_name(r.verdict)) + " seed " + std::to_string(r.seed) + " after " +
         std::to_string(r.runs) + " runs: " + std::string(r.message) + "\n" +
         std::string(r.history);
}

/// Runs `right` (must be ok) and `wrong` (must end with `verdict` within `runs`, and again in a
/// replay).
void expect_found(SimOptions o, std::uint64_t runs, void (*right)(void*), void (*wrong)(void*),
                  SimVerdict verdict) {
  o.isolate = false;
  o.pct_steps = 40;
  for (SimStrategy strategy : {SimStrategy::uniform, SimStrategy::pct}) {
    o.strategy = strategy;
    SimResult r = sim_explore(o, runs, right, nullptr);
    EXPECT_EQ(r.verdict, SimVerdict::ok) << "a right program is accused: " << tell(r);
    r = sim_explore(o, runs, wrong, nullptr);
    ASSERT_EQ(r.verdict, verdict) << "not found: " << tell(r);
    testing::Test::RecordProperty(strategy == SimStrategy::pct ? "runs_pct" : "runs_uniform",
                                  static_cast<int>(r.runs));
    const std::string history(r.history);
    SimOptions again = o;
    again.seed = r.seed;
    EXPECT_EQ(std::string(sim_run(again, wrong, nullptr).history), history);
  }
}

// ---- locks ----------------------------------------------------------------------------------

/// A futex lock with three states. Broken: it sleeps on what it saw, leaving 1 behind, so the
/// holder does not know that it must wake somebody.
template <bool Broken>
struct Lock {
  Word word{0};
  void lock() {
    std::uint32_t seen = 0;
    if (word.compare_exchange_strong(seen, 1)) return;
    if constexpr (Broken) {
      while (word.exchange(1) != 0) futex_wait(&word, 1, -1);
    } else {
      while (word.exchange(2) != 0) futex_wait(&word, 2, -1);
    }
  }
  void unlock() {
    if (word.exchange(0) == 2) futex_wake(&word, 1);
  }
};

/// Looks, then takes: not one operation.
struct CheckThenTake {
  Word word{0};
  void lock() {
    while (word.load() != 0) thread_yield();
    word.store(1);
  }
  void unlock() { word.store(0); }
};

struct Ticket {
  Word next{0}, serving{0};
  void lock() {
    const std::uint32_t mine = next.fetch_add(1);
    while (serving.load() != mine) thread_yield();
  }
  void unlock() { serving.store(serving.load() + 1); }
};

template <class L>
struct Exclusion {
  L lock;
  Word inside{0};
  static void worker(void* p) {
    auto* self = static_cast<Exclusion*>(p);
    for (int i = 0; i < 3; ++i) {
      self->lock.lock();
      sim_assert(self->inside.fetch_add(1) == 0, "one at a time");
      self->inside.fetch_sub(1);
      self->lock.unlock();
    }
  }
  static void body(void*) {
    Exclusion x;
    const int a = sim_spawn(worker, &x);
    const int b = sim_spawn(worker, &x);
    worker(&x);
    sim_join(a);
    sim_join(b);
  }
};

TEST(SimFinds, LockThatForgetsItsSleepers) {
  expect_found({}, 2000, Exclusion<Lock<false>>::body, Exclusion<Lock<true>>::body,
               SimVerdict::deadlock);
}

TEST(SimFinds, LockThatChecksAndThenTakes) {
  expect_found({}, 2000, Exclusion<Ticket>::body, Exclusion<CheckThenTake>::body,
               SimVerdict::assert);
}

// ---- lost wake-ups --------------------------------------------------------------------------

/// A queue of one bit between a producer and a consumer. Right: the consumer announces its sleep,
/// then looks again; the producer publishes, then looks for sleepers. Broken: the consumer looks,
/// then announces (store before check is missing), so that both can miss each other.
template <bool Broken>
struct Doorbell {
  Word work{0}, sleeping{0};
  void consume() {
    while (work.load() == 0) {
      if constexpr (Broken) {
        sleeping.store(1);
        futex_wait(&sleeping, 1, -1);
      } else {
        sleeping.store(1);
        if (work.load() != 0) break;
        futex_wait(&sleeping, 1, -1);
      }
    }
    sleeping.store(0);
  }
  void produce() {
    work.store(1);
    if (sleeping.exchange(0) == 1) futex_wake(&sleeping, 1);
  }
  static void body(void*) {
    Doorbell d;
    const int t = sim_spawn([](void* p) { static_cast<Doorbell*>(p)->consume(); }, &d);
    d.produce();
    sim_join(t);
  }
};

TEST(SimFinds, StoreAfterTheLastCheck) {
  expect_found({}, 2000, Doorbell<false>::body, Doorbell<true>::body, SimVerdict::deadlock);
}

/// A condition variable by sequence number. Broken: it reads the number after it has let the lock
/// go.
template <bool Broken>
struct Condition {
  Lock<false> lock;
  Word sequence{0};
  bool ready = false;
  void wait() {
    lock.lock();
    while (!ready) {
      std::uint32_t seen = 0;
      if constexpr (!Broken) seen = sequence.load();
      lock.unlock();
      if constexpr (Broken) seen = sequence.load();
      futex_wait(&sequence, seen, -1);
      lock.lock();
    }
    lock.unlock();
  }
  void signal() {
    lock.lock();
    ready = true;
    lock.unlock();
    sequence.fetch_add(1);
    futex_wake(&sequence, 1);
  }
  static void body(void*) {
    Condition c;
    const int t = sim_spawn([](void* p) { static_cast<Condition*>(p)->wait(); }, &c);
    c.signal();
    sim_join(t);
  }
};

TEST(SimFinds, ConditionThatReadsItsSequenceTooLate) {
  expect_found({}, 2000, Condition<false>::body, Condition<true>::body, SimVerdict::deadlock);
}

/// Waiters that do not look again take an end of futex_wait for the event.
template <bool Broken>
struct Event {
  Word word{0};
  static void body(void*) {
    Event e;
    const int t = sim_spawn(
        [](void* p) {
          auto* self = static_cast<Event*>(p);
          if constexpr (Broken) {
            if (self->word.load() == 0) futex_wait(&self->word, 0, -1);
          } else {
            while (self->word.load() == 0) futex_wait(&self->word, 0, -1);
          }
          sim_assert(self->word.load() == 1, "the event has happened");
        },
        &e);
    for (int i = 0; i < 100; ++i) sim_point();
    e.word.store(1);
    futex_wake(&e.word, 1);
    sim_join(t);
  }
};

TEST(SimFinds, WaiterThatTrustsAWakeUp) {
  expect_found({.spurious_permille = 50}, 2000, Event<false>::body, Event<true>::body,
               SimVerdict::assert);
}

// ---- what needs one thread to stand still ---------------------------------------------------

/// A stack by compare-and-swap whose pop is open to ABA: it needs a thread that stands still
/// between reading the second node and the swap while another pops two and pushes the first again.
/// Repaired by a tag in the upper half of the word.
template <bool Broken>
struct Stack {
  static constexpr std::uint32_t kNone = 0xffff;
  Word head{kNone};
  Word next[3];
  Word taken[3];
  std::uint32_t tag(std::uint32_t old) const { return Broken ? 0 : (old & 0xffff0000) + 0x10000; }
  void push(std::uint32_t n) {
    std::uint32_t old = head.load();
    do next[n].store(old & kNone);
    while (!head.compare_exchange_strong(old, tag(old) | n));
  }
  std::uint32_t pop() {
    std::uint32_t old = head.load();
    for (;;) {
      const std::uint32_t n = old & kNone;
      if (n == kNone) return kNone;
      const std::uint32_t after = next[n].load();
      if (head.compare_exchange_strong(old, tag(old) | after)) return n;
    }
  }
  void use(std::uint32_t n) {
    if (n == kNone) return;
    sim_assert(taken[n].exchange(1) == 0, "nobody else has this node");
  }
  void give(std::uint32_t n) {
    if (n == kNone) return;
    taken[n].store(0);
    push(n);
  }
  static void worker(void* p) {
    auto* s = static_cast<Stack*>(p);
    for (int i = 0; i < 2; ++i) {
      const std::uint32_t a = s->pop();
      s->use(a);
      const std::uint32_t b = s->pop();
      s->use(b);
      s->give(a);
      s->give(b);
    }
  }
  static void body(void*) {
    Stack s;
    for (std::uint32_t n = 0; n < 3; ++n) s.push(n);
    const int a = sim_spawn(worker, &s);
    worker(&s);
    sim_join(a);
  }
};

TEST(SimFinds, StackOpenToABA) {
  expect_found({}, 20'000, Stack<false>::body, Stack<true>::body, SimVerdict::assert);
}

}  // namespace
}  // namespace gort::inline v0::os
