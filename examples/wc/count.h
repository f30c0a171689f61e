// Counting lines and words as `LC_ALL=C wc` does, 64 bytes at a time.
//
// wc sorts bytes into three kinds: white space ends a word, a printable byte begins or continues one, and any
// other byte (control bytes, everything above 0x7e) does neither. That is coreutils 9.1; later ones let the third
// kind begin words as well. Rule says which wc is meant.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace wc {

enum class Rule : bool { printable, nonspace };

/// What a text is made of, and what its ends look like to a neighbour. `text + text` is the count of the two
/// put one behind the other: the last word of one and the first of the other may be one word.
struct Text {
  std::uint64_t bytes = 0, lines = 0, words = 0;
  bool blank = true;  ///< neither a word nor white space in it: it separates and joins nothing
  bool word_first = false;  ///< begins within a word
  bool word_last = false;   ///< ends within one

  Text& operator+=(const Text& next) {
    bytes += next.bytes;
    lines += next.lines;
    words += next.words - (word_last && next.word_first ? 1 : 0);
    if (next.blank) return *this;
    if (blank) word_first = next.word_first;
    word_last = next.word_last;
    blank = false;
    return *this;
  }
};

/// One bit per byte of a block: is it a newline, white space, part of a word?
struct Masks {
  std::uint64_t newline = 0, space = 0, word = 0;
};

#ifdef __SSE2__
inline Masks masks(const unsigned char* p, Rule rule) {
  Masks m;
  for (int i = 0; i < 64; i += 16) {
    const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i));
    // Signed comparisons: bytes above 0x7f are negative, so neither space nor printable.
    const __m128i control = _mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8('\t' - 1)),
                                          _mm_cmplt_epi8(v, _mm_set1_epi8('\r' + 1)));
    const __m128i space = _mm_or_si128(control, _mm_cmpeq_epi8(v, _mm_set1_epi8(' ')));
    const __m128i print = _mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8(' ')),
                                        _mm_cmplt_epi8(v, _mm_set1_epi8(0x7f)));
    const auto bits = [i](__m128i x) { return std::uint64_t(unsigned(_mm_movemask_epi8(x))) << i; };
    m.newline |= bits(_mm_cmpeq_epi8(v, _mm_set1_epi8('\n')));
    m.space |= bits(space);
    m.word |= bits(print);
  }
  if (rule == Rule::nonspace) m.word = ~m.space;
  return m;
}
#else
inline Masks masks(const unsigned char* p, Rule rule) {
  Masks m;
  for (int i = 0; i < 64; ++i) {
    const unsigned c = p[i];
    m.newline |= std::uint64_t(c == '\n') << i;
    m.space |= std::uint64_t(c - '\t' <= '\r' - '\t' || c == ' ') << i;
    m.word |= std::uint64_t(c - '!' <= '~' - '!') << i;
  }
  if (rule == Rule::nonspace) m.word = ~m.space;
  return m;
}
#endif

/// Adds the `n` (1 to 64) low bytes of a block to `text`.
inline void add_block(Text& text, Masks m, unsigned n) {
  const std::uint64_t valid = n == 64 ? ~0ull : (1ull << n) - 1;
  m.newline &= valid;
  m.space &= valid;
  m.word &= valid;
  // "In a word" runs through the block like the carry of an addition: a word byte generates it, white space
  // kills it, anything else passes on what came in. So one addition finds it for all 64 bytes.
  const std::uint64_t a = ~m.space, b = m.word;
  const std::uint64_t before = (a + b + text.word_last) ^ a ^ b;  // bit i: in a word before byte i
  const std::uint64_t seen = m.word | m.space;
  text.lines += std::popcount(m.newline);
  text.words += std::popcount(m.word & ~before);
  text.bytes += n;
  if (seen == 0) return;
  if (text.blank) text.word_first = (m.word & (seen & -seen)) != 0;
  text.word_last = m.word > m.space;  // whose highest bit is higher
  text.blank = false;
}

/// Adds `size` bytes. `text` carries the state, so a file may come in pieces of any length.
inline void add_bytes(Text& text, const unsigned char* p, std::size_t size, Rule rule) {
  Text t = text;  // in registers: p could alias the members
  for (; size >= 64; p += 64, size -= 64) add_block(t, masks(p, rule), 64);
  if (size > 0) {
    unsigned char last[64] = {};
    std::memcpy(last, p, size);
    add_block(t, masks(last, rule), static_cast<unsigned>(size));
  }
  text = t;
}

}  // namespace wc
