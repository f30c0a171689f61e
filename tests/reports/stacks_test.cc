// stack(), all_stacks(), schedtrace.
#include <gort/debug.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "debug/symbols.h"
#include "os/linux/test_support.h"
#include "sched/sched.h"
#include "tests/reports/shop.h"
#include "tests/reports/subject.h"

namespace shop {

inline constexpr int kAskLine = __LINE__ + 3;
template <class T>
GORT_TEST_APART std::string ask(T) {
  std::string s = gort::stack();
  GORT_TEST_NO_TAIL_CALL();
  return s;
}

GORT_TEST_APART void hog(std::atomic<int>* state) {
  *state = 1;
  while (*state != 2) GORT_TEST_NO_TAIL_CALL();
}

}  // namespace shop

namespace {

using gort::test::Outcome;
using gort::test::ready;
using gort::test::run_subject;

TEST(Stack, OfTheCallingGoroutine) {
  const std::string s = gort::run([] { return shop::ask(1.5); });
  EXPECT_TRUE(std::regex_search(s, std::regex("^goroutine [0-9]+ \\[running, name \"main\"\\]:\n"))) << s;
  EXPECT_NE(s.find("\nshop::ask<double>()\n"), std::string::npos) << s;
  if (gort::rt::symbols_have_all_lines()) {
    EXPECT_NE(s.find("stacks_test.cc:" + std::to_string(shop::kAskLine)), std::string::npos) << s;
  }
}

SUBJECT(no_room_for_stacks) {
  gort::run([] {
    for (int i = 0; i < 1000; ++i) gort::go([] { shop::worker(); });
    const rlimit most{static_cast<rlim_t>(gort::test::status_kib("VmSize") + 1024) * 1024, RLIM_INFINITY};
    if (setrlimit(RLIMIT_AS, &most) != 0) _exit(51);
    try {
      _exit(gort::all_stacks().empty() ? 52 : 53);
    } catch (const std::bad_alloc&) {
      _exit(50);
    }
  });
}
TEST(AllStacks, WithoutMemoryIsAnException) {
#if defined(GORT_TEST_SANITIZED)
  GTEST_SKIP() << "sanitizers live on address space";
#endif
  EXPECT_EQ(run_subject("no_room_for_stacks").exit_code, 50);
}

TEST(Stack, OfAForeignThread) {
  std::string s;
  std::thread([&] { s = shop::ask('c'); }).join();
  EXPECT_TRUE(std::regex_search(s, std::regex("^thread [0-9]+ \\[running\\]:\n"))) << s;
  EXPECT_NE(s.find("\nshop::ask<char>()\n"), std::string::npos) << s;
}

TEST(Stack, NamesTheCreator) {
  std::string s;
  const auto id = gort::run([&] {
    auto t = gort::spawn([&] { s = shop::ask(1L); });
    t.join();
    return gort::this_goroutine::id();
  });
  EXPECT_NE(s.find(" in goroutine " + std::to_string(id) + "\n"), std::string::npos) << s;
}

/// Ids of the goroutines that `text` lists.
std::set<unsigned long> listed(const std::string& text) {
  std::set<unsigned long> ids;
  const std::regex header("(^|\n)goroutine ([0-9]+) \\[");
  for (std::sregex_iterator it(text.begin(), text.end(), header), end; it != end; ++it) ids.insert(std::stoul((*it)[2]));
  return ids;
}

// Acceptance scenario 44.
TEST(AllStacks, ListsEveryGoroutineOnce) {
  constexpr int kParked = 50;
  gort::run({.grace = std::chrono::seconds(0), .quiet = true}, [] {
    std::atomic<int> here{0};
    std::vector<unsigned long> ids(kParked);
    for (int i = 0; i < kParked; ++i) {
      gort::go([&, i] {
        ids[static_cast<std::size_t>(i)] = gort::this_goroutine::id();
        ++here;
        shop::worker();
      });
    }
    while (here != kParked) gort::this_goroutine::yield();
    // The last one may still be on its way into its park.
    std::string text = gort::all_stacks();
    const std::set<unsigned long> all = listed(text);
    EXPECT_EQ(all.size(), static_cast<std::size_t>(gort::num_goroutine()));
    EXPECT_EQ(all.size(), kParked + 1u);
    for (const unsigned long id : ids) EXPECT_TRUE(all.contains(id)) << id;
    EXPECT_EQ(text.find("goroutine " + std::to_string(gort::this_goroutine::id()) + " [running"), 0u) << "the caller first";
    EXPECT_NE(text.find(" [semacquire]:\nshop::wait_for_ever()\n"), std::string::npos) << text;
  });
}

TEST(AllStacks, SaysForHowManyMinutesAGoroutineHasWaited) {
  gort::run({.grace = std::chrono::seconds(0), .quiet = true}, [] {
    gort::semaphore never(0);
    std::atomic<gort::rt::G*> g{nullptr};
    auto t = gort::spawn([&] {
      g = gort::rt::current_g();
      never.acquire();
    });
    std::string text;
    do {
      gort::this_goroutine::yield();
      text = gort::all_stacks();
    } while (text.find("[semacquire]:") == std::string::npos);
    EXPECT_EQ(text.find("minute"), std::string::npos) << text;
    auto& since = g.load()->waiting_since;
    since.store(since.load() - 185);
    EXPECT_NE(gort::all_stacks().find("[semacquire, 3 minutes]:"), std::string::npos) << gort::all_stacks();
    never.release();
    t.join();
  });
}

TEST(AllStacks, ShowsWhereARunningGoroutineIs) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "TSan keeps signals back until the next system call";
#endif
  const Outcome o = run_subject("ask_hog", {.env = {"GORT_MAXPROCS=2"}});
  EXPECT_EQ(o.exit_code, 0) << o.err;
  // Perhaps in the middle of an atomic's load, inlined.
  EXPECT_TRUE(std::regex_search(o.out, std::regex("goroutine [0-9]+ \\[running, name \"hog\"\\]:\n(std::.*\n\t.*\n)*shop::hog\\(\\)"))) << o.out;
}
SUBJECT(ask_hog) {
  gort::run([] {
    std::atomic<int> state{0};
    gort::go({.name = "hog"}, [&] { shop::hog(&state); });
    while (state != 1) gort::this_goroutine::yield();
    // Its thread may have to wait for a processor longer than we wait for it.
    std::string s;
    do s = gort::all_stacks();
    while (s.find("shop::hog()") == std::string::npos);
    const ssize_t n = write(1, s.data(), s.size());
    static_cast<void>(n);
    state = 2;
    while (gort::num_goroutine() != 1) gort::this_goroutine::yield();
  });
}

