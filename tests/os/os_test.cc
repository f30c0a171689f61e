// Files, pipes, processes, signals, the environment.
// test: timeout=120
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>

#include "gort/os.h"
#include "sched/sched.h"
#include "tests/support/runtime_fixture.h"

using namespace std::chrono_literals;
using gort::test::yield_until;

namespace {

class Outside : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(Outside);

std::string temporary(const char* name) { return "/tmp/gort_os_" + std::to_string(::getpid()) + name; }

TEST_P(Outside, Files) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const std::string path = temporary(".txt");
    EXPECT_EQ(gort::os::read_file(path).error(), std::errc::no_such_file_or_directory);
    {
      gort::os::file f = gort::os::file::open(path, gort::os::open_mode::create_new).value();
      ASSERT_TRUE(f.write_all("hello"));
      ASSERT_TRUE(f.write_at("J", 0));
      ASSERT_TRUE(f.sync());
      EXPECT_EQ(f.size().value(), 5u);
      ASSERT_TRUE(f.close());
      ASSERT_TRUE(f.close());
      EXPECT_EQ(f.write_all("x").error(), std::errc::bad_file_descriptor);
    }
    EXPECT_EQ(gort::os::file::open(path, gort::os::open_mode::create_new).error(), std::errc::file_exists);
    EXPECT_EQ(gort::os::read_file(path).value(), "Jello");
    ASSERT_TRUE(gort::os::replace_file(path, "other"));
    gort::os::file f = gort::os::file::open(path).value();
    char two[2];
    EXPECT_EQ(f.read_at(two, 3).value(), 2u);
    EXPECT_EQ(std::string(two, 2), "er");
    {
      gort::with_cancel c;
      c.cancel();
      EXPECT_EQ(f.read_some(two).error(), std::errc::operation_canceled);
    }
    ::unlink(path.c_str());
  });
}

// Several replace one file at the same time: it is one of theirs, in full, at every moment.
TEST_P(Outside, ReplacedByManyAtOnce) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const std::string dir = temporary(".d"), path = dir + "/file";
    std::filesystem::create_directory(dir);
    const auto contents = [](int i) { return std::string(static_cast<std::size_t>(i + 1) * 100'000, static_cast<char>('a' + i)); };
    const auto whole = [&](const std::string& text) {
      return !text.empty() && text == contents(text[0] - 'a');
    };
    ASSERT_TRUE(gort::os::replace_file(path, contents(0)));
    {
      gort::scope writers;
      for (int i = 0; i < 6; ++i) {
        writers.go([&, i] {
          for (int n = 0; n < 20; ++n) EXPECT_TRUE(gort::os::replace_file(path, contents(i)));
        });
      }
      writers.go([&] {
        for (int n = 0; n < 50; ++n) EXPECT_TRUE(whole(gort::os::read_file(path).value()));
      });
      writers.join();
    }
    EXPECT_TRUE(whole(gort::os::read_file(path).value()));
    // What another process has left behind is neither in the way nor taken away.
    for (int i = 0; i < 1000; ++i) {
      const std::string name = path + ".new." + std::to_string(::getpid()) + "." + std::to_string(i);
      ASSERT_TRUE(gort::os::file::open(name, gort::os::open_mode::create_new)) << "left behind: " << name;
    }
    EXPECT_TRUE(gort::os::replace_file(path, "x"));
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir), std::filesystem::directory_iterator()), 1001);
    std::filesystem::remove_all(dir);
  });
}

