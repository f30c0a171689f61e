#include "feed.h"

#include "text.h"

namespace kv_test {

namespace {
std::string one(std::string_view& in) {
  const char kind = in.empty() ? '?' : in[0];
  const std::size_t nl = in.find("\r\n");
  if (nl == in.npos) return "(incomplete)";
  const std::string_view line = in.substr(1, nl - 1);
  in.remove_prefix(nl + 2);
  const auto n = kv::to_integer(line).value_or(0);
  const auto many = [&](std::int64_t count, char open, char close) {
    std::string s(1, open);
    for (std::int64_t i = 0; i < count; ++i) s += (i > 0 ? " " : "") + one(in);
    return s + close;
  };
  switch (kind) {
    case '+':
    case ':':
    case ',':
    case '#':
      return std::string(line);
    case '-':
      return "!" + std::string(line);
    case '_':
      return "nil";
    case '$':
    case '=': {
      if (n < 0) return "nil";
      const std::string s(in.substr(0, static_cast<std::size_t>(n)));
      in.remove_prefix(static_cast<std::size_t>(n) + 2);
      return s;
    }
    case '*':
      return n < 0 ? "nil" : many(n, '[', ']');
    case '~':
      return many(n, '(', ')');
    case '>':
      return many(n, '<', '>');
    case '%':
      return many(2 * n, '{', '}');
    default:
      return "(?)";
  }
}
}  // namespace

std::string render(std::string_view resp) {
  std::string all;
  while (!resp.empty()) all += (all.empty() ? "" : " ") + one(resp);
  return all;
}

std::string request(const std::vector<std::string>& words) {
  std::string r = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string& w : words) r += "$" + std::to_string(w.size()) + "\r\n" + w + "\r\n";
  return r;
}

std::string feed::operator()(std::string_view line) {
  std::vector<std::string> words;
  if (!kv::split_words(line, words)) return "(bad line in the test)";
  return render(bytes(request(words)));
}

}  // namespace kv_test
