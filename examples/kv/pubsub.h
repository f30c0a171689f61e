// Publishing to channels. Each subscriber has an inbox, a gort channel with room for 1024 messages, which its
// connection empties into the socket. A publisher never waits: whose inbox is full, or holds more bytes than
// --pubsub-buffer-limit, is too slow, and is disconnected.
#pragma once

#include <gort/chan.h>
#include <gort/shared_mutex.h>

#include <atomic>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reply.h"

namespace kv {

struct message {
  std::string pattern;  ///< that has matched; empty: the subscription was to the channel itself
  std::string channel, text;

  void encode(reply& out) const;
  std::size_t size() const noexcept {
    return sizeof *this + pattern.size() + channel.size() + text.size();
  }
};

struct inbox {
  gort::chan<std::shared_ptr<const message>> messages{1024};
  std::atomic<std::size_t> bytes{0};  ///< of those; publishers add, the connection takes away
  std::function<void()> too_slow;     ///< any goroutine may call it
};

/// Messages on their way: found under the hub's lock, delivered outside of all locks.
using outgoing = std::vector<std::pair<std::shared_ptr<inbox>, std::shared_ptr<const message>>>;
void deliver(outgoing& mail, std::size_t most);

class hub {
 public:
  using subscribers = std::map<std::string, std::set<std::shared_ptr<inbox>>, std::less<>>;

  gort::shared_mutex lock;  // guards what follows
  subscribers channels, patterns;

  /// Who gets it, added to `mail`; how many. With the lock held, shared at least.
  std::int64_t collect(std::string_view channel, std::string_view text, outgoing& mail);
};

}  // namespace kv
