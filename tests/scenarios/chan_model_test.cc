// Channels and select against a sequential model that knows who waits where, with random operations; also in a bubble,
// where waits end by time and cancellation too.
//
//   GORT_STRESS_SEED=n    only this seed
// test: labels=smoke timeout=120
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gort/gort.h"
#include "gort/testing/bubble.h"
#include "sched/entry.h"
#include "sched/sched.h"
#include "sched/spawn.h"
#include "tests/support/runtime_fixture.h"

namespace {

using namespace gort;

#if defined(GORT_TEST_TSAN) || defined(GORT_TEST_ASAN)
constexpr int kSlowdown = 10;
#else
constexpr int kSlowdown = 1;
#endif

/// What a worker is told to do: one case is a plain send or recv.
struct Op {
  struct Case {
    int channel;
    bool send;
    int value;  // to send
  };
  std::vector<Case> cases;
  bool otherwise = false;
  int after = 0;  // ms; 0: without a time
};

enum class GaveUp { no, timeout, cancelled };

struct Outcome {
  std::size_t index = 0;
  std::optional<int> value;  // received
  bool threw = false;        // closed
  GaveUp gave_up = GaveUp::no;
  bool operator==(const Outcome&) const = default;
};

// ---- the model -----------------------------------------------------------------------------------

class Model {
 public:
  /// `fired`: which case of this worker's has really fired. Where one select has several cases at one end of a channel,
  /// any of them may.
  Model(const std::vector<std::ptrdiff_t>& caps, std::size_t workers, std::function<std::size_t(std::size_t)> fired)
      : fired_(std::move(fired)), blocked_(workers) {
    for (auto c : caps) channels_.push_back({static_cast<std::size_t>(c), {}, {}, {}, false});
  }

  bool blocked(std::size_t worker) const { return blocked_[worker].has_value(); }

  /// What may happen when `worker` does `op`; empty: it waits (or takes `otherwise`).
  std::vector<Outcome> possible(const Op& op) const {
    std::vector<Outcome> all;
    for (std::size_t i = 0; i < op.cases.size(); ++i) {
      const Channel& c = channels_[static_cast<std::size_t>(op.cases[i].channel)];
      if (op.cases[i].send) {
        if (c.closed) {
          all.push_back({0, std::nullopt, true});
        } else if (!c.receivers.empty() || c.buffer.size() < c.cap) {
          all.push_back({i, std::nullopt, false});
        }
      } else if (!c.buffer.empty()) {
        all.push_back({i, c.buffer.front(), false});
      } else if (!c.senders.empty()) {
        for (const Waiting& w : c.senders) {  // the oldest one's, whichever of its cases
          if (w.worker == c.senders.front().worker) all.push_back({i, value_of(w), false});
        }
      } else if (c.closed) {
        all.push_back({i, std::nullopt, false});
      }
    }
    if (all.empty() && op.otherwise) all.push_back({op.cases.size(), std::nullopt, false});
    return all;
  }

  /// `worker` did `op` with this (possible) outcome. Whom that lets go on, with what.
  std::vector<std::pair<std::size_t, Outcome>> happens(const Op& op, const Outcome& o) {
    std::vector<std::pair<std::size_t, Outcome>> woken;
    if (o.threw || o.index == op.cases.size()) return woken;
    const Op::Case& one = op.cases[o.index];
    Channel& c = channels_[static_cast<std::size_t>(one.channel)];
    if (one.send) {
      if (!c.receivers.empty()) {
        woken.push_back(release(oldest(c.receivers), one.value));
      } else {
        c.buffer.push_back(one.value);
      }
    } else if (!c.buffer.empty()) {
      c.buffer.pop_front();
      if (!c.senders.empty()) {
        c.buffer.push_back(value_of(oldest(c.senders)));
        woken.push_back(release(oldest(c.senders), std::nullopt));
      }
    } else if (!c.senders.empty()) {
      EXPECT_EQ(value_of(oldest(c.senders)), o.value) << "what one sent the other received";
      woken.push_back(release(oldest(c.senders), std::nullopt));
    }
    return woken;
  }

