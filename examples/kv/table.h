// A hash table from strings to V with what std::unordered_map lacks: a cursor that survives growing and shrinking.
// The keyspace's shards, hashes and sets are made of it.
//
// An element is one piece of memory, its key in it: to find one is to look at a bucket and at the elements there.
// Elements never move: pointers to them are good until they are erased. The cursor is the number of a bucket with its
// bits reversed, counted up from the highest bit (the idea is Redis'): when the table doubles, a bucket's elements go to
// two buckets that lie side by side in that order, so a walk that has passed the one has passed both. A walk gives
// every element that is there from its beginning to its end at least once.
#pragma once

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hash.h"

namespace kv {

inline std::size_t hash_of(std::string_view key) noexcept { return keyed_hash{}(key); }

/// The key of an element, whose bytes follow it.
class key_text {
 public:
  key_text(const key_text&) = delete;
  key_text& operator=(const key_text&) = delete;

  std::size_t size() const noexcept { return size_; }
  std::string_view text() const noexcept { return {reinterpret_cast<const char*>(this + 1), size_}; }
  operator std::string_view() const noexcept { return text(); }
  operator std::string() const { return std::string(text()); }
  friend bool operator==(const key_text& a, std::string_view b) noexcept { return a.text() == b; }
  friend auto operator<=>(const key_text& a, std::string_view b) noexcept { return a.text() <=> b; }

 private:
  template <class V, class Hash>
  friend class table;
  explicit key_text(std::string_view key) noexcept : size_(static_cast<std::uint32_t>(key.size())) {}
  const std::uint32_t size_;  // of a request's part: 512 MB at most
};

/// `Hash` is another one only in a test that shows what keyed_hash is there for.
template <class V, class Hash = keyed_hash>
class table {
 public:
  struct node {
    node* next;
    std::size_t hash;
    V value;
    const key_text key;  // last: its bytes come after it
  };

  table() = default;
  table(table&& o) noexcept { swap(o); }
  table(const table& o) {
    reserve(o.size_);
    o.for_each([this](const node& n) { insert(n.key, n.hash, n.value); });
  }
  table& operator=(table o) noexcept {
    swap(o);
    return *this;
  }
  ~table() { clear(); }
  void swap(table& o) noexcept {
    buckets_.swap(o.buckets_);
    std::swap(size_, o.size_);
    std::swap(nodes_, o.nodes_);
  }

  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  /// Of the table itself, without what values have allocated.
  std::size_t bytes() const noexcept { return buckets_.capacity() * sizeof(node*) + nodes_; }
  /// What one element takes of that, but for its bucket.
  static std::size_t bytes_of(const node& n) noexcept { return bytes_with(n.key.size()); }

  node* find(std::string_view key) noexcept { return find(key, Hash{}(key)); }
  const node* find(std::string_view key) const noexcept {
    return const_cast<table*>(this)->find(key, Hash{}(key));
  }
  node* find(std::string_view key, std::size_t hash) noexcept {
    if (size_ == 0) return nullptr;
    for (node* n = buckets_[hash & mask()]; n != nullptr; n = n->next) {
      if (n->hash == hash && n->key == key) return n;
    }
    return nullptr;
  }

  /// Where its bucket is, for who is to fetch it without the table's lock.
  node* const* buckets() const noexcept { return buckets_.data(); }
  std::size_t bucket_count() const noexcept { return buckets_.size(); }
  /// Asks for the first element of a hash's bucket, which is it mostly, without waiting for it. (A function that does
  /// nothing but that, GCC takes for one that does nothing, and leaves out its calls: hence always_inline.)
  [[gnu::always_inline]] void fetch(std::size_t hash) const noexcept {
    if (size_ == 0) return;
    const auto* n = reinterpret_cast<const char*>(buckets_[hash & mask()]);
    __builtin_prefetch(n);
    __builtin_prefetch(n + 64);
  }

