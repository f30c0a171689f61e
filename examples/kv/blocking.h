// Commands that wait: BLPOP and its like. Who waits stands in a queue at each of its keys, oldest first, in the keys' shards.
//
// Whoever makes such a key (with any command) serves those who wait for it, when its command is complete and before it lets
// go of the key's lock: so an element goes to who has waited longest, and to nobody else who comes meanwhile. A transaction
// serves them after its last command. The one that waits sleeps in a read of its connection, and so notices the client's
// end; the one that serves it ends that read.
//
//   blocked::state   who may change it, to what
//   waiting          whoever claims it: taken; timed_out (itself), unblocked (CLIENT UNBLOCK), gone (itself: the client is)
//   taken            who took it: served, when the answer is complete
//   the others       nobody
#pragma once

#include <gort/clock.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "keyspace.h"
#include "reply.h"

namespace kv {

struct call;

struct blocked {
  enum class state { waiting, taken, served, timed_out, unblocked, gone };
  /// Takes from the key, which has a value of the type that is waited for, and writes the answer. The locks of the key and
  /// of `also` are held. May throw what the client is told instead.
  using attempt = std::function<void(access&, std::string_view key, reply&)>;

  std::atomic<state> now{state::waiting};
  // Constant once it waits:
  std::vector<std::string> keys;
  kv::type type;
  keyspace::mask also = 0;
  attempt take;
  gort::clock::time_point deadline;
  bool silent = false;     ///< CLIENT REPLY has turned it off
  std::function<void()>
      wake;  ///< ends the read; any goroutine, any number of times, perhaps too late
  // By who has taken it, until it is served:
  reply answer;

  bool over() const noexcept {
    const state s = now.load(std::memory_order_acquire);
    return s != state::waiting && s != state::taken;
  }
  bool claim(state s) noexcept {
    state expected = state::waiting;
    return now.compare_exchange_strong(expected, s, std::memory_order_acq_rel);
  }
};

/// For a command that may wait: takes from the first of the keys that has something, else waits for one of them; in a
/// transaction the answer is nil. `timeout`: which argument says how many seconds; 0: for ever.
struct waits_for {
  kv::type type;
  std::size_t timeout;
  bool null_array = true;  ///< the answer in a transaction
  keyspace::mask also = 0;
};
void take_or_wait(call& c, std::span<const std::string_view> keys, const waits_for& what,
                  blocked::attempt take);

}  // namespace kv
