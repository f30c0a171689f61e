#include "object.h"

#include "text.h"

namespace kv {

std::string_view name_of(type t) noexcept {
  constexpr std::string_view names[] = {"string", "list", "hash", "set", "zset"};
  return names[static_cast<int>(t)];
}

std::string_view string_object::encoding() const noexcept {
  if (to_integer(text)) return "int";
  return text.size() <= 44 ? "embstr" : "raw";
}

std::string_view set_object::encoding() const noexcept {
  if (members.size() > 512) return "hashtable";
  bool numbers = true;
  members.for_each([&](const auto& n) { numbers = numbers && to_integer(n.key).has_value(); });
  return numbers ? "intset" : members.size() <= 128 ? "listpack" : "hashtable";
}

}  // namespace kv
