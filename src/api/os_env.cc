#include "gort/os/env.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <shared_mutex>

#include "api/os_env.h"

namespace gort::inline v0::os {

constinit gort::shared_mutex env_turns;

namespace {

bool good(std::string_view name) noexcept {
  return !name.empty() && name.find('=') == name.npos && name.find('\0') == name.npos;
}

}  // namespace

std::optional<std::string> env(std::string_view name) {
  if (!good(name)) return std::nullopt;
  const std::string n(name);
  const std::shared_lock guard(env_turns);
  const char* v = std::getenv(n.c_str());
  if (v == nullptr) return std::nullopt;
  return std::string(v);
}

net::result<void> set_env(std::string_view name, std::string_view value) {
  if (!good(name) || value.find('\0') != value.npos)
    return std::unexpected(std::make_error_code(std::errc::invalid_argument));
  const std::string n(name), v(value);
  const std::scoped_lock guard(env_turns);
  if (::setenv(n.c_str(), v.c_str(), 1) != 0) return std::unexpected(std::make_error_code(std::errc::not_enough_memory));
  return {};
}

net::result<void> unset_env(std::string_view name) {
  if (!good(name)) return std::unexpected(std::make_error_code(std::errc::invalid_argument));
  const std::string n(name);
  const std::scoped_lock guard(env_turns);
  ::unsetenv(n.c_str());
  return {};
}

std::vector<std::string> environment() {
  const std::shared_lock guard(env_turns);
  std::vector<std::string> all;
  for (char** e = environ; e != nullptr && *e != nullptr; ++e) all.emplace_back(*e);
  return all;
}

}  // namespace gort::inline v0::os
