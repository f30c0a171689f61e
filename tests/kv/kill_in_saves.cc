#include "kill_in_saves.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <random>

#include "program.h"

namespace kv_test {

void kill_in_saves(int rounds) {
  const temporary dir;
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

}  // namespace kv_test
