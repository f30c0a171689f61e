// examples/wc/count.h against the state machine that it stands for, byte by byte.
#include "examples/wc/count.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace {

using wc::Rule;
using wc::Text;

struct Expected {
  std::uint64_t lines = 0, words = 0;
};

Expected one_by_one(const std::string& s, Rule rule) {
  Expected e;
  bool in_word = false;
  for (const unsigned char c : s) {
    if (c == '\n') ++e.lines;
    if (c == ' ' || (c >= '\t' && c <= '\r')) {
      in_word = false;
    } else if (rule == Rule::nonspace || (c >= '!' && c <= '~')) {
      e.words += in_word ? 0 : 1;
      in_word = true;
    }
  }
  return e;
}

Text count(const std::string& s, Rule rule) {
  Text t;
  wc::add_bytes(t, reinterpret_cast<const unsigned char*>(s.data()), s.size(), rule);
  return t;
}

void expect_same(const Text& t, const std::string& s, Rule rule) {
  const Expected e = one_by_one(s, rule);
  EXPECT_EQ(t.bytes, s.size());
  EXPECT_EQ(t.lines, e.lines);
  EXPECT_EQ(t.words, e.words) << testing::PrintToString(s);
}

/// Few kinds of bytes, each in runs, so that words and what holds them run over the ends of blocks.
std::string random_text(std::mt19937& random, std::size_t size) {
  static constexpr std::string_view kBytes("a~!\0\x7f\x80\xff \n\t\r\v\f\x08\x0e", 15);
  std::string s;
  while (s.size() < size)
    s.append(1 + (random() % 4 == 0 ? random() % 90 : 0), kBytes[random() % kBytes.size()]);
  s.resize(size);
  return s;
}

TEST(Count, EveryByteValueBetweenEveryNeighbour) {
  for (const Rule rule : {Rule::printable, Rule::nonspace}) {
    for (int c = 0; c < 256; ++c) {
      for (const char* around : {"a%b", " %b", "a% ", " % ", "%", "a%\x01%b", "\n%\n"}) {
        std::string s;
        for (const char* p = around; *p != 0; ++p) s += *p == '%' ? static_cast<char>(c) : *p;
        expect_same(count(s, rule), s, rule);
      }
    }
  }
}

TEST(Count, EveryLengthAroundABlock) {
  std::mt19937 random(1);
  for (std::size_t size = 0; size <= 200; ++size) {
    for (int i = 0; i < 20; ++i) {
      const std::string s = random_text(random, size);
      expect_same(count(s, Rule::printable), s, Rule::printable);
      expect_same(count(s, Rule::nonspace), s, Rule::nonspace);
    }
  }
}

TEST(Count, PiecesOfAFile) {
  std::mt19937 random(2);
  for (int i = 0; i < 500; ++i) {
    const std::string s = random_text(random, random() % 2000);
    Text t;
    for (std::size_t at = 0; at < s.size();) {
      const std::size_t n = std::min<std::size_t>(s.size() - at, 1 + random() % 150);
      wc::add_bytes(t, reinterpret_cast<const unsigned char*>(s.data()) + at, n, Rule::printable);
      at += n;
    }
    expect_same(t, s, Rule::printable);
  }
}

// Files put one behind the other: sums of counts, in any grouping, are the count of the whole.
TEST(Count, SumsAreCountsOfTheWhole) {
  std::mt19937 random(3);
  for (int i = 0; i < 2000; ++i) {
    std::string whole;
    std::vector<Text> parts;
    for (int k = random() % 8; k >= 0; --k) {
      const std::string s = random_text(random, random() % 4 == 0 ? random() % 200 : random() % 3);
      whole += s;
      parts.push_back(count(s, Rule::printable));
    }
    Text left;
    for (const Text& t : parts) left += t;
    Text right;
    for (auto it = parts.rbegin(); it != parts.rend(); ++it) {
      Text t = *it;
      t += right;
      right = t;
    }
    expect_same(left, whole, Rule::printable);
    expect_same(right, whole, Rule::printable);
  }
}

}  // namespace
