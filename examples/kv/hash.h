// The hash of keys, fields and members: SipHash-1-3 (Aumasson and Bernstein; Redis takes a SipHash too), keyed with random
// bits that each process draws for itself.
//
// Clients choose what is hashed. With a hash that is the same everywhere, std::hash say, one of them can look up at home
// thousands of keys that all fall into one bucket: each of its commands then walks a chain of them, under a lock that
// others wait for. Without the key nobody can, as long as no hash is ever told to a client. SCAN's cursor is the number
// of a bucket: it tells that two keys share one, not which others would.
#pragma once

#include <sys/random.h>

#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace kv {

struct hash_key {
  std::uint64_t k0 = 0, k1 = 0;

  /// From the kernel's generator; waits until that has been seeded, once after the machine's start.
  static hash_key random() noexcept {
    hash_key k;
    while (::getrandom(&k, sizeof k, 0) != static_cast<ssize_t>(sizeof k)) {
      if (errno != EINTR)
        std::abort();  // a kernel without it: rather no server than one with a known key
    }
    return k;
  }
};

/// Numbers of rounds: 2 and 4 are the paper's, 1 and 3 what hash tables take.
template <int Compression = 1, int Finish = 3>
std::uint64_t siphash(const hash_key& key, std::string_view s) noexcept {
  std::uint64_t a = key.k0 ^ 0x736f6d6570736575, b = key.k1 ^ 0x646f72616e646f6d,
                c = key.k0 ^ 0x6c7967656e657261, d = key.k1 ^ 0x7465646279746573;
  const auto rounds = [&](int n) {
    for (; n > 0; --n) {
      a += b, c += d;
      b = std::rotl(b, 13) ^ a, d = std::rotl(d, 16) ^ c;
      a = std::rotl(a, 32);
      c += b, a += d;
      b = std::rotl(b, 17) ^ c, d = std::rotl(d, 21) ^ a;
      c = std::rotl(c, 32);
    }
  };
  const auto word = [&](std::uint64_t w) {
    d ^= w;
    rounds(Compression);
    a ^= w;
  };
  static_assert(std::endian::native == std::endian::little);
  const char* p = s.data();
  std::size_t n = s.size();
  for (; n >= 8; n -= 8, p += 8) {
    std::uint64_t w;
    std::memcpy(&w, p, 8);
    word(w);
  }
  std::uint64_t last = static_cast<std::uint64_t>(s.size()) << 56;
  for (std::size_t i = 0; i < n; ++i)
    last |= std::uint64_t{static_cast<unsigned char>(p[i])} << (8 * i);
  word(last);
  c ^= 0xff;
  rounds(Finish);
  return a ^ b ^ c ^ d;
}

/// This process' key. Nobody writes it after static initialization; there are no tables before.
inline const hash_key process_key = hash_key::random();

struct keyed_hash {
  std::size_t operator()(std::string_view s) const noexcept { return siphash(process_key, s); }
};

}  // namespace kv
