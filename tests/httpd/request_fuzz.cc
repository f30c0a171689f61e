// libFuzzer's target: whatever bytes a client sends, in whatever pieces, the same requests come of them, within the limits.
// Built by Clang with -DGORT_FUZZ=ON (cmake/GortTests.cmake says how).
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iterator>
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

/// Where it begins: the parser is a library without the fuzzer's counters, so it would hardly find a first request by itself.
constexpr std::string_view kRequests[] = {
    "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nT: v\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    "GET http://a/b?c HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
};

}  // namespace

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

/// Now and then puts one of them at the input's front or end.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t most, unsigned seed) {
  const std::string_view add = kRequests[seed / 64 % std::size(kRequests)];
  if (seed % 32 > 1 || size == 0 || size + add.size() > most) return LLVMFuzzerMutate(data, size, most);
  std::uint8_t* const at = seed % 32 == 0 ? data + 1 : data + size;  // the first byte is the size of pieces
  std::copy_backward(at, data + size, data + size + add.size());
  std::copy(add.begin(), add.end(), at);
  return size + add.size();
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (understood(bytes, bytes.size() + 1) != understood(bytes, data[0] % 32 + 1)) std::abort();
  return 0;
}
