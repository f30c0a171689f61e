#include "os/sim/explore.h"

#include <sys/mman.h>
#include <unistd.h>

#include "os/sim/machine.h"

namespace gort::inline v0::os {

namespace sim {

Path& path() noexcept {
  static constinit Path* p = nullptr;
  if (p == nullptr) {
    void* m = ::mmap(nullptr, sizeof(Path), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m == MAP_FAILED) ::_exit(99);
    p = static_cast<Path*>(m);
  }
  return *p;
}

namespace {

// Candidates of a step: threads, and the buffers of threads, whose oldest store becomes visible.
constexpr int kThreads = 31;
constexpr int kBuffers = 32;  // first bit

std::uint64_t bit(int i) noexcept { return std::uint64_t{1} << i; }

/// What a step does to others: nothing, read or write a word, or anything.
struct Effect {
  enum Kind : std::uint8_t { none, read, write, any } kind;
  const void* word;
};

bool independent(const Effect& a, const Effect& b) noexcept {
  if (a.kind == Effect::none || b.kind == Effect::none) return true;
  if (a.kind == Effect::any || b.kind == Effect::any) return false;
  return a.word != b.word || (a.kind == Effect::read && b.kind == Effect::read);
}

Effect effect_of(SimOp op, const void* where) noexcept {
  switch (op) {
    case SimOp::futex_return:  // no step: a thread that has been made runnable, on its way to its next one
    case SimOp::yield:
    case SimOp::relax:
    case SimOp::clock:
    case SimOp::fence:
      return {Effect::none, nullptr};
    case SimOp::load:
      return {Effect::read, where};
    case SimOp::store:
    case SimOp::exchange:
    case SimOp::cas:
    case SimOp::add:
    case SimOp::sub:
    case SimOp::bit_or:
    case SimOp::bit_and:
    case SimOp::futex_wait:
    case SimOp::futex_wake:
      return {Effect::write, where};
    case SimOp::create:
    case SimOp::exit:
    case SimOp::reap:
    case SimOp::join:
      return {Effect::write, &machine};  // who exists
    default:  // a bare point, too: what user code does after it nobody knows
      return {Effect::any, nullptr};
  }
}

}  // namespace

void Words::clear() noexcept {
  for (Slot& s : slots_) s = {};
  used_ = 0;
  full_ = {nullptr, 0, true, true, true, false};
  grown = false;
}

void Words::settle() noexcept {
  for (Slot& s : slots_) {
    s.fresh = s.many && s.written && !s.shared;
    s.shared |= s.fresh;
  }
  grown = false;
}

Words::Slot& Words::slot(const void* word) noexcept {
  std::size_t i = (reinterpret_cast<std::uintptr_t>(word) * 0x9e3779b97f4a7c15ULL) >> 48;
  for (; slots_[i].word != word; i = (i + 1) % kSlots) {
    if (slots_[i].word != nullptr) continue;
    if (used_ == kSlots / 2) return full_;
    ++used_;
    slots_[i] = {word, UINT32_MAX, false, false, false, false};
    break;
  }
  return slots_[i];
}

void Words::note(const void* word, std::uint32_t user, bool write) noexcept {
  Slot& s = slot(word);
  if (s.user == UINT32_MAX) s.user = user;
  s.many |= s.user != user;
  s.written |= write;
  if (s.many && s.written && !s.shared) grown = true;
}

namespace {

class Exhaustive final : public Schedule {
 public:
  void begin(const SimOptions&) noexcept override {
    at_ = 0;
    spent_ = 0;
    streak_ = 0;
    asleep_ = 0;
    held_ = -1;
    path().length = 0;
    path().pruned = false;
  }
  void created(int thread) noexcept override {
    if (thread >= kThreads)
      machine.finish(SimVerdict::crash, "sim_enumerate: more than 31 threads");
  }
  int pick(const Choice& c) noexcept override {
    for (;;) {
      const int chosen = path().all ? pick_any(c) : pick_bounded(c);
      if (chosen < kBuffers) return chosen;
      machine.drain_one(chosen - kBuffers);
    }
  }
  void offer(std::uint64_t threads) noexcept override { offered_ = threads; }
  std::uint64_t decide(SimChoice what, std::uint64_t by_default) noexcept override {
    if (path().only_fresh) return by_default;
    if (what == SimChoice::wake)
      return static_cast<std::uint64_t>(
          branch(static_cast<int>(by_default), offered_,
                 path().kind != SimBound::preemptions ? offered_ : 0));
    if (what != SimChoice::delay) return by_default;
    // A store with buffers: one that waits does so until it must go, or until it is drained by choice.
    if (path().all || branch(0, 3, 2) == 1) return UINT64_MAX;
    return 0;
  }

