// The guard fires on exactly the threads that rule L1 is about.
// test: needs=GORT_MALLOC_GUARD
#include "tests/support/malloc_guard.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <stdlib.h>

#include <memory>

#include "os/tls.h"

namespace gort {
namespace {

int some_m;  // stands for an M: the guard looks at the pointer only

// Keeps the compiler from pairing malloc with free and dropping both.
void* opaque(void* p) {
  asm volatile("" : "+r"(p));
  return p;
}

void as_m_in_runtime() {
  os::tls().m = &some_m;
  os::tls().in_runtime = 1;
}

// Each in a child process: the parent's bytes stay as they are.
TEST(MallocGuardDeathTest, EveryEntryPointIsRefusedInTheRuntime) {
  void* p = malloc(8);
  EXPECT_DEATH((as_m_in_runtime(), opaque(malloc(1))), "gort: malloc\\(\\) inside the runtime.*rule L1");
  EXPECT_DEATH((as_m_in_runtime(), opaque(calloc(1, 1))), "gort: calloc\\(\\)");
  EXPECT_DEATH((as_m_in_runtime(), opaque(realloc(p, 99))), "gort: realloc\\(\\)");
  EXPECT_DEATH((as_m_in_runtime(), opaque(reallocarray(nullptr, 2, 2))), "gort: reallocarray\\(\\)");
  EXPECT_DEATH((as_m_in_runtime(), opaque(aligned_alloc(64, 64))), "gort: aligned_alloc\\(\\)");
  EXPECT_DEATH((as_m_in_runtime(), opaque(memalign(64, 64))), "gort: memalign\\(\\)");
  EXPECT_DEATH((as_m_in_runtime(), opaque(valloc(64))), "gort: valloc\\(\\)");
  EXPECT_DEATH((as_m_in_runtime(), opaque(pvalloc(64))), "gort: pvalloc\\(\\)");
  EXPECT_DEATH((as_m_in_runtime(), free(opaque(p))), "gort: free\\(\\)");
  EXPECT_DEATH((as_m_in_runtime(), opaque(::operator new(1))), "gort: malloc\\(\\)");
  EXPECT_DEATH(
      {
        void* q;
        as_m_in_runtime();
        exit(posix_memalign(&q, 64, 64));
      },
      "gort: posix_memalign\\(\\)");
  free(p);
}

TEST(MallocGuard, IsLinkedAndServesEverybodyElse) {
  const unsigned long before = test::malloc_guard_calls();
  void* p = opaque(malloc(100));
  ASSERT_NE(p, nullptr);
  p = opaque(realloc(p, 1000));
  ASSERT_NE(p, nullptr);
  free(p);
  EXPECT_GE(test::malloc_guard_calls() - before, 3u);

  // A foreign thread inside the runtime has no P that a lock could hold up, and an M outside the
  // runtime is user code.
  os::tls().in_runtime = 1;
  free(opaque(malloc(1)));
  os::tls().in_runtime = 0;
  os::tls().m = &some_m;
  free(opaque(malloc(1)));
  os::tls().m = nullptr;
}

TEST(MallocGuard, SwitchedOffItServesAll) {
  EXPECT_TRUE(test::malloc_guard(false));
  as_m_in_runtime();
  void* p = opaque(malloc(1));
  free(p);
  os::tls() = {};
  EXPECT_FALSE(test::malloc_guard(true));
  EXPECT_NE(p, nullptr);
}

TEST(MallocGuard, KeepsTheFamilysContracts) {
  void* p = nullptr;
  ASSERT_EQ(posix_memalign(&p, 4096, 10), 0);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(p) % 4096, 0u);
  free(p);
  EXPECT_EQ(posix_memalign(&p, 3, 10), EINVAL);
  volatile std::size_t many = SIZE_MAX / 2;
  EXPECT_EQ(reallocarray(nullptr, many, 3), nullptr);
  EXPECT_EQ(errno, ENOMEM);
  auto* zero = static_cast<unsigned char*>(opaque(calloc(10, 10)));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(zero[i], 0);
  free(zero);
}

}  // namespace
}  // namespace gort
