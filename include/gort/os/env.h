// gort: the environment. The C library lets nobody read it while another thread changes it: these calls, and the starts of
// child processes (gort/os/process.h), take turns with each other, not with getenv and setenv elsewhere in the program.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gort/config.h"
#include "gort/net/result.h"

namespace gort::inline v0::os {

/// Nothing: it is not set. A copy.
std::optional<std::string> env(std::string_view name);
/// invalid_argument: the name is empty or has a '=', or there is a zero in either. not_enough_memory.
net::result<void> set_env(std::string_view name, std::string_view value);
net::result<void> unset_env(std::string_view name);
/// All of it, as "NAME=value".
std::vector<std::string> environment();

}  // namespace gort::inline v0::os
