#include "tests/sim/litmus.h"

#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace gort::inline v0::rt::litmus {

namespace {

bool is_rmw(Kind k) { return k == Kind::add || k == Kind::exchange || k == Kind::lock; }
bool acquires(os::memory_order o) {
  return o == os::memory_order_acquire || o == os::memory_order_acq_rel ||
         o == os::memory_order_seq_cst;
}
bool releases(os::memory_order o) {
  return o == os::memory_order_release || o == os::memory_order_acq_rel ||
         o == os::memory_order_seq_cst;
}

/// One event: an Op, or half of an RMW.
struct Event {
  const Op* op;
  bool reads = false;
  bool writes = false;
  bool fence = false;
  bool acquire = false;  // of the reading half
  bool release = false;  // of the writing half
  bool full = false;     // seq_cst
  bool second = false;   // the writing half of an RMW; the event before it is the reading one
};

struct Program {
  std::vector<Event> sides[kSides];
  std::vector<std::uint32_t> before[kSides];  // of each event: those that must have happened
};

bool site_is(const Op& op, const char* without) {
  return op.site != nullptr && without != nullptr && std::string_view(op.site) == without;
}

std::vector<Event> events_of(std::span<const Op> side, const char* without) {
  std::vector<Event> out;
  for (const Op& op : side) {
    os::memory_order order = op.order;
    if (site_is(op, without)) {
      if (op.kind == Kind::fence) continue;
      order = os::memory_order_relaxed;
    }
    if (op.kind == Kind::lock) order = os::memory_order_acquire;
    if (op.kind == Kind::unlock) order = os::memory_order_release;
    const bool full = order == os::memory_order_seq_cst;
    if (op.kind == Kind::fence) {
      out.push_back({.op = &op, .fence = true});
    } else if (op.kind == Kind::load) {
      out.push_back({.op = &op, .reads = true, .acquire = acquires(order), .full = full});
    } else if (op.kind == Kind::store || op.kind == Kind::unlock) {
      out.push_back({.op = &op, .writes = true, .release = releases(order), .full = full});
    } else {
      out.push_back({.op = &op, .reads = true, .acquire = acquires(order), .full = full});
      out.push_back(
          {.op = &op, .writes = true, .release = releases(order), .full = full, .second = true});
    }
  }
  return out;
}

/// Whether a thread must perform a before b, which stands later in the program.
bool ordered(const Event& a, const Event& b, Model m) {
  if (a.fence || b.fence) return true;
  if (a.op == b.op) return true;
  const bool same_word = a.op->word == b.op->word;
  // A load may be answered from the own store that has not been performed yet (State::step).
  if (same_word) return !(a.writes && !a.second && b.reads && !is_rmw(b.op->kind));
  if (m == Model::tso) {
    if (is_rmw(a.op->kind) || is_rmw(b.op->kind)) return true;
    return !(a.writes && b.reads && !a.full);
  }
  if (a.reads && a.acquire) return true;
  if (b.writes && b.release) return true;
  // stlr, ldar. An acquire load is ldapr, that of an RMW is ldaxr, which counts as ldar.
  if (a.writes && a.release && b.reads && (b.full || (b.acquire && is_rmw(b.op->kind))))
    return true;
  // A branch on what was read keeps stores behind it.
  return a.reads && b.op->if_reg >= 0 && b.op->if_reg == a.op->reg;
}

Program program_of(const Litmus& l, Model m, const char* without) {
  Program p;
  for (int t = 0; t < kSides; ++t) {
    p.sides[t] = events_of(l.sides[t], without);
    for (std::size_t j = 0; j < p.sides[t].size(); ++j) {
      std::uint32_t before = 0;
      for (std::size_t i = 0; i < j; ++i) {
        if (ordered(p.sides[t][i], p.sides[t][j], m)) before |= 1u << i;
      }
      p.before[t].push_back(before);
    }
  }
  return p;
}

struct State {
  std::uint32_t done[kSides] = {};
  std::int8_t reserved[kWords];   // the side that is in the middle of an RMW of this word, or -1
  std::int8_t read[kSides] = {};  // by that half
  Outcome o{};
  std::string_view key() const { return {reinterpret_cast<const char*>(this), sizeof *this}; }
};

class Explorer {
 public:
  Explorer(const Litmus& l, Model m, const char* without) : l_(l), p_(program_of(l, m, without)) {}

