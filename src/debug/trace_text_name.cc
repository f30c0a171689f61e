// Names: what is shown of one, and whose it is.
#include <algorithm>

#include "debug/trace_text.h"

namespace gort::inline v0::rt {

namespace {

bool is_identifier(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

bool drop_suffix(std::string_view& s, std::string_view tail) {
  if (!s.ends_with(tail)) return false;
  s.remove_suffix(tail.size());
  return true;
}

/// " [clone .cold]", " const", " &" and the like.
void drop_qualifiers(std::string_view& s) {
  for (;;) {
    if (s.ends_with(']')) {
      const std::size_t at = s.rfind(" [clone ");
      if (at == std::string_view::npos) return;
      s = s.substr(0, at);
    } else if (!drop_suffix(s, " const") && !drop_suffix(s, " volatile") && !drop_suffix(s, " &&") &&
               !drop_suffix(s, " &")) {
      return;
    }
  }
}

/// The last "(...)", unless it is the name itself: "operator()".
void drop_parameters(std::string_view& s) {
  if (!s.ends_with(')')) return;
  int depth = 0;
  for (std::size_t i = s.size(); i-- > 0;) {
    if (s[i] == ')') ++depth;
    if (s[i] != '(' || --depth != 0) continue;
    if (i > 0 && !s.substr(0, i).ends_with("operator")) s = s.substr(0, i);
    return;
  }
}

/// Return types stand in front of template functions only. A space outside all brackets ends one; behind
/// the word "operator" spaces and brackets mean something else.
void drop_return_type(std::string_view& s) {
  int depth = 0;
  std::size_t start = 0;
  for (std::size_t i = 0; i < s.size(); ++i) {
    const char c = s[i];
    if (c == '<' || c == '(' || c == '{' || c == '[') ++depth;
    if (c == '>' || c == ')' || c == '}' || c == ']') --depth;
    if (depth != 0) continue;
    if (c == ' ') start = i + 1;
    if (s.substr(i).starts_with("operator") && (i == 0 || !is_identifier(s[i - 1])) &&
        (i + 8 == s.size() || !is_identifier(s[i + 8]))) {
      break;
    }
  }
  if (start < s.size()) s = s.substr(start);
}

}  // namespace

std::string_view function_name_only(std::string_view demangled) noexcept {
  std::string_view s = demangled;
  drop_qualifiers(s);
  drop_parameters(s);
  drop_return_type(s);
  return s.empty() ? demangled : s;
}

bool is_runtime_linkage(std::string_view linkage) noexcept {
  if (linkage.starts_with("gort_v0_")) return true;  // assembly and its entry trampoline
  if (!linkage.starts_with("_Z")) return false;
  linkage.remove_prefix(2);
  // Z: local to a function; N: nested; r V K R O: qualifiers of a member function; L: internal linkage.
  linkage.remove_prefix(std::min(linkage.find_first_not_of("ZNrVKROL"), linkage.size()));
  for (const std::string_view own : {"4gort2v02rt", "4gort2v02os", "4gort2v04arch"}) {
    if (linkage.starts_with(own)) return true;
  }
  return false;
}

}  // namespace gort::inline v0::rt