// A thread that opens a FIFO without a writer gets signals whose handler was installed without SA_RESTART.
TEST_P(Outside, OpeningIsNotInterrupted) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const std::string path = temporary(".fifo");
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
    static std::atomic<int> signals;
    signals = 0;
    struct sigaction act {}, before {};
    act.sa_handler = [](int) { ++signals; };
    ASSERT_EQ(::sigaction(SIGUSR1, &act, &before), 0);
    std::atomic<bool> opening = false;
    std::atomic<pthread_t> thread{};
    auto opens = gort::spawn([&] {
      gort::os_thread_lock mine;
      thread = ::pthread_self();
      opening = true;
      return gort::os::file::open(path);
    });
    ASSERT_TRUE(yield_until([&] { return opening.load(); }));
    for (int i = 0; i < 20; ++i) {
      gort::this_goroutine::sleep_for(5ms);
      ::pthread_kill(thread, SIGUSR1);
    }
    ASSERT_TRUE(yield_until([&] { return signals > 0; }));
    const int w = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    auto f = opens.get();
    EXPECT_TRUE(f) << f.error().message();
    ::close(w);
    ::sigaction(SIGUSR1, &before, nullptr);
    ::unlink(path.c_str());
  });
}

TEST_P(Outside, Pipes) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto [r, w] = gort::os::pipe().value();
    auto reader = gort::spawn([&r] {
      char room[64];
      std::string all;
      while (const std::size_t n = r.read_some(room).value()) all.append(room, n);
      return all;
    });
    std::string text;
    for (int i = 0; i < 20'000; ++i) text += std::to_string(i);
    ASSERT_TRUE(w.write_all(text));
    w.close();
    EXPECT_EQ(reader.get(), text);
    auto [r2, w2] = gort::os::pipe().value();
    r2.close();
    EXPECT_EQ(w2.write_all("x").error(), std::errc::broken_pipe);
  });
}

TEST_P(Outside, Processes) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const auto echo = gort::os::run({.argv = {"sh", "-c", "echo out; echo err >&2; exit 3"}});
    ASSERT_TRUE(echo) << echo.error().message();
    EXPECT_EQ(echo->out, "out\n");
    EXPECT_EQ(echo->err, "err\n");
    EXPECT_EQ(echo->status.code, 3);
    EXPECT_EQ(gort::os::run({.argv = {"pwd"}, .dir = "/"})->out, "/\n");
    EXPECT_EQ(gort::os::run({.argv = {"/bin/sh", "-c", "echo $X"}, .env = {{"X=y"}}})->out, "y\n");
    EXPECT_EQ(gort::os::run({.argv = {"/no/such/program"}}).error(), std::errc::no_such_file_or_directory);

    auto sort = gort::os::start({.argv = {"sort"}, .in = gort::os::stdio::pipe, .out = gort::os::stdio::pipe}).value();
    ASSERT_TRUE(sort.in.write_all("b\na\n"));
    sort.in.close();
    char room[64];
    EXPECT_EQ(sort.out.read_full(room).value(), 4u);
    EXPECT_EQ(std::string(room, 4), "a\nb\n");
    EXPECT_TRUE(sort.wait()->ok());
    EXPECT_EQ(sort.wait().error(), std::errc::bad_file_descriptor);
    EXPECT_EQ(sort.kill(SIGTERM).error(), std::errc::no_such_process);

    auto slow = gort::os::start({.argv = {"sleep", "1000"}}).value();
    ASSERT_TRUE(slow.kill(SIGTERM));
    EXPECT_EQ(slow.wait()->signal, SIGTERM);
    {
      auto killed = gort::os::start({.argv = {"sleep", "1000"}}).value();
      gort::with_timeout limit(20ms);
      EXPECT_EQ(killed.wait().error(), std::errc::operation_canceled);
      EXPECT_EQ(::kill(killed.pid(), 0), -1);  // gone, and waited for
    }
    auto dropped = gort::os::start({.argv = {"sleep", "1000"}}).value();
    const int pid = dropped.pid();
    dropped = {};
    EXPECT_EQ(::kill(pid, 0), -1);
  });
}

// Not even descriptors that somebody has opened without close-on-exec.
TEST_P(Outside, ChildrenHaveNoDescriptorsButTheStandardOnes) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const int open = ::open("/dev/null", O_RDONLY);
    const auto r = gort::os::run({.argv = {"sh", "-c", "exec ls /proc/self/fd"}});
    ASSERT_TRUE(r) << r.error().message();
    EXPECT_EQ(r->out, "0\n1\n2\n3\n") << "3 is the directory that ls reads";
    ::close(open);
  });
}

