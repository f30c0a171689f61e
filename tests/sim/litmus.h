// gort: litmus tests: the few operations of each two-sided protocol of the runtime, under memory models that reorder
// more than the simulator does.
//
// The simulator's store buffers are x86-64's (total store order). What aarch64 may do on top, and what a fence is good
// for there, is tried here: each side is a list of operations on words; a thread performs them in any order that its
// model allows, one at a time, into a memory that all see at once (x86-64 and aarch64 are multi-copy atomic); all
// interleavings are enumerated. The bad outcome must be out of reach as the code is written, and each site (a full
// store or fence of the code) says on which model it comes into reach without that.
//
//   what orders a before b, if b comes later in the program
//                              tso                              aarch64
//     same word                always; own stores are forwarded always; own stores are forwarded
//     load, then load/store    always                           acquire load (ldapr, ldar), or a branch to a store
//     store, then store        always                           release store (stlr), or an exchange's release half
//     store, then load         fence, seq_cst store, any RMW    fence; release store (stlr), then seq_cst load (ldar)
//                                                               or an RMW's acquire load (ldaxr)
//
// An RMW on aarch64 is a load and a store with nobody's store between (ldaxr, stlxr): what follows may pass its store
// half. Stronger instructions (ldaddal) are covered by that. Not modelled: dependencies through addresses and data,
// which these sides have none of, and anything that is not multi-copy atomic (Power).
#pragma once

#include <cstdint>
#include <span>

#include "os/atomic.h"

namespace gort::inline v0::rt::litmus {

enum class Model : std::uint8_t { tso, aarch64 };

/// Where a site is needed.
enum class Needed : std::uint8_t {
  nowhere,     ///< the other operations of its side suffice
  on_aarch64,  ///< on x86-64 they do
  on_x86_64,  ///< on aarch64 they do: a release store there waits for no store, but holds seq_cst loads back
  everywhere,
};

enum class Kind : std::uint8_t { load, store, add, exchange, fence, lock, unlock };

struct Op {
  Kind kind;
  std::uint8_t word = 0;
  os::memory_order order = os::memory_order_relaxed;
  std::int8_t value = 0;       ///< stored, or added
  std::int8_t reg = -1;        ///< gets what was read
  const char* site = nullptr;  ///< the full store or fence that can be taken away
  std::int8_t if_reg = -1;     ///< only if that register has if_value (a branch); not for loads
  std::int8_t if_value = 0;
};

inline constexpr int kWords = 4;
inline constexpr int kRegs = 6;
inline constexpr int kMaxOps = 10;
inline constexpr int kSides = 3;

struct Outcome {
  std::int8_t word[kWords];
  std::int8_t reg[kRegs];
};

struct Site {
  const char* name;  ///< as in Op::site, and as `gort-sim --fences` names it
  Needed needed;
  const char* why = "";  ///< where it is needed nowhere: what does its work
};

struct Litmus {
  const char* name;
  const char* what;
  std::int8_t words[kWords];
  std::span<const Op> sides[kSides];
  bool (*bad)(const Outcome& o);
  const char* outcome;  ///< the bad one, in words
  std::span<const Site> sites;
};

std::span<const Litmus> all() noexcept;

struct Result {
  bool bad = false;          ///< in reach
  std::uint64_t states = 0;  ///< distinct ones met
};
/// Every execution, with `without` (null: nothing) taken away: a full store is a relaxed one then, a fence is none.
Result explore(const Litmus& l, Model m, const char* without);

/// A table of all sites; false: one of them is not as stated.
bool print_all();

}  // namespace gort::inline v0::rt::litmus
