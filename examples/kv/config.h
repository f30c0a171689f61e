// Settings by name: CONFIG GET, CONFIG SET, and the command line's --name value.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace kv {

class server;
enum class eviction;

/// As --maxmemory-policy has it.
std::string_view name_of(eviction policy) noexcept;
/// Whether that is the password. Takes the same time for all wrong ones.
bool is_password(server& s, std::string_view word);
/// Lets the process open so many connections at once, as far as the system does; how many.
std::int64_t make_room_for_clients(std::int64_t wanted) noexcept;

/// Sets one; "" if it could be, else what is wrong. `at_start`: also those that cannot be changed later.
std::string set_config(server& s, std::string_view name, std::string_view value, bool at_start);

}  // namespace kv
