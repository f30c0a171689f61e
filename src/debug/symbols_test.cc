#include "debug/symbols.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "os/linux/test_support.h"
#include "tests/support/apart.h"

namespace rt = gort::v0::rt;

namespace {

struct Copy {
  std::string function, linkage, file, module;
  int line;
  bool inlined;
  std::uintptr_t entry, offset;
};

std::vector<Copy> frames_at(std::uintptr_t pc, bool is_return_address, bool* named = nullptr) {
  std::vector<Copy> out;
  const auto text = [](const char* s) { return std::string(s != nullptr ? s : ""); };
  const bool ok = rt::symbolize(pc, is_return_address, [&](const rt::SymbolFrame& f) {
    out.push_back({text(f.function), text(f.linkage), text(f.file), text(f.module), f.line, f.inlined, f.entry,
                   f.offset});
  });
  if (named != nullptr) *named = ok;
  return out;
}

struct Place {
  std::uintptr_t pc;
  int line;
};

GORT_TEST_APART std::uintptr_t return_address() {
  return reinterpret_cast<std::uintptr_t>(__builtin_return_address(0));
}

}  // namespace

namespace shop {

GORT_TEST_APART static Place known_static(int /*only to have a parameter*/) {
  Place p{};
  p.pc = return_address(), p.line = __LINE__;
  asm volatile("" ::: "memory");  // no tail call, which would return elsewhere
  return p;
}

/// In a section of its own, which the linker takes from one of many objects.
template <class T>
GORT_TEST_APART Place known_template(T) {
  Place p{};
  p.pc = return_address(), p.line = __LINE__;
  asm volatile("" ::: "memory");
  return p;
}

[[gnu::always_inline]] static inline Place inlined_one() {
  Place p{};
  p.pc = return_address(), p.line = __LINE__;
  return p;
}

GORT_TEST_APART static Place owner_of_inlined() {
  Place p = inlined_one();
  asm volatile("" ::: "memory");
  return p;
}

/// The call is the last instruction: its return address belongs to whatever comes next.
[[noreturn]] GORT_TEST_APART static void never_returns(std::uintptr_t* pc) {
  *pc = reinterpret_cast<std::uintptr_t>(__builtin_return_address(0));
  throw 1;
}
GORT_TEST_APART static void ends_in_a_call(std::uintptr_t* pc) { never_returns(pc); }

}  // namespace shop

