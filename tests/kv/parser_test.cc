// Requests out of bytes.
// test: labels=smoke
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "feed.h"
#include "resp_parser.h"
#include "text.h"

namespace {

using kv::parser;

std::vector<std::string> words(const parser& p) { return {p.args().begin(), p.args().end()}; }

TEST(Parser, RequestsCutAnywhere) {
  const std::vector<std::vector<std::string>> requests = {
      {"SET", "key", std::string("a\r\nb\0c", 6)},
      {"PING"},
      {"x", ""},
      {"MGET", "1", "22", std::string(5000, 'z')}};
  std::string stream;
  for (const auto& r : requests) stream += kv_test::request(r) + "\r\n*0\r\n";
  stream += "get \"a b\" 'c'\n";
  for (std::size_t cut = 0; cut <= stream.size(); cut += cut < 200 ? 1 : 97) {
    parser p;
    std::vector<std::vector<std::string>> found;
    for (std::string_view part :
         {std::string_view(stream).substr(0, cut), std::string_view(stream).substr(cut)}) {
      p.feed(part);
      while (p.next() == parser::command) found.push_back(words(p));
    }
    auto expected = requests;
    expected.push_back({"get", "a b", "c"});
    ASSERT_EQ(found, expected) << "cut at " << cut;
    EXPECT_EQ(p.waiting(), 0u);
  }
}

TEST(Parser, OneByteAtATime) {
  parser p;
  int found = 0;
  const std::string stream =
      kv_test::request({"SET", "k", "v"}) + "PING\r\n" + kv_test::request({"GET", "k"});
  for (char c : stream) {
    p.feed({&c, 1});
    while (p.next() == parser::command) ++found;
  }
  EXPECT_EQ(found, 3);
}

TEST(Parser, SaysWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"*x\r\n", "invalid multibulk length"},
      {"*9999999999\r\n", "invalid multibulk length"},
      {"*1\r\n:3\r\n", "expected '$', got ':'"},
      {"*1\r\n\r\n", "expected '$', got ' '"},
      {"*1\r\n$-1\r\n", "invalid bulk length"},
      {"*1\r\n$99999999999\r\n", "invalid bulk length"},
      {"*1\r\n$1x\r\n", "invalid bulk length"},
      {"get \"a\n", "unbalanced quotes in request"},
      {"get \"a\"b\n", "unbalanced quotes in request"}};
  for (const auto& [in, error] : cases) {
    parser p;
    p.feed(in);
    EXPECT_EQ(p.next(), parser::broken) << in;
    EXPECT_EQ(p.error(), std::string("ERR Protocol error: ") + error);
    p.feed("*1\r\n$4\r\nPING\r\n");
    EXPECT_EQ(p.next(), parser::broken) << "for good";
  }
}

TEST(Parser, Limits) {
  const auto result = [](kv::parser_limits limits, const std::string& in) {
    parser p(limits);
    p.feed(in);
    return p.next();
  };
  EXPECT_EQ(result({.inline_bytes = 10}, "123456789 1"), parser::broken);
  EXPECT_EQ(result({.inline_bytes = 10}, "12345678\n"), parser::command);
  EXPECT_EQ(result({.inline_bytes = 10}, "*000000000000000"), parser::broken);
  EXPECT_EQ(result({.inline_bytes = 10}, "*1\r\n$000000000000000"), parser::broken);
  EXPECT_EQ(result({.bulk_bytes = 3}, "*1\r\n$4\r\n"), parser::broken);
  EXPECT_EQ(result({.args = 2}, "*3\r\n"), parser::broken);
  EXPECT_EQ(result({.request_bytes = 20}, "*2\r\n$10\r\n0123456789\r\n$10\r\n"), parser::broken);
}

// What a client says of the size of its argument costs it nothing; what it has sent is forgotten.
TEST(Parser, HoldsWhatHasCome) {
  parser p;
  p.feed("*2\r\n$3\r\nSET\r\n$536870912\r\n");
  EXPECT_EQ(p.next(), parser::need_more);
  EXPECT_GE(p.room(16).size(), 16u);
  EXPECT_LT(p.capacity(), 200'000u);

  parser q;
  std::string many = "*1000000\r\n";
  for (int i = 0; i < 1'000'000; ++i) many += "$0\r\n\r\n";
  q.feed(many);
  EXPECT_EQ(q.next(), parser::command);
  EXPECT_EQ(q.args().size(), 1'000'000u);
  EXPECT_EQ(q.next(), parser::need_more);
  static_cast<void>(q.room(2048));
  EXPECT_LT(q.capacity(), 200'000u);
}

TEST(Parser, RubbishNeitherCrashesNorHangs) {
  std::mt19937 random(1951);
  const std::string letters = "*$\r\n0123456789-abc\"'\\x \t";
  for (int round = 0; round < 3000; ++round) {
    parser p({.inline_bytes = 100, .bulk_bytes = 100, .args = 20, .request_bytes = 500});
    for (int part = 0; part < 10; ++part) {
      std::string s(random() % 30, ' ');
      for (char& c : s)
        c = random() % 4 == 0 ? static_cast<char>(random()) : letters[random() % letters.size()];
      p.feed(s);
      while (p.next() == parser::command) ASSERT_FALSE(p.args().empty());
    }
  }
}

TEST(Text, Patterns) {
  const std::pair<const char*, const char*> yes[] = {{"*", ""},
                                                     {"a*c", "abbbc"},
                                                     {"h?llo", "hello"},
                                                     {"h[ae]llo", "hallo"},
                                                     {"h[^e]llo", "hallo"},
                                                     {"[a-c]x", "bx"},
                                                     {"\\*", "*"},
                                                     {"**a", "xa"},
                                                     {"a*b*c", "a1b2b3c"},
                                                     {"[\\]]", "]"},
                                                     {"x[a", "xa"}};
  for (const auto& [p, t] : yes) EXPECT_TRUE(kv::matches(p, t)) << p << " " << t;
  const std::pair<const char*, const char*> no[] = {
      {"", "a"},        {"a*c", "abb"}, {"h?llo", "hllo"}, {"h[^e]llo", "hello"},
      {"[a-c]x", "dx"}, {"\\*", "a"},   {"a", "ab"},       {"?", ""}};
  for (const auto& [p, t] : no) EXPECT_FALSE(kv::matches(p, t)) << p << " " << t;
  EXPECT_FALSE(kv::matches("a*a*a*a*a*a*a*a*a*a*b", std::string(5000, 'a')))
      << "and in no exponential time";
}

TEST(Text, Numbers) {
  EXPECT_EQ(kv::to_integer("-9223372036854775808"), INT64_MIN);
  for (const char* s : {"", "-", "01", "+1", " 1", "1 ", "9223372036854775808", "1.0", "-0"})
    EXPECT_FALSE(kv::to_integer(s)) << s;
  EXPECT_EQ(kv::to_integer("0"), 0);
  EXPECT_EQ(kv::from_double(3), "3");
  EXPECT_EQ(kv::from_double(0.1), "0.1");
  EXPECT_EQ(kv::from_double(-HUGE_VAL), "-inf");
  EXPECT_EQ(kv::to_double("+inf"), HUGE_VAL);
  EXPECT_FALSE(kv::to_double("nan"));
}

}  // namespace
