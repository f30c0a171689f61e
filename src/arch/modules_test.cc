#include "arch/modules.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <string_view>
#include <thread>
#include <vector>

#include "arch/unwind.h"

namespace {

namespace arch = gort::arch;

std::uintptr_t address(auto* f) { return reinterpret_cast<std::uintptr_t>(f); }

// Taken before anybody can have refreshed.
const bool kEmptyAtStart =
    arch::modules().count == 0 && arch::find_module(address(&std::qsort)) == nullptr;

TEST(Modules, NothingIsKnownBeforeTheFirstRefresh) { EXPECT_TRUE(kEmptyAtStart); }

TEST(Modules, FindsTheProgramAndItsLibraries) {
  ASSERT_TRUE(arch::refresh_modules());
  const auto* self = arch::find_module(address(&address<int>));
  ASSERT_NE(self, nullptr);
  EXPECT_STREQ(self->path, "");
  EXPECT_GT(self->fde_count, 0u);
  // Sanitizers have no function of their own in its place.
  const auto libc_code = reinterpret_cast<std::uintptr_t>(dlsym(RTLD_DEFAULT, "gnu_get_libc_version"));
  const auto* libc = arch::find_module(libc_code);
  ASSERT_NE(libc, nullptr);
  EXPECT_NE(std::string_view(libc->path).find("libc.so"), std::string_view::npos);
  EXPECT_GT(libc->build_id_size, 0);
  Dl_info info;
  ASSERT_NE(dladdr(reinterpret_cast<void*>(libc_code), &info), 0);
  EXPECT_EQ(libc->base, reinterpret_cast<std::uintptr_t>(info.dli_fbase));
}

TEST(Modules, TableIsSortedAndBoundsHold) {
  ASSERT_TRUE(arch::refresh_modules());
  const auto all = arch::modules();
  ASSERT_GT(all.count, 2u);
  for (std::size_t i = 0; i < all.count; ++i) {
    const auto& m = all.first[i];
    EXPECT_LT(m.text_lo, m.text_hi);
    if (i > 0) {
      EXPECT_LE(all.first[i - 1].text_hi, m.text_lo);
    }
    EXPECT_EQ(arch::find_module(m.text_lo), &m);
    EXPECT_EQ(arch::find_module(m.text_hi - 1), &m);
    EXPECT_NE(arch::find_module(m.text_hi), &m);
    EXPECT_NE(arch::find_module(m.text_lo - 1), &m);
  }
}

TEST(Modules, UnknownAddresses) {
  ASSERT_TRUE(arch::refresh_modules());
  const int local = 0;
  EXPECT_EQ(arch::find_module(0), nullptr);
  EXPECT_EQ(arch::find_module(1), nullptr);
  EXPECT_EQ(arch::find_module(~std::uintptr_t{0}), nullptr);
  EXPECT_EQ(arch::find_module(address(&local)), nullptr) << "the stack is no code";
}

TEST(Modules, RefreshWithoutAChangeKeepsTheTable) {
  ASSERT_TRUE(arch::refresh_modules());
  const auto* before = arch::modules().first;
  ASSERT_TRUE(arch::refresh_modules());
  EXPECT_EQ(arch::modules().first, before);
}

TEST(Modules, AnOpenedModuleIsFoundAfterRefresh) {
  ASSERT_TRUE(arch::refresh_modules());
  ASSERT_EQ(dlopen("libresolv.so.2", RTLD_NOW | RTLD_NOLOAD), nullptr)
      << "already loaded: proves nothing";
  void* lib = dlopen("libresolv.so.2", RTLD_NOW);
  ASSERT_NE(lib, nullptr) << dlerror();
  const auto code = reinterpret_cast<std::uintptr_t>(dlsym(lib, "ns_get16"));
  ASSERT_NE(code, 0u);
  EXPECT_EQ(arch::find_module(code), nullptr);
  ASSERT_TRUE(arch::refresh_modules());
  const auto* m = arch::find_module(code);
  ASSERT_NE(m, nullptr);
  EXPECT_NE(std::string_view(m->path).find("libresolv"), std::string_view::npos);
  EXPECT_GT(m->fde_count, 0u);
  dlclose(lib);
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 35)
  EXPECT_EQ(arch::find_module(code), nullptr) << "its tables are gone";
#endif
  ASSERT_TRUE(arch::refresh_modules());
  EXPECT_EQ(arch::find_module(code), nullptr);
}

#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 35)
TEST(Modules, AClosedModulesTablesAreNotReadForWhatTookItsPlace) {
  ASSERT_TRUE(arch::refresh_modules());
  void* lib = dlopen("libresolv.so.2", RTLD_NOW);
  ASSERT_NE(lib, nullptr) << dlerror();
  const auto code = reinterpret_cast<std::uintptr_t>(dlsym(lib, "ns_get16"));
  ASSERT_TRUE(arch::refresh_modules());
  ASSERT_NE(arch::find_module(code), nullptr);
  dlclose(lib);
  // As generated code does that gets its address: it has no tables, and nothing else lies where the library's were.
  constexpr std::size_t kPage = 4096;
  void* const page = reinterpret_cast<void*>(code & ~(kPage - 1));
  ASSERT_EQ(mmap(page, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), page);
  std::uintptr_t stack[64] = {};
  arch::Cursor c = arch::cursor_here();
  c.range_count = 0;
  c.allow(reinterpret_cast<std::uintptr_t>(stack), reinterpret_cast<std::uintptr_t>(stack + 64));
  c.pc = code + 1;
  c.regs.value[arch::reg::kSp] = reinterpret_cast<std::uintptr_t>(stack + 8);
  EXPECT_FALSE(arch::step(c));
  munmap(page, kPage);
}
#endif

TEST(Modules, LookupsMayRunBesideRefreshes) {
  ASSERT_TRUE(arch::refresh_modules());
  const auto code = reinterpret_cast<std::uintptr_t>(dlsym(RTLD_DEFAULT, "gnu_get_libc_version"));  // no sanitizer has its own
  std::atomic<bool> stop{false};
  std::atomic<std::size_t> looked{0}, missed{0};
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    while (!stop) {
      const auto* m = arch::find_module(code);
      if (!m || m->text_lo > code || m->text_hi <= code) ++missed;
      ++looked;
    }
  });
  threads.emplace_back([&] {
    while (!stop) {
      if (!arch::refresh_modules()) ++missed;
    }
  });
  while (looked < 1000) std::this_thread::yield();
  for (int i = 0; i < 20; ++i) {
    void* lib = dlopen("libresolv.so.2", RTLD_NOW);
    const auto there = reinterpret_cast<std::uintptr_t>(dlsym(lib, "ns_get16"));
    EXPECT_TRUE(arch::refresh_modules());
    EXPECT_NE(arch::find_module(there), nullptr);
    dlclose(lib);
    EXPECT_TRUE(arch::refresh_modules());
    EXPECT_EQ(arch::find_module(there), nullptr);
  }
  stop = true;
  for (auto& t : threads) t.join();
  EXPECT_EQ(missed, 0u);
}

}  // namespace