namespace {

bool ends_with(const std::string& s, const char* tail) {
  return s.size() >= std::strlen(tail) && s.compare(s.size() - std::strlen(tail), std::string::npos, tail) == 0;
}

#define NEEDS_LINES() \
  if (!rt::symbols_have_lines()) GTEST_SKIP() << "needs libdw or libbacktrace: this build knows exported names only"

TEST(Symbols, StaticFunctionWithFileAndLine) {
  NEEDS_LINES();
  const Place p = shop::known_static(1);
  bool named = false;
  const auto f = frames_at(p.pc, true, &named);
  ASSERT_EQ(f.size(), 1u);
  EXPECT_TRUE(named);
  EXPECT_EQ(f[0].function, "shop::known_static(int)");
  EXPECT_EQ(f[0].linkage.substr(0, 2), "_Z");
  EXPECT_TRUE(ends_with(f[0].file, "debug/symbols_test.cc")) << f[0].file;
  EXPECT_EQ(f[0].line, p.line);
  EXPECT_FALSE(f[0].inlined);
  EXPECT_GT(p.pc, f[0].entry);
  EXPECT_LT(p.pc - f[0].entry, 512u);
  EXPECT_EQ(frames_at(f[0].entry, false).at(0).function, "shop::known_static(int)") << "entry, as exact pc";
}

TEST(Symbols, TemplatesHaveLinesToo) {
  NEEDS_LINES();
  if (!rt::symbols_have_all_lines()) GTEST_SKIP() << "needs libdw: libbacktrace loses lines of shared sections";
  for (const Place& p : {shop::known_template(1), shop::known_template(std::string()), shop::known_template('c')}) {
    const auto f = frames_at(p.pc, true);
    ASSERT_EQ(f.size(), 1u);
    EXPECT_NE(f[0].function.find("shop::known_template<"), std::string::npos) << f[0].function;
    EXPECT_TRUE(ends_with(f[0].file, "debug/symbols_test.cc")) << f[0].file;
    EXPECT_EQ(f[0].line, p.line);
  }
}

TEST(Symbols, InlinedFunctionIsAFrameOfItsOwn) {
  NEEDS_LINES();
  const Place p = shop::owner_of_inlined();
  const auto f = frames_at(p.pc, true);
  ASSERT_EQ(f.size(), 2u);
  EXPECT_NE(f[0].function.find("inlined_one"), std::string::npos) << f[0].function;
  EXPECT_EQ(f[0].line, p.line);
  EXPECT_TRUE(f[0].inlined);
  EXPECT_EQ(f[1].function, "shop::owner_of_inlined()");
  EXPECT_FALSE(f[1].inlined);
  EXPECT_EQ(f[0].entry, f[1].entry);
  EXPECT_GT(f[1].line, f[0].line);
}

TEST(Symbols, ReturnAddressBehindTheEndOfAFunction) {
  NEEDS_LINES();
  std::uintptr_t pc = 0;
  try {
    shop::ends_in_a_call(&pc);
  } catch (int) {
  }
  ASSERT_NE(pc, 0u);
  EXPECT_EQ(frames_at(pc, true).back().function, "shop::ends_in_a_call(unsigned long*)");
}

TEST(Symbols, ModuleAndOffsetAlways) {
  const Place p = shop::known_static(1);
  rt::Module m{};
  ASSERT_TRUE(rt::find_module(p.pc, &m));
  char exe[4096];
  const ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
  ASSERT_GT(n, 0);
  exe[n] = '\0';
  EXPECT_STREQ(m.path, exe);
  const auto f = frames_at(p.pc, true);
  EXPECT_EQ(f.at(0).module, exe);
  EXPECT_EQ(f.at(0).offset, p.pc - m.base);
}

TEST(Symbols, FunctionOfTheCLibrary) {
  const auto pc = reinterpret_cast<std::uintptr_t>(dlsym(RTLD_DEFAULT, "gnu_get_libc_version"));  // sanitizers have none
  ASSERT_NE(pc, 0u);
  bool named = false;
  const auto f = frames_at(pc, false, &named);
  EXPECT_TRUE(named);
  EXPECT_NE(f.at(0).module.find("libc.so"), std::string::npos) << f[0].module;
  EXPECT_NE(f.back().function.find("gnu_get_libc_version"), std::string::npos) << f.back().function;
  EXPECT_EQ(f.back().entry, pc);
}

TEST(Symbols, UnknownCodeHasNeitherNameNorModule) {
  void* page = mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(page, MAP_FAILED);
  const auto pc = reinterpret_cast<std::uintptr_t>(page) + 64;
  bool named = true;
  const auto f = frames_at(pc, true, &named);
  EXPECT_FALSE(named);
  ASSERT_EQ(f.size(), 1u);
  EXPECT_EQ(f[0].function, "");
  EXPECT_EQ(f[0].module, "");
  EXPECT_EQ(f[0].offset, pc);
  munmap(page, 4096);
}

TEST(Symbols, GarbageAddresses) {
  const std::uintptr_t garbage[] = {0,      1,           7,           4095,
                                    ~0UL,   ~0UL - 1,    1UL << 63,   0xdeadbeefdeadbeefUL,
                                    1UL << 47, (1UL << 47) - 1, 0xffffffffff600000UL};
  for (const std::uintptr_t pc : garbage) {
    for (const bool is_return_address : {false, true}) {
      bool named = true;
      const auto f = frames_at(pc, is_return_address, &named);
      EXPECT_FALSE(named) << std::hex << pc << ' ' << f.at(0).function;
      EXPECT_EQ(f.size(), 1u) << std::hex << pc;
    }
  }
}

TEST(Symbols, ManyThreadsGetTheSameAnswers) {
  const std::vector<std::uintptr_t> pcs = {
      shop::known_static(1).pc, shop::owner_of_inlined().pc,
      reinterpret_cast<std::uintptr_t>(dlsym(RTLD_DEFAULT, "qsort")) + 1,
      reinterpret_cast<std::uintptr_t>(dlsym(RTLD_DEFAULT, "strtol")) + 1, 12345};
  std::vector<std::string> expected;
  const auto joined = [](std::uintptr_t pc) {
    std::string s;
    for (const Copy& c : frames_at(pc, true)) s += c.function + '|' + c.file + '|' + std::to_string(c.line) + ';';
    return s;
  };
  std::atomic<int> at_start{0}, wrong{0};
  std::vector<std::vector<std::string>> got(4, std::vector<std::string>(pcs.size()));
  {
    std::vector<std::jthread> threads;
    for (auto& mine : got) {
      threads.emplace_back([&] {
        ++at_start;
        while (at_start < 4) std::this_thread::yield();
        for (std::size_t i = 0; i < pcs.size(); ++i) mine[i] = joined(pcs[i]);
        for (int round = 0; round < 200; ++round) {
          for (std::size_t i = 0; i < pcs.size(); ++i) wrong += joined(pcs[i]) != mine[i];
        }
      });
    }
  }
  for (const std::uintptr_t pc : pcs) expected.push_back(joined(pc));
  EXPECT_EQ(wrong, 0);
  for (const auto& mine : got) EXPECT_EQ(mine, expected);
  EXPECT_NE(expected[2].find("qsort"), std::string::npos);
}

TEST(Symbols, ModuleLoadedAfterTheFirstLookup) {
  frames_at(shop::known_static(1).pc, true);
  // libz may be here already: libdw uses it.
  void* lib = dlopen("libresolv.so.2", RTLD_NOW | RTLD_LOCAL);
  if (lib == nullptr) lib = dlopen("libz.so.1", RTLD_NOW | RTLD_LOCAL);
  if (lib == nullptr) GTEST_SKIP() << "needs a shared library that nothing has loaded yet";
  void* f = dlsym(lib, "crc32");
  const char* name = f != nullptr ? "crc32" : "__ns_name_pton";
  if (f == nullptr) f = dlsym(lib, "ns_name_pton");
  if (f == nullptr) GTEST_SKIP() << "needs a known function in the library";
  const auto pc = reinterpret_cast<std::uintptr_t>(f);
  const auto found = frames_at(pc, false);
  EXPECT_NE(found.back().function.find(name), std::string::npos) << found.back().function;
  dlclose(lib);
  if (!rt::symbolize(pc, false, [](const rt::SymbolFrame&) {})) {
    EXPECT_EQ(frames_at(pc, false).at(0).module, "") << "unloaded: the cached name is void";
  }
}

// Whatever the end of address space meets: names stay unknown, nothing else happens.
TEST(Symbols, WithoutMemoryNothingIsKnown) {
#if defined(GORT_TEST_SANITIZED)
  GTEST_SKIP() << "sanitizers live on address space";
#endif
  for (long mib = 1; mib <= 60; ++mib) {
    ASSERT_EQ(gort::test::in_child([mib] {
                const rlimit most{static_cast<rlim_t>((gort::test::status_kib("VmSize") + mib * 1024) * 1024), RLIM_INFINITY};
                if (setrlimit(RLIMIT_AS, &most) != 0) return 1;
                int frames = 0;
                rt::symbolize(reinterpret_cast<std::uintptr_t>(&shop::known_static), false,
                              [&](const rt::SymbolFrame&) { ++frames; });
                return frames > 0 ? 0 : 2;
              }),
              0)
        << mib;
  }
}

TEST(Symbols, WhatTheCallbackThrowsGoesThrough) {
  EXPECT_THROW(rt::symbolize(shop::known_static(1).pc, true, [](const rt::SymbolFrame&) { throw 5; }), int);
  EXPECT_FALSE(frames_at(shop::known_static(1).pc, true).empty()) << "and leaves nothing locked";
}

}  // namespace
