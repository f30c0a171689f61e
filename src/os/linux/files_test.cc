#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include "os/linux/line_reader.h"
#include "os/linux/parse.h"
#include "os/linux/test_support.h"
#include "os/os.h"

namespace {

using namespace gort::os;

struct TempFile {
  explicit TempFile(const std::string& text) {
    int fd = mkstemp(path);
    EXPECT_GE(fd, 0);
    write_all(fd, text.data(), text.size());
    close(fd);
  }
  ~TempFile() { unlink(path); }
  char path[32] = "/tmp/gort_files_XXXXXX";
};

TEST(OsFiles, ReadsWholeCutAndEmptyFiles) {
  TempFile file("hello");
  char buf[16];
  EXPECT_EQ(read_file(file.path, buf, sizeof buf), 5);
  EXPECT_STREQ(buf, "hello");
  EXPECT_EQ(read_file(file.path, buf, 6), 5);
  EXPECT_STREQ(buf, "hello");
  EXPECT_EQ(read_file(file.path, buf, 4), 3);
  EXPECT_STREQ(buf, "hel");
  EXPECT_EQ(read_file(file.path, buf, 1), 0);
  EXPECT_STREQ(buf, "");
  EXPECT_EQ(read_file(file.path, buf, 0), -EINVAL);
  TempFile empty("");
  EXPECT_EQ(read_file(empty.path, buf, sizeof buf), 0);
}

TEST(OsFiles, ReportsErrors) {
  char buf[16];
  EXPECT_EQ(read_file("/nonexistent/x", buf, sizeof buf), -ENOENT);
  EXPECT_EQ(read_file("/tmp", buf, sizeof buf), -EISDIR);
}

TEST(OsFiles, WritesEverythingToASlowReader) {
  for (int flags : {0, O_NONBLOCK}) {
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    fcntl(ends[1], F_SETFL, flags);
    std::string sent(1 << 20, 'x');
    for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>('a' + i % 23);
    std::string received;
    std::thread reader([&] {
      char buf[5000];
      ssize_t r;
      while ((r = read(ends[0], buf, sizeof buf)) > 0) received.append(buf, static_cast<size_t>(r));
    });
    write_all(ends[1], sent.data(), sent.size());
    close(ends[1]);
    reader.join();
    close(ends[0]);
    EXPECT_EQ(received, sent) << flags;
  }
}

TEST(OsFiles, GivesUpOnAClosedDescriptor) {
  write_all(-1, "abc", 3);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  close(ends[0]);
  signal(SIGPIPE, SIG_IGN);
  write_all(ends[1], "abc", 3);
  signal(SIGPIPE, SIG_DFL);
  close(ends[1]);
}

// A warning on an error output that nobody has open any more does not end the program.
TEST(OsFiles, AnEndWithoutAReaderIsNoSignal) {
  EXPECT_EQ(gort::test::in_child([] {
              signal(SIGPIPE, SIG_DFL);
              int ends[2];
              if (pipe(ends) != 0) return 1;
              close(ends[0]);
              write_all(ends[1], "abc", 3);
              sigset_t set;
              if (sigpending(&set) != 0 || sigismember(&set, SIGPIPE) != 0) return 2;
              if (sigprocmask(SIG_BLOCK, nullptr, &set) != 0 || sigismember(&set, SIGPIPE) != 0) return 3;
              // One that somebody else has sent, and keeps blocked, stays.
              sigemptyset(&set);
              sigaddset(&set, SIGPIPE);
              sigprocmask(SIG_BLOCK, &set, nullptr);
              raise(SIGPIPE);
              write_all(ends[1], "abc", 3);
              if (sigpending(&set) != 0 || sigismember(&set, SIGPIPE) != 1) return 4;
              return 0;
            }),
            0);
}

// Whoever has stopped to read stops nobody for longer than a second, whatever is written.
TEST(OsFiles, DoesNotWaitForSomebodyWhoDoesNotRead) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  ASSERT_GT(fcntl(ends[1], F_SETPIPE_SZ, 4096), 0);
  const std::string much(1 << 20, 'x');
  const std::int64_t begin = nanotime();
  for (int i = 0; i < 100; ++i) write_all(ends[1], much.data(), much.size());
  EXPECT_LT(nanotime() - begin, 60'000'000'000) << "a second in all, not one for each";
  // What comes when there is room again is written.
  std::string received(1 << 16, '\0');
  ASSERT_GT(read(ends[0], received.data(), received.size()), 0);
  write_all(ends[1], "again", 5);
  ASSERT_EQ(read(ends[0], received.data(), received.size()), 5);
  close(ends[0]);
  close(ends[1]);
}

TEST(OsFiles, WhatIsClosedOfTheStandardDescriptorsIsOpened) {
  EXPECT_EXIT(
      {
        ::close(0);
        ::close(2);
        fill_standard_fds();
        const int next = ::open("/dev/zero", O_RDONLY);
        char c = 'x';
        const bool ok = next > 2 && ::read(0, &c, 1) == 0 && ::write(2, &c, 1) == 1 && (::fcntl(2, F_GETFD) & FD_CLOEXEC) == 0;
        std::_Exit(ok ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST(OsFiles, LinesOfEveryLength) {
  const std::string around_chunk(1023, 'a');
  const std::string long_line(5000, 'b');
  TempFile file("one\n\n" + around_chunk + "\n" + long_line + "\nlast");
  LineReader lines(file.path);
  EXPECT_STREQ(lines.next(), "one");
  EXPECT_STREQ(lines.next(), "");
  EXPECT_EQ(lines.next(), around_chunk);
  EXPECT_EQ(lines.next(), long_line.substr(0, 2047));
  EXPECT_STREQ(lines.next(), "last");
  EXPECT_EQ(lines.next(), nullptr);
  EXPECT_EQ(lines.next(), nullptr);
  LineReader none("/nonexistent/x");
  EXPECT_EQ(none.next(), nullptr);
}

TEST(OsFiles, NoDescriptorStaysOpen) {
  const int first_free = dup(0);
  close(first_free);
  char buf[16];
  for (int i = 0; i < 100; ++i) {
    read_file("/proc/self/stat", buf, sizeof buf);
    LineReader lines("/proc/self/stat");
    lines.next();
  }
  const int now = dup(0);
  EXPECT_EQ(now, first_free);
  close(now);
}

TEST(OsParse, Numbers) {
  auto parse = [](const char* s) {
    std::int64_t v = -77;
    parse_int(&s, &v);
    return v;
  };
  EXPECT_EQ(parse("0"), 0);
  EXPECT_EQ(parse("-1 x"), -1);
  EXPECT_EQ(parse("9223372036854775807"), INT64_MAX);
  EXPECT_EQ(parse("9223372036854775808"), -77);
  EXPECT_EQ(parse("max"), -77);
  EXPECT_EQ(parse(""), -77);
  EXPECT_EQ(parse("-"), -77);
}

}  // namespace
