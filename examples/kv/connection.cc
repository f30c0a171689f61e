// What a client says about its own connection, and about others'.
#include <algorithm>
#include <mutex>
#include <vector>

#include "command.h"
#include "config.h"
#include "server.h"
#include "session.h"

namespace kv {
namespace {

void ping(call& c) {
  if (c.size() > 2) throw general("wrong number of arguments for 'ping' command");
  if (c.client.subscriptions() > 0 && c.out.protocol < 3) {
    c.out.array(2);
    c.out.bulk("pong");
    return c.out.bulk(c.size() == 2 ? c[1] : "");
  }
  c.size() == 2 ? c.out.bulk(c[1]) : c.out.simple("PONG");
}

void echo(call& c) { c.out.bulk(c[1]); }

void quit(call& c) {
  c.out.ok();
  c.client.closing = true;
}

void select_(call& c) {
  const auto n = to_integer(c[1]);
  if (!n) throw general("invalid DB index");
  if (*n != 0) throw general("DB index is out of range");
  c.out.ok();
}

void log_in(call& c, std::string_view user, std::string_view password) {
  if (user != "default" || (c.srv.config.has_password && !is_password(c.srv, password))) {
    throw command_error{"WRONGPASS invalid username-password pair or user is disabled."};
  }
  c.client.authenticated = true;
}

/// AUTH [default] password
void auth(call& c) {
  if (c.size() > 3) throw syntax_error();
  if (c.size() == 2 && !c.srv.config.has_password) {
    throw general(
        "AUTH <password> called without any password configured for the default user. Are you sure "
        "your configuration is correct?");
  }
  log_in(c, c.size() == 3 ? c[1] : "default", c[c.size() - 1]);
  c.out.ok();
}

void set_name(call& c, std::string_view name) {
  for (char ch : name) {
    if (ch < '!' || ch > '~')
      throw general("Client names cannot contain spaces, newlines or special characters.");
  }
  std::scoped_lock hold(c.srv.clients.lock);
  c.client.name = name;
}

void hello(call& c) {
  std::size_t i = 1;
  int protocol = c.out.protocol;
  if (c.size() > 1) {
    const auto v = to_integer(c[i++]);
    if (!v) throw general("Protocol version is not an integer or out of range");
    if (*v != 2 && *v != 3) throw command_error{"NOPROTO unsupported protocol version"};
    protocol = static_cast<int>(*v);
  }
  std::string_view name;
  for (; i < c.size(); ++i) {
    if (c.is(i, "auth") && i + 2 < c.size()) {
      log_in(c, c[i + 1], c[i + 2]);
      i += 2;
    } else if (c.is(i, "setname") && i + 1 < c.size()) {
      name = c[++i];
    } else {
      throw general("Syntax error in HELLO option '" + std::string(c[i]) + "'");
    }
  }
  if (!c.client.authenticated) {
    throw command_error{
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO "
        "<proto> AUTH <user> <pass> option can be used to authenticate the client and select the "
        "RESP protocol version at the same time"};
  }
  if (name.data() != nullptr) set_name(c, name);
  c.out.protocol = protocol;
  c.out.map(7);
  c.out.bulk("server"), c.out.bulk("redis");  // clients look for this name
  c.out.bulk("version"), c.out.bulk("7.0.0");
  c.out.bulk("proto"), c.out.integer(protocol);
  c.out.bulk("id"), c.out.integer(static_cast<std::int64_t>(c.client.id));
  c.out.bulk("mode"), c.out.bulk("standalone");
  c.out.bulk("role"), c.out.bulk("master");
  c.out.bulk("modules"), c.out.array(0);
}

void reset(call& c) {
  c.client.end_transaction();
  c.client.leave_all();
  c.client.subscribed.store(0);
  c.client.replies = session::replies::on;
  c.client.authenticated = !c.srv.config.has_password;
  c.out.protocol = 2;
  set_name(c, "");
  c.out.simple("RESET");
}

/// One line of CLIENT LIST. With the clients' lock held.
std::string line_of(const session& s, std::int64_t now) {
  const command* last = s.last.load(std::memory_order_relaxed);
  const auto seconds = [&](const std::atomic<std::int64_t>& since) {
    return std::to_string((now - since.load(std::memory_order_relaxed)) / 1000);
  };
  const auto subscribed = s.subscribed.load(std::memory_order_relaxed);
  return "id=" + std::to_string(s.id) + " addr=" + s.peer + " name=" + s.name +
         " age=" + seconds(s.connected_at) + " idle=" + seconds(s.active_at) + " flags=" +
         (s.published != nullptr ? "b"
          : subscribed > 0       ? "P"
                                 : "N") +
         " db=0 sub=" + std::to_string(subscribed) +
         " psub=0 multi=-1 tot-mem=" + std::to_string(s.buffers.load(std::memory_order_relaxed)) +
         " cmd=" + std::string(last == nullptr ? "NULL" : last->name) +
         " user=default lib-name=" + s.library + " lib-ver=" + s.library_version + "\n";
}

/// Of the kinds of clients that Redis knows we have two; the others are nobody.
std::string_view kind_of(std::string_view word) {
  for (std::string_view k : {"normal", "pubsub", "master", "replica", "slave"}) {
    if (is_word(word, k)) return k;
  }
  throw general("Unknown client type '" + std::string(word) + "'");
}

bool is_kind(const session& s, std::string_view kind) {
  return kind == (s.subscribed.load(std::memory_order_relaxed) > 0 ? "pubsub" : "normal");
}

/// CLIENT LIST [TYPE kind | ID id …]
void client_list_(call& c) {
  std::string_view kind;
  std::vector<std::uint64_t> ids;
  if (c.size() == 4 && c.is(2, "type")) {
    kind = kind_of(c[3]);
  } else if (c.size() > 3 && c.is(2, "id")) {
    for (std::string_view word : c.args.subspan(3)) {
      const auto id = to_integer(word);
      if (!id) throw general("Invalid client ID");
      ids.push_back(static_cast<std::uint64_t>(*id));
    }
  } else if (c.size() > 2) {
    throw syntax_error();
  }
  std::string text;
  const std::int64_t now = c.srv.now_ms();
  std::scoped_lock hold(c.srv.clients.lock);
  for (const auto& [id, s] : c.srv.clients.all) {
    if (!kind.empty() && !is_kind(*s, kind)) continue;
    if (!ids.empty() && std::ranges::find(ids, id) == ids.end()) continue;
    text += line_of(*s, now);
  }
  c.out.verbatim(text);
}

/// CLIENT KILL addr, or with filters ID, ADDR, TYPE, USER, SKIPME.
void client_kill(call& c) {
  std::string_view address, kind, user = "default";
  std::int64_t id = -1, killed = 0;
  bool skip_me = true;
  if (c.size() == 3) {
    address = c[2];
    skip_me = false;
  }
  for (std::size_t i = 2; c.size() > 3 && i < c.size(); i += 2) {
    if (i + 1 == c.size()) throw syntax_error();
    if (c.is(i, "id")) {
      if ((id = to_integer(c[i + 1]).value_or(0)) <= 0)
        throw general("client-id should be greater than 0");
    } else if (c.is(i, "addr"))
      address = c[i + 1];
    else if (c.is(i, "skipme") && (c.is(i + 1, "yes") || c.is(i + 1, "no")))
      skip_me = c.is(i + 1, "yes");
    else if (c.is(i, "type"))
      kind = kind_of(c[i + 1]);
    else if (c.is(i, "user"))
      user = c[i + 1];
    else
      throw syntax_error();
  }
  {
    std::scoped_lock hold(c.srv.clients.lock);
    for (const auto& [number, s] : c.srv.clients.all) {
      if (id >= 0 && number != static_cast<std::uint64_t>(id)) continue;
      if (!address.empty() && s->peer != address) continue;
      if (!kind.empty() && !is_kind(*s, kind)) continue;
      if (user != "default") continue;  // all are
      if (s == &c.client) {
        if (skip_me) continue;
        c.client.closing = true;  // after the answer
      } else if (s->line.close) {
        s->line.close();
      }
      ++killed;
    }
  }
  if (c.size() > 3) return c.out.integer(killed);
  if (killed == 0) throw general("No such client");
  c.out.ok();
}

/// CLIENT UNBLOCK id [TIMEOUT|ERROR]
void client_unblock(call& c) {
  const bool error = c.size() == 4 && c.is(3, "error");
  if (c.size() > 4 || (c.size() == 4 && !error && !c.is(3, "timeout"))) throw syntax_error();
  const auto id = static_cast<std::uint64_t>(c.integer(2));
  std::scoped_lock hold(c.srv.clients.lock);
  const auto at = c.srv.clients.all.find(id);
  const std::shared_ptr<blocked> w =
      at == c.srv.clients.all.end() ? nullptr : at->second->published;
  if (w == nullptr || !w->claim(error ? blocked::state::unblocked : blocked::state::timed_out)) {
    return c.out.integer(0);
  }
  if (w->wake) w->wake();
  c.out.integer(1);
}

void client_reply(call& c) {
  if (c.size() != 3) throw syntax_error();
  if (c.is(2, "on")) {
    c.client.replies = session::replies::on;
    c.out.ok();
  } else if (c.is(2, "off")) {
    c.client.replies = session::replies::off;
  } else if (c.is(2, "skip")) {
    if (c.client.replies == session::replies::on) c.client.replies = session::replies::skip_next;
  } else {
    throw syntax_error();
  }
}

void client_(call& c) {
  const std::size_t n = c.size();
  if (c.is(1, "id")) return c.out.integer(static_cast<std::int64_t>(c.client.id));
  if (c.is(1, "list")) return client_list_(c);
  if (c.is(1, "kill") && n > 2) return client_kill(c);
  if (c.is(1, "reply")) return client_reply(c);
  if (c.is(1, "unblock") && n > 2) return client_unblock(c);
  if (c.is(1, "info")) {
    std::scoped_lock hold(c.srv.clients.lock);
    return c.out.verbatim(line_of(c.client, c.srv.now_ms()));
  }
  if (c.is(1, "getname")) {
    const std::string& name = c.client.name;  // only this session writes it
    return name.empty() ? c.out.null() : c.out.bulk(name);
  }
  if (c.is(1, "setname") && n == 3) {
    set_name(c, c[2]);
  } else if (c.is(1, "setinfo") && n == 4) {
    std::scoped_lock hold(c.srv.clients.lock);
    if (c.is(2, "lib-name"))
      c.client.library = c[3];
    else if (c.is(2, "lib-ver"))
      c.client.library_version = c[3];
    else
      throw general("Unrecognized option '" + std::string(c[2]) + "'");
  } else if (!c.is(1, "no-evict") && !c.is(1, "no-touch")) {
    throw general("unknown subcommand or wrong number of arguments for '" + std::string(c[1]) +
                  "'. Try CLIENT HELP.");
  }
  c.out.ok();
}

constexpr command kCommands[] = {
    {"ping", -1, fast | pubsub, no_keys, ping},
    {"echo", 2, fast, no_keys, echo},
    {"quit", -1, fast | pubsub | at_once | no_auth, no_keys, quit},
    {"select", 2, fast, no_keys, select_},
    {"auth", -2, fast | no_multi | no_auth, no_keys, auth},
    {"hello", -1, fast | no_multi | no_auth, no_keys, hello},
    {"reset", 1, fast | pubsub | at_once | no_auth, no_keys, reset},
    {"client", -2, admin | no_multi, no_keys, client_},
};

}  // namespace

std::span<const command> connection_commands() { return kCommands; }

}  // namespace kv
