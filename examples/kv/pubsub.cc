#include "pubsub.h"

#include <mutex>
#include <optional>
#include <shared_mutex>

#include "command.h"
#include "server.h"
#include "session.h"

namespace kv {

void message::encode(reply& out) const {
  out.push(pattern.empty() ? 3 : 4);
  out.bulk(pattern.empty() ? "message" : "pmessage");
  if (!pattern.empty()) out.bulk(pattern);
  out.bulk(channel);
  out.bulk(text);
}

void deliver(outgoing& mail, std::size_t most) {
  for (auto& [to, m] : mail) {
    const std::size_t size = m->size();
    const std::size_t before = to->bytes.fetch_add(size, std::memory_order_relaxed);
    const bool full =
        before != 0 && before + size > most;  // one message may be as large as it likes
    // A closed inbox belongs to a connection that is ending.
    const auto sent =
        full ? std::unexpected(gort::chan_status::full) : to->messages.try_send(std::move(m));
    if (sent) continue;
    to->bytes.fetch_sub(size, std::memory_order_relaxed);
    if (sent.error() == gort::chan_status::full && to->too_slow) to->too_slow();
  }
  mail.clear();
}

std::int64_t hub::collect(std::string_view channel, std::string_view text, outgoing& mail) {
  std::int64_t n = 0;
  const auto add = [&](const std::set<std::shared_ptr<inbox>>& to, std::string_view pattern) {
    const auto m = std::make_shared<const message>(std::string(pattern), std::string(channel),
                                                   std::string(text));
    for (const auto& i : to) mail.emplace_back(i, m);
    n += static_cast<std::int64_t>(to.size());
  };
  if (const auto at = channels.find(channel); at != channels.end()) add(at->second, "");
  for (const auto& [pattern, to] : patterns) {
    if (matches(pattern, channel)) add(to, pattern);
  }
  return n;
}

namespace {

void publish(call& c) {
  // In a transaction the lock has been taken before it began (transactions.cc).
  std::shared_lock hold(c.srv.channels.lock, std::defer_lock);
  if (!c.client.transaction.running) hold.lock();
  c.out.integer(c.srv.channels.collect(c[1], c[2], c.client.mail));
}

void subscribe_to(call& c, hub::subscribers& all, std::set<std::string, std::less<>>& mine,
                  std::string_view word) {
  c.client.open_inbox();
  for (std::string_view name : c.args.subspan(1)) {
    {
      std::scoped_lock hold(c.srv.channels.lock);
      all[std::string(name)].insert(c.client.subscriber);
    }
    mine.emplace(name);
    c.client.subscribed.store(static_cast<std::uint32_t>(c.client.subscriptions()),
                              std::memory_order_relaxed);
    c.out.push(3);
    c.out.bulk(word);
    c.out.bulk(name);
    c.out.integer(static_cast<std::int64_t>(c.client.subscriptions()));
  }
}
void subscribe(call& c) {
  subscribe_to(c, c.srv.channels.channels, c.client.channels, "subscribe");
}
void psubscribe(call& c) {
  subscribe_to(c, c.srv.channels.patterns, c.client.patterns, "psubscribe");
}

void leave(session& s, hub& h, hub::subscribers& all, const std::string& name) {
  std::scoped_lock hold(h.lock);
  const auto at = all.find(name);
  if (at == all.end()) return;
  at->second.erase(s.subscriber);
  if (at->second.empty()) all.erase(at);
}

void unsubscribe_from(call& c, hub::subscribers& all, std::set<std::string, std::less<>>& mine,
                      std::string_view word) {
  c.client.take_mail();  // comes before the end of the subscription
  std::vector<std::string> names(c.args.begin() + 1, c.args.end());
  if (names.empty()) names.assign(mine.begin(), mine.end());
  const auto answer = [&](const std::string* name) {
    c.out.push(3);
    c.out.bulk(word);
    c.out.bulk_or_null(name);
    c.out.integer(static_cast<std::int64_t>(c.client.subscriptions()));
  };
  for (const std::string& name : names) {
    if (mine.erase(name) != 0) leave(c.client, c.srv.channels, all, name);
    c.client.subscribed.store(static_cast<std::uint32_t>(c.client.subscriptions()),
                              std::memory_order_relaxed);
    answer(&name);
  }
  if (names.empty()) answer(nullptr);
}
void unsubscribe(call& c) {
  unsubscribe_from(c, c.srv.channels.channels, c.client.channels, "unsubscribe");
}
void punsubscribe(call& c) {
  unsubscribe_from(c, c.srv.channels.patterns, c.client.patterns, "punsubscribe");
}

void pubsub_(call& c) {
  hub& h = c.srv.channels;
  std::shared_lock hold(h.lock, std::defer_lock);
  if (!c.client.transaction.running) hold.lock();
  if (c.is(1, "channels") && c.size() <= 3) {
    std::vector<std::string_view> names;
    for (const auto& [name, to] : h.channels) {
      if (c.size() == 2 || matches(c[2], name)) names.push_back(name);
    }
    c.out.array(names.size());
    for (std::string_view n : names) c.out.bulk(n);
  } else if (c.is(1, "numsub")) {
    c.out.array(2 * (c.size() - 2));  // not a map, in RESP3 neither
    for (std::string_view name : c.args.subspan(2)) {
      const auto at = h.channels.find(name);
      c.out.bulk(name);
      c.out.integer(at == h.channels.end() ? 0 : static_cast<std::int64_t>(at->second.size()));
    }
  } else if (c.is(1, "numpat") && c.size() == 2) {
    c.out.integer(static_cast<std::int64_t>(h.patterns.size()));
  } else {
    throw general("unknown subcommand or wrong number of arguments for '" + std::string(c[1]) +
                  "'. Try PUBSUB HELP.");
  }
}

constexpr unsigned kFlags = pubsub | no_multi | answers_push;
constexpr command kCommands[] = {
    {"publish", 3, fast | pubsub, no_keys, publish},
    {"subscribe", -2, kFlags, no_keys, subscribe},
    {"psubscribe", -2, kFlags, no_keys, psubscribe},
    {"unsubscribe", -1, kFlags, no_keys, unsubscribe},
    {"punsubscribe", -1, kFlags, no_keys, punsubscribe},
    {"pubsub", -2, reads, no_keys, pubsub_},
};

}  // namespace

std::span<const command> pubsub_commands() { return kCommands; }

void session::open_inbox() {
  if (subscriber != nullptr) return;
  subscriber = std::make_shared<inbox>();
  subscriber->too_slow = line.close;
}

void session::leave_all() {
  for (const std::string& n : channels) leave(*this, srv.channels, srv.channels.channels, n);
  for (const std::string& n : patterns) leave(*this, srv.channels, srv.channels.patterns, n);
  channels.clear();
  patterns.clear();
}

void session::take_mail() {
  if (subscriber == nullptr) return;
  while (auto m = subscriber->messages.try_recv()) take(**m);
}

void session::take(const message& m) {
  subscriber->bytes.fetch_sub(m.size(), std::memory_order_relaxed);
  if (m.pattern.empty() ? channels.contains(m.channel) : patterns.contains(m.pattern))
    m.encode(out);
}

}  // namespace kv