  /// `worker` waits no more.
  void gives_up(std::size_t worker) { static_cast<void>(release({worker, 0}, std::nullopt)); }

  void waits(std::size_t worker, const Op& op) {
    blocked_[worker] = op;
    for (std::size_t i = 0; i < op.cases.size(); ++i) {
      Channel& c = channels_[static_cast<std::size_t>(op.cases[i].channel)];
      (op.cases[i].send ? c.senders : c.receivers).push_back({worker, i});
    }
  }

  std::vector<std::pair<std::size_t, Outcome>> close(int channel) {
    Channel& c = channels_[static_cast<std::size_t>(channel)];
    c.closed = true;
    std::vector<std::pair<std::size_t, Outcome>> woken;
    while (!c.receivers.empty()) woken.push_back(release(oldest(c.receivers), std::nullopt));
    while (!c.senders.empty()) {
      auto w = release(oldest(c.senders), std::nullopt);
      w.second = {0, std::nullopt, true};
      woken.push_back(w);
    }
    return woken;
  }
  std::set<std::size_t> waiting_at(int channel) const {
    const Channel& c = channels_[static_cast<std::size_t>(channel)];
    std::set<std::size_t> all;
    for (const auto* q : {&c.senders, &c.receivers}) {
      for (const Waiting& w : *q) all.insert(w.worker);
    }
    return all;
  }
  /// Who goes on when `op` happens so: at most one, the oldest at the other end.
  std::optional<std::size_t> lets_go_on(const Op& op, const Outcome& o) const {
    if (o.threw || o.index == op.cases.size()) return std::nullopt;
    const Channel& c = channels_[static_cast<std::size_t>(op.cases[o.index].channel)];
    const auto& other = op.cases[o.index].send ? c.receivers : c.senders;
    return other.empty() ? std::nullopt : std::optional(other.front().worker);
  }
  bool closed(int channel) const { return channels_[static_cast<std::size_t>(channel)].closed; }
  std::size_t len(int channel) const { return channels_[static_cast<std::size_t>(channel)].buffer.size(); }

 private:
  struct Waiting {
    std::size_t worker;
    std::size_t index;
  };
  struct Channel {
    std::size_t cap;
    std::deque<int> buffer;
    std::deque<Waiting> senders, receivers;
    bool closed;
  };

  int value_of(const Waiting& w) const { return blocked_[w.worker]->cases[w.index].value; }

  /// The oldest of the queue, with whichever of its cases there really fired.
  Waiting oldest(const std::deque<Waiting>& queue) const {
    for (const Waiting& w : queue) {
      if (w.worker == queue.front().worker && fired_(w.worker) == w.index) return w;
    }
    return queue.front();
  }

  std::pair<std::size_t, Outcome> release(Waiting w, std::optional<int> value) {
    blocked_[w.worker].reset();
    for (Channel& c : channels_) {
      std::erase_if(c.senders, [&](const Waiting& x) { return x.worker == w.worker; });
      std::erase_if(c.receivers, [&](const Waiting& x) { return x.worker == w.worker; });
    }
    return {w.worker, {w.index, value, false}};
  }

