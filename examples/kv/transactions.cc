// MULTI, EXEC, DISCARD, WATCH. A transaction's commands run with the locks of all their keys held from before the first to
// after the last, so nobody sees a part of it: no client, no snapshot.
#include <shared_mutex>

#include "command.h"
#include "server.h"
#include "session.h"

namespace kv {

void session::end_transaction() {
  transaction.open = transaction.broken = false;
  transaction.queue = std::vector<queued>();
  transaction.bytes = 0;
  unwatch();
}

void session::unwatch() {
  if (transaction.watched == nullptr) return;
  for (const std::string& key : transaction.watched_keys) {
    const keyspace::mask m = keyspace::mask_of(key);
    if (!db.holds(m)) db.lock(m);
    db.unwatch(key, transaction.watched);
  }
  transaction.watched = nullptr;
  transaction.watched_keys.clear();
}

namespace {

void multi(call& c) {
  if (c.client.transaction.open) throw general("MULTI calls can not be nested");
  c.client.transaction.open = true;
  c.client.transaction.broken = false;
  c.out.ok();
}

void discard(call& c) {
  if (!c.client.transaction.open) throw general("DISCARD without MULTI");
  c.client.end_transaction();
  c.out.ok();
}

void watch(call& c) {
  auto& t = c.client.transaction;
  if (t.open) throw general("WATCH inside MULTI is not allowed");
  if (t.watched == nullptr) t.watched = std::make_shared<watcher>();
  for (std::string_view key : c.args.subspan(1)) {
    if (c.db.watch(key, t.watched)) t.watched_keys.emplace_back(key);
  }
  c.out.ok();
}

void unwatch(call& c) {
  c.client.unwatch();
  c.out.ok();
}

void exec(call& c) {
  auto& t = c.client.transaction;
  if (!t.open) throw general("EXEC without MULTI");
  if (t.broken) {
    c.client.end_transaction();
    throw command_error{"EXECABORT Transaction discarded because of previous errors."};
  }
  keyspace::mask keys = 0;
  bool publishes = false, grows = false;
  for (const session::queued& q : t.queue) {
    grows |= (q.what->flags & deny_oom) != 0;
    const std::vector<std::string_view> args(q.args.begin(), q.args.end());
    for_each_key(*q.what, args, [&](std::string_view k) { keys |= keyspace::mask_of(k); });
    if ((q.what->flags & all_keys) != 0) keys = keyspace::kAll;
    publishes |=
        q.what->run == find_command("publish")->run || q.what->run == find_command("pubsub")->run;
  }
  for (const std::string& k : t.watched_keys) keys |= keyspace::mask_of(k);
  // There may have been room when they were queued.
  if (grows && !c.srv.make_room(c.db)) {
    c.client.end_transaction();
    throw command_error{
        "EXECABORT Transaction discarded because of: OOM command not allowed when used memory > "
        "'maxmemory'."};
  }
  // What may have to be waited for comes before the first change.
  std::shared_lock<gort::shared_mutex> hub_lock(c.srv.channels.lock, std::defer_lock);
  if (publishes) hub_lock.lock();
  c.db.lock(keys);
  c.db.now = c.srv.now_ms();
  for (const std::string& k : t.watched_keys) c.db.peek(k);  // one that has expired has changed
  if (t.watched != nullptr && t.watched->touched.load(std::memory_order_relaxed)) {
    c.client.end_transaction();
    return c.out.null_array();
  }
  const auto queue = std::move(t.queue);
  c.client.end_transaction();
  struct in_exec {
    bool& running;
    explicit in_exec(bool& r) : running(r) { running = true; }
    ~in_exec() { running = false; }
  } now(t.running);
  c.out.array(queue.size());
  for (const session::queued& q : queue) {
    const std::vector<std::string_view> args(q.args.begin(), q.args.end());
    c.client.answer(*q.what, args);
  }
}

constexpr command kCommands[] = {
    {"multi", 1, fast | at_once, no_keys, multi},
    {"exec", 1, at_once, no_keys, exec},
    {"discard", 1, fast | at_once, no_keys, discard},
    {"watch", -2, fast | at_once, every_key, watch},
    {"unwatch", 1, fast, no_keys, unwatch},
};

}  // namespace

std::span<const command> transaction_commands() { return kCommands; }

}  // namespace kv
