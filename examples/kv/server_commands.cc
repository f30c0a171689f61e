// The server as a whole: its size, its end, its table of commands.
#include <sys/time.h>

#include "command.h"
#include "server.h"
#include "session.h"

namespace kv {
namespace {

void dbsize(call& c) { c.out.integer(static_cast<std::int64_t>(c.srv.keys.size())); }

void flushall(call& c) {
  if (c.size() > 2 || (c.size() == 2 && !c.is(1, "sync") && !c.is(1, "async")))
    throw syntax_error();
  c.db.lock(keyspace::kAll);  // nobody, no snapshot either, sees half of it
  c.db.for_each_shard([&](shard& s) { c.db.clear(s); });
  c.out.ok();
}

void time_(call& c) {
  const std::int64_t ms = c.srv.now_ms();
  c.out.array(2);
  c.out.bulk(std::to_string(ms / 1000));
  c.out.bulk(std::to_string(ms % 1000 * 1000));
}

void memory(call& c) {
  if (c.is(1, "usage") && c.size() >= 3) {
    key_node* n = c.db.peek(c[2]);
    return n == nullptr ? c.out.null() : c.out.integer(static_cast<std::int64_t>(bytes_of(*n)));
  }
  if (c.is(1, "doctor"))
    return c.out.verbatim("Sam, I detected no issues: INFO memory has the numbers.\n");
  if (c.is(1, "purge")) return c.out.ok();
  if (c.is(1, "stats")) {
    const auto bytes = static_cast<std::int64_t>(c.srv.keys.bytes()),
               keys = static_cast<std::int64_t>(c.srv.keys.size());
    c.out.map(3);
    c.out.bulk("total.allocated"), c.out.integer(bytes);
    c.out.bulk("keys.count"), c.out.integer(keys);
    c.out.bulk("keys.bytes-per-key"), c.out.integer(keys == 0 ? 0 : bytes / keys);
    return;
  }
  throw general("unknown subcommand or wrong number of arguments for '" + std::string(c[1]) +
                "'. Try MEMORY HELP.");
}

void describe(reply& out, const command& cmd) {
  out.array(10);
  out.bulk(cmd.name);
  out.integer(cmd.arity);
  constexpr std::pair<unsigned, std::string_view> names[] = {
      {reads, "readonly"}, {writes, "write"}, {deny_oom, "denyoom"},
      {fast, "fast"},      {admin, "admin"},  {pubsub, "pubsub"}};
  std::size_t n = 0;
  for (const auto& [flag, name] : names) n += (cmd.flags & flag) != 0;
  out.set(n);
  for (const auto& [flag, name] : names) {
    if ((cmd.flags & flag) != 0) out.simple(name);
  }
  out.integer(cmd.keys.first);
  out.integer(cmd.keys.last);
  out.integer(cmd.keys.step);
  out.set(0);    // categories of ACLs
  out.array(0);  // tips
  out.array(0);  // specifications of keys
  out.array(0);  // subcommands
}

void command_(call& c) {
  if (c.size() == 1) {
    c.out.array(all_commands().size());
    for (const command* cmd : all_commands()) describe(c.out, *cmd);
  } else if (c.is(1, "count")) {
    c.out.integer(static_cast<std::int64_t>(all_commands().size()));
  } else if (c.is(1, "list")) {
    c.out.array(all_commands().size());
    for (const command* cmd : all_commands()) c.out.bulk(cmd->name);
  } else if (c.is(1, "info")) {
    c.out.array(c.size() - 2);
    for (std::string_view name : c.args.subspan(2)) {
      const command* cmd = find_command(name);
      cmd == nullptr ? c.out.null_array() : describe(c.out, *cmd);
    }
  } else if (c.is(1, "docs")) {
    c.out.map(0);
  } else if (c.is(1, "getkeys") && c.size() > 2) {
    const command* cmd = find_command(c[2]);
    if (cmd == nullptr) throw general("Invalid command specified");
    std::vector<std::string_view> keys;
    for_each_key(*cmd, c.args.subspan(2), [&](std::string_view k) { keys.push_back(k); });
    if (keys.empty()) throw general("The command has no key arguments");
    c.out.array(keys.size());
    for (std::string_view k : keys) c.out.bulk(k);
  } else {
    throw general("unknown subcommand or wrong number of arguments for '" + std::string(c[1]) +
                  "'. Try COMMAND HELP.");
  }
}

/// SHUTDOWN [SAVE|NOSAVE] [FORCE] [NOW]
void shutdown(call& c) {
  bool save = c.srv.config.save_at_end, force = false;
  for (std::size_t i = 1; i < c.size(); ++i) {
    if (c.is(i, "nosave"))
      save = false;
    else if (c.is(i, "save"))
      save = true;
    else if (c.is(i, "force"))
      force = true;
    else if (!c.is(i, "now"))
      throw syntax_error();
  }
  // Who asks for it is told, while there is something to save. The end saves again only what has changed since.
  if (save && !force) {
    c.srv.saves.wait();
    if (const auto r = c.srv.saves.save(c.db); !r)
      throw general("Errors trying to SHUTDOWN: " + r.error() +
                    ". FORCE or NOSAVE ends it all the same.");
  }
  c.srv.shut_down(save);
  c.client.closing = true;  // no answer: the connection ends
}

void wait_(call& c) { c.out.integer(0); }  // no replicas

void slowlog(call& c) {
  if (c.is(1, "get")) return c.out.array(0);
  c.is(1, "len") ? c.out.integer(0) : c.out.ok();
}

/// Redis' tests clear what we do not have.
void nothing_to_do(call& c) { c.out.ok(); }

void lolwut(call& c) { c.out.verbatim("gort-kv: klaatu barada nikto\n"); }

constexpr command kCommands[] = {
    {"dbsize", 1, reads | fast | all_keys, no_keys, dbsize},
    {"flushall", -1, writes | all_keys, no_keys, flushall},
    {"flushdb", -1, writes | all_keys, no_keys, flushall},
    {"time", 1, fast, no_keys, time_},
    {"memory", -2, reads, {2, 2, 1, 0}, memory},
    {"command", -1, 0, no_keys, command_},
    {"shutdown", -1, admin | no_multi, no_keys, shutdown},
    {"wait", 3, 0, no_keys, wait_},
    {"slowlog", -2, admin, no_keys, slowlog},
    {"function", -2, 0, no_keys, nothing_to_do},
    {"script", -2, 0, no_keys, nothing_to_do},
    {"lolwut", -1, reads | fast, no_keys, lolwut},
};

}  // namespace

std::span<const command> server_commands() { return kCommands; }

}  // namespace kv
