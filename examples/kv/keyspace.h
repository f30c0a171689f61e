// The keys: 64 shards, each a table with a lock of its own; expiry; copy-on-write for the snapshot.
//
// A session looks at keys through its `access`, which holds the locks of the shards that its command needs: all of them
// are taken before the command begins, in the order of their numbers, and nothing in a command waits. So a
// command, and all of EXEC, is atomic, and two of them never wait for each other in a circle.
//
// Snapshots. The keyspace has an epoch, a key the epoch in which it was last seen to. A snapshot begins with a flip
// of the epoch while no command is under way. From then on
//
//   a key of an older epoch that      the snapshot's writer does     a command does
//   stays as it is                    write it, mark it              nothing
//   is about to change                                               keep its value for the writer, mark it
//   is new, or marked                 skip it                        what it likes
//
// Keeping a value means a reference to it; a value that is shared so is cloned before it is changed.
#pragma once

#include <gort/mutex.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "error.h"
#include "object.h"

namespace kv {

struct entry {
  ref<object> value;
  std::int64_t expires = 0;  ///< ms since 1970; 0: never
  std::uint32_t epoch = 0;
  mutable std::uint32_t used = 0;  ///< when, in seconds since 1970; for eviction
};
using key_node = table<entry>::node;

struct blocked;  // blocking.h

/// What WATCH leaves at a key; shared with the session.
struct watcher {
  std::atomic<bool> touched{false};
};

/// A value that a snapshot still has to write, although its key has changed or gone.
struct kept {
  std::string key;
  ref<object> value;
  std::int64_t expires;
};

/// Where a shard's buckets are, for those who are not to look at them but to fetch one (pipeline.h). May be of the past.
class shown_buckets {
 public:
  void show(const table<entry>& t) noexcept {
    if (first_.load(std::memory_order_relaxed) == t.buckets()) return;
    first_.store(t.buckets(), std::memory_order_relaxed);
    mask_.store(t.bucket_count() - 1, std::memory_order_relaxed);
  }
  [[gnu::always_inline]] void fetch(std::size_t hash) const noexcept {  // why inline: table::fetch
    const std::size_t place = hash & mask_.load(std::memory_order_relaxed);
    const auto first = reinterpret_cast<std::uintptr_t>(first_.load(std::memory_order_relaxed));
    __builtin_prefetch(reinterpret_cast<const void*>(first + place * sizeof(key_node*)));
  }

 private:
  std::atomic<key_node* const*> first_{nullptr};
  std::atomic<std::size_t> mask_{0};
};

struct alignas(64) shard {
  gort::mutex lock;  // guards everything else
  table<entry> keys;
  shown_buckets shown;  // of keys; read by anybody
  std::set<std::pair<std::int64_t, key_node*>> expiring;
  template <class T>
  using by_key = std::unordered_map<std::string, T, keyed_hash>;
  by_key<std::set<std::shared_ptr<watcher>>> watched;
  by_key<std::deque<std::shared_ptr<blocked>>> waiting;  // oldest first
  std::vector<kept> for_snapshot;
  // Written under the lock, read by anybody.
  std::atomic<std::size_t> size{0}, bytes{0};
  std::atomic<std::uint64_t> changes{0}, hits{0}, misses{0}, expired{0};
  std::atomic<std::int64_t> next_expiry{INT64_MAX};
};

class keyspace {
 public:
  static constexpr unsigned kShards = 64;
  /// A set of shards.
  using mask = std::uint64_t;
  static constexpr mask kAll = ~mask{0};

  static unsigned index_of(std::size_t hash) noexcept { return static_cast<unsigned>(hash >> 58); }
  static mask mask_of(std::string_view key) noexcept { return mask{1} << index_of(hash_of(key)); }
  shard& of(std::string_view key) noexcept { return shards[index_of(hash_of(key))]; }

  std::size_t size() const noexcept { return sum(&shard::size); }
  std::size_t bytes() const noexcept { return sum(&shard::bytes); }
  template <class T>
  T sum(std::atomic<T> shard::* what) const noexcept {
    T all = 0;
    for (const shard& s : shards) all += (s.*what).load(std::memory_order_relaxed);
    return all;
  }

