// Snapshots: all keys as they were at one instant, written to a file while clients are served.
//
//   1. flip     the world is stopped for some microseconds: no command is under way, the epoch changes (keyspace.h)
//   2. walk     shard by shard, some keys at a time under the shard's lock: those of the old epoch, and the old values
//               of those that have been changed meanwhile
//   3. write    into temp-<pid>.gkv, in gort::blocking; end mark, checksum, fsync
//   4. rename   over the last one: whoever reads the file sees the old one or the new one, whole. The directory is
//               synced, too
//
// A save that fails, or a process that dies on the way, leaves the last file as it was. At the start a torn file is
// refused, and so is the start: the file stays as it is, and the message says what to do.
#pragma once

#include <gort/mutex.h>

#include <atomic>
#include <cstdint>
#include <expected>
#include <string>

#include "keyspace.h"

namespace kv {

class server;

class snapshots {
 public:
  explicit snapshots(server& s) : server_(s) {}

  /// Writes one. Blocks. The error is a message; "already in progress" if another one is being written.
  std::expected<void, std::string> save(access& db);
  /// In a goroutine of its own. False: one is being written.
  bool start_in_background();
  /// Waits for the one that is being written.
  void wait();
  /// Reads the file, if there is one, into an empty keyspace; how many keys.
  std::expected<std::uint64_t, std::string> load(access& db);
  /// Whether --dir is one. A misspelt one would be an empty server, and nothing could be saved at its end.
  std::expected<void, std::string> check_directory() const;
  /// Removes what processes that have died in a save have left behind; how many files. Not what another one writes now.
  int remove_left_over();
  std::string path() const;
  /// Whether the file, written by this process, has what the keys are now.
  bool up_to_date() const;

  // For INFO.
  bool in_progress() const noexcept { return running_.load(std::memory_order_relaxed); }
  std::atomic<std::int64_t> last_time{0};  ///< seconds since 1970
  std::atomic<std::int64_t> last_try{0};   ///< the same, of one that may have failed
  std::atomic<bool> last_ok{true};
  std::atomic<std::int64_t> last_ms{-1}, flip_us{-1}, keys_written{0}, keys_kept{0};
  std::atomic<std::uint64_t> changes_then{0};
  std::atomic<bool> stopped_world{false};  ///< the flip did; else it took all locks
  /// For tests: sleeps so long after each piece that is written.
  std::atomic<std::int64_t> delay_us{0};

 private:
  struct file;
  bool begin() noexcept { return !running_.exchange(true, std::memory_order_acquire); }
  std::expected<void, std::string> save_now(access& db);
  std::expected<void, std::string> write_all(access& db, file& out, std::int64_t time);
  void flip(access& db);
  void stop_keeping(access& db);

  server& server_;
  std::atomic<bool> running_{false};
  gort::mutex writing_;  // held by who writes, so that others can wait for it
};

}  // namespace kv
