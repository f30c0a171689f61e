#include "blocking.h"

#include <algorithm>
#include <chrono>
#include <mutex>

#include "lists.h"
#include "server.h"
#include "session.h"

namespace kv {

void access::wait_at(std::string_view key, const std::shared_ptr<blocked>& who) {
  auto& queue = keys_.of(key).waiting[std::string(key)];
  if (std::ranges::find(queue, who) == queue.end()) queue.push_back(who);
}

void access::stop_waiting(std::string_view key, const std::shared_ptr<blocked>& who) {
  shard& s = keys_.of(key);
  const auto at = s.waiting.find(std::string(key));
  if (at == s.waiting.end()) return;
  std::erase(at->second, who);
  if (at->second.empty()) s.waiting.erase(at);
}

std::shared_ptr<blocked> access::first_waiting(std::string_view key) {
  shard& s = keys_.of(key);
  const auto at = s.waiting.find(std::string(key));
  const key_node* n = at == s.waiting.end() ? nullptr : peek(key);
  if (n == nullptr) return nullptr;
  const kv::type type = n->value.value->type();
  for (const auto& w : at->second) {
    if (w->type == type && w->now.load(std::memory_order_acquire) == blocked::state::waiting)
      return w;
  }
  return nullptr;
}

void session::serve_waiting() {
  for (std::size_t i = 0; i < db.made.size(); ++i) {  // one that is served may make another key
    const std::string key = db.made[i];
    db.lock(keyspace::mask_of(key));
    while (const std::shared_ptr<blocked> w = db.first_waiting(key)) {
      if (!db.holds(w->also)) {
        db.lock(keyspace::mask_of(key) | w->also);
        continue;  // the locks were given up meanwhile
      }
      if (!w->claim(blocked::state::taken)) continue;
      try {
        w->take(db, key, w->answer);
      } catch (const command_error& e) {
        w->answer.error(e.text);
      }
      w->now.store(blocked::state::served, std::memory_order_release);
      db.stop_waiting(key, w);
      if (w->wake) w->wake();
    }
  }
  db.made.clear();
}

void session::begin_wait() {
  std::scoped_lock hold(srv.clients.lock);
  published = waiting;
  srv.stats.blocked.fetch_add(1, std::memory_order_relaxed);
}

void session::end_wait() {
  const std::shared_ptr<blocked> w = std::move(waiting);
  {
    std::scoped_lock hold(srv.clients.lock);
    published = nullptr;
    srv.stats.blocked.fetch_sub(1, std::memory_order_relaxed);
  }
  keyspace::mask keys = 0;
  for (const std::string& k : w->keys) keys |= keyspace::mask_of(k);
  db.lock(keys);
  for (const std::string& k : w->keys) db.stop_waiting(k, w);
  db.unlock();
  if (w->silent) return;
  switch (w->now.load(std::memory_order_acquire)) {
    case blocked::state::served:
      out.out += w->answer.out;
      break;
    case blocked::state::timed_out:
      out.null_array();  // whatever it would have taken
      break;
    case blocked::state::unblocked:
      out.error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
      break;
    default:
      break;
  }
}

namespace {

gort::clock::time_point deadline_of(std::string_view seconds) {
  const auto s = to_double(seconds);
  if (!s) throw general("timeout is not a float or out of range");
  if (*s < 0) throw general("timeout is negative");
  if (*s > 9e15) throw general("timeout is out of range");
  if (*s == 0 || *s > 1e9) return gort::clock::time_point::max();
  return gort::clock::now() +
         std::chrono::ceil<gort::clock::duration>(std::chrono::duration<double>(*s));
}

bool has(call& c, std::string_view key, type t) {
  const key_node* n = c.db.find(key);
  if (n == nullptr) return false;
  if (n->value.value->type() != t) throw wrong_type();
  return true;
}

}  // namespace

void take_or_wait(call& c, std::span<const std::string_view> keys, const waits_for& what,
                  blocked::attempt take) {
  const auto deadline = deadline_of(c[what.timeout]);
  for (std::string_view key : keys) {
    if (has(c, key, what.type)) return take(c.db, key, c.out);
  }
  session& client = c.client;
  if (client.transaction.running) return what.null_array ? c.out.null_array() : c.out.null();
  auto w = std::make_shared<blocked>();
  w->keys.assign(keys.begin(), keys.end());
  w->type = what.type;
  w->also = what.also;
  w->take = std::move(take);
  w->deadline = deadline;
  w->silent =
      client.replies == session::replies::off || client.replies == session::replies::skip_this;
  w->wake = client.line.wake;
  w->answer.protocol = c.out.protocol;
  for (const std::string& k : w->keys) c.db.wait_at(k, w);
  client.waiting = std::move(w);
}

namespace {

template <end Where>
void bpop(call& c) {
  const std::size_t last = c.size() - 1;
  take_or_wait(c, c.args.subspan(1, last - 1), {.type = type::list, .timeout = last},
               [](access& db, std::string_view key, reply& out) {
                 out.array(2);
                 out.bulk(key);
                 out.bulk(pop(*db.change<list_object>(key), Where));
               });
}

void bmove(call& c, end from, end to, std::size_t timeout) {
  take_or_wait(
      c, c.args.subspan(1, 1),
      {.type = type::list,
       .timeout = timeout,
       .null_array = false,
       .also = keyspace::mask_of(c[2])},
      [to_key = std::string(c[2]), from, to](access& db, std::string_view key, reply& out) {
        move_element(db, out, key, to_key, from, to);
      });
}
void blmove(call& c) { bmove(c, end_of(c, 3), end_of(c, 4), 5); }
void brpoplpush(call& c) { bmove(c, end::back, end::front, 3); }

void blmpop(call& c) {
  const many_keys m(c, 2);
  take_or_wait(
      c, m.keys, {.type = type::list, .timeout = 1},
      [from = end_of(c, m.where), n = m.count](access& db, std::string_view key, reply& out) {
        out.array(2);
        out.bulk(key);
        pop_many(out, *db.change<list_object>(key), from, n);
      });
}

template <bool Max>
void bzpop(call& c) {
  const std::size_t last = c.size() - 1;
  take_or_wait(c, c.args.subspan(1, last - 1), {.type = type::zset, .timeout = last},
               [](access& db, std::string_view key, reply& out) {
                 out.array(3);
                 out.bulk(key);
                 pop_many(out, *db.change<zset_object>(key), 1, Max, false);
               });
}

void bzmpop(call& c) {
  const many_keys m(c, 2);
  const bool max = c.is(m.where, "max");
  if (!max && !c.is(m.where, "min")) throw syntax_error();
  take_or_wait(c, m.keys, {.type = type::zset, .timeout = 1},
               [max, most = m.count](access& db, std::string_view key, reply& out) {
                 auto zset = db.change<zset_object>(key);
                 const std::size_t n = std::min(static_cast<std::size_t>(most), zset->size());
                 out.array(2);
                 out.bulk(key);
                 out.array(n);
                 pop_many(out, *zset, n, max, true);
               });
}

constexpr key_places all_but_last = {1, -2, 1, 0};

constexpr command kCommands[] = {
    {"blpop", -3, writes, all_but_last, bpop<end::front>},
    {"brpop", -3, writes, all_but_last, bpop<end::back>},
    {"blmove", 6, writes | deny_oom, two_keys, blmove},
    {"brpoplpush", 4, writes | deny_oom, two_keys, brpoplpush},
    {"blmpop", -5, writes, {0, 0, 0, 2}, blmpop},
    {"bzpopmin", -3, writes | fast, all_but_last, bzpop<false>},
    {"bzpopmax", -3, writes | fast, all_but_last, bzpop<true>},
    {"bzmpop", -5, writes, {0, 0, 0, 2}, bzmpop},
};

}  // namespace

std::span<const command> blocking_commands() { return kCommands; }

}  // namespace kv
