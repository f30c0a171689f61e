// gort-kv killed in the middle of saves: what was saved is there when it starts again.
// test: timeout=240
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>

#include "kill_in_saves.h"
#include "program.h"
#include "tests/support/runtime_fixture.h"

namespace {

using kv_test::program;

TEST(Kill, InSaves) { kv_test::kill_in_saves(20); }

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