  std::array<shard, kShards> shards;
  // Written by the snapshot while nothing else runs, or with all locks held.
  std::atomic<std::uint32_t> epoch{1};
  std::atomic<bool> saving{false};
};

template <class T>
class edit;

/// One session's, or one background goroutine's, way to the keys. For one goroutine at a time.
class access {
 public:
  explicit access(keyspace& k) noexcept : keys_(k) {}
  access(const access&) = delete;
  access& operator=(const access&) = delete;
  ~access() { unlock(); }

  keyspace& keys() noexcept { return keys_; }
  /// The time at which the running command began, ms since 1970. All of it sees the same keys as expired.
  std::int64_t now = 0;
  bool counts = false;  ///< find() counts hits and misses: the command only reads

  /// The shard of one of the running command's arguments, whose hash is remembered until `forget`: those bytes stay
  /// what and where they are so long.
  keyspace::mask mask_of(std::string_view argument) noexcept {
    remember(argument, hash(argument));
    return keyspace::mask{1} << keyspace::index_of(hash_);
  }
  void remember(std::string_view argument, std::size_t its_hash) noexcept {
    hashed_ = argument;
    hash_ = its_hash;
  }
  void forget() noexcept { hashed_ = {}; }

  /// Holds at least these afterwards. Gives up others first, if it has to wait for new ones.
  void lock(keyspace::mask wanted) noexcept;
  void unlock() noexcept;
  bool holds(keyspace::mask m) const noexcept { return (m & ~held_) == 0; }

  /// f(shard) for every shard, each locked if it is not already.
  template <class F>
  void for_each_shard(F&& f) {
    for (unsigned i = 0; i < keyspace::kShards; ++i) with_shard(i, f);
  }
  template <class F>
  void with_shard(unsigned i, F&& f) {
    const keyspace::mask m = keyspace::mask{1} << i;
    const bool mine = holds(m);
    if (!mine) lock(m);
    f(keys_.shards[i]);
    if (!mine) unlock();
  }

  // From here on the key's shard is held.

  /// The key's element, or null if there is none or its time is up (then it is removed).
  key_node* find(std::string_view key);
  /// Whether it is there, without counting as a use.
  key_node* peek(std::string_view key);
  /// The key's value, or null; throws the error WRONGTYPE if it is of another type.
  template <class T>
  const T* read(std::string_view key) {
    return of_type<T>(find(key));
  }
  /// The same, to be changed. `edit` is empty if there is no such key.
  template <class T>
  edit<T> change(std::string_view key);
  /// The same, with an empty value made if there is none.
  template <class T>
  edit<T> change_or_make(std::string_view key);

  /// Sets the key to a value, whatever it was, to be removed at `expires` (0: never).
  void put(std::string_view key, ref<object> value, std::int64_t expires = 0);
  /// The same with a string, which is written over the old one where nobody else sees that.
  void put_text(std::string_view key, std::string_view text, std::int64_t expires = 0);
  bool erase(std::string_view key);
  void set_expiry(key_node* n, std::int64_t expires);
  /// Removes everything from a held shard.
  void clear(shard& s);
  /// Removes at most `most` keys of a held shard whose time is up; how many.
  int expire(shard& s, int most);

  /// False: it watches that key already.
  bool watch(std::string_view key, std::shared_ptr<watcher> w);
  void unwatch(std::string_view key, const std::shared_ptr<watcher>& w);

  // Clients that wait for a key to be made (blocking.cc).
  void wait_at(std::string_view key, const std::shared_ptr<blocked>& who);
  void stop_waiting(std::string_view key, const std::shared_ptr<blocked>& who);
  /// The oldest that waits for what the key is now; null: none.
  std::shared_ptr<blocked> first_waiting(std::string_view key);
  /// Keys that the running command has made and that somebody waits for.
  std::vector<std::string> made;

