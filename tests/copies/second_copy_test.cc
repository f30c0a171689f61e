// A second copy of gort in one process is refused, naming both.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "tests/support/runtime_fixture.h"

using ::testing::ExitedWithCode;

namespace {

class SecondCopy : public gort::test::RuntimeTest {
 protected:
  void TearDown() override {}  // the runtimes die in child processes
};

int (*load_plugin())() {
  void* plugin = ::dlopen(GORT_COPY_PLUGIN, RTLD_NOW | RTLD_LOCAL);
  if (plugin == nullptr) {
    std::fprintf(stderr, "%s\n", ::dlerror());
    std::_Exit(98);
  }
  return reinterpret_cast<int (*)()>(::dlsym(plugin, "plugin_runs"));
}

int program_runs() {
  return gort::run([] { return gort::spawn([] { return 16; }).get(); });
}

TEST_F(SecondCopy, OneThatDoesNotStartDoesNoHarm) {
  EXPECT_EXIT(
      {
        load_plugin();
        std::_Exit(program_runs());
      },
      ExitedWithCode(16), "^$");
  EXPECT_EXIT(std::_Exit(load_plugin()()), ExitedWithCode(17), "^$");
}

TEST_F(SecondCopy, ThePluginsIsRefusedBesideTheProgramsOwn) {
  EXPECT_EXIT(
      {
        program_runs();
        std::_Exit(load_plugin()());
      },
      ExitedWithCode(2),
      "^fatal error: gort: two copies in one process: the program has started one, and now .*gort_copy_plugin.so would "
      "start another; link one copy into a shared object that both use\n$");
}

TEST_F(SecondCopy, TheProgramsIsRefusedBesideAPlugins) {
  EXPECT_EXIT(
      {
        load_plugin()();
        std::_Exit(program_runs());
      },
      ExitedWithCode(2),
      "^fatal error: gort: two copies in one process: .*gort_copy_plugin.so has started one, and now the program would "
      "start another");
}

}  // namespace
