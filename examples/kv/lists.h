// What commands that wait share with the other ones of lists and sorted sets.
#pragma once

#include <cstddef>
#include <string_view>

#include "command.h"
#include "zset.h"

namespace kv {

enum class end { front, back };
/// The argument LEFT or RIGHT.
end end_of(const call& c, std::size_t i);
void push(list_object& l, end where, std::string_view s);
std::string pop(list_object& l, end where);
/// Moves an element from a list that is there to another, which may be the same; what it is, is the answer.
void move_element(access& db, reply& out, std::string_view from_key, std::string_view to_key,
                  end from, end to);
/// The first elements of a list as an array, taken from it; at most n.
void pop_many(reply& out, list_object& l, end where, std::int64_t n);

/// The first or last elements of a sorted set with their scores, taken from it. `pairs`: as arrays of two.
void pop_many(reply& out, zset_object& z, std::size_t n, bool max, bool pairs);

/// numkeys key [key ...] where [COUNT n], from argument `counted` on: how LMPOP and ZMPOP are written.
struct many_keys {
  std::span<const std::string_view> keys;
  std::size_t where;  ///< the argument behind the keys
  std::int64_t count;
  many_keys(const call& c, std::size_t counted);
};

}  // namespace kv
