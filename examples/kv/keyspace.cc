#include "keyspace.h"

#include <algorithm>
#include <bit>

namespace kv {

void access::lock(keyspace::mask wanted) noexcept {
  if (holds(wanted)) return;
  // In the order of their numbers, all at once: never one more while some are held.
  unlock();
  for (keyspace::mask rest = wanted; rest != 0; rest &= rest - 1)
    keys_.shards[std::countr_zero(rest)].lock.lock();
  held_ = wanted;
}

void access::unlock() noexcept {
  for (keyspace::mask rest = held_; rest != 0; rest &= rest - 1)
    keys_.shards[std::countr_zero(rest)].lock.unlock();
  held_ = 0;
}

key_node* access::peek(std::string_view key) {
  const std::size_t h = hash(key);
  shard& s = keys_.shards[keyspace::index_of(h)];
  key_node* n = s.keys.find(key, h);
  if (n == nullptr || n->value.expires == 0 || n->value.expires > now) return n;
  about_to_change(s, n);
  remove(s, n);
  add_to<std::uint64_t>(s.expired, 1);
  return nullptr;
}

key_node* access::find(std::string_view key) {
  key_node* n = peek(key);
  if (n != nullptr) n->value.used = static_cast<std::uint32_t>(now / 1000);
  if (counts) {
    shard& s = keys_.shards[keyspace::index_of(n != nullptr ? n->hash : hash(key))];
    add_to<std::uint64_t>(n != nullptr ? s.hits : s.misses, 1);
  }
  return n;
}

void access::put(std::string_view key, ref<object> value, std::int64_t expires) {
  const std::size_t h = hash(key);
  shard& s = keys_.shards[keyspace::index_of(h)];
  if (key_node* n = s.keys.find(key, h); n != nullptr) {
    about_to_change(s, n);
    const std::size_t before = n->value.value->bytes();
    n->value.value = std::move(value);
    replaced(s, n, before, expires);
    return;
  }
  key_node* n = add(s, key, h, std::move(value));
  add_to<std::uint64_t>(s.changes, 1);
  tell_watchers(s, key);
  if (expires != 0) set_expiry(n, expires);
}

void access::put_text(std::string_view key, std::string_view text, std::int64_t expires) {
  const std::size_t h = hash(key);
  shard& s = keys_.shards[keyspace::index_of(h)];
  key_node* n = s.keys.find(key, h);
  if (n == nullptr || n->value.value->type() != type::string) return put(key, make<string_object>(text), expires);
  about_to_change(s, n);
  ref<object>& value = n->value.value;
  auto& old = static_cast<string_object&>(*value);
  const std::size_t before = old.bytes();
  // Room for much more than the new text would stay in use, and be counted.
  if (value.shared() || old.text.capacity() / 2 > std::max<std::size_t>(text.size(), 32)) {
    value = make<string_object>(text);
  } else {
    old.text = text;
  }
  replaced(s, n, before, expires);
}

/// An element has another value.
void access::replaced(shard& s, key_node* n, std::size_t bytes_before, std::int64_t expires) {
  add_to(s.bytes, n->value.value->bytes() - bytes_before);  // modulo 2^64
  tell_waiting(s, n->key);
  n->value.used = static_cast<std::uint32_t>(now / 1000);
  if (n->value.expires == expires) return;
  unlink_expiry(s, n);
  if (expires != 0) set_expiry(n, expires);
}

bool access::erase(std::string_view key) {
  key_node* n = peek(key);
  if (n == nullptr) return false;
  shard& s = keys_.shards[keyspace::index_of(n->hash)];
  about_to_change(s, n);
  remove(s, n);
  return true;
}

void access::set_expiry(key_node* n, std::int64_t expires) {
  shard& s = keys_.shards[keyspace::index_of(n->hash)];
  about_to_change(s, n);
  unlink_expiry(s, n);
  n->value.expires = expires;
  if (expires == 0) return;
  s.expiring.emplace(expires, n);
  s.next_expiry.store(s.expiring.begin()->first, std::memory_order_relaxed);
}

void access::unlink_expiry(shard& s, key_node* n) {
  if (n->value.expires == 0) return;
  s.expiring.erase({n->value.expires, n});
  n->value.expires = 0;
  s.next_expiry.store(s.expiring.empty() ? INT64_MAX : s.expiring.begin()->first,
                      std::memory_order_relaxed);
}

int access::expire(shard& s, int most) {
  int done = 0;
  while (done < most && !s.expiring.empty() && s.expiring.begin()->first <= now) {
    key_node* n = s.expiring.begin()->second;
    about_to_change(s, n);
    remove(s, n);
    add_to<std::uint64_t>(s.expired, 1);
    ++done;
  }
  return done;
}

void access::clear(shard& s) {
  s.keys.for_each([&](const key_node& n) { about_to_change(s, const_cast<key_node*>(&n)); });
  s.expiring.clear();
  s.keys.clear();
  s.shown.show(s.keys);
  s.next_expiry.store(INT64_MAX, std::memory_order_relaxed);
  s.size.store(0, std::memory_order_relaxed);
  s.bytes.store(0, std::memory_order_relaxed);
}

key_node* access::add(shard& s, std::string_view key, std::size_t hash, ref<object> value) {
  key_node* n = s.keys.insert(key, hash, entry{});
  s.shown.show(s.keys);
  n->value.value = std::move(value);
  n->value.epoch = keys_.epoch.load(std::memory_order_relaxed);
  n->value.used = static_cast<std::uint32_t>(now / 1000);
  s.size.store(s.keys.size(), std::memory_order_relaxed);
  add_to(s.bytes, bytes_of(*n));
  tell_waiting(s, key);
  return n;
}

void access::remove(shard& s, key_node* n) {
  unlink_expiry(s, n);
  add_to(s.bytes, std::size_t{0} - bytes_of(*n));
  s.keys.erase(n);
  s.shown.show(s.keys);
  s.size.store(s.keys.size(), std::memory_order_relaxed);
}

void access::keep(shard& s, key_node* n) {
  const std::uint32_t epoch = keys_.epoch.load(std::memory_order_relaxed);
  if (n->value.epoch != epoch) {
    if (keys_.saving.load(std::memory_order_relaxed)) {
      s.for_snapshot.push_back({n->key, n->value.value, n->value.expires});
    }
    n->value.epoch = epoch;
  }
}

void access::changed(shard& s, key_node* n) {
  add_to<std::uint64_t>(s.changes, 1);
  tell_watchers(s, n->key);
}

void access::tell_watchers(shard& s, std::string_view key) {
  if (s.watched.empty()) return;
  const auto at = s.watched.find(std::string(key));
  if (at == s.watched.end()) return;
  for (const auto& w : at->second) w->touched.store(true, std::memory_order_relaxed);
}

void access::tell_waiting(shard& s, std::string_view key) {
  if (s.waiting.empty()) [[likely]]
    return;
  if (s.waiting.contains(std::string(key))) made.emplace_back(key);
}

bool access::watch(std::string_view key, std::shared_ptr<watcher> w) {
  peek(key);  // what has expired by now does not count as a change later
  return keys_.of(key).watched[std::string(key)].insert(std::move(w)).second;
}

void access::unwatch(std::string_view key, const std::shared_ptr<watcher>& w) {
  shard& s = keys_.of(key);
  const auto at = s.watched.find(std::string(key));
  if (at == s.watched.end()) return;
  at->second.erase(w);
  if (at->second.empty()) s.watched.erase(at);
}

}  // namespace kv
