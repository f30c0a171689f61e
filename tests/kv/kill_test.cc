// gort-kv killed in the middle of saves: what was saved is there when it starts again.
// test: timeout=240
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "program.h"
#include "tests/support/runtime_fixture.h"

namespace {

using kv_test::program;

/// kill -9 at a random moment of a save, `rounds` times over the same file.
void kill_in_saves(int rounds) {
  const kv_test::temporary dir;
  constexpr int kKeys = 300;
  std::mt19937 random(7);
  int interrupted = 0, loaded = -1;
  for (int round = 0; round < rounds; ++round) {
    program p({"--dir", dir.path});
    ASSERT_TRUE(p.ready()) << p.output();
    // Everything that a completed save had is there, and from one round throughout.
    if (loaded >= 0) {
      const int now = std::stoi(p("get round"));
      ASSERT_TRUE(now == loaded || now == loaded + 1) << now << " after " << loaded;
      for (int i = 0; i < kKeys; i += 17) {
        ASSERT_EQ(p("get key" + std::to_string(i)), std::to_string(now) + "-" + std::to_string(i));
      }
      ASSERT_EQ(p("dbsize"), std::to_string(kKeys + 1));
      loaded = now;
    }
    p("multi");
    p("set round " + std::to_string(loaded + 1));
    for (int i = 0; i < kKeys; ++i)
      p("set key" + std::to_string(i) + " " + std::to_string(loaded + 1) + "-" + std::to_string(i));
    p("exec");
    if (loaded < 0) {
      ASSERT_EQ(p("save"), "OK");
      loaded = 0;
    }
    ASSERT_EQ(p("debug save-delay " + std::to_string(random() % 2 == 0 ? 20 : 200)), "OK");
    ASSERT_EQ(p("bgsave"), "Background saving started");
    ::usleep(static_cast<useconds_t>(random() % 15'000));
    p.kill(SIGKILL);
    for (const auto& f : std::filesystem::directory_iterator(dir.path))
      interrupted += f.path().filename().string().starts_with("temp-");
    // A new start removes it.
  }
  EXPECT_GT(interrupted, rounds / 10) << "hardly any save was interrupted: this shows nothing";
}

TEST(Kill, InSaves) { kill_in_saves(20); }

TEST(Kill, TornFileIsRefusedAndKept) {
  GORT_TEST_NEEDS_SIGNALS();
  const kv_test::temporary dir;
  const std::string file = dir.path + "/dump.gkv";
  {
    program p({"--dir", dir.path});
    ASSERT_TRUE(p.ready());
    for (int i = 0; i < 100; ++i) p("set key" + std::to_string(i) + " " + std::string(50, 'x'));
    p.kill(SIGTERM);
    EXPECT_EQ(p.status(), 0) << p.output();
  }
  const auto size = std::filesystem::file_size(file);
  std::filesystem::resize_file(file, size / 2);
  {
    program p({"--dir", dir.path});
    EXPECT_FALSE(p.ready());
    EXPECT_EQ(p.status(), 1);
    EXPECT_NE(p.output().find("dump.gkv: it is torn"), std::string::npos) << p.output();
    EXPECT_NE(p.output().find("left as it is"), std::string::npos);
  }
  EXPECT_EQ(std::filesystem::file_size(file), size / 2);
}

}  // namespace
