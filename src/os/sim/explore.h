// gort simulator: the exhaustive strategy: depth first through the tree of decisions, each run from the root.
//
// The path of the present run lies in memory that driver and runs share: for each decision with several candidates,
// which one was taken and which are still to do. A run follows the path as far as it goes and takes the default from
// there on, writing down what it could have done instead; the driver then turns the last decision that has something
// left.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gort::inline v0::os::sim {

struct Path {
  static constexpr std::size_t kMost = 1u << 20;
  struct Node {
    std::uint64_t todo;   // candidates: a bit each
    std::uint64_t tried;  // with kSimAll: those done, for the sleep sets
    std::uint8_t taken;
  };
  bool all;             // kSimAll: no bound, sleep sets
  int bound;            // preemptions
  bool pruned;          // set by the run
  bool refused;         // set by the run: the bound has cut something off
  std::size_t follow;   // nodes of the path that are given
  std::size_t length;   // nodes of this run
  Node nodes[kMost];
};

/// The one path of this process, mapped at the first call.
Path& path() noexcept;

}  // namespace gort::inline v0::os::sim
