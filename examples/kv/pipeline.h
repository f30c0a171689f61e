// Requests that have come together. What they will look at is fetched into the cache for all of them at once, before the
// first is executed: one after the other, each would wait for its key's element, which is nearly always in memory far away
// and takes longer to come than the rest of its work.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "command.h"
#include "keyspace.h"
#include "resp_parser.h"

namespace kv {

class pipeline {
 public:
  struct request {
    const command* what;  ///< null: there is no such command
    std::string_view key;  ///< the first one, if it has any and they stand in a known place
    std::size_t hash;      ///< the key's
    std::size_t end;       ///< the parser's place behind it
  };

  /// The requests that the parser has, `most` at most. What the parser said at the end: `command` if there may be more.
  parser::status fill(parser& p, std::size_t most);
  std::span<const request> requests() const noexcept { return requests_; }
  /// Good until the parser's next request or input.
  std::span<const std::string_view> args(std::size_t i) const noexcept;
  /// Fetches what they will look at. With no lock held.
  void fetch(keyspace& keys) const noexcept;
  std::size_t capacity() const noexcept {
    return requests_.capacity() * sizeof(request) + words_.capacity() * sizeof(std::string_view);
  }

 private:
  std::vector<request> requests_;
  std::vector<std::size_t> first_;         // of words_, of each request
  std::vector<std::string_view> words_;    // of all requests but the last
  std::span<const std::string_view> last_;
};

}  // namespace kv
