// Cancellation as it ships, on simulated threads: waits against their ends by an event, by the cancellation of their
// context, by that of one above it, and by the end of the run. A cancellation that is missed leaves a goroutine
// asleep: a deadlock. A wait that ends twice fails a CHECK of ready().
//
// test: timeout=200 needs=GORT_TESTING
#include <gtest/gtest.h>

#include "base/fault.h"
#include "sync/context.h"
#include "sync/event.h"
#include "tests/sim/bodies.h"
#include "world/world.h"

namespace gort::inline v0::rt {
namespace {

class SimCancel : public testing::TestWithParam<SimStrategy> {
 protected:
  SimOptions options(int procs) const {
    SimOptions o;
    o.strategy = GetParam();
    o.pct_depth = 4;
    o.pct_steps = 3000;
    o.cpus = procs;
    return o;
  }
  static void expect_ok(const SimOptions& o, std::uint64_t runs, void (*body)(void*), void* arg) {
    const SimResult r = os::sim_explore(o, runs, body, arg);
    EXPECT_EQ(r.verdict, SimVerdict::ok) << tell(r);
  }
  void expect_ok(void (*body)(void*), std::uint64_t runs = 300) const {
    Fault none = Fault::kCount;
    for (int procs : {1, 2, 3}) expect_ok(options(procs), runs, body, &none);
  }
  /// The same bodies with a measure switched off are told apart.
  void expect_found(void (*body)(void*), Fault f) const {
    expect_ok(body, 100);
    const SimResult r = os::sim_explore(options(3), 3000, body, &f);
    EXPECT_EQ(r.verdict, SimVerdict::deadlock) << tell(r);
    RecordProperty("runs_until_found", static_cast<int>(r.runs));
  }
};
INSTANTIATE_TEST_SUITE_P(Strategies, SimCancel, testing::Values(SimStrategy::uniform, SimStrategy::pct),
                         [](const auto& i) { return i.param == SimStrategy::pct ? "pct" : "uniform"; });

void begin(void* fault_off) {
  const Fault f = *static_cast<Fault*>(fault_off);
  if (f != Fault::kCount) set_fault(f, true);
  start({});
}

void install(G* g, Context* c) {
  g->context = c;
  g->cancel = c->src != nullptr ? &c->src->source : nullptr;
}

/// As the API: nothing is begun in a cancelled context.
WaitEnd wait_in(EventWord* word, Context* c) {
  RuntimeEntry entry;
  CancelSource* cancel = &c->src->source;
  if (!context_linked(cancel)) context_link_slow(c->src);
  if (is_cancelled(cancel)) return WaitEnd::cancelled;
  return event_wait(word, kNoDeadline, cancel, WaitReason::test);
}

void leave(G* g) {
  RuntimeEntry entry;
  cancel_leave(&g->wait_state);
  g->context = nullptr;
  g->cancel = nullptr;
}

void drop(Context* c) {
  while (c != nullptr && context_unref(c)) {
    RuntimeEntry entry;
    c = context_retire(c).parent;
  }
}

struct Play {
  Done done;
  Context* root;
  Context* outer;
  Context* inner;
  EventWord never{0};
  EventWord bell{0};
  os::atomic<int> rung{0};
  explicit Play(int n) : done(n), root(context_new(nullptr, {})), outer(context_new(root, {})), inner(context_new(outer, {})) {}
  void end() {
    done.wait();
    drop(inner);
    drop(outer);
    drop(root);
    expect_all_ps_idle();
    sim_assert(contexts_in_use() == 0, "no context is left");
  }
};

void waiter_in(Play* p, Context* c) {
  G* g = current_g();
  install(g, c);
  sim_assert(wait_in(&p->never, c) == WaitEnd::cancelled, "nothing else can end it");
  sim_assert(wait_in(&p->never, c) == WaitEnd::cancelled, "nor the next one");
  leave(g);
  p->done.one();
}

/// One waits, one cancels the context itself.
void cancel_and_wait(void* f) {
  begin(f);
  Play play(2);
  go([](void* p) { waiter_in(static_cast<Play*>(p), static_cast<Play*>(p)->outer); }, &play);
  go(
      [](void* p) {
        auto* pl = static_cast<Play*>(p);
        {
          RuntimeEntry entry;
          context_cancel(pl->outer, {kCauseCancelled, nullptr});
        }
        pl->done.one();
      },
      &play);
  play.end();
}
TEST_P(SimCancel, CancelAgainstWait) { expect_ok(cancel_and_wait, 500); }
TEST_P(SimCancel, WithoutTheLookOfWhoWaits) { expect_found(cancel_and_wait, Fault::cancel_look); }
TEST_P(SimCancel, WithoutTheWalkOfWhoCancels) { expect_found(cancel_and_wait, Fault::cancel_walk); }

/// Two wait in contexts below, which are hung in only when they do.
void cancel_above(void* f) {
  begin(f);
  Play play(3);
  go(
      [](void* p) {
        auto* pl = static_cast<Play*>(p);
        {
          RuntimeEntry entry;
          context_cancel(pl->root, {kCauseCancelled, nullptr});
          sim_assert(is_cancelled(&pl->root->source), "it is cancelled when that returns");
        }
        pl->done.one();
      },
      &play);
  go([](void* p) { waiter_in(static_cast<Play*>(p), static_cast<Play*>(p)->inner); }, &play);
  go([](void* p) { waiter_in(static_cast<Play*>(p), static_cast<Play*>(p)->outer); }, &play);
  play.end();
}
TEST_P(SimCancel, CancelAboveAgainstContextsThatAreBeingHungIn) { expect_ok(cancel_above, 500); }
TEST_P(SimCancel, WithoutTheLookOfWhoHangsIn) { expect_found(cancel_above, Fault::cancel_hang); }

/// Two cancel, one above the other, while a child of both appears and goes.
void cancel_twice(void* f) {
  begin(f);
  Play play(4);
  go([](void* p) { waiter_in(static_cast<Play*>(p), static_cast<Play*>(p)->inner); }, &play);
  for (int i = 0; i < 2; ++i) {
    go(
        [](void* p) {
          auto* pl = static_cast<Play*>(p);
          {
            RuntimeEntry entry;
            context_cancel(pl->rung.fetch_add(1) == 0 ? pl->root : pl->outer, {kCauseCancelled, nullptr});
          }
          pl->done.one();
        },
        &play);
  }
  go(
      [](void* p) {
        auto* pl = static_cast<Play*>(p);
        Context* c = nullptr;
        {
          RuntimeEntry entry;
          c = context_new(pl->outer, {});
          context_link_slow(c);
        }
        drop(c);
        pl->done.one();
      },
      &play);
  play.end();
}
TEST_P(SimCancel, CancelsAgainstEachOther) { expect_ok(cancel_twice, 500); }

/// The event and the cancellation race for a wait; it ends once, and the next one is not touched by who came too late.
void set_and_cancel(void* f) {
  begin(f);
  Play play(3);
  go(
      [](void* p) {
        auto* pl = static_cast<Play*>(p);
        G* g = current_g();
        install(g, pl->outer);
        const WaitEnd first = wait_in(&pl->bell, pl->outer);
        sim_assert(first == WaitEnd::done || first == WaitEnd::cancelled, "one or the other");
        {
          RuntimeEntry entry;
          sim_assert(event_wait(&pl->bell, kNoDeadline, nullptr, WaitReason::test) == WaitEnd::done, "a plain one");
        }
        sim_assert(wait_in(&pl->never, pl->outer) == WaitEnd::cancelled, "in the end");
        leave(g);
        pl->done.one();
      },
      &play);
  go(
      [](void* p) {
        auto* pl = static_cast<Play*>(p);
        {
          RuntimeEntry entry;
          event_set(&pl->bell);
        }
        pl->done.one();
      },
      &play);
  go(
      [](void* p) {
        auto* pl = static_cast<Play*>(p);
        {
          RuntimeEntry entry;
          context_cancel(pl->outer, {kCauseCancelled, nullptr});
        }
        pl->done.one();
      },
      &play);
  play.end();
}
TEST_P(SimCancel, SetAgainstCancel) { expect_ok(set_and_cancel, 500); }

/// A deadline comes while the world is stopped again and again: what the timer leaves for after a stop is cancelled by it, or
/// by who lets the context go.
void deadline_beside_stops(void* f) {
  begin(f);
  static constinit Done* all;
  static constinit EventWord never{0};
  static constexpr std::int64_t kSoon = 50'000;
  Done done(4);
  all = &done;
  Context* root = context_new(nullptr, {});
  NewContext soon;
  soon.deadline = os::nanotime() + kSoon;
  Context* timed = context_new(root, soon);
  Context* below[] = {context_new(timed, {}), context_new(timed, {})};
  for (Context* where : {timed, below[0], below[1]}) {
    go(
        [](void* own) {
          auto* c = static_cast<Context*>(own);
          G* g = current_g();
          install(g, c);
          sim_assert(wait_in(&never, c) == WaitEnd::cancelled, "nothing else can end it");
          leave(g);
          drop(c);
          all->one();
        },
        where);
  }
  go(
      [](void*) {
        for (int k = 0; k < 4; ++k) {
          RuntimeEntry entry;
          if (k == 1) sim_assert(event_wait(&never, os::nanotime() + kSoon, nullptr, WaitReason::test) == WaitEnd::timeout, "");
          start_the_world(stop_the_world(StopReason::test));
        }
        all->one();
      },
      nullptr);
  done.wait();
  drop(root);
  expect_all_ps_idle();
  sim_assert(contexts_in_use() == 0, "no context is left");
}
TEST_P(SimCancel, ADeadlineBesideStops) { expect_ok(deadline_beside_stops, 500); }

// ---- the end of a run -----------------------------------------------------------------------

struct Background {
  CancelSource* root = root_new();
  EventWord never{0};
  EventWord bell{0};
  os::atomic<int> left{2};
  os::atomic<int> begun{0};
};

/// Two in the background: one waits for ever, one for a bell that another rings meanwhile. The end of the run sweeps
/// until both have gone.
template <bool Once>
void end_of_run(void* f) {
  begin(f);
  static constinit Background* all;
  Background b;
  all = &b;
  static constexpr auto in_background = [](void* word) {
    current_g()->background = all->root;
    current_g()->cancel = all->root;
    {
      RuntimeEntry entry;
      while (!is_cancelled(all->root)) {
        all->begun.fetch_add(1);
        if (event_wait(static_cast<EventWord*>(word), kNoDeadline, all->root, WaitReason::test) == WaitEnd::done) {
          event_reset(static_cast<EventWord*>(word));
        }
      }
    }
    all->left.fetch_sub(1);
  };
  go(in_background, &b.never);
  go(in_background, &b.bell);
  go(
      [](void*) {
        RuntimeEntry entry;
        event_set(&all->bell);
        event_set(&all->bell);
      },
      nullptr);
  while (b.begun.load() < 2) os::cpu_relax(1);
  for (int i = 0; b.left.load() != 0; ++i) {
    if (Once ? i == 0 : i < 1000) {
      RuntimeEntry entry;
      root_cancel(b.root);
    } else if (i >= 1000) {
      os::sim_fail("somebody was not swept out");
    }
    os::sleep_ns(100'000);
  }
  expect_all_ps_idle();
}
TEST_P(SimCancel, TheEndOfARun) { expect_ok(end_of_run<false>, 500); }
TEST_P(SimCancel, OneSweepIsNotEnough) {
  if (GetParam() == SimStrategy::uniform) GTEST_SKIP() << "too rare an interleaving: one stands still, one goes far";
  Fault none = Fault::kCount;
  const SimResult r = os::sim_explore(options(3), 3000, end_of_run<true>, &none);
  EXPECT_NE(r.verdict, SimVerdict::ok);
  RecordProperty("runs_until_found", static_cast<int>(r.runs));
}

}  // namespace
}  // namespace gort::inline v0::rt
