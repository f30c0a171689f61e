// DEBUG: looking into the runtime, and making trouble, while clients are served.
//
//   DEBUG HOG n            n endless loops in goroutines of the server; 0 ends them
//   DEBUG STACKS           where every goroutine stands, all at one moment
//   DEBUG STOPWORLD [ms]   stops all goroutines for so long (0); how many microseconds it took to stop them
//   DEBUG SLEEP seconds    this connection alone
//   DEBUG SAVE-DELAY us    slows snapshots down
//   DEBUG RELOAD           save, drop everything, load
//   DEBUG ADVANCE ms       lets time pass for what expires
//   DEBUG SET-ACTIVE-EXPIRE 0|1   whether keys go when their time is up, or only when they are looked at
//   DEBUG PROTOCOL kind    an answer of each kind there is, for those who test clients
#include <gort/debug.h>
#include <gort/this_goroutine.h>
#include <gort/world.h>

#include <algorithm>
#include <chrono>

#include "command.h"
#include "server.h"
#include "session.h"
#include "snapshot_format.h"

namespace kv {
namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

std::int64_t us(steady::duration d) {
  return std::chrono::duration_cast<std::chrono::microseconds>(d).count();
}

void stop_world(call& c) {
  const std::int64_t ms = c.size() > 2 ? c.integer(2) : 0;
  if (ms < 0 || ms > 10'000) throw general("0 to 10000 ms");
  const auto asked = steady::now();
  auto world = gort::stop_world("DEBUG STOPWORLD", 1s);
  if (!world)
    throw general(
        "the world could not be stopped within a second: some goroutine computes without calls "
        "into gort");
  const auto stopped = steady::now();
  // Nobody else runs, so there is nobody to leave the processor to.
  while (steady::now() - stopped < std::chrono::milliseconds(ms)) {
  }
  world.restart();
  c.out.integer(us(stopped - asked));
}

void reload(call& c) {
  if (auto r = c.srv.saves.save(c.db); !r) throw general(r.error());
  c.db.lock(keyspace::kAll);
  c.db.for_each_shard([&](shard& s) { c.db.clear(s); });
  c.db.unlock();
  if (auto r = c.srv.saves.load(c.db); !r) throw general(r.error());
  c.out.ok();
}

void object(call& c) {
  c.db.lock(keyspace::mask_of(c[2]));
  key_node* n = c.db.peek(c[2]);
  if (n == nullptr) throw no_such_key();
  c.out.simple("Value at:0x0 refcount:1 encoding:" + std::string(n->value.value->encoding()) +
               " serializedlength:" + std::to_string(n->value.value->bytes()) +
               " lru:" + std::to_string(n->value.used) +
               " lru_seconds_idle:" + std::to_string(c.srv.now_ms() / 1000 - n->value.used));
}

/// Equal values give equal numbers.
void digests(call& c) {
  c.out.array(c.size() - 2);
  for (std::string_view key : c.args.subspan(2)) {
    c.db.lock(keyspace::mask_of(key));
    key_node* n = c.db.peek(key);
    std::string text;
    if (n != nullptr) format::record(text, "", 0, *n->value.value);
    if (n != nullptr && n->value.value->type() != type::list)
      std::ranges::sort(text);  // tables have their own order
    c.out.simple(std::to_string(format::checksum(0, text)));
  }
}

void protocol(call& c) {
  const bool three = c.out.protocol >= 3;
  if (c.is(2, "string")) {
    c.out.bulk("Hello World");
  } else if (c.is(2, "integer")) {
    c.out.integer(12345);
  } else if (c.is(2, "double")) {
    c.out.real(3.141);
  } else if (c.is(2, "null")) {
    c.out.null();
  } else if (c.is(2, "array") || c.is(2, "set")) {
    c.is(2, "set") ? c.out.set(3) : c.out.array(3);
    for (int i = 0; i < 3; ++i) c.out.integer(i);
  } else if (c.is(2, "map")) {
    c.out.map(3);
    for (int i = 0; i < 3; ++i) c.out.integer(i), c.out.boolean(i == 1);
  } else if (c.is(2, "true") || c.is(2, "false")) {
    c.out.boolean(c.is(2, "true"));
  } else if (c.is(2, "verbatim")) {
    c.out.verbatim("This is a verbatim\nstring");
  } else if (c.is(2, "bignum")) {
    constexpr std::string_view number = "1234567999999999999999999999999999999";
    three ? void((c.out.out += "(").append(number).append("\r\n")) : c.out.bulk(number);
  } else if (c.is(2, "attrib")) {
    if (three) {
      c.out.out += "|1\r\n";
      c.out.bulk("key-popularity");
      c.out.array(2);
      c.out.bulk("key:123");
      c.out.integer(90);
    }
    c.out.bulk("Some real reply following the attribute");
  } else if (c.is(2, "push")) {
    if (three) {
      c.out.push(2);
      c.out.bulk("server-cpu-usage");
      c.out.integer(42);
    }
    c.out.bulk("Some real reply following the push reply");
  } else {
    throw general(
        "Wrong protocol type name. Please use one of the following: "
        "string|integer|double|null|array|set|map|"
        "attrib|push|verbatim|true|false|bignum");
  }
}

void debug(call& c) {
  const auto is = [&](std::string_view word, std::size_t size) {
    return c.is(1, word) && c.size() == size;
  };
  if (is("hog", 3)) {
    const std::int64_t n = c.integer(2);
    if (n < 0 || n > 1000) throw general("0 to 1000 hogs");
    c.srv.hogs.let_loose(static_cast<int>(n));
  } else if (is("stacks", 2)) {
    return c.out.verbatim(gort::all_stacks());
  } else if (is("stopworld", 2) || is("stopworld", 3)) {
    return stop_world(c);
  } else if (is("sleep", 3)) {
    gort::this_goroutine::sleep_for(std::chrono::duration<double>(c.real(2)));
  } else if (is("save-delay", 3)) {
    c.srv.saves.delay_us = c.integer(2);
  } else if (is("advance", 3)) {
    c.srv.time_offset += c.integer(2);
  } else if (is("set-active-expire", 3)) {
    c.srv.expire_actively = c.integer(2) != 0;
  } else if (is("protocol", 3)) {
    return protocol(c);
  } else if (c.is(1, "reload")) {
    return reload(c);
  } else if (is("object", 3)) {
    return object(c);
  } else if (c.is(1, "digest-value") && c.size() > 2) {
    return digests(c);
  } else if (!c.is(1, "quicklist-packed-threshold") && !is("jmap", 2) &&
             !c.is(1, "change-repl-id")) {
    throw general("unknown subcommand or wrong number of arguments for '" + std::string(c[1]) +
                  "'. There are HOG n, STACKS, STOPWORLD [ms], SLEEP s, SAVE-DELAY us, ADVANCE ms, "
                  "RELOAD, OBJECT key.");
  }
  c.out.ok();
}

constexpr command kCommands[] = {
    {"debug", -2, admin | no_multi, no_keys, debug},
};

}  // namespace

std::span<const command> debug_commands() { return kCommands; }

}  // namespace kv