  /// Before every change of a key.
  void about_to_change(shard& s, key_node* n) {
    keep(s, n);
    changed(s, n);
  }
  /// Its two parts. Keeps the value for a running snapshot: before the change.
  void keep(shard& s, key_node* n);
  /// Counts, and tells watchers: before it or after it.
  void changed(shard& s, key_node* n);

 private:
  template <class T>
  static T* of_type(key_node* n) {
    if (n == nullptr) return nullptr;
    if (n->value.value->type() != T::the_type) throw wrong_type();
    return static_cast<T*>(n->value.value.get());
  }
  key_node* add(shard& s, std::string_view key, std::size_t hash, ref<object> value);
  void remove(shard& s, key_node* n);
  void replaced(shard& s, key_node* n, std::size_t bytes_before, std::int64_t expires);
  void unlink_expiry(shard& s, key_node* n);
  void tell_watchers(shard& s, std::string_view key);
  void tell_waiting(shard& s, std::string_view key);

  std::size_t hash(std::string_view key) const noexcept {
    const bool same =
        hashed_.data() != nullptr && key.data() == hashed_.data() && key.size() == hashed_.size();
    return same ? hash_ : hash_of(key);
  }

  template <class T>
  friend class edit;
  keyspace& keys_;
  keyspace::mask held_ = 0;
  std::string_view hashed_;  // bytes of the running command; null: none
  std::size_t hash_ = 0;
};

inline std::size_t bytes_of(const key_node& n) noexcept {
  return table<entry>::bytes_of(n) + sizeof(key_node*) + n.value.value->bytes();
}
/// Under the shard's lock: nobody else writes these.
template <class T>
void add_to(std::atomic<T>& counter, T n) noexcept {
  counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

/// A key's value, to be changed until the end of this. Then the memory is counted, and an empty collection
/// removed with its key. Nothing else may be done to that key meanwhile.
template <class T>
class [[nodiscard]] edit {
 public:
  edit() noexcept = default;
  edit(access& a, shard& s, key_node* n) : access_(&a), shard_(&s), node_(n) {
    a.keep(s, n);
    ref<object>& value = n->value.value;
    before_ = value->bytes();  // what was counted: a clone may take less, having no room to grow
    if (value.shared()) value = value->clone();
  }
  edit(edit&& o) noexcept
      : access_(o.access_),
        shard_(o.shard_),
        node_(std::exchange(o.node_, nullptr)),
        before_(o.before_),
        changed_(o.changed_) {}
  edit& operator=(edit&&) = delete;
  ~edit() {
    if (node_ == nullptr) return;
    if (changed_) access_->changed(*shard_, node_);
    const object& value = *node_->value.value;
    add_to(shard_->bytes, value.bytes() - before_);  // modulo 2^64
    if (value.empty()) access_->remove(*shard_, node_);
  }

  explicit operator bool() const noexcept { return node_ != nullptr; }
  T* operator->() const noexcept { return static_cast<T*>(node_->value.value.get()); }
  T& operator*() const noexcept { return *operator->(); }
  key_node* node() const noexcept { return node_; }
  /// Whether there was anything to change in the end; if not, those who watch the key are not told, and nothing is to be saved.
  void changed(bool so) noexcept { changed_ = so; }

 private:
  access* access_ = nullptr;
  shard* shard_ = nullptr;
  key_node* node_ = nullptr;
  std::size_t before_ = 0;
  bool changed_ = true;
};

template <class T>
edit<T> access::change(std::string_view key) {
  key_node* n = find(key);
  if (of_type<T>(n) == nullptr) return {};
  return edit<T>(*this, keys_.shards[keyspace::index_of(n->hash)], n);
}

template <class T>
edit<T> access::change_or_make(std::string_view key) {
  key_node* n = find(key);
  if (of_type<T>(n) == nullptr) {
    const std::size_t h = hash(key);
    n = add(keys_.shards[keyspace::index_of(h)], key, h, make<T>());
  }
  return edit<T>(*this, keys_.shards[keyspace::index_of(n->hash)], n);
}

}  // namespace kv
