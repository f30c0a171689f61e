#include "base/print.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <limits>
#include <string>

namespace rt = gort::v0::rt;

namespace {

template <class... T>
std::string text(T... values) {
  char buf[512];
  rt::Printer p(buf, sizeof buf);
  (p << ... << values);
  EXPECT_EQ(p.size(), std::string(buf).size());
  return buf;
}

TEST(Printer, Numbers) {
  EXPECT_EQ(text(0, ' ', -1, ' ', 42u), "0 -1 42");
  EXPECT_EQ(text(std::numeric_limits<std::int64_t>::min()), "-9223372036854775808");
  EXPECT_EQ(text(std::numeric_limits<std::int64_t>::max()), "9223372036854775807");
  EXPECT_EQ(text(std::numeric_limits<std::uint64_t>::max()), "18446744073709551615");
  EXPECT_EQ(text(std::int8_t{-128}, ',', std::uint8_t{255}), "-128,255") << "bytes are numbers, not letters";
}

TEST(Printer, Hexadecimal) {
  EXPECT_EQ(text(rt::Hex{0}), "0x0");
  EXPECT_EQ(text(rt::Hex{0xdeadbeef}), "0xdeadbeef");
  EXPECT_EQ(text(rt::Hex{0x1f, 8}), "0x0000001f");
  EXPECT_EQ(text(rt::Hex{0x12345, 2}), "0x12345") << "digits is a minimum";
  EXPECT_EQ(text(rt::Hex{~0ULL}), "0xffffffffffffffff");
  EXPECT_EQ(text(reinterpret_cast<const void*>(0x1234)), "0x1234");
}

TEST(Printer, Strings) {
  EXPECT_EQ(text("a", 'b', ""), "ab");
  EXPECT_EQ(text(static_cast<const char*>(nullptr)), "(null)");
  char buf[16];
  rt::Printer p(buf, sizeof buf);
  p.text("a\0b", 3);
  EXPECT_EQ(p.size(), 3u);
  EXPECT_EQ(std::string(buf, 4), std::string("a\0b\0", 4));
}

TEST(Printer, WritesWholeLines) {
  int fds[2];
  ASSERT_EQ(::pipe2(fds, O_DIRECT | O_NONBLOCK), 0);  // a read gets what one write has written
  const std::string line(40, 'x'), longer(700, 'y');
  {
    rt::Printer p(fds[1]);
    for (int i = 0; i < 20; ++i) p << line.c_str() << '\n';
    p << longer.c_str() << '\n' << line.c_str() << '\n';
  }
  std::string all;
  char piece[4096];
  for (ssize_t n = 0; (n = ::read(fds[0], piece, sizeof piece)) > 0;) {
    all.append(piece, static_cast<std::size_t>(n));
    EXPECT_TRUE(all.back() == '\n' || all.back() == 'y') << "cut: " << std::string(piece, static_cast<std::size_t>(n));
  }
  std::string expected;
  for (int i = 0; i < 20; ++i) expected += line + '\n';
  EXPECT_EQ(all, expected + longer + '\n' + line + '\n');
  ::close(fds[0]);
  ::close(fds[1]);
}

TEST(Printer, BufferIsCutAndAlwaysTerminated) {
  char buf[8] = "xxxxxxx";
  rt::Printer p(buf, 5);
  EXPECT_STREQ(buf, "") << "terminated before anything is printed";
  p << "123456789";
  EXPECT_STREQ(buf, "1234");
  EXPECT_EQ(buf[5], 'x') << "not a byte behind its end";
  EXPECT_EQ(p.size(), 9u) << "what would have been needed";
  char one[2] = {'x', 'x'};
  rt::Printer(one, 1) << "abc";
  EXPECT_EQ(one[0], '\0');
  EXPECT_EQ(one[1], 'x');
  rt::Printer(one, 0) << "abc";
  EXPECT_EQ(one[1], 'x');
}

TEST(Printer, DescriptorGetsEverythingInOrder) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  std::string expected;
  {
    rt::Printer p(fds[1]);
    for (int i = 0; i < 500; ++i) {  // several buffers full, less than a pipe holds
      p << i << ',';
      expected += std::to_string(i) + ',';
    }
    ASSERT_EQ(p.size(), expected.size());
  }  // the rest is flushed here
  close(fds[1]);
  std::string got;
  char buf[512];
  for (ssize_t n; (n = read(fds[0], buf, sizeof buf)) > 0;) got.append(buf, std::size_t(n));
  close(fds[0]);
  EXPECT_EQ(got, expected);
}

TEST(Printer, FlushWritesAtOnce) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  rt::Printer p(fds[1]);
  p << "now";
  p.flush();
  char buf[8] = {};
  EXPECT_EQ(read(fds[0], buf, sizeof buf), 3);
  EXPECT_STREQ(buf, "now");
  close(fds[0]);
  close(fds[1]);
}

}  // namespace