  /// `key` must not be there.
  node* insert(std::string_view key, std::size_t hash, V value) {
    if (size_ >= buckets_.size()) resize(buckets_.empty() ? 4 : buckets_.size() * 2);
    node*& head = buckets_[hash & mask()];
    void* memory = ::operator new(bytes_with(key.size()));
    head = ::new (memory) node{head, hash, std::move(value), key_text(key)};
    std::memcpy(static_cast<char*>(memory) + kKeyAt, key.data(), key.size());
    nodes_ += bytes_with(key.size());
    ++size_;
    return head;
  }
  /// The element with that key, made with V() if there was none; and whether it was made.
  std::pair<node*, bool> find_or_insert(std::string_view key) {
    const std::size_t hash = Hash{}(key);
    if (node* n = find(key, hash)) return {n, false};
    return {insert(key, hash, V()), true};
  }

  bool erase(std::string_view key) {
    node* n = find(key);
    if (n != nullptr) erase(n);
    return n != nullptr;
  }
  void erase(node* gone) {
    node** p = &buckets_[gone->hash & mask()];
    while (*p != gone) p = &(*p)->next;
    *p = gone->next;
    nodes_ -= bytes_of(*gone);
    free(gone);
    --size_;
    if (size_ * 8 < buckets_.size() && buckets_.size() > 16) resize(buckets_.size() / 4);
  }
  void clear() noexcept {
    for (node* n : buckets_) {
      while (n != nullptr) free(std::exchange(n, n->next));
    }
    buckets_ = std::vector<node*>();  // "= {}" would keep the memory
    size_ = nodes_ = 0;
  }
  void reserve(std::size_t n) {
    std::size_t want = 4;
    while (want < n) want *= 2;
    if (n > 0 && want > buckets_.size()) resize(want);
  }

  template <class F>
  void for_each(F&& f) const {
    for (const node* n : buckets_) {
      for (; n != nullptr; n = n->next) f(*n);
    }
  }

  /// f(element) for one bucket's elements; gives the cursor of the next call, 0 after the last. Begin with 0. f must
  /// not erase.
  template <class F>
  std::uint64_t scan(std::uint64_t cursor, F&& f) {
    if (size_ == 0) return 0;
    for (node* n = buckets_[cursor & mask()]; n != nullptr; n = n->next) f(*n);
    cursor |= ~static_cast<std::uint64_t>(mask());
    return reversed(reversed(cursor) + 1);
  }

  /// Any element, each as likely as the others; null if there is none. `random` gives 64 random bits. O(1), if the
  /// hashes are good.
  template <class R>
  node* any(R&& random) noexcept {
    if (size_ == 0) return nullptr;
    // A random place in a random chain, until there is something.
    constexpr std::size_t kLongest = 12;  // longer chains are next to impossible
    for (int i = 0; i < 2000; ++i) {
      const std::uint64_t r = random();
      node* n = buckets_[r & mask()];
      for (std::size_t k = (r >> 40) % kLongest; n != nullptr && k > 0; --k) n = n->next;
      if (n != nullptr) return n;
    }
    for (node* n : buckets_) {
      if (n != nullptr) return n;
    }
    return nullptr;
  }

 private:
  std::size_t mask() const noexcept { return buckets_.size() - 1; }
  static std::uint64_t reversed(std::uint64_t v) noexcept {
    v = __builtin_bswap64(v);
    v = (v & 0x0f0f0f0f0f0f0f0f) << 4 | (v >> 4 & 0x0f0f0f0f0f0f0f0f);
    v = (v & 0x3333333333333333) << 2 | (v >> 2 & 0x3333333333333333);
    return (v & 0x5555555555555555) << 1 | (v >> 1 & 0x5555555555555555);
  }
  void resize(std::size_t n) {
    std::vector<node*> old(n, nullptr);
    old.swap(buckets_);
    for (node* e : old) {
      while (e != nullptr) {
        node* next = e->next;
        node*& head = buckets_[e->hash & mask()];
        e->next = head;
        head = e;
        e = next;
      }
    }
  }

  static_assert(alignof(node) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);
  static constexpr std::size_t kKeyAt = offsetof(node, key) + sizeof(key_text);
  static std::size_t bytes_with(std::size_t key) noexcept { return std::max(sizeof(node), kKeyAt + key); }
  static void free(node* n) noexcept {
    n->~node();
    ::operator delete(n);
  }

  std::vector<node*> buckets_;  // empty, or a power of two
  std::size_t size_ = 0;
  std::size_t nodes_ = 0;  // bytes of all elements
};

}  // namespace kv
