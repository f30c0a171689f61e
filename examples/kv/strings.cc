// GET, SET and their relatives.
#include <algorithm>

#include "command.h"

namespace kv {
namespace {

constexpr std::size_t kLongest = 512u << 20;

void get(call& c) {
  const auto* s = c.db.read<string_object>(c[1]);
  c.out.bulk_or_null(s != nullptr ? &s->text : nullptr);
}

/// EX, PX, EXAT and PXAT: a time in ms since 1970.
std::int64_t expiry_option(call& c, std::size_t word, std::size_t value) {
  const std::int64_t n = c.integer(value);
  const bool seconds = is_word(c[word].substr(0, 1), "e"), relative = c[word].size() == 2;
  std::int64_t ms = n;
  if (n <= 0 || (seconds && __builtin_mul_overflow(n, 1000, &ms)) ||
      (relative && __builtin_add_overflow(ms, c.db.now, &ms))) {
    throw general("invalid expire time in '" + lower(c[0]) + "' command");
  }
  return ms;
}
bool is_expiry_option(call& c, std::size_t i) {
  return c.is(i, "ex") || c.is(i, "px") || c.is(i, "exat") || c.is(i, "pxat");
}

void set(call& c) {
  bool nx = false, xx = false, get_old = false, keep = false;
  std::int64_t expires = 0;
  for (std::size_t i = 3; i < c.size(); ++i) {
    if (c.is(i, "nx"))
      nx = true;
    else if (c.is(i, "xx"))
      xx = true;
    else if (c.is(i, "get"))
      get_old = true;
    else if (c.is(i, "keepttl") && expires == 0)
      keep = true;
    else if (is_expiry_option(c, i) && i + 1 < c.size() && expires == 0 && !keep) {
      expires = expiry_option(c, i, i + 1);
      ++i;
    } else
      throw syntax_error();
  }
  if (nx && xx) throw syntax_error();
  ref<object> old;
  if (nx || xx || get_old || keep) {
    key_node* n = c.db.find(c[1]);
    if (n != nullptr && keep) expires = n->value.expires;
    if (n != nullptr && get_old) {
      if (n->value.value->type() != type::string) throw wrong_type();
      old = n->value.value;
    }
    if ((nx && n != nullptr) || (xx && n == nullptr)) {
      if (old) return c.out.bulk(static_cast<string_object&>(*old).text);
      return c.out.null();
    }
  }
  c.db.put_text(c[1], c[2], expires);
  if (!get_old) return c.out.ok();
  c.out.bulk_or_null(old ? &static_cast<string_object&>(*old).text : nullptr);
}

void setnx(call& c) {
  const bool absent = c.db.find(c[1]) == nullptr;
  if (absent) c.db.put_text(c[1], c[2]);
  c.out.integer(absent);
}

void setex_in(call& c, std::int64_t unit) {
  std::int64_t n = c.integer(2), at = 0;
  if (n <= 0 || __builtin_mul_overflow(n, unit, &n) || __builtin_add_overflow(n, c.db.now, &at)) {
    throw general("invalid expire time in '" + lower(c[0]) + "' command");
  }
  c.db.put_text(c[1], c[3], at);
  c.out.ok();
}
void setex(call& c) { setex_in(c, 1000); }
void psetex(call& c) { setex_in(c, 1); }

void getset(call& c) {
  const auto* s = c.db.read<string_object>(c[1]);
  c.out.bulk_or_null(s != nullptr ? &s->text : nullptr);
  c.db.put_text(c[1], c[2]);
}

void getdel(call& c) {
  const auto* s = c.db.read<string_object>(c[1]);
  c.out.bulk_or_null(s != nullptr ? &s->text : nullptr);
  if (s != nullptr) c.db.erase(c[1]);
}

void getex(call& c) {
  std::int64_t expires = -1;  // as it is
  if (c.size() == 3 && c.is(2, "persist"))
    expires = 0;
  else if (c.size() == 4 && is_expiry_option(c, 2))
    expires = expiry_option(c, 2, 3);
  else if (c.size() != 2)
    throw syntax_error();
  const auto* s = c.db.read<string_object>(c[1]);
  c.out.bulk_or_null(s != nullptr ? &s->text : nullptr);
  if (s == nullptr || expires < 0) return;
  if (key_node* n = c.db.find(c[1]); n->value.expires != expires) c.db.set_expiry(n, expires);
}

void mget(call& c) {
  c.out.array(c.size() - 1);
  for (std::string_view key : c.args.subspan(1)) {
    key_node* n = c.db.find(key);
    const bool text = n != nullptr && n->value.value->type() == type::string;
    c.out.bulk_or_null(text ? &static_cast<string_object&>(*n->value.value).text : nullptr);
  }
}

void set_all(call& c) {
  for (std::size_t i = 1; i < c.size(); i += 2) c.db.put_text(c[i], c[i + 1]);
}
void even(call& c) {
  if (c.size() % 2 == 0)
    throw general("wrong number of arguments for '" + lower(c[0]) + "' command");
}
void mset(call& c) {
  even(c);
  set_all(c);
  c.out.ok();
}
void msetnx(call& c) {
  even(c);
  for (std::size_t i = 1; i < c.size(); i += 2) {
    if (c.db.find(c[i]) != nullptr) return c.out.integer(0);
  }
  set_all(c);
  c.out.integer(1);
}

void append(call& c) {
  const auto* s = c.db.read<string_object>(c[1]);
  if (s != nullptr && s->text.size() + c[2].size() > kLongest) {
    throw general("string exceeds maximum allowed size (proto-max-bulk-len)");
  }
  auto e = c.db.change_or_make<string_object>(c[1]);
  e->text += c[2];
  c.out.integer(static_cast<std::int64_t>(e->text.size()));
}

void strlen_(call& c) {
  const auto* s = c.db.read<string_object>(c[1]);
  c.out.integer(s == nullptr ? 0 : static_cast<std::int64_t>(s->text.size()));
}

void getrange(call& c) {
  std::int64_t from = c.integer(2), to = c.integer(3);
  const auto* s = c.db.read<string_object>(c[1]);
  const auto size = s == nullptr ? 0 : static_cast<std::int64_t>(s->text.size());
  if (from < 0 && to < 0 && from > to) return c.out.bulk("");
  if (from < 0) from = std::max<std::int64_t>(from + size, 0);
  if (to < 0) to = std::max<std::int64_t>(to + size, 0);
  to = std::min(to, size - 1);
  if (size == 0 || from > to) return c.out.bulk("");
  c.out.bulk(std::string_view(s->text).substr(static_cast<std::size_t>(from),
                                              static_cast<std::size_t>(to - from + 1)));
}

void setrange(call& c) {
  const std::int64_t at = c.integer(2);
  if (at < 0) throw general("offset is out of range");
  const auto* s = c.db.read<string_object>(c[1]);
  if (c[3].empty())
    return c.out.integer(s == nullptr ? 0 : static_cast<std::int64_t>(s->text.size()));
  const std::size_t end = static_cast<std::size_t>(at) + c[3].size();
  if (end > kLongest) throw general("string exceeds maximum allowed size (proto-max-bulk-len)");
  auto e = c.db.change_or_make<string_object>(c[1]);
  if (e->text.size() < end) e->text.resize(end, '\0');
  e->text.replace(static_cast<std::size_t>(at), c[3].size(), c[3]);
  c.out.integer(static_cast<std::int64_t>(e->text.size()));
}

constexpr command kCommands[] = {
    {"get", 2, reads | fast, one_key, get},
    {"set", -3, writes | deny_oom, one_key, set},
    {"setnx", 3, writes | deny_oom | fast, one_key, setnx},
    {"setex", 4, writes | deny_oom, one_key, setex},
    {"psetex", 4, writes | deny_oom, one_key, psetex},
    {"getset", 3, writes | deny_oom | fast, one_key, getset},
    {"getdel", 2, writes | fast, one_key, getdel},
    {"getex", -2, writes | fast, one_key, getex},
    {"mget", -2, reads | fast, every_key, mget},
    {"mset", -3, writes | deny_oom, {1, -1, 2, 0}, mset},
    {"msetnx", -3, writes | deny_oom, {1, -1, 2, 0}, msetnx},
    {"append", 3, writes | deny_oom | fast, one_key, append},
    {"strlen", 2, reads | fast, one_key, strlen_},
    {"getrange", 4, reads, one_key, getrange},
    {"substr", 4, reads, one_key, getrange},
    {"setrange", 4, writes | deny_oom, one_key, setrange},
};

}  // namespace

std::span<const command> string_commands() { return kCommands; }

}  // namespace kv
