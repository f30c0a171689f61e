// Times to live.
#include "command.h"

namespace kv {
namespace {

/// EXPIRE and its relatives: a number of `unit` ms, from now on if `relative`.
void expire_in(call& c, std::int64_t unit, bool relative) {
  std::int64_t at = c.integer(2);
  bool nx = false, xx = false, gt = false, lt = false;
  for (std::size_t i = 3; i < c.size(); ++i) {
    if (c.is(i, "nx"))
      nx = true;
    else if (c.is(i, "xx"))
      xx = true;
    else if (c.is(i, "gt"))
      gt = true;
    else if (c.is(i, "lt"))
      lt = true;
    else
      throw general("Unsupported option " + std::string(c[i]));
  }
  if (nx && (xx || gt || lt))
    throw general("NX and XX, GT or LT options at the same time are not compatible");
  if (gt && lt) throw general("GT and LT options at the same time are not compatible");
  if (__builtin_mul_overflow(at, unit, &at) ||
      (relative && __builtin_add_overflow(at, c.db.now, &at))) {
    throw general("invalid expire time in '" + lower(c[0]) + "' command");
  }
  key_node* n = c.db.find(c[1]);
  if (n == nullptr) return c.out.integer(0);
  const std::int64_t old = n->value.expires;  // 0: later than any
  if ((nx && old != 0) || (xx && old == 0) || (gt && (old == 0 || at <= old)) ||
      (lt && old != 0 && at >= old)) {
    return c.out.integer(0);
  }
  if (at <= c.db.now)
    c.db.erase(c[1]);
  else
    c.db.set_expiry(n, at);
  c.out.integer(1);
}
void expire(call& c) { expire_in(c, 1000, true); }
void pexpire(call& c) { expire_in(c, 1, true); }
void expireat(call& c) { expire_in(c, 1000, false); }
void pexpireat(call& c) { expire_in(c, 1, false); }

/// -2: no such key; -1: it stays.
template <class F>
void tell(call& c, F&& f) {
  key_node* n = c.db.peek(c[1]);
  c.out.integer(n == nullptr ? -2 : n->value.expires == 0 ? -1 : f(n->value.expires));
}
void ttl(call& c) {
  tell(c, [&](std::int64_t at) { return (at - c.db.now + 500) / 1000; });
}
void pttl(call& c) {
  tell(c, [&](std::int64_t at) { return at - c.db.now; });
}
void expiretime(call& c) {
  tell(c, [](std::int64_t at) { return at / 1000 + (at % 1000 >= 500); });
}
void pexpiretime(call& c) {
  tell(c, [](std::int64_t at) { return at; });
}

void persist(call& c) {
  key_node* n = c.db.find(c[1]);
  const bool had = n != nullptr && n->value.expires != 0;
  if (had) c.db.set_expiry(n, 0);
  c.out.integer(had);
}

constexpr command kCommands[] = {
    {"expire", -3, writes | fast, one_key, expire},
    {"pexpire", -3, writes | fast, one_key, pexpire},
    {"expireat", -3, writes | fast, one_key, expireat},
    {"pexpireat", -3, writes | fast, one_key, pexpireat},
    {"ttl", 2, reads | fast, one_key, ttl},
    {"pttl", 2, reads | fast, one_key, pttl},
    {"expiretime", 2, reads | fast, one_key, expiretime},
    {"pexpiretime", 2, reads | fast, one_key, pexpiretime},
    {"persist", 2, writes | fast, one_key, persist},
};

}  // namespace

std::span<const command> expiry_commands() { return kCommands; }

}  // namespace kv
