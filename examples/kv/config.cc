#include "config.h"

#include <gort/this_goroutine.h>
#include <gort/world.h>
#include <sys/resource.h>

#include <algorithm>
#include <mutex>
#include <span>

#include "command.h"
#include "server.h"
#include "session.h"

namespace kv {
namespace {

/// "1gb", "100mb", "4096".
std::optional<std::size_t> to_bytes(std::string_view s) {
  constexpr std::pair<std::string_view, std::size_t> units[] = {
      {"kb", 1u << 10}, {"mb", 1u << 20},     {"gb", 1u << 30}, {"k", 1000},
      {"m", 1'000'000}, {"g", 1'000'000'000}, {"b", 1}};
  const std::string low = lower(s);
  std::string_view digits = low;
  std::size_t unit = 1;
  for (const auto& [name, size] : units) {
    if (!digits.ends_with(name)) continue;
    digits.remove_suffix(name.size());
    unit = size;
    break;
  }
  const auto n = to_integer(digits);
  if (!n || *n < 0) return std::nullopt;
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<std::size_t>(*n), unit, &bytes)) return std::nullopt;
  return bytes;
}

constexpr std::pair<std::string_view, eviction> kPolicies[] = {
    {"noeviction", eviction::none},
    {"allkeys-lru", eviction::all_lru},
    {"allkeys-random", eviction::all_random},
    {"volatile-lru", eviction::volatile_lru},
    {"volatile-random", eviction::volatile_random},
    {"volatile-ttl", eviction::volatile_ttl}};

template <class T>
bool set_number(T& to, std::string_view s, std::int64_t least, std::int64_t most) {
  const auto n = to_integer(s);
  if (!n || *n < least || *n > most) return false;
  to = static_cast<int>(*n);
  return true;
}
template <class T>
bool set_bytes(T& to, std::string_view s) {
  const auto n = to_bytes(s);
  if (n) to = *n;
  return n.has_value();
}

struct row {
  std::string_view name;
  bool at_start_only;
  std::string (*get)(server&);
  bool (*set)(server&, std::string_view);  ///< null: it cannot be
};

constexpr std::int64_t kMostClients = 1'000'000;

std::string yes(bool b) { return b ? "yes" : "no"; }
bool set_yes(std::atomic<bool>& to, std::string_view s) {
  const bool on = is_word(s, "yes");
  if (on || is_word(s, "no")) to = on;
  return on || is_word(s, "no");
}

/// "900 1 300 10": after so many seconds, if so many changes; "": never.
bool set_saves(settings& c, std::string_view s) {
  std::vector<std::string> words;
  if (!split_words(s, words) || words.size() % 2 != 0) return false;
  std::vector<save_point> points;
  for (std::size_t i = 0; i < words.size(); i += 2) {
    const auto seconds = to_integer(words[i]), changes = to_integer(words[i + 1]);
    if (!seconds || !changes || *seconds < 1 || *changes < 1) return false;
    points.push_back({*seconds, static_cast<std::uint64_t>(*changes)});
  }
  std::scoped_lock hold(c.lock);
  c.saves = std::move(points);
  return true;
}
std::string saves_of(settings& c) {
  std::string text;
  std::scoped_lock hold(c.lock);
  for (const save_point& p : c.saves) {
    text += (text.empty() ? "" : " ") + std::to_string(p.seconds) + " " + std::to_string(p.changes);
  }
  return text;
}

template <char... C>
std::string constant(server&) {
  return {C...};
}

/// What clients and test programs set, and what has no meaning here: kept, so that it can be read back.
constexpr std::string_view kWithoutEffect[] = {"activedefrag",
                                               "hash-max-listpack-entries",
                                               "hash-max-listpack-value",
                                               "hash-max-ziplist-entries",
                                               "hash-max-ziplist-value",
                                               "hz",
                                               "latency-tracking",
                                               "lazyfree-lazy-expire",
                                               "lazyfree-lazy-user-del",
                                               "list-compress-depth",
                                               "list-max-listpack-size",
                                               "list-max-ziplist-size",
                                               "lua-time-limit",
                                               "repl-ping-replica-period",
                                               "set-max-intset-entries",
                                               "set-max-listpack-entries",
                                               "slowlog-log-slower-than",
                                               "zset-max-listpack-entries",
                                               "zset-max-listpack-value",
                                               "zset-max-ziplist-entries",
                                               "zset-max-ziplist-value"};

std::string* without_effect(server& s, std::string_view name) {
  const std::string low = lower(name);
  if (std::ranges::find(kWithoutEffect, low) == std::ranges::end(kWithoutEffect)) return nullptr;
  return &s.config.without_effect[low];
}

constexpr row kRows[] = {
    {"appendonly", false, constant<'n', 'o'>,
     [](server&, std::string_view v) { return is_word(v, "no"); }},
    {"bind", true, [](server& s) { return s.config.bind; },
     [](server& s, std::string_view v) { return s.config.bind = v, true; }},
    {"databases", true, constant<'1'>, nullptr},
    {"dbfilename", true, [](server& s) { return s.config.file; },
     [](server& s, std::string_view v) { return s.config.file = v, true; }},
    {"dir", true, [](server& s) { return s.config.dir; },
     [](server& s, std::string_view v) { return s.config.dir = v, true; }},
    {"maxclients", false, [](server& s) { return std::to_string(s.config.max_clients.load()); },
     [](server& s, std::string_view v) {
       return set_number(s.config.max_clients, v, 1, kMostClients);
     }},
    {"maxmemory", false, [](server& s) { return std::to_string(s.config.max_memory.load()); },
     [](server& s, std::string_view v) { return set_bytes(s.config.max_memory, v); }},
    {"maxmemory-policy", false,
     [](server& s) { return std::string(name_of(s.config.policy.load())); },
     [](server& s, std::string_view v) {
       for (const auto& [name, p] : kPolicies) {
         if (is_word(v, name)) return s.config.policy = p, true;
       }
       return false;
     }},
    {"maxprocs", false, [](server&) { return std::to_string(gort::num_procs()); },
     [](server&, std::string_view v) {
       const auto n = to_integer(v);
       if (!n || *n < 1 || *n > 1024) return false;
       gort::max_procs(static_cast<int>(*n));
       return true;
     }},
    {"port", true, [](server& s) { return std::to_string(s.config.port); },
     [](server& s, std::string_view v) { return set_number(s.config.port, v, 0, 65535); }},
    {"proto-max-bulk-len", true, [](server& s) { return std::to_string(s.config.max_bulk.load()); },
     [](server& s, std::string_view v) { return set_bytes(s.config.max_bulk, v); }},
    {"pubsub-buffer-limit", false,
     [](server& s) { return std::to_string(s.config.pubsub_buffer.load()); },
     [](server& s, std::string_view v) { return set_bytes(s.config.pubsub_buffer, v); }},
    {"requirepass", false,
     [](server& s) {
       std::scoped_lock hold(s.config.lock);
       return s.config.password;
     },
     [](server& s, std::string_view v) {
       std::scoped_lock hold(s.config.lock);
       s.config.password = v;
       s.config.has_password = !v.empty();
       return true;
     }},
    {"save", false, [](server& s) { return saves_of(s.config); },
     [](server& s, std::string_view v) { return set_saves(s.config, v); }},
    {"save-at-end", false, [](server& s) { return yes(s.config.save_at_end); },
     [](server& s, std::string_view v) { return set_yes(s.config.save_at_end, v); }},
    {"timeout", false, [](server& s) { return std::to_string(s.config.idle_timeout.load()); },
     [](server& s, std::string_view v) {
       return set_number(s.config.idle_timeout, v, 0, INT32_MAX);
     }},
    {"write-timeout", false,
     [](server& s) { return std::to_string(s.config.write_timeout.load()); },
     [](server& s, std::string_view v) {
       return set_number(s.config.write_timeout, v, 1, INT32_MAX);
     }},
};

void get(call& c) {
  if (c.size() == 3) {
    std::scoped_lock hold(c.srv.config.lock);
    if (const std::string* v = without_effect(c.srv, c[2])) {
      c.out.map(1);
      c.out.bulk(lower(c[2]));
      return c.out.bulk(*v);
    }
  }
  std::vector<const row*> found;
  for (const row& r : kRows) {
    for (std::size_t i = 2; i < c.size(); ++i) {
      if (!matches(lower(c[i]), r.name)) continue;
      found.push_back(&r);
      break;
    }
  }
  c.out.map(found.size());
  for (const row* r : found) {
    c.out.bulk(r->name);
    c.out.bulk(r->get(c.srv));
  }
}

/// All of them or, if one cannot be set, none.
void set_all(call& c) {
  std::vector<std::pair<std::string_view, std::string>> before;
  for (std::size_t i = 2; i < c.size(); i += 2) {
    const auto r = std::ranges::find_if(kRows, [&](const row& x) { return is_word(c[i], x.name); });
    std::string old = r == std::ranges::end(kRows) ? "" : r->get(c.srv);
    const std::string error = set_config(c.srv, c[i], c[i + 1], false);
    if (error.empty()) {
      if (r != std::ranges::end(kRows)) before.emplace_back(r->name, std::move(old));
      continue;
    }
    for (; !before.empty(); before.pop_back())
      set_config(c.srv, before.back().first, before.back().second, false);
    throw general(error);
  }
}

void config(call& c) {
  if (c.is(1, "get") && c.size() >= 3) return get(c);
  if (c.is(1, "set") && c.size() >= 4 && c.size() % 2 == 0) {
    set_all(c);
    return c.out.ok();
  }
  if (c.is(1, "resetstat")) {
    for (auto* n : {&c.srv.stats.commands, &c.srv.stats.connections, &c.srv.stats.errors,
                    &c.srv.stats.evicted})
      *n = 0;
    c.db.for_each_shard([](shard& s) { s.hits = s.misses = s.expired = 0; });
    return c.out.ok();
  }
  if (c.is(1, "rewrite")) throw general("The server is running without a config file");
  throw general("unknown subcommand or wrong number of arguments for '" + std::string(c[1]) +
                "'. Try CONFIG HELP.");
}

constexpr command kCommands[] = {
    {"config", -2, admin | no_multi, no_keys, config},
};

}  // namespace

std::string_view name_of(eviction policy) noexcept {
  for (const auto& [name, p] : kPolicies) {
    if (p == policy) return name;
  }
  return "";
}

bool is_password(server& s, std::string_view word) {
  std::scoped_lock hold(s.config.lock);
  const std::string& right = s.config.password;
  unsigned different = word.size() != right.size();
  for (std::size_t i = 0; i < word.size(); ++i) {
    const char c = right.empty() ? '\0' : right[i % right.size()];
    different |= static_cast<unsigned char>(word[i] ^ c);
  }
  return different == 0;
}

std::int64_t make_room_for_clients(std::int64_t wanted) noexcept {
  constexpr rlim_t kOthers = 64;  // the runtime's own, a snapshot, the listener
  rlimit files;
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return wanted;
  const rlim_t need = static_cast<rlim_t>(wanted) + kOthers;
  if (files.rlim_cur < need) {
    const rlim_t most = std::min(need, files.rlim_max);
    const rlimit more = {std::max(files.rlim_cur, most), files.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &more) == 0) files = more;
  }
  if (files.rlim_cur >= need) return wanted;
  return files.rlim_cur > kOthers ? static_cast<std::int64_t>(files.rlim_cur - kOthers) : 1;
}

std::string set_config(server& s, std::string_view name, std::string_view value, bool at_start) {
  for (const row& r : kRows) {
    if (!is_word(name, r.name)) continue;
    if (r.set == nullptr || (r.at_start_only && !at_start))
      return "CONFIG SET failed - can't set immutable config '" + lower(name) + "'";
    if (const auto n = to_integer(value);
        r.name == "maxclients" && !at_start && n && *n > 0 && *n <= kMostClients) {
      if (const std::int64_t room = make_room_for_clients(*n); room < *n)
        return "CONFIG SET failed (possibly related to argument 'maxclients') - The operating "
               "system is not able to "
               "handle the specified number of clients, try with " +
               std::to_string(room);
    }
    if (!r.set(s, value))
      return "CONFIG SET failed (possibly related to argument '" + lower(name) + "') - '" +
             std::string(value) + "' is no value for it";
    return "";
  }
  std::scoped_lock hold(s.config.lock);
  if (std::string* v = without_effect(s, name)) return *v = value, "";
  return "Unknown option or number of arguments for CONFIG SET - '" + std::string(name) + "'";
}

std::span<const command> config_commands() { return kCommands; }

}  // namespace kv
