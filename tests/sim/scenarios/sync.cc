// Channels, select, mutexes and conditions in the whole runtime: nothing that is sent is lost or comes twice, nobody
// sleeps beside what it waits for, and a wait that ends by its time is not served any more.
//
// What would show: somebody who sleeps for ever is a deadlock, or a livelock where sysmon is still awake; a value that
// comes twice, or a lock with two holders, an assertion; a node that is used again while it is still queued, a crash.
#include "gort/detail/sync_words.h"
#include "sync/chan.h"
#include "sync/chan_at_once.h"
#include "sync/condition.h"
#include "sync/mutex.h"
#include "sync/select.h"
#include "tests/sim/bodies.h"
#include "tests/sim/scenario.h"

namespace gort::inline v0::rt {

namespace {

constexpr SimOptions kSync = {.pct_depth = 4, .pct_steps = 2500, .max_steps = 100'000};
constexpr std::int64_t kPast = 1;  // a deadline that is over

using Value = std::uint64_t;

struct Ch : Chan {
  Value values[4] = {};
  explicit Ch(std::size_t capacity) {
    size = sizeof(Value);
    cap = capacity;
    ring = reinterpret_cast<std::byte*>(values);
  }
};

// As the public operations do it.
ChanEnd send(Chan& c, Value v, std::int64_t deadline = kNoDeadline) {
  RuntimeEntry entry;
  return chan_send_at_once(&c, &v) ? ChanEnd::done : chan_send(&c, &v, {.deadline = deadline});
}
ChanEnd receive(Chan& c, Value* v, std::int64_t deadline = kNoDeadline) {
  RuntimeEntry entry;
  return chan_recv_at_once(&c, v) ? ChanEnd::done : chan_recv(&c, v, {.deadline = deadline});
}

/// Which of the values 0 to 63 have arrived.
struct Arrived {
  os::atomic<std::uint64_t> seen{0};
  void one(Value v) {
    sim_assert(v < 64, "a value that somebody has sent");
    sim_assert((seen.fetch_or(std::uint64_t{1} << v) >> v & 1) == 0, "each value arrives once");
  }
};

struct Table {
  Ch a, b;
  Arrived arrived;
  os::atomic<int> roles{0};
  os::atomic<int> left{0};  // values to be received
  Done done;
  Table(std::size_t capacity, int all) : a(capacity), b(capacity), done(all) {
    os::sim_label(static_cast<Chan*>(&a), sizeof(Chan), "channel a");
    os::sim_label(static_cast<Chan*>(&b), sizeof(Chan), "channel b");
  }
};
Table* table = nullptr;

/// n goroutines and a foreign thread run fn, each with a role of its own from 0 on.
void in_all(Table& t, int n, void (*fn)(int role)) {
  table = &t;
  static void (*act)(int);
  act = fn;
  static constexpr auto one = [](void*) {
    act(table->roles.fetch_add(1));
    table->done.one();
  };
  for (int i = 0; i < n; ++i) go(one, nullptr);
  const int other = os::sim_spawn(one, nullptr);
  t.done.wait();
  os::sim_join(other);
  expect_all_ps_idle();
}

// ---- channels -----------------------------------------------------------------------------------------

/// Two send, two receive; with room for one value, and without.
void chan_values(void* arg) {
  start({});
  Table t(*static_cast<const std::size_t*>(arg), 4);
  in_all(t, 3, [](int role) {
    for (Value i = 0; i < 4; ++i) {
      Value v = 4 * static_cast<Value>(role / 2) + i;
      if (role % 2 == 0) {
        sim_assert(send(table->a, v) == ChanEnd::done, "nobody closes it");
      } else {
        sim_assert(receive(table->a, &v) == ChanEnd::done, "as many are sent");
        table->arrived.one(v);
      }
    }
  });
  sim_assert(t.arrived.seen.load() == 0xff, "all values have arrived");
}

/// Who waits with a deadline that is over leaves the queue while others serve it: those behind are served.
void chan_deadlines(void* arg) {
  start({});
  Table t(*static_cast<const std::size_t*>(arg), 4);
  in_all(t, 3, [](int role) {
    Value v = 0;
    for (Value i = 0; i < (role < 2 ? 3 : 1); ++i) {
      if (role == 0) {
        sim_assert(send(table->a, i) == ChanEnd::done, "nobody closes it");
      } else if (role == 1) {
        sim_assert(receive(table->a, &v) == ChanEnd::done, "for ever, if need be");
        table->arrived.one(v);
      } else if (receive(table->a, &v, kPast) == ChanEnd::done) {
        // The other receiver would miss it.
        sim_assert(send(table->a, v) == ChanEnd::done, "nobody closes it");
      }
    }
  });
  sim_assert(t.arrived.seen.load() == 0x7, "all values have arrived");
}

/// It is closed when the last sender has sent; who receives gets all values and then the end.
void chan_close_ends(void* arg) {
  start({});
  Table t(*static_cast<const std::size_t*>(arg), 4);
  t.left.store(2);
  in_all(t, 3, [](int role) {
    Value v = 0;
    if (role % 2 == 0) {
      for (Value i = 0; i < 3; ++i) sim_assert(send(table->a, 3 * static_cast<Value>(role / 2) + i) == ChanEnd::done, "open");
      if (table->left.fetch_sub(1) == 1) {
        RuntimeEntry entry;
        sim_assert(chan_close(&table->a), "closed once");
      }
    } else {
      while (receive(table->a, &v) == ChanEnd::done) table->arrived.one(v);
    }
  });
  sim_assert(t.arrived.seen.load() == 0x3f, "all values have arrived");
}

// ---- select ---------------------------------------------------------------------------------------------

/// Receives from a or b, whichever can; the order in which the cases are given is the role's.
ChanEnd select_any(int role, Value* v, std::int64_t deadline = kNoDeadline) {
  SelectCase cases[2];
  Chan* const first = role % 2 == 0 ? &table->a : &table->b;
  Chan* const second = role % 2 == 0 ? &table->b : &table->a;
  Value got[2] = {};
  for (int i = 0; i < 2; ++i) {
    cases[i].kind = detail::case_kind::recv;
    cases[i].chan = i == 0 ? first : second;
    cases[i].slot = &got[i];
  }
  RuntimeEntry entry;
  const SelectResult r = select(cases, 2, true, {.deadline = deadline});
  if (r.end != ChanEnd::done) return r.end;
  *v = got[r.index];
  return cases[r.index].delivered ? ChanEnd::done : ChanEnd::closed;
}

/// Two select over both channels, two send, to one each.
void select_values(void* arg) {
  start({});
  Table t(*static_cast<const std::size_t*>(arg), 4);
  t.left.store(8);
  in_all(t, 3, [](int role) {
    for (Value i = 0; i < 4; ++i) {
      Value v = 0;
      if (role < 2) {
        sim_assert(send(role == 0 ? table->a : table->b, 4 * static_cast<Value>(role) + i) == ChanEnd::done, "open");
      } else {
        sim_assert(select_any(role, &v) == ChanEnd::done, "as many are sent");
        table->arrived.one(v);
      }
    }
  });
  sim_assert(t.arrived.seen.load() == 0xff, "all values have arrived");
}

/// As select_values; now and then by time, which leaves nothing queued.
void select_deadlines(void* arg) {
  start({});
  Table t(*static_cast<const std::size_t*>(arg), 4);
  in_all(t, 3, [](int role) {
    Value v = 0;
    if (role < 2) {
      for (Value i = 0; i < 4; ++i) {
        sim_assert(send(role == 0 ? table->a : table->b, 4 * static_cast<Value>(role) + i) == ChanEnd::done, "open");
      }
      return;
    }
    for (int got = 0, round = 0; got < 4; ++round) {
      const ChanEnd end = select_any(role, &v, round % 2 == 0 ? kPast : kNoDeadline);
      if (end == ChanEnd::timeout) continue;
      sim_assert(end == ChanEnd::done, "nobody closes them");
      table->arrived.one(v);
      ++got;
    }
  });
  sim_assert(t.arrived.seen.load() == 0xff, "all values have arrived");
  sim_assert(select_nodes_in_use() == 0, "no node is left in a queue");
}

// ---- mutex, condition -------------------------------------------------------------------------------------

/// gort::mutex and gort::condition_variable, whose inline halves are these on std::atomic.
struct Monitor {
  SyncWord word{0};
  CondWord changed{0};
  int items = 0;         // plain
  bool inside = false;   // plain
  void lock() {
    std::uint32_t free = 0;
    if (!word.compare_exchange_strong(free, detail::kMutexLocked)) {
      RuntimeEntry entry;
      mutex_lock_slow(&word, kNoDeadline);
    }
    sim_assert(!inside, "one at a time");
    inside = true;
    os::sim_point();
  }
  void unlock() {
    inside = false;
    std::uint32_t held = detail::kMutexLocked;
    if (word.compare_exchange_strong(held, 0)) return;
    RuntimeEntry entry;
    mutex_unlock_slow(&word);
  }
  void wait(std::int64_t deadline = kNoDeadline) {
    const std::uint64_t begun = changed.fetch_add(detail::kCondWaiting);
    unlock();
    {
      RuntimeEntry entry;
      cond_sleep(&changed, begun, deadline, nullptr);
    }
    lock();
  }
  void notify(bool all) {
    if (static_cast<std::uint32_t>(changed.load()) == 0) return;
    RuntimeEntry entry;
    cond_notify(&changed, all);
  }
};
Monitor* monitor = nullptr;

void mutex_excludes(void*) {
  start({});
  Table t(0, 4);
  Monitor m;
  monitor = &m;
  os::sim_label(&m.word, sizeof m.word, "mutex");
  in_all(t, 3, [](int) {
    for (int i = 0; i < times(4, 2); ++i) {
      monitor->lock();
      ++monitor->items;
      // Longer than the others spin, now and then.
      for (int k = 0; k < times(12) * i; ++k) os::sim_point();
      monitor->unlock();
    }
  });
  sim_assert(m.items == 4 * times(4, 2) && m.word.load() == 0, "the mutex is free in the end, and no bit is left");
}

/// Two bring items, two fetch as many, now and then looking only for a moment.
void cond_loses_nothing(void*) {
  start({});
  Table t(0, 4);
  Monitor m;
  monitor = &m;
  os::sim_label(&m.word, sizeof m.word, "mutex");
  os::sim_label(&m.changed, sizeof m.changed, "condition");
  in_all(t, 3, [](int role) {
    for (int i = 0; i < 3; ++i) {
      monitor->lock();
      if (role % 2 == 0) {
        ++monitor->items;
        monitor->unlock();
        monitor->notify(i == 1);
      } else {
        if (monitor->items == 0 && i == 1) monitor->wait(kPast);
        while (monitor->items == 0) monitor->wait();
        --monitor->items;
        monitor->unlock();
      }
    }
  });
  sim_assert(m.items == 0 && static_cast<std::uint32_t>(m.changed.load()) == 0, "nobody is counted in the end");
}

// ---- flaws ------------------------------------------------------------------------------------------------

constexpr std::size_t kNoRoom = 0;
constexpr std::size_t kRoomForOne = 1;

constexpr Flaw kNext[] = {{.name = "chan_next",
                           .what = "who serves a channel's queue gives up at a waiter whose wait is over",
                           .verdict = SimVerdict::livelock,
                           .fault = Fault::chan_next,
                           .pct = false}};
constexpr Flaw kAtOnce[] = {{.name = "chan_at_once",
                             .what = "a send or receive that need not wait does not look whether somebody else does",
                             .verdict = SimVerdict::livelock,
                             .fault = Fault::chan_at_once}};
constexpr Flaw kLook[] = {{.name = "select_look",
                           .what = "a select queues without a look under its channels' locks",
                           .verdict = SimVerdict::livelock,
                           .fault = Fault::select_look}};
constexpr Flaw kLeave[] = {{.name = "select_leave",
                            .what = "a select that has fired leaves its other cases queued",
                            .verdict = SimVerdict::livelock,
                            .fault = Fault::select_leave,
                            .seeds = 500}};
constexpr Flaw kWaitLook[] = {{.name = "wait_look",
                               .what = "who is about to wait does not look again under the lock of the queue",
                               .verdict = SimVerdict::deadlock,
                               .fault = Fault::wait_look}};
// The mutex's, or the condition's own.
constexpr Flaw kCondLook[] = {{.name = "wait_look",
                               .what = "likewise, also for a notification",
                               .verdict = SimVerdict::deadlock,
                               .fault = Fault::wait_look,
                               .seeds = 5000,
                               .pct = false}};

constexpr Scenario kAll[] = {
    {.name = "chan_rendezvous", .what = "two send, two receive, no room", .body = chan_values, .arg = &kNoRoom,
     .options = kSync, .procs = {1, 2, 3}},
    {.name = "chan_buffered", .what = "two send, two receive, room for one", .body = chan_values, .arg = &kRoomForOne,
     .options = kSync, .procs = {1, 2, 3}, .flaws = kAtOnce},
    {.name = "chan_deadlines", .what = "receivers whose time is over leave a channel's queue", .body = chan_deadlines,
     .arg = &kNoRoom, .options = kSync, .procs = {2, 3, 1}, .flaws = kNext},
    {.name = "chan_close", .what = "the end comes after the last value", .body = chan_close_ends, .arg = &kRoomForOne,
     .options = kSync, .procs = {1, 2, 3}},
    {.name = "select", .what = "two select over two channels, in either order", .body = select_values, .arg = &kNoRoom,
     .options = kSync, .procs = {2, 3, 1}, .flaws = kLook},
    {.name = "select_deadlines", .what = "selects that end by their time leave nothing behind",
     .body = select_deadlines, .arg = &kRoomForOne, .options = kSync, .procs = {2, 3, 1}, .flaws = kLeave},
    {.name = "mutex_excludes", .what = "gort::mutex: one at a time, nobody left asleep", .body = mutex_excludes,
     .options = kSync, .procs = {2, 3, 1}, .flaws = kWaitLook},
    {.name = "condition", .what = "gort::condition_variable loses no notification", .body = cond_loses_nothing,
     .options = kSync, .procs = {2, 3, 1}, .flaws = kCondLook},
};

}  // namespace

extern const std::span<const Scenario> sync_scenarios;
const std::span<const Scenario> sync_scenarios = kAll;

}  // namespace gort::inline v0::rt
