// libFuzzer's target: whatever bytes a client sends, in whatever pieces, the server neither crashes nor hangs, and
// counts its memory right. Built by Clang with -DGORT_FUZZ=ON (cmake/GortTests.cmake says how).
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "feed.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  kv::server s;
  kv_test::feed client(s);
  client.parser = kv::parser(
      {.inline_bytes = 1 << 10, .bulk_bytes = 1 << 16, .args = 1 << 10, .request_bytes = 1 << 17});
  // The first byte says how long the pieces are.
  const std::size_t piece = data[0] % 64 + 1;
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  // What ends, saves or slows the process down is not for here.
  std::string low(rest);
  std::ranges::transform(low, low.begin(), [](char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  });
  for (const char* word : {"debug", "save", "config", "setrange"}) {
    if (low.find(word) != low.npos) return 0;
  }
  while (!rest.empty() && !client.session.closing) {
    const std::string answer = client.bytes(rest.substr(0, piece));
    if (!answer.empty() && !answer.ends_with("\r\n")) std::abort();
    rest.remove_prefix(std::min(piece, rest.size()));
  }
  std::size_t bytes = 0;
  for (auto& shard : s.keys.shards)
    shard.keys.for_each([&](const kv::key_node& n) { bytes += kv::bytes_of(n); });
  if (bytes != s.keys.bytes()) std::abort();
  return 0;
}