 private:
  /// One decision: `candidates` without the default; those in `costly` spend one of the bound.
  int branch(int by_default, std::uint64_t candidates, std::uint64_t costly) noexcept {
    Path& p = path();
    candidates &= ~bit(by_default);
    costly &= candidates;
    if (!p.all && spent_ >= p.bound && costly != 0) {
      p.refused = true;
      candidates &= ~costly;
    }
    tried_ = 0;
    if (candidates == 0) return by_default;
    if (at_ == Path::kMost)
      machine.finish(SimVerdict::livelock, "sim_enumerate: too many decisions in one run");
    Path::Node& n = p.nodes[at_++];
    if (at_ > p.follow) n = {candidates, 0, static_cast<std::uint8_t>(by_default)};
    p.length = at_;
    tried_ = n.tried;
    if ((costly & bit(n.taken)) != 0) ++spent_;
    return n.taken;
  }

  static std::uint64_t enabled(const Choice& c) noexcept {
    std::uint64_t set = 0;
    for (int i = 0; i < c.count; ++i) set |= bit(c.runnable[i]);
    return set;
  }
  static std::uint64_t buffers() noexcept {
    std::uint64_t set = 0;
    for (int i = 0; i < kThreads; ++i) {
      const Thread* t = machine.thread(i);
      if (t == nullptr) break;
      if (!t->stores.empty()) set |= bit(kBuffers + i);
    }
    return set;
  }

  int pick_bounded(const Choice& c) noexcept {
    const std::uint64_t threads = enabled(c);
    const std::uint64_t drains = buffers();
    // Before a step that nobody else notices a switch is the same as after it.
    const bool stays = c.current >= 0 && !c.yields();
    int by_default = c.by_default;
    streak_ = stays ? streak_ + 1 : 0;
    if (streak_ > kStreak) {
      streak_ = 0;
      by_default = longest_waiting(c, -1, -1);
    }
    if (machine.index(machine.current()) == held_) held_ = -1;
    if (by_default == held_ && (c.yields() ? holds_still() : c.current < 0 && held_for_ > 0)) {
      by_default = longest_waiting(c, c.current, held_);
      if (by_default < 0) by_default = c.current >= 0 ? c.current : held_;
    }
    if (path().only_fresh && !(stays && fresh(c))) return by_default;
    if (by_default == c.current && stays && drains == 0 && c.op != SimOp::point && !noticed(c)) {
      return c.current;
    }
    std::uint64_t candidates = threads;
    // Who only waits goes on only if nobody else can.
    if (c.yields() && by_default != c.current) candidates &= ~bit(c.current);
    const SimBound::Kind kind = path().kind;
    if (kind == SimBound::delays) {
      const int next = longest_waiting(c, by_default, -1);
      candidates = next >= 0 ? candidates & bit(next) : 0;
    }
    const int chosen = branch(by_default, candidates | drains,
                              c.current >= 0 || kind != SimBound::preemptions ? candidates : 0);
    if (stays && by_default == c.current && chosen != c.current && chosen < kBuffers) {
      held_ = c.current;
      held_for_ = -1;
    }
    return chosen;
  }

  /// Who was held up by a departure goes on when somebody yields to it, or stands still for longer, while others spin and
  /// give up: both are tried, and cost nothing.
  bool holds_still() noexcept {
    if (held_for_ < 0) held_for_ = branch(0, 3, 0) == 1 ? kHeldFor : 0;
    if (held_for_ == 0) {
      held_ = -1;
      return false;
    }
    --held_for_;
    return true;
  }

  /// A fair default: who goes round in the runtime for ever would keep all others from running.
  static constexpr int kStreak = 1000;  // steps in a row
  static constexpr int kHeldFor = 64;  // yields of others
  static int longest_waiting(const Choice& c, int but, int nor) noexcept {
    int best = -1;
    for (int i = 0; i < c.count; ++i) {
      const int t = c.runnable[i];
      if (t != but && t != nor && (best < 0 || machine.thread(t)->ran_at < machine.thread(best)->ran_at))
        best = t;
    }
    return best;
  }

  static bool fresh(const Choice& c) noexcept {
    const Effect e = effect_of(c.op, machine.current().next_where);
    return (e.kind == Effect::read || e.kind == Effect::write) && path().words.fresh(e.word);
  }
  static bool noticed(const Choice& c) noexcept {
    const Effect e = effect_of(c.op, machine.current().next_where);
    return e.kind == Effect::any || (e.kind != Effect::none && path().words.shared(e.word));
  }

