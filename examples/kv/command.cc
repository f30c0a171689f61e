#include "command.h"

#include <algorithm>
#include <unordered_map>
#include <vector>

namespace kv {

std::int64_t call::integer(std::size_t i) const {
  const auto v = to_integer(args[i]);
  if (!v) throw not_an_integer();
  return *v;
}

double call::real(std::size_t i) const {
  const auto v = to_double(args[i]);
  if (!v) throw not_a_float();
  return *v;
}

namespace {

struct index {
  std::unordered_map<std::string_view, const command*> by_name;
  std::vector<const command*> sorted;

  index() {
    for (auto family :
         {string_commands,       counter_commands, bit_commands,         list_commands,
          hash_commands,         set_commands,     zset_commands,        zset_range_commands,
          zset_algebra_commands, key_commands,     expiry_commands,      scan_commands,
          connection_commands,   server_commands,  info_commands,        config_commands,
          debug_commands,        pubsub_commands,  transaction_commands, snapshot_commands,
          blocking_commands}) {
      for (const command& c : family()) {
        by_name.emplace(c.name, &c);
        sorted.push_back(&c);
      }
    }
    std::ranges::sort(sorted, {}, [](const command* c) { return c->name; });
  }
};

const index& commands() {
  static const index all;
  return all;
}

}  // namespace

const command* find_command(std::string_view name) noexcept {
  char low[32];
  if (name.size() > sizeof low) return nullptr;
  std::ranges::transform(
      name, low, [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  const auto& map = commands().by_name;
  const auto at = map.find(std::string_view(low, name.size()));
  return at == map.end() ? nullptr : at->second;
}

std::span<const command* const> all_commands() { return commands().sorted; }

}  // namespace kv