// Nobody could write to it.
TEST_P(Outside, RunGivesAPipeThatHasEnded) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const gort::with_timeout limit(10s);
    const auto r = gort::os::run({.argv = {"cat"}, .in = gort::os::stdio::pipe});
    ASSERT_TRUE(r) << r.error().message();
    EXPECT_EQ(r->out, "");
  });
}

// One waits, another kills: until it is gone, and never somebody else.
TEST_P(Outside, KilledWhileAnotherWaits) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (int i = 0; i < 20; ++i) {
      auto p = gort::os::start({.argv = {"true"}}).value();
      auto kills = gort::spawn([&] {
        while (p.kill(0)) gort::this_goroutine::yield();
      });
      EXPECT_TRUE(p.wait()->ok());
      kills.get();
      EXPECT_EQ(p.wait().error(), std::errc::bad_file_descriptor);
    }
  });
}

TEST_P(Outside, Signals) {
  GORT_TEST_NEEDS_SIGNALS();  // TSan may keep one back for as long as its thread sleeps
  GORT_TEST_START(GetParam());
  gort::run([] {
    EXPECT_EQ(gort::os::signals::on({SIGKILL}).error(), std::errc::invalid_argument);
    EXPECT_EQ(gort::os::signals::on({SIGURG}).error(), std::errc::invalid_argument);
    {
      gort::os::signals one = gort::os::signals::on({SIGUSR1, SIGUSR2}).value();
      gort::os::signals two = gort::os::signals::on({SIGUSR1}).value();
      for (int i = 0; i < 20; ++i) {
        ::kill(::getpid(), SIGUSR1);
        EXPECT_EQ(one.recv(), SIGUSR1);
        EXPECT_EQ(two.recv(), SIGUSR1);
        ::kill(::getpid(), SIGUSR2);
        EXPECT_EQ(one.recv(), SIGUSR2);
      }
      const gort::chan<int> c = two.channel();
      two = {};
      EXPECT_EQ(gort::chan<int>(c).recv(), std::nullopt);
      ::kill(::getpid(), SIGUSR1);
      EXPECT_EQ(one.recv(), SIGUSR1);
    }
    struct sigaction now {};
    ::sigaction(SIGUSR1, nullptr, &now);
    EXPECT_EQ(now.sa_handler, SIG_DFL);
  });
}

// It belongs to the object, not to the context in which that was made.
TEST_P(Outside, SignalsOutlastTheContextOfWhoAskedForThem) {
  GORT_TEST_NEEDS_SIGNALS();
  GORT_TEST_START(GetParam());
  gort::chan<int> left;
  gort::os::signals lasts;
  gort::run([&] {
    gort::os::signals s;
    {
      gort::with_timeout limit(10s);
      s = gort::os::signals::on({SIGUSR1}).value();
    }
    EXPECT_EQ(s.channel().try_recv().error(), gort::chan_status::empty);
    ::kill(::getpid(), SIGUSR1);
    EXPECT_EQ(s.recv(), SIGUSR1);
    gort::scope one;
    one.go([&] { lasts = gort::os::signals::on({SIGUSR2}).value(); });
    one.join();
    left = lasts.channel();
    EXPECT_EQ(left.try_recv().error(), gort::chan_status::empty);
  });
  EXPECT_EQ(left.try_recv().error(), gort::chan_status::closed) << "the run has ended";
}

// A pipe that was made while somebody received SIGPIPE: its default action must not come back.
TEST_P(Outside, PipesOutlastWhoReceivesSigpipe) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::os::signals s = gort::os::signals::on({SIGPIPE}).value();
    auto [r, w] = gort::os::pipe().value();
    r.close();
    s = {};
    EXPECT_EQ(w.write_all("x").error(), std::errc::broken_pipe);
  });
}