  Result run() {
    State s;
    std::memset(static_cast<void*>(&s), 0, sizeof s);  // its padding, too: a state is its bytes
    std::memset(s.reserved, -1, sizeof s.reserved);
    std::memcpy(s.o.word, l_.words, sizeof s.o.word);
    std::memset(s.o.reg, -1, sizeof s.o.reg);
    visit(s);
    result_.states = seen_.size();
    return result_;
  }

 private:
  void visit(const State& s) {
    if (result_.bad || !seen_.insert(std::string(s.key())).second) return;
    bool ended = true;
    for (int t = 0; t < kSides; ++t) {
      for (std::size_t i = 0; i < p_.sides[t].size(); ++i) {
        if ((s.done[t] >> i & 1) != 0) continue;
        ended = false;
        if ((p_.before[t][i] & ~s.done[t]) != 0) continue;
        State next = s;
        if (step(next, t, i)) visit(next);
      }
    }
    if (ended && l_.bad(s.o)) result_.bad = true;
  }

  /// False: not now.
  bool step(State& s, int t, std::size_t i) {
    const Event& e = p_.sides[t][i];
    const Op& op = *e.op;
    s.done[t] |= 1u << i;
    if (e.fence) return true;
    if (op.if_reg >= 0 && s.o.reg[op.if_reg] != op.if_value) return true;  // not taken
    std::int8_t& word = s.o.word[op.word];
    std::int8_t& owner = s.reserved[op.word];
    if (e.writes) {
      if (owner >= 0 && owner != t) return false;
      word = op.kind == Kind::add      ? static_cast<std::int8_t>(s.read[t] + op.value)
             : op.kind == Kind::lock   ? 1
             : op.kind == Kind::unlock ? 0
                                       : op.value;
      owner = -1;
      return true;
    }
    std::int8_t value = word;
    if (is_rmw(op.kind)) {
      if (owner >= 0 || (op.kind == Kind::lock && value != 0)) return false;
      // One RMW of a side at a time is in its middle: `read` has one place.
      for (const std::int8_t r : s.reserved) {
        if (r == t) return false;
      }
      owner = static_cast<std::int8_t>(t);
      s.read[t] = value;
    } else {
      // Own stores to this word that are older and still to come: the youngest answers.
      for (std::size_t k = 0; k < i; ++k) {
        const Event& w = p_.sides[t][k];
        if (w.writes && !w.second && w.op->word == op.word && (s.done[t] >> k & 1) == 0)
          value = w.op->value;
      }
    }
    if (op.reg >= 0) s.o.reg[op.reg] = value;
    return true;
  }

  const Litmus& l_;
  const Program p_;
  Result result_;
  std::unordered_set<std::string> seen_;
};

const char* needed_name(Needed n) {
  static constexpr const char* kNames[] = {"nowhere", "aarch64", "x86-64", "everywhere"};
  return kNames[static_cast<int>(n)];
}

}  // namespace

Result explore(const Litmus& l, Model m, const char* without) {
  return Explorer(l, m, without).run();
}

bool print_all() {
  bool good = true;
  for (const Litmus& l : all()) {
    const Result tso = explore(l, Model::tso, nullptr);
    const Result arm = explore(l, Model::aarch64, nullptr);
    const bool held = !tso.bad && !arm.bad;
    good &= held;
    std::printf("%-24s %-70s %4llu states: %s\n", l.name, l.what,
                static_cast<unsigned long long>(arm.states),
                held      ? "holds"
                : tso.bad ? "FAILS on x86-64"
                          : "FAILS on aarch64");
    for (const Site& site : l.sites) {
      const bool on_tso = explore(l, Model::tso, site.name).bad;
      const bool on_arm = explore(l, Model::aarch64, site.name).bad;
      const Needed found = on_tso && on_arm ? Needed::everywhere
                           : on_tso         ? Needed::on_x86_64
                           : on_arm         ? Needed::on_aarch64
                                            : Needed::nowhere;
      const bool as_stated = found == site.needed;
      good &= as_stated;
      std::printf("    %-44s needed %-10s %s%s\n", site.name, needed_name(found), site.why,
                  as_stated ? "" : "  NOT AS STATED");
    }
  }
  return good;
}

}  // namespace gort::inline v0::rt::litmus
