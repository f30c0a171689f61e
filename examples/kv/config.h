// Settings by name: CONFIG GET, CONFIG SET, and the command line's --name value.
#pragma once

#include <string>
#include <string_view>

namespace kv {

class server;

/// Sets one; "" if it could be, else what is wrong. `at_start`: also those that cannot be changed later.
std::string set_config(server& s, std::string_view name, std::string_view value, bool at_start);

}  // namespace kv