// The kernel keeps no status then, and a quick child is gone before anybody can look for it.
TEST_P(Outside, ChildrenOfWhoIgnoresSigchld) {
  GORT_TEST_START(GetParam());
  ::signal(SIGCHLD, SIG_IGN);
  gort::run([] {
    for (int i = 0; i < 50; ++i) {
      auto p = gort::os::start({.argv = {"true"}});
      ASSERT_TRUE(p) << i << ": " << p.error().message();
      EXPECT_EQ(p->wait().error(), std::errc::no_child_process);
      EXPECT_EQ(p->wait().error(), std::errc::bad_file_descriptor);
      EXPECT_EQ(p->kill(SIGTERM).error(), std::errc::no_such_process);
    }
  });
  ::signal(SIGCHLD, SIG_DFL);
}

// Pipes get the numbers of the standard descriptors then, and the child's others are put in their place.
TEST_P(Outside, ChildrenOfWhoHasClosedItsStandardDescriptors) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const int in = ::dup(0), out = ::dup(1);
    ::close(0);
    ::close(1);
    using gort::os::stdio;
    auto p = gort::os::start({.argv = {"sh", "-c", "echo err >&2"}, .in = stdio::null, .out = stdio::null, .err = stdio::pipe});
    char room[16] = {};
    const auto n = p ? p->err.read_full(room) : gort::net::result<std::size_t>(0);
    const bool ok = p && p->wait()->ok();
    ::dup2(in, 0);
    ::dup2(out, 1);
    ::close(in);
    ::close(out);
    EXPECT_TRUE(ok);
    EXPECT_EQ(n.value(), 4u);
    EXPECT_STREQ(room, "err\n");
  });
}

TEST_P(Outside, Environment) {
  EXPECT_EQ(gort::os::env("GORT_TEST_X"), std::nullopt);
  ASSERT_TRUE(gort::os::set_env("GORT_TEST_X", "y"));
  EXPECT_EQ(gort::os::env("GORT_TEST_X"), "y");
  const auto all = gort::os::environment();
  EXPECT_NE(std::find(all.begin(), all.end(), "GORT_TEST_X=y"), all.end());
  ASSERT_TRUE(gort::os::unset_env("GORT_TEST_X"));
  EXPECT_EQ(gort::os::env("GORT_TEST_X"), std::nullopt);
  EXPECT_EQ(gort::os::set_env("a=b", "").error(), std::errc::invalid_argument);
}

// The system's strings end at their first zero: "a\0b" must not become "a" on the way there.
TEST_P(Outside, StringsWithAZeroInThemAreRefused) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const auto invalid = std::errc::invalid_argument;
    const std::string path = temporary(".zero"), longer = path + std::string("\0.txt", 5);
    EXPECT_EQ(gort::os::file::open(longer, gort::os::open_mode::write).error(), invalid);
    EXPECT_EQ(gort::os::replace_file(longer, "x").error(), invalid);
    EXPECT_NE(::access(path.c_str(), F_OK), 0);
    ASSERT_TRUE(gort::os::replace_file(path, "x"));
    EXPECT_EQ(gort::os::read_file(longer).error(), invalid);
    ::unlink(path.c_str());

    const std::string two("a\0b", 3), root("/\0b", 3);
    EXPECT_EQ(gort::os::run({.argv = {"echo", two}}).error(), invalid);
    EXPECT_EQ(gort::os::run({.argv = {std::string("true\0", 5)}}).error(), invalid);
    EXPECT_EQ(gort::os::run({.argv = {"true"}, .dir = root}).error(), invalid);
    EXPECT_EQ(gort::os::run({.argv = {"true"}, .env = std::vector<std::string>{"A=" + two}}).error(), invalid);

    EXPECT_EQ(gort::os::set_env("GORT_TEST_X", two).error(), invalid);
    EXPECT_EQ(gort::os::env("GORT_TEST_X"), std::nullopt);
    EXPECT_EQ(gort::os::env(std::string("PATH\0", 5)), std::nullopt);
  });
}

}  // namespace
