// libFuzzer's target: whatever bytes a client sends, in whatever pieces, the same requests come of them, within the limits.
// Built by Clang with -DGORT_FUZZ=ON (cmake/GortTests.cmake says how).
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "request.h"

namespace {

constexpr httpd::limits kMost{.head = 512, .body = 1024};

/// All that was understood, as text; `piece` bytes at a time.
std::string understood(std::string_view bytes, std::size_t piece) {
  httpd::request r(kMost);
  std::string all;
  while (r.now() != httpd::request::state::failed && !bytes.empty()) {
    const std::string_view some = bytes.substr(0, piece);
    const std::size_t n = r.feed(some);
    if (n > some.size()) std::abort();
    if (r.now() == httpd::request::state::complete) {
      if (r.target().size() > kMost.head || r.body().size() > kMost.body) std::abort();
      all.append(r.method()).append(" ").append(r.path()).append(" ").append(r.body()).append("\n");
      r.next();
    } else if (n == 0 && r.now() != httpd::request::state::failed) {
      std::abort();  // it would be asked for ever
    }
    bytes.remove_prefix(n);
  }
  r.end_of_stream();
  if (r.now() == httpd::request::state::complete) all.append("to the end: ").append(r.body());
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (understood(bytes, bytes.size() + 1) != understood(bytes, data[0] % 32 + 1)) std::abort();
  return 0;
}
