#include "os/tls.h"

#include <gtest/gtest.h>
#include <ucontext.h>

#include <thread>
#include <vector>

#include "os/linux/test_support.h"
#include "os/os.h"

namespace {

using gort::os::Tls;
using gort::os::tls;

TEST(OsTls, IsZeroAndOwnOnEveryThread) {
  tls().locks = 7;
  Tls* here = &tls();
  Tls* there = nullptr;
  std::uint32_t locks = 1;
  std::thread([&] {
    there = &tls();
    locks = tls().locks;
  }).join();
  EXPECT_NE(here, there);
  EXPECT_EQ(locks, 0u);
  EXPECT_EQ(&gort_v0_tls, here);
  EXPECT_EQ(tls().locks, 7u);
  tls().locks = 0;
}

// One function whose second half runs on another thread: what a goroutine does that parks.
ucontext_t resumer;
ucontext_t task;
Tls* seen[2];

void migrating_task() {
  seen[0] = &tls();
  swapcontext(&task, &resumer);
  seen[1] = &tls();
  swapcontext(&task, &resumer);
}

TEST(OsTls, AddressIsReadAnewAfterAThreadChange) {
#if defined(GORT_TEST_SANITIZED)
  GTEST_SKIP() << "sanitizers do not follow swapcontext over threads";
#endif
  std::vector<char> stack(256 << 10);
  getcontext(&task);
  task.uc_stack.ss_sp = stack.data();
  task.uc_stack.ss_size = stack.size();
  task.uc_link = nullptr;
  makecontext(&task, migrating_task, 0);
  Tls* first = &tls();
  swapcontext(&resumer, &task);
  Tls* second = nullptr;
  std::thread([&] {
    second = &tls();
    swapcontext(&resumer, &task);
  }).join();
  EXPECT_EQ(seen[0], first);
  EXPECT_EQ(seen[1], second);
  EXPECT_NE(first, second);
}

}  // namespace
