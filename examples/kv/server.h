// What all sessions share.
#pragma once

#include <gort/mutex.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "hogs.h"
#include "keyspace.h"
#include "pubsub.h"
#include "snapshot.h"

namespace kv {

class session;

/// What is evicted when the memory that --maxmemory allows is used up.
enum class eviction { none, all_lru, all_random, volatile_lru, volatile_random, volatile_ttl };

/// --save: after so many seconds, if so many changes.
struct save_point {
  std::int64_t seconds;
  std::uint64_t changes;
};

/// Settings; those that CONFIG SET can change are atomic (config.cc).
struct settings {
  std::string bind = "127.0.0.1";
  int port = 6379;
  std::string dir = ".";
  std::string file = "dump.gkv";
  std::atomic<bool> save_at_end{true};
  std::atomic<std::size_t> max_memory{0};  ///< bytes; 0: no limit
  std::atomic<eviction> policy{eviction::none};
  std::atomic<std::int64_t> max_clients{10'000};
  std::atomic<std::int64_t> idle_timeout{0};  ///< seconds; 0: none
  std::atomic<std::int64_t> write_timeout{
      60};  ///< seconds that a client may take to read what it was sent
  std::atomic<std::size_t> max_bulk{512u << 20};
  std::atomic<std::size_t> pubsub_buffer{32u << 20};  ///< bytes that may wait for one subscriber
  std::atomic<bool> has_password{false};
  gort::mutex lock;  // guards:
  std::string password;
  std::vector<save_point> saves;
  std::map<std::string, std::string, std::less<>> without_effect;  ///< config.cc
};

struct statistics {
  std::atomic<std::uint64_t> connections{0}, rejected{0}, commands{0}, errors{0},
      protocol_errors{0}, evicted{0}, slow_clients{0}, client_sweeps{0}, bytes_in{0}, bytes_out{0};
  std::atomic<std::int64_t> blocked{0};  ///< clients that wait now
  std::atomic<std::int64_t> open{0};     ///< connections, from accept on
};

/// The sessions that exist.
class client_list {
 public:
  std::uint64_t next_id() noexcept { return last_id_.fetch_add(1, std::memory_order_relaxed) + 1; }
  void add(session* s);
  void remove(session* s);
  std::size_t size() const noexcept { return size_.load(std::memory_order_relaxed); }

  gort::mutex lock;  // guards `all`, and what a session says is guarded by it
  std::map<std::uint64_t, session*> all;

 private:
  std::atomic<std::uint64_t> last_id_{0};
  std::atomic<std::size_t> size_{0};
};

class server {
 public:
  server();

  settings config;
  keyspace keys;
  hub channels;
  client_list clients;
  statistics stats;
  snapshots saves{*this};
  hog_pen hogs;
  const std::int64_t started;
  const std::string run_id;
  /// SHUTDOWN asks for the end; does not wait. True: save before it. Set by main.
  std::function<void(bool save)> shut_down = [](bool) {};
  /// Added to the time; for tests of what expires.
  std::atomic<std::int64_t> time_offset{0};

  /// ms since 1970.
  std::int64_t now_ms() const noexcept;
  /// Evicts until there is room; false: there is none, and the policy does not help. `db` holds no lock.
  bool make_room(access& db);
  /// Removes keys whose time is up, a bounded number. Called again and again by main's janitor.
  void expire_some(access& db);
  std::atomic<bool> expire_actively{true};  ///< DEBUG SET-ACTIVE-EXPIRE
  /// Ends connections that do nothing, or do not read, for too long. Likewise.
  void end_idle_clients();
  /// Begins a snapshot if --save says so. Likewise.
  void save_if_due();

 private:
  bool evict_one(access& db);
  bool evict_from(access& db, unsigned shard);
};

}  // namespace kv