  std::function<std::size_t(std::size_t)> fired_;
  std::vector<Channel> channels_;
  std::vector<std::optional<Op>> blocked_;
};

// ---- the real thing --------------------------------------------------------------------------------

template <class T>
T make_value(int v) {
  if constexpr (std::is_same_v<T, int>) {
    return v;
  } else if constexpr (std::is_same_v<T, std::unique_ptr<int>>) {
    return std::make_unique<int>(v);
  } else {
    return "a text long enough to live on the heap " + std::to_string(v);
  }
}
template <class T>
int number(const T& v) {
  if constexpr (std::is_same_v<T, int>) {
    return v;
  } else if constexpr (std::is_same_v<T, std::unique_ptr<int>>) {
    return *v;
  } else {
    return std::atoi(v.c_str() + v.rfind(' '));
  }
}

template <class T>
Outcome perform(const std::vector<chan<T>>& channels, const Op& op, bool plain) {
  const auto at = [&](const Op::Case& c) { return channels[static_cast<std::size_t>(c.channel)]; };
  try {
    const std::chrono::milliseconds after(op.after);
    if (plain && op.after != 0) {
      const Op::Case& c = op.cases[0];
      const Outcome late{0, std::nullopt, false, GaveUp::timeout};
      if (c.send) {
        T v = make_value<T>(c.value);
        const auto sent = at(c).send_for(std::move(v), after);
        if (sent) return {};
        EXPECT_EQ(number<T>(v), c.value) << "still the sender's";
        return sent.error() == chan_status::timeout ? late : Outcome{0, std::nullopt, true};
      }
      auto v = at(c).recv_for(after);
      if (v) return {0, number<T>(*v), false};
      return v.error() == chan_status::timeout ? late : Outcome{};
    }
    if (plain) {
      const Op::Case& c = op.cases[0];
      if (c.send) return at(c).send(make_value<T>(c.value)), Outcome{};
      auto v = at(c).recv();
      return {0, v ? std::optional(number<T>(*v)) : std::nullopt, false};
    }
    std::vector<T> out(op.cases.size());
    std::vector<std::optional<T>> in(op.cases.size());
    std::vector<select_case> cases;
    for (std::size_t i = 0; i < op.cases.size(); ++i) {
      const Op::Case& c = op.cases[i];
      if (c.send) out[i] = make_value<T>(c.value);
      cases.push_back(c.send ? at(c).on_send(std::move(out[i])) : at(c).on_recv(in[i]));
    }
    if (op.otherwise) cases.push_back(otherwise);
    if (op.after != 0) cases.push_back(gort::after(after));
    const std::size_t fired = select(cases);
    for (std::size_t i = 0; i < op.cases.size(); ++i) {
      if (!op.cases[i].send || i == fired) continue;
      EXPECT_EQ(number<T>(out[i]), op.cases[i].value) << "still the sender's";
    }
    if (op.after != 0 && fired == cases.size() - 1) return {0, std::nullopt, false, GaveUp::timeout};
    Outcome o{fired, std::nullopt, false};
    if (fired < in.size() && in[fired]) o.value = number<T>(*in[fired]);
    return o;
  } catch (const closed&) {
    return {0, std::nullopt, true};
  } catch (const cancelled&) {
    return {0, std::nullopt, false, GaveUp::cancelled};
  }
}

template <class T>
class Run {
 public:
  /// `times`: in a bubble.
  explicit Run(std::uint64_t seed, bool times = false) : times_(times), random_(seed) {
    const int channels = 1 + pick(4);
    for (int i = 0; i < channels; ++i) caps_.push_back(pick(4));
    for (auto c : caps_) channels_.emplace_back(c);
    model_.emplace(caps_, kWorkers, [this](std::size_t worker) {
      return workers_[worker]->outcome ? workers_[worker]->outcome->index : SIZE_MAX;
    });
    for (auto& w : workers_) w = std::make_unique<Worker>();
  }

  /// On one P: after some yields everybody who can go on has done so.
  void steps(int n) {
    for (auto& w : workers_) {
      w->body = spawn([this, &w = *w] {
        w.goid = this_goroutine::id();
        for (;;) {
          w.wake.recv();
          if (w.op.cases.empty() && !w.op.otherwise) return;
          with_cancel c;
          w.cancel = &c;
          w.began = gort::clock::now();
          w.outcome = perform(channels_, w.op, w.plain);
        }
      });
    }
    for (int i = 0; i < n && !::testing::Test::HasFailure(); ++i) step();
    for (std::size_t i = 0; i < caps_.size(); ++i) {
      if (!model_->closed(static_cast<int>(i))) expect(close(static_cast<int>(i)));
    }
    for (auto& w : workers_) w->op = {}, w->wake.send(1), w->body.join();
  }

