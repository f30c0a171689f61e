// The table of commands. Each family has a file with a list of rows; command.cc collects them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "error.h"
#include "keyspace.h"
#include "reply.h"

namespace kv {

class session;
class server;

/// One command that is being executed. Its arguments are the client's bytes, good until it returns.
struct call {
  session& client;
  server& srv;
  access& db;  ///< holds the shards of the command's keys
  reply& out;
  std::span<const std::string_view> args;  ///< args[0] is the command

  std::size_t size() const noexcept { return args.size(); }
  std::string_view operator[](std::size_t i) const noexcept { return args[i]; }
  bool is(std::size_t i, std::string_view word) const noexcept { return is_word(args[i], word); }
  /// Throw what a client is told.
  std::int64_t integer(std::size_t i) const;
  double real(std::size_t i) const;
};

enum command_flag : unsigned {
  reads = 1,
  writes = 2,
  deny_oom = 4,  ///< makes the data larger: refused when --maxmemory is reached
  fast = 8,
  admin = 16,
  pubsub = 32,     ///< allowed to a RESP2 client that has subscribed
  at_once = 64,    ///< not queued by MULTI
  no_multi = 128,  ///< refused there
  all_keys =
      256,  ///< goes over all shards, locking one after the other; in a transaction, all before
  no_auth = 512,        ///< allowed before AUTH
  answers_push = 1024,  ///< its answers are messages, and are sent although CLIENT REPLY is off
};

/// Where the keys stand among the arguments: first, first + step … last (negative: from the end). counted: args[counted]
/// says how many follow it.
struct key_places {
  int first = 0, last = 0, step = 0, counted = 0;
};
inline constexpr key_places no_keys = {};
inline constexpr key_places one_key = {1, 1, 1, 0};
inline constexpr key_places two_keys = {1, 2, 1, 0};
inline constexpr key_places every_key = {1, -1, 1, 0};

struct command {
  std::string_view name;  ///< lower case
  int arity;              ///< arguments with the name; negative: at least so many
  unsigned flags;
  key_places keys;
  void (*run)(call&);
};

std::span<const command> string_commands();
std::span<const command> counter_commands();
std::span<const command> bit_commands();
std::span<const command> list_commands();
std::span<const command> hash_commands();
std::span<const command> set_commands();
std::span<const command> zset_commands();
std::span<const command> zset_range_commands();
std::span<const command> zset_algebra_commands();
std::span<const command> key_commands();
std::span<const command> expiry_commands();
std::span<const command> scan_commands();
std::span<const command> connection_commands();
std::span<const command> server_commands();
std::span<const command> info_commands();
std::span<const command> config_commands();
std::span<const command> debug_commands();
std::span<const command> pubsub_commands();
std::span<const command> transaction_commands();
std::span<const command> snapshot_commands();
std::span<const command> blocking_commands();

/// By name, in any case; null if there is none.
const command* find_command(std::string_view name) noexcept;
/// All, by name.
std::span<const command* const> all_commands();
/// f(key) for each of a request's keys. Tolerates wrong counts, about which the command will complain.
template <class F>
void for_each_key(const command& c, std::span<const std::string_view> args, F&& f) {
  const auto n = static_cast<int>(args.size());
  if (c.keys.first > 0) {
    const int last = c.keys.last < 0 ? n + c.keys.last : c.keys.last;
    for (int i = c.keys.first; i <= last && i < n; i += c.keys.step)
      f(args[static_cast<std::size_t>(i)]);
  }
  if (c.keys.counted > 0 && c.keys.counted < n) {
    const auto count = to_integer(args[static_cast<std::size_t>(c.keys.counted)]).value_or(0);
    for (int i = c.keys.counted + 1; i < n && i - c.keys.counted <= count; ++i)
      f(args[static_cast<std::size_t>(i)]);
  }
}

}  // namespace kv
