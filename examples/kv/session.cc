#include "session.h"

#include <new>

#include "server.h"

namespace kv {

namespace {
constexpr std::size_t kFlushAt = 64 << 10;
/// So many requests of a pipeline may run without letting go of a lock that all of them need.
constexpr std::size_t kAtOnce = 16;

std::string unknown(std::span<const std::string_view> args) {
  std::string text = "ERR unknown command '" + std::string(args[0].substr(0, 128)) +
                     "', with args beginning with: ";
  for (std::string_view a : args.subspan(1)) {
    if (text.size() > 256) break;
    text += "'" + std::string(a.substr(0, 128)) + "' ";
  }
  return text;
}
}  // namespace

session::session(server& s, std::string from, connection_line how)
    : srv(s),
      id(s.clients.next_id()),
      peer(std::move(from)),
      line(std::move(how)),
      db(s.keys),
      authenticated(!s.config.has_password.load()),
      connected_at(s.now_ms()),
      active_at(connected_at.load()) {
  srv.clients.add(this);
}

session::~session() {
  db.unlock();
  if (waiting != nullptr) {
    waiting->claim(blocked::state::gone);
    end_wait();
  }
  unwatch();
  leave_all();
  srv.clients.remove(this);
}

session::wants session::run(parser& p) {
  std::uint64_t commands = 0;
  wants w = wants::input;
  for (parser::status s = parser::command; s == parser::command && w == wants::input && !closing;) {
    db.now = srv.now_ms();
    active_at.store(db.now, std::memory_order_relaxed);
    p.only_small(!authenticated);
    s = ahead_.fill(p, authenticated ? kAtOnce : 1);  // after AUTH, others are allowed
    ahead_.fetch(srv.keys);
    const auto requests = ahead_.requests();
    for (std::size_t i = 0; i < requests.size(); ++i) {
      if (closing || w != wants::input) {
        p.back_to(requests[i - 1].end);  // the rest: in the next run()
        break;
      }
      db.remember(requests[i].key, requests[i].hash);
      execute(requests[i].what, ahead_.args(i));
      db.forget();
      ++commands;
      if (waiting != nullptr) {
        w = wants::wait;
      } else if (out.out.size() > kFlushAt) {
        w = wants::flush;
      }
    }
    db.unlock();
    if (s == parser::broken && w == wants::input && !closing) {
      out.error(p.error());
      srv.stats.protocol_errors.fetch_add(1, std::memory_order_relaxed);
      closing = true;
    }
  }
  if (w == wants::wait) begin_wait();
  srv.stats.commands.fetch_add(commands, std::memory_order_relaxed);
  buffers.store(p.capacity() + ahead_.capacity() + out.out.capacity(), std::memory_order_relaxed);
  return closing ? wants::end : w;
}

void session::execute(const command* c, std::span<const std::string_view> args) {
  const std::size_t before = out.out.size();
  bool pushes = false;  // answers that are messages come whatever CLIENT REPLY says
  if (c == nullptr) {
    transaction.broken = true;
    out.error(unknown(args));
    // A browser that a page has sent here: what it says next may be commands, none of them this user's.
    closing |= is_word(args[0], "post") || is_word(args[0], "host:");
  } else {
    last.store(c, std::memory_order_relaxed);
    if (!refuse(*c, args)) {
      if (transaction.open && (c->flags & at_once) == 0) {
        queue(*c, args);
      } else {
        keyspace::mask keys = 0;
        for_each_key(*c, args, [&](std::string_view k) { keys |= db.mask_of(k); });
        // A command without keys may wait for something: not with locks that others want.
        keys == 0 ? db.unlock() : db.lock(keys);
        pushes = answer(*c, args) && (c->flags & answers_push) != 0;
        if (!db.made.empty()) [[unlikely]]
          serve_waiting();
        if (!mail.empty()) {
          db.unlock();
          deliver(mail, srv.config.pubsub_buffer.load(std::memory_order_relaxed));
        }
      }
    }
  }
  if (replies != replies::on) [[unlikely]] {
    if (!pushes) out.out.resize(before);
    if (replies == replies::skip_this) replies = replies::on;
    if (replies == replies::skip_next) replies = replies::skip_this;
  }
}

/// Whether the command may not be executed or queued; then the answer says why.
bool session::refuse(const command& c, std::span<const std::string_view> args) {
  const auto no = [&](std::string_view why) {
    transaction.broken = true;
    out.error(why);
    return true;
  };
  if (!authenticated && (c.flags & no_auth) == 0) [[unlikely]]
    return no("NOAUTH Authentication required.");
  const auto n = static_cast<int>(args.size());
  if (c.arity >= 0 ? n != c.arity : n < -c.arity) {
    return no("ERR wrong number of arguments for '" + std::string(c.name) + "' command");
  }
  if (subscriptions() > 0 && out.protocol < 3 && (c.flags & pubsub) == 0) {
    return no("ERR Can't execute '" + std::string(c.name) +
              "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this "
              "context");
  }
  if (transaction.open && (c.flags & no_multi) != 0)
    return no("ERR Command not allowed inside a transaction");
  if ((c.flags & deny_oom) != 0 && srv.config.max_memory.load(std::memory_order_relaxed) != 0) {
    db.unlock();
    if (!srv.make_room(db)) return no("OOM command not allowed when used memory > 'maxmemory'.");
  }
  return false;
}

void session::queue(const command& c, std::span<const std::string_view> args) {
  std::size_t bytes = sizeof(queued);
  for (std::string_view a : args) bytes += sizeof(std::string) + a.size();
  // No more of it is kept than of one request.
  if ((transaction.bytes += bytes) >
      srv.config.max_bulk.load(std::memory_order_relaxed) + (1u << 20)) {
    transaction.broken = true;
    transaction.queue = std::vector<queued>();
    return out.error("ERR transaction too large");
  }
  transaction.queue.push_back({&c, {args.begin(), args.end()}});
  out.simple("QUEUED");
}

bool session::answer(const command& c, std::span<const std::string_view> args) {
  const std::size_t before = out.out.size();
  std::string error;
  db.counts = (c.flags & reads) != 0;
  try {
    call request{*this, srv, db, out, args};
    c.run(request);
    return true;
  } catch (const command_error& e) {
    error = e.text;
  } catch (const std::bad_alloc&) {
    error = "ERR out of memory";
  }
  out.out.resize(before);
  out.error(error);
  srv.stats.errors.fetch_add(1, std::memory_order_relaxed);
  return false;
}

}  // namespace kv