 private:
  static constexpr std::size_t kWorkers = 6;
  struct Worker {
    chan<int> wake{1};
    std::uint64_t goid = 0;
    Op op;
    with_cancel* cancel = nullptr;  // its context, while it waits
    gort::clock::time_point began;
    bool plain = false;
    std::optional<Outcome> outcome;
    task<void> body;
  };

  int pick(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_); }

  Op random_op(bool* plain) {
    Op op;
    *plain = pick(2) == 0;
    const int cases = *plain ? 1 : 1 + pick(4);
    for (int i = 0; i < cases; ++i) op.cases.push_back({pick(static_cast<int>(caps_.size())), pick(2) == 0, next_++});
    if (!*plain) op.otherwise = pick(4) == 0;
    if (times_ && !op.otherwise && pick(2) == 0) op.after = 1 + pick(8);
    return op;
  }

  /// Each of them waits, for its turn or in what it was told to do.
  bool all_parked() {
    rt::RuntimeEntry entry;
    std::size_t parked = 0;
    rt::for_each_g([&](rt::G* g) {
      for (auto& w : workers_) {
        if (w->goid != 0 && w->goid == g->goid && g->status.load() == rt::GStatus::waiting) ++parked;
      }
    });
    return parked == kWorkers;
  }

  /// Until everybody who can go on has done so.
  void settle() {
    if (times_) return gort::testing::bubble::wait();
    EXPECT_TRUE(test::yield_until([&] { return all_parked(); }));
  }
  /// Those who should: a worker may have lost the processor in the middle.
  bool goes_on(std::size_t worker) {
    return test::yield_until([&] { return workers_[worker]->outcome.has_value(); });
  }

  std::vector<std::pair<std::size_t, Outcome>> close(int channel) {
    for (auto& w : workers_) w->outcome.reset();
    channels_[static_cast<std::size_t>(channel)].close();
    for (std::size_t worker : model_->waiting_at(channel)) EXPECT_TRUE(goes_on(worker));
    return model_->close(channel);
  }

  /// Exactly these have gone on.
  void expect(const std::vector<std::pair<std::size_t, Outcome>>& woken) {
    settle();
    std::set<std::size_t> expected;
    for (const auto& [worker, outcome] : woken) {
      expected.insert(worker);
      ASSERT_TRUE(workers_[worker]->outcome.has_value()) << "worker " << worker << " should have gone on";
      EXPECT_EQ(workers_[worker]->outcome->index, outcome.index);
      EXPECT_EQ(workers_[worker]->outcome->value, outcome.value);
      EXPECT_EQ(workers_[worker]->outcome->threw, outcome.threw);
      EXPECT_EQ(workers_[worker]->outcome->gave_up, outcome.gave_up);
    }
    for (std::size_t i = 0; i < kWorkers; ++i) {
      EXPECT_EQ(expected.contains(i), workers_[i]->outcome.has_value()) << "worker " << i;
    }
    for (std::size_t i = 0; i < caps_.size(); ++i) EXPECT_EQ(channels_[i].len(), model_->len(static_cast<int>(i)));
  }

  /// Whose waits have ended otherwise by now, and what somebody finds who comes before they have had a look.
  void give_up(const std::vector<std::pair<std::size_t, GaveUp>>& leavers) {
    std::vector<std::pair<std::size_t, Outcome>> gone;
    for (auto [worker, how] : leavers) {
      model_->gives_up(worker);
      gone.push_back({worker, {0, std::nullopt, false, how}});
    }
    if (pick(2) == 0) {
      bool plain = false;
      Op op = random_op(&plain);
      op.after = 0;
      op.otherwise = true;
      const std::vector<Outcome> possible = model_->possible(op);
      const Outcome mine = perform(channels_, op, false);
      settle();
      ASSERT_TRUE(std::ranges::find(possible, mine) != possible.end()) << "case " << mine.index << " instead of " << possible[0].index;
      for (auto& w : model_->happens(op, mine)) gone.push_back(w);
    }
    expect(gone);
  }

