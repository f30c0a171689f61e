// What a command throws to answer with an error.
#pragma once

#include <string>
#include <string_view>

namespace kv {

struct command_error {
  std::string text;  ///< begins with its class: ERR, WRONGTYPE …
};

inline command_error wrong_type() {
  return {"WRONGTYPE Operation against a key holding the wrong kind of value"};
}
inline command_error not_an_integer() { return {"ERR value is not an integer or out of range"}; }
inline command_error not_a_float() { return {"ERR value is not a valid float"}; }
inline command_error syntax_error() { return {"ERR syntax error"}; }
inline command_error no_such_key() { return {"ERR no such key"}; }
inline command_error general(std::string_view what) { return {"ERR " + std::string(what)}; }

}  // namespace kv
