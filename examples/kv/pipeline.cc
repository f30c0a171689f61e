#include "pipeline.h"

#include <mutex>

namespace kv {

namespace {
/// One with more arguments ends a pipeline: they are not copied.
constexpr std::size_t kFewArgs = 32;
}  // namespace

parser::status pipeline::fill(parser& p, std::size_t most) {
  requests_.clear();
  first_.clear();
  words_.clear();
  last_ = {};
  for (;;) {
    if (!last_.empty()) {
      // The parser is about to use its own for the next one.
      words_.insert(words_.end(), last_.begin(), last_.end());
      last_ = {};
    }
    const parser::status s = p.next();
    if (s != parser::command) return s;
    last_ = p.args();
    first_.push_back(words_.size());
    request r{find_command(last_[0]), {}, 0, p.place()};
    if (r.what != nullptr && r.what->keys.first > 0 && static_cast<std::size_t>(r.what->keys.first) < last_.size()) {
      r.key = last_[static_cast<std::size_t>(r.what->keys.first)];
      r.hash = hash_of(r.key);
    }
    requests_.push_back(r);
    if (requests_.size() == most || last_.size() > kFewArgs || !p.args_stay()) return s;
  }
}

std::span<const std::string_view> pipeline::args(std::size_t i) const noexcept {
  if (i + 1 == requests_.size() && !last_.empty()) return last_;
  const std::size_t end = i + 1 < first_.size() ? first_[i + 1] : words_.size();
  return std::span(words_).subspan(first_[i], end - first_[i]);
}

void pipeline::fetch(keyspace& keys) const noexcept {
  if (requests_.size() < 2) return;
  for (const request& r : requests_) {
    if (r.key.data() != nullptr) keys.shards[keyspace::index_of(r.hash)].shown.fetch(r.hash);
  }
  for (const request& r : requests_) {
    if (r.key.data() == nullptr) continue;
    shard& s = keys.shards[keyspace::index_of(r.hash)];
    // Who has the lock is as good as done with it: not worth a wait.
    if (const std::unique_lock held(s.lock, std::try_to_lock); held) s.keys.fetch(r.hash);
  }
}

}  // namespace kv