  void time_passes() {
    for (auto& w : workers_) w->outcome.reset();
    this_goroutine::sleep_for(std::chrono::milliseconds(1 + pick(4)));
    std::vector<std::pair<std::size_t, GaveUp>> leavers;
    for (std::size_t i = 0; i < kWorkers; ++i) {
      const Worker& w = *workers_[i];
      if (!model_->blocked(i) || w.op.after == 0) continue;
      if (w.began + std::chrono::milliseconds(w.op.after) <= gort::clock::now()) leavers.emplace_back(i, GaveUp::timeout);
    }
    give_up(leavers);
  }

  void cancel_one() {
    const std::size_t who = static_cast<std::size_t>(pick(kWorkers));
    if (!model_->blocked(who)) return;
    for (auto& w : workers_) w->outcome.reset();
    workers_[who]->cancel->cancel();
    give_up({{who, GaveUp::cancelled}});
  }

  void step() {
    if (times_ && pick(6) == 0) return pick(2) == 0 ? time_passes() : cancel_one();
    if (pick(40) == 0) {
      const int channel = pick(static_cast<int>(caps_.size()));
      if (!model_->closed(channel)) return expect(close(channel));
    }
    const std::size_t who = static_cast<std::size_t>(pick(kWorkers));
    if (model_->blocked(who)) return;
    for (auto& w : workers_) w->outcome.reset();
    Worker& w = *workers_[who];
    w.op = random_op(&w.plain);
    const std::vector<Outcome> possible = model_->possible(w.op);
    w.wake.send(1);
    if (possible.empty()) {
      settle();
      EXPECT_FALSE(w.outcome.has_value()) << "it should wait";
      model_->waits(who, w.op);
      return expect({});
    }
    ASSERT_TRUE(goes_on(who)) << "it should not wait";
    ASSERT_TRUE(std::ranges::find(possible, *w.outcome) != possible.end())
        << "case " << w.outcome->index << ", value " << w.outcome->value.value_or(-1) << ", threw " << w.outcome->threw
        << " instead of case " << possible[0].index << ", value " << possible[0].value.value_or(-1) << ", threw "
        << possible[0].threw << "; cases " << w.op.cases.size() << ", sends " << w.op.cases[0].send << " plain " << w.plain;
    if (auto other = model_->lets_go_on(w.op, *w.outcome)) {
      ASSERT_TRUE(goes_on(*other));
    }
    auto woken = model_->happens(w.op, *w.outcome);
    woken.emplace_back(who, *w.outcome);
    expect(woken);
  }

  bool times_;
  std::mt19937_64 random_;
  std::vector<std::ptrdiff_t> caps_;
  std::vector<chan<T>> channels_;
  std::optional<Model> model_;
  std::unique_ptr<Worker> workers_[kWorkers];
  int next_ = 1;
};

template <class T>
class ChanModel : public ::testing::Test {};
using Types = ::testing::Types<int, std::unique_ptr<int>, std::string>;
TYPED_TEST_SUITE(ChanModel, Types);

TYPED_TEST(ChanModel, RandomOperations) {
  run({.max_procs = 1}, [] {
    const char* only = std::getenv("GORT_STRESS_SEED");
    const std::uint64_t first = only != nullptr ? std::strtoull(only, nullptr, 10) : 1;
    const std::uint64_t last = only != nullptr ? first : 200 / kSlowdown;
    for (std::uint64_t seed = first; seed <= last; ++seed) {
      Run<TypeParam>(seed).steps(300);
      ASSERT_FALSE(::testing::Test::HasFailure()) << "seed " << seed;  // SCOPED_TRACE belongs to a thread
    }
  });
}

