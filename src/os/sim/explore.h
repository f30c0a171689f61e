// gort simulator: the exhaustive strategy: depth first through the tree of decisions, each run from the root.
//
// The path of the present run lies in memory that driver and runs share: for each decision with several candidates,
// which one was taken and which are still to do. A run follows the path as far as it goes and takes the default from
// there on, writing down what it could have done instead; the driver then turns the last decision that has something
// left.
//
// Beside it, the words that have been accessed: a switch before an operation on a word that one thread alone has to do
// with is the same as one before its next operation that somebody else can notice, and is not tried.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/sim/sim.h"

namespace gort::inline v0::os::sim {

/// What is known of the words of all runs so far. A thread and the handler that interrupts it are two users.
class Words {
 public:
  void clear() noexcept;
  /// From here on shared() answers by what is known now: one answer for all runs of an enumeration, since a path is
  /// replayed by the number of its decisions.
  void settle() noexcept;
  void note(const void* word, std::uint32_t user, bool write) noexcept;
  /// Whether two users have met there, one of them writing.
  bool shared(const void* word) noexcept { return slot(word).shared; }
  /// Only since the last settle().
  bool fresh(const void* word) noexcept { return slot(word).fresh; }
  bool grown = false;  ///< a word taken for one user's own is not: the enumeration was not complete

 private:
  static constexpr std::size_t kSlots = 1u << 16;
  struct Slot {
    const void* word;
    std::uint32_t user;  // the first
    bool many, written, shared, fresh;
  };
  Slot& slot(const void* word) noexcept;
  std::size_t used_ = 0;
  Slot full_;  // what no slot was left for: shared
  Slot slots_[kSlots];
};

struct Path {
  static constexpr std::size_t kMost = 1u << 20;
  struct Node {
    std::uint64_t todo;   // candidates: a bit each
    std::uint64_t tried;  // with kSimAll: those done, for the sleep sets
    std::uint8_t taken;
  };
  bool all;   // kSimAll: no bound, sleep sets
  int bound;  // preemptions
  SimBound::Kind kind;
  bool
      only_fresh;  // one departure, before a step on a word that is newly known to be shared: the rest is done
  bool pruned;         // set by the run
  bool refused;        // set by the run: the bound has cut something off
  std::size_t follow;  // nodes of the path that are given
  std::size_t length;  // nodes of this run
  Words words;
  Node nodes[kMost];
};

/// The one path of this process, mapped at the first call.
Path& path() noexcept;

}  // namespace gort::inline v0::os::sim