  Effect effect(int candidate) const noexcept {
    if (candidate >= kBuffers)
      return {Effect::write, machine.thread(candidate - kBuffers)->stores.oldest().addr};
    const Thread& t = *machine.thread(candidate);
    // A store that waits is nobody else's business yet; what a full fence lets go may be any word.
    if (t.next_op == SimOp::store && !t.next_full && machine.delays_stores())
      return {Effect::none, nullptr};
    if (t.next_full && !t.stores.empty()) return {Effect::any, nullptr};
    return effect_of(t.next_op, t.next_where);
  }

  int pick_any(const Choice& c) noexcept {
    const std::uint64_t candidates = (enabled(c) | buffers()) & ~asleep_;
    if (candidates == 0) {
      path().pruned = true;
      machine.finish(SimVerdict::ok, "");
    }
    const int by_default =
        (candidates & bit(c.by_default)) != 0 ? c.by_default : __builtin_ctzll(candidates);
    const int chosen = branch(by_default, candidates, 0);
    const Effect e = effect(chosen);
    std::uint64_t still = 0;
    for (std::uint64_t s = (asleep_ | tried_) & ~bit(chosen); s != 0; s &= s - 1) {
      const int other = __builtin_ctzll(s);
      if (independent(effect(other), e)) still |= bit(other);
    }
    asleep_ = still;
    return chosen;
  }

  std::size_t at_ = 0;
  int spent_ = 0;
  int streak_ = 0;
  int held_ = -1;      // whom the last departure has held up
  int held_for_ = -1;  // so many more yields of others; -1: not yet decided
  std::uint64_t asleep_ = 0;
  std::uint64_t tried_ = 0;
  std::uint64_t offered_ = 0;
};

constinit Exhaustive exhaustive;

/// Turns the last decision that has something left. False: there is none.
bool next_path(Path& p) noexcept {
  std::size_t k = p.length;
  while (k > 0 && p.nodes[k - 1].todo == 0) --k;
  p.follow = k;
  if (k == 0) return false;
  Path::Node& n = p.nodes[k - 1];
  const int next = __builtin_ctzll(n.todo);
  n.tried |= bit(n.taken);
  n.todo &= n.todo - 1;
  n.taken = static_cast<std::uint8_t>(next);
  return true;
}

}  // namespace

Schedule& exhaustive_schedule() noexcept { return exhaustive; }

void note_step(int thread, bool in_handler, SimOp op, const void* where) noexcept {
  const Effect e = effect_of(op, where);
  if (e.kind == Effect::none || e.kind == Effect::any) return;
  const auto user = static_cast<std::uint32_t>(2 * thread + (in_handler ? 1 : 0));
  path().words.note(e.word, user, e.kind == Effect::write);
}

}  // namespace sim

namespace {

/// Random schedules, for the words that threads share: what they miss costs a second enumeration, and nothing else.
void meet_words(const SimOptions& options, void (*body)(void*), void* arg) noexcept {
  constexpr int kRuns = 200;
  SimOptions o = options;
  o.record = false;
  o.spurious_permille = o.late_permille = o.thread_fail_permille = 0;
  o.note_words = true;
  for (int i = 0; i < kRuns; ++i) {
    o.strategy = i % 2 == 0 ? SimStrategy::uniform : SimStrategy::pct;
    o.seed = options.seed + static_cast<std::uint64_t>(i);
    sim_run(o, body, arg);
  }
}

}  // namespace

SimEnumeration sim_enumerate(const SimOptions& options, SimBound bound, std::uint64_t max_schedules,
                             void (*body)(void*), void* arg,
                             bool (*go_on)(std::uint64_t schedules, void*),
                             void* go_on_arg) noexcept {
  sim::Path& p = sim::path();
  SimOptions o = options;
  o.strategy = SimStrategy::exhaustive;
  o.note_words = bound.most != kSimAll;
  SimEnumeration e;
  p.all = bound.most == kSimAll;
  p.kind = bound.kind;
  p.words.clear();
  if (!p.all) meet_words(o, body, arg);
  for (p.bound = 0;; ++p.bound) {
    bool again = false;
    bool refused = false;
    do {
      p.words.settle();
      p.only_fresh = again;
      p.refused = false;
      p.follow = 0;
      do {
        e.result = sim_run(o, body, arg);
        ++e.schedules;
        if (p.pruned) ++e.pruned;
        e.result.runs = e.schedules;
        if (e.result.threads > e.threads) e.threads = e.result.threads;
        if (e.result.verdict != SimVerdict::ok) return e;
        if (e.schedules >= max_schedules || (go_on != nullptr && !go_on(e.schedules, go_on_arg)))
          return e;
      } while (sim::next_path(p));
      refused |= p.refused;
      again = p.kind != SimBound::preemptions && p.bound == 1;
    } while (!p.all && p.words.grown);
    if (p.all || p.bound == bound.most || !refused) break;
  }
  e.complete = true;
  return e;
}

}  // namespace gort::inline v0::os