// Other seeds in each run; which one it was is said where it fails.
TYPED_TEST(ChanModel, RandomOperationsTimesAndCancellations) {
  const char* only = std::getenv("GORT_STRESS_SEED");
  const std::uint64_t first = only != nullptr ? std::strtoull(only, nullptr, 10) : std::random_device{}();
  const std::uint64_t last = only != nullptr ? first : first + 100 / kSlowdown;
  run({.max_procs = 1}, [&] {
    for (std::uint64_t seed = first; seed <= last; ++seed) {
      gort::testing::bubble::run([&] { Run<TypeParam>(seed, true).steps(300); });
      ASSERT_FALSE(::testing::Test::HasFailure()) << "seed " << seed;
    }
  });
}

// ---- many at once: nothing lost, nothing twice, each sender's values in their order ---------------------

TEST(ChanStress, ConservationAndOrder) {
  run({.max_procs = 4}, [] {
    const char* only = std::getenv("GORT_STRESS_SEED");
    std::mt19937_64 seeds(only != nullptr ? std::strtoull(only, nullptr, 10) : 7);
    for (int round = 0; round < 20 / (kSlowdown > 1 ? 4 : 1); ++round) {
      const int kinds = 3, senders = 4, receivers = 4, each = 2000 / kSlowdown;
      std::vector<chan<std::pair<int, int>>> c;
      for (int i = 0; i < kinds; ++i) c.emplace_back(static_cast<std::ptrdiff_t>(seeds() % 4));
      std::vector<task<void>> out;
      for (int s = 0; s < senders; ++s) {
        out.push_back(spawn([&, s, seed = seeds()] {
          std::mt19937_64 random(seed);
          for (int i = 0; i < each; ++i) {
            const std::pair<int, int> v(s, i);
            switch (random() % 3) {
              case 0: c[random() % kinds].send(v); break;
              case 1: select(c[0].on_send(v), c[1].on_send(v), c[2].on_send(v)); break;
              default:
                while (!c[random() % kinds].try_send(v)) this_goroutine::yield();
            }
          }
        }));
      }
      using Seen = std::vector<std::pair<int, int>>;
      std::vector<task<Seen>> in;
      for (int r = 0; r < receivers; ++r) {
        in.push_back(spawn([&, seed = seeds()] {
          std::mt19937_64 random(seed);
          Seen seen;
          // In one order from each channel, so per sender and channel they must come in order.
          std::vector<std::vector<int>> last(kinds, std::vector<int>(senders, -1));
          for (;;) {
            std::optional<std::pair<int, int>> v;
            std::size_t from = random() % kinds;
            if (random() % 2 == 0) {
              if (auto got = c[from].try_recv()) {
                v = *got;
              } else {
                this_goroutine::yield();
              }
            } else {
              from = select(c[0].on_recv(v), c[1].on_recv(v), c[2].on_recv(v));
              if (!v) return seen;
            }
            if (!v) continue;
            EXPECT_GT(v->second, last[from][static_cast<std::size_t>(v->first)]);
            last[from][static_cast<std::size_t>(v->first)] = v->second;
            seen.push_back(*v);
          }
        }));
      }
      for (auto& t : out) t.join();
      for (auto& one : c) {
        while (one.len() != 0) this_goroutine::yield();
      }
      for (auto& one : c) one.close();
      std::set<std::pair<int, int>> all;
      std::size_t n = 0;
      for (auto& t : in) {
        const Seen seen = t.get();
        n += seen.size();
        all.insert(seen.begin(), seen.end());
      }
      EXPECT_EQ(n, static_cast<std::size_t>(senders * each));
      EXPECT_EQ(all.size(), n) << "one came twice";
    }
  });
}

}  // namespace
