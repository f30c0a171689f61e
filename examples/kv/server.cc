#include "server.h"

#include <time.h>

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "random.h"
#include "session.h"

namespace kv {

namespace {
std::string forty_digits() {
  std::string id;
  const auto seed = static_cast<std::uint64_t>(::time(nullptr));
  for (int i = 0; i < 40; ++i) id += "0123456789abcdef"[(random_bits() ^ (seed >> i)) & 15];
  return id;
}
std::int64_t wall_ms() noexcept {
  timespec t;
  ::clock_gettime(CLOCK_REALTIME, &t);
  return std::int64_t{t.tv_sec} * 1000 + t.tv_nsec / 1'000'000;
}
}  // namespace

void client_list::add(session* s) {
  std::scoped_lock hold(lock);
  all.emplace(s->id, s);
  size_.store(all.size(), std::memory_order_relaxed);
}

void client_list::remove(session* s) {
  std::scoped_lock hold(lock);
  all.erase(s->id);
  size_.store(all.size(), std::memory_order_relaxed);
}

server::server() : started(wall_ms()), run_id(forty_digits()) {
  saves.last_time = started / 1000;  // there was nothing to save before
}

std::int64_t server::now_ms() const noexcept {
  return wall_ms() + time_offset.load(std::memory_order_relaxed);
}

bool server::make_room(access& db) {
  const std::size_t most = config.max_memory.load(std::memory_order_relaxed);
  if (most == 0) return true;
  db.now = now_ms();
  while (keys.bytes() > most) {
    if (config.policy.load(std::memory_order_relaxed) == eviction::none) return false;
    if (!evict_one(db)) return false;
    stats.evicted.fetch_add(1, std::memory_order_relaxed);
  }
  return true;
}

/// From a random shard on, the first that has one. False: there is none anywhere.
bool server::evict_one(access& db) {
  const auto start = static_cast<unsigned>(random_bits() % keyspace::kShards);
  for (unsigned i = 0; i < keyspace::kShards; ++i) {
    if (evict_from(db, (start + i) % keyspace::kShards)) return true;
  }
  return false;
}

/// Looks at five keys of the shard and removes the one that suits the policy best. False: none there.
bool server::evict_from(access& db, unsigned shard_number) {
  const eviction policy = config.policy.load(std::memory_order_relaxed);
  const bool any = policy == eviction::all_lru || policy == eviction::all_random;
  bool done = false;
  db.with_shard(shard_number, [&](shard& s) {
    key_node* worst = nullptr;
    const auto better = [&](const key_node* a, const key_node* b) {
      if (policy == eviction::volatile_ttl) return a->value.expires < b->value.expires;
      return a->value.used < b->value.used;
    };
    for (int i = 0; i < 5; ++i) {
      key_node* n = any ? s.keys.any(random_bits) : nullptr;
      if (!any && !s.expiring.empty()) {
        auto at = s.expiring.begin();
        if (policy != eviction::volatile_ttl)
          std::advance(at, random_bits() % std::min<std::size_t>(s.expiring.size(), 64));
        n = at->second;
      }
      if (n == nullptr) return;
      if (worst == nullptr || better(n, worst)) worst = n;
    }
    done = db.erase(std::string(worst->key));
  });
  return done;
}

void server::expire_some(access& db) {
  if (!expire_actively.load(std::memory_order_relaxed)) return;
  db.now = now_ms();
  for (unsigned i = 0; i < keyspace::kShards; ++i) {
    // Without the lock: what has become due just now will be found the next time.
    if (keys.shards[i].next_expiry.load(std::memory_order_relaxed) > db.now) continue;
    int removed = 0;
    do {
      db.with_shard(i, [&](shard& s) { removed = db.expire(s, 200); });
    } while (removed == 200);
  }
}

void server::end_idle_clients() {
  constexpr std::int64_t kStuck = 200;  // ms in a write: the client may be in one, too
  const std::int64_t now = now_ms();
  const std::int64_t idle = config.idle_timeout.load() * 1000,
                     write = config.write_timeout.load() * 1000;
  std::scoped_lock hold(clients.lock);
  for (auto& [id, s] : clients.all) {
    std::int64_t since = s->writing_since.load(std::memory_order_relaxed);
    if (since != 0 && now - since >= kStuck && s->line.read_on) s->line.read_on();
    // The kernel lets a writer go on when much of its buffer is free again: who reads slowly takes a little of it each time.
    if (since != 0 && s->line.unread) {
      const int before = std::exchange(s->unread, s->line.unread());
      if (s->unread != before && s->writing_since.compare_exchange_strong(since, now)) since = now;
    }
    const bool slow = since != 0 && now - since > write;
    const bool silent = idle > 0 && s->subscribed.load(std::memory_order_relaxed) == 0 &&
                        s->published == nullptr &&
                        now - s->active_at.load(std::memory_order_relaxed) > idle;
    if (slow) stats.slow_clients.fetch_add(1, std::memory_order_relaxed);
    if ((slow || silent) && s->line.close) s->line.close();
  }
  stats.client_sweeps.fetch_add(1, std::memory_order_relaxed);
}

void server::save_if_due() {
  const std::int64_t now = now_ms() / 1000, last = saves.last_time.load();
  const std::uint64_t changes = keys.sum(&shard::changes) - saves.changes_then.load();
  // After one that has failed: not at once again.
  if (saves.in_progress() || (!saves.last_ok.load() && now - saves.last_try.load() < 5)) return;
  bool due = false;
  {
    std::scoped_lock hold(config.lock);
    for (const save_point& p : config.saves) due |= changes >= p.changes && now - last >= p.seconds;
  }
  if (due) saves.start_in_background();
}

}  // namespace kv
