// gort: select, without types: waiting in the queues of several channels at once.
//
//   1  looks at the channels without their locks; tries one of those that look ready, each being equally likely
//   2  locks all channels, in the order of their addresses; looks again, and chooses again. That is one instant, which
//      `otherwise` needs, and which makes waiting safe
//   3  queues a node in each, unlocks, sleeps. All nodes have the owner's WaitState: one agent ends the wait
//   4  takes its nodes off the queues again, one channel at a time; the one whose ticket says so has fired
//
// Nodes come from a cache of the P, or a shared pool: a stack is no place for what others may look at when its owner
// has gone on. A node whose wait has ended may be met in a queue, and is dropped (end_queued).
#pragma once

#include <cstddef>
#include <cstdint>

#include "gort/detail/chan_head.h"
#include "gort/waiter.h"
#include "sync/chan.h"

namespace gort::inline v0::rt {

using SelectCase = detail::case_data;

struct SelectNode {
  waiter w;
  SelectNode* link = nullptr;  ///< of caches
};

struct SelectResult {
  ChanEnd end = ChanEnd::would_block;  ///< done: `index` fired, its `delivered` is set; closed: a send on a closed channel
  std::size_t index = 0;
};

/// Cases of channels only; others are passed over. `block` false: would_block if none is ready, without looking at `how`.
/// Otherwise also timeout, cancelled and no_memory. In the runtime; may change the thread if it waits. Allocates no memory but
/// nodes, the first times.
SelectResult select(SelectCase* cases, std::size_t n, bool block, ChanWait how) noexcept;

/// Nodes outside of caches, for tests: a moment's view, right while nobody else selects.
std::size_t select_nodes_in_use() noexcept;

}  // namespace gort::inline v0::rt