// Walks of goroutines that come, go, park and run meanwhile: never a fault, never a foreign stack.
TEST(AllStacks, OfABusyProgram) {
  const Outcome o = run_subject("ask_busy", {.env = {"GORT_MAXPROCS=2"}});
  EXPECT_EQ(o.exit_code, 0) << o.err;
}
SUBJECT(ask_busy) {
  gort::run([] {
    std::atomic<bool> stop{false};
    for (int i = 0; i < 20; ++i) {
      gort::go([&] {
        while (!stop) {
          gort::spawn([] { gort::this_goroutine::yield(); }).join();
          gort::this_goroutine::yield();
        }
      });
    }
    for (int i = 0; i < 30; ++i) {
      if (gort::all_stacks().find("goroutine ") != 0) _exit(1);
      gort::this_goroutine::yield();
    }
    stop = true;
    while (gort::num_goroutine() != 1) gort::this_goroutine::yield();
  });
}

// Two goroutines that ask each other at the same time both get their answers (acceptance scenario 10).
TEST(AllStacks, AskedByEverybodyAtOnce) {
  const Outcome o = run_subject("ask_each_other", {.env = {"GORT_MAXPROCS=4"}});
  EXPECT_EQ(o.exit_code, 0) << o.err;
}
SUBJECT(ask_each_other) {
  gort::run([] {
    std::vector<gort::task<void>> all;
    for (int i = 0; i < 4; ++i) {
      all.push_back(gort::spawn([] {
        for (int n = 0; n < 20; ++n) gort::all_stacks();
      }));
    }
    for (auto& t : all) t.join();
  });
}

// ---- schedtrace ---------------------------------------------------------------------------------

SUBJECT(traced) {
  gort::run([] {
    for (;;) {
      gort::this_goroutine::yield();
      static const auto end = gort::os::nanotime() + 400'000'000;
      if (gort::os::nanotime() > end) break;
    }
  });
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(SchedTrace, OneLineEachTime) {
  const Outcome o = run_subject("traced", {.env = {"GORT_MAXPROCS=2", "GORT_DEBUG=schedtrace=50"}});
  const std::regex line(
      R"(SCHED \d+ms: gomaxprocs=2 idleprocs=\d+ threads=\d+ spinningthreads=\d+ needspinning=[01] idlethreads=\d+ )"
      R"(runqueue=\d+ \[ \d+ \d+ \] schedticks=\[ \d+ \d+ \])");
  const auto lines = lines_of(o.err);
  EXPECT_GE(lines.size(), 3u) << o.err;
  for (const std::string& l : lines) EXPECT_TRUE(std::regex_match(l, line)) << l;
}

TEST(SchedTrace, Detail) {
  const Outcome o = run_subject("traced", {.env = {"GORT_MAXPROCS=2", "GORT_DEBUG=schedtrace=100,scheddetail=1"}});
  const std::regex line(
      R"(SCHED \d+ms: gomaxprocs=2 .* sysmonwait=(true|false))"
      R"(|  P[01]: status=\d schedtick=\d+ syscalltick=\d+ m=(nil|\d+) runqsize=\d+ gfreecnt=\d+ timerslen=0)"
      R"(|  M\d+: p=(nil|\d+) curg=(nil|\d+) mallocing=0 throwing=0 preemptoff= locks=0 dying=0 spinning=(true|false) blocked=(true|false) lockedg=(nil|\d+))"
      R"(|  G\d+: status=\d\([^)]*\) m=(nil|\d+) lockedm=(nil|\d+))");
  const auto lines = lines_of(o.err);
  EXPECT_GE(lines.size(), 6u) << o.err;
  for (const std::string& l : lines) EXPECT_TRUE(std::regex_match(l, line)) << l;
}

}  // namespace
