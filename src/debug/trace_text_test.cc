#include "debug/trace_text.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <regex>
#include <string>
#include <vector>

#include "debug/symbols.h"

namespace rt = gort::v0::rt;

namespace {

constexpr int kMaxPcs = 8;
std::uintptr_t pcs[kMaxPcs];
int lines[kMaxPcs];

}  // namespace

// A stack of three, the middle one with a function inlined into it, all returning into known lines. The
// addresses are taken one by one, so that no unwinder is under test.
namespace shop {

[[gnu::noinline]] static std::uintptr_t caller() {
  return reinterpret_cast<std::uintptr_t>(__builtin_return_address(0));
}
[[gnu::noinline]] static void leaf() { pcs[0] = caller(), lines[0] = __LINE__; }
[[gnu::always_inline]] static inline void peek(const char*) { pcs[1] = caller(), lines[1] = __LINE__; }
[[gnu::noinline]] static void serve(int) {
  peek("x"), lines[2] = __LINE__;
  leaf();
}
template <class T>
[[gnu::noinline]] T serve_any(T n) {
  pcs[5] = caller();
  return n;
}
[[gnu::noinline]] void main_loop() {
  pcs[3] = caller(), lines[3] = __LINE__;
  serve(1);
  serve_any<int>(1);
}

}  // namespace shop

namespace gort::inline v0::rt {
[[gnu::noinline]] static void hidden_machinery() { pcs[4] = shop::caller(); }
}  // namespace gort::inline v0::rt

namespace {

std::string hex(std::uintptr_t v) {
  char buf[32];
  rt::Printer(buf, sizeof buf) << rt::Hex{v};
  return buf;
}

/// " +0x1d" as it must be for a return address.
std::string plus(std::uintptr_t pc) {
  std::uintptr_t entry = 0;
  rt::symbolize(pc, true, [&](const rt::SymbolFrame& f) { entry = f.entry; });
  return " +" + hex(pc - entry);
}

std::string at(int i) { return std::string("\t") + __FILE__ + ":" + std::to_string(lines[i]); }

std::string text_of(const rt::GoroutineTrace& g, rt::TracebackLevel level = rt::TracebackLevel::single) {
  std::string s;
  rt::print_trace(rt::TextSink(s), g, level);
  return s;
}

class TraceText : public testing::Test {
 protected:
  void SetUp() override {
    shop::main_loop();
    rt::hidden_machinery();
  }
};

#define NEEDS_LINES() \
  if (!rt::symbols_have_lines()) GTEST_SKIP() << "needs libbacktrace: this build knows exported names only"

TEST_F(TraceText, GoldenTraceback) {
  NEEDS_LINES();
  const std::uintptr_t stack[] = {pcs[0], pcs[4], pcs[1]};
  rt::GoroutineTrace g;
  g.id = 18;
  g.status = "waiting";
  g.wait_reason = "semacquire";
  g.waiting_minutes = 2;
  g.locked_to_thread = true;
  g.pcs = stack;
  g.created_by = pcs[3];
  g.creator_id = 1;
  const std::string tail = "shop::peek(...)\n" + at(1) +
                           "\n"
                           "shop::serve()\n" +
                           at(2) + plus(pcs[1]) +
                           "\n"
                           "created by shop::main_loop in goroutine 1\n" +
                           at(3) + plus(pcs[3]) + "\n";
  const std::string head = "goroutine 18 [semacquire, 2 minutes, locked to thread]:\nshop::leaf()\n" + at(0) +
                           plus(pcs[0]) + "\n";
  // GCC leaves an inlined static function's namespace out of DWARF; a compiler called with a file's relative path may say
  // where it is, or not.
  const std::regex folder("\t/.*/" + std::regex_replace(std::string(__FILE__), std::regex("\\."), "\\."));
  const auto normal = [&](const std::string& s) {
    return std::regex_replace(std::regex_replace(s, std::regex("\npeek"), "\nshop::peek"), folder, "\t" __FILE__);
  };
  EXPECT_EQ(normal(text_of(g)), head + tail);

  const std::string system = text_of(g, rt::TracebackLevel::system);
  EXPECT_NE(system.find("\ngort::v0::rt::hidden_machinery()\n"), std::string::npos) << system;
  EXPECT_EQ(text_of(g, rt::TracebackLevel::crash), system);
  EXPECT_EQ(text_of(g, rt::TracebackLevel::all), text_of(g));
}

/// The regular expressions by which readers of Go's tracebacks take them apart.
TEST_F(TraceText, EveryLineHasGosShape) {
  NEEDS_LINES();
  const std::uintptr_t stack[] = {pcs[0], pcs[1]};
  rt::GoroutineTrace g{.id = 7, .status = "runnable", .name = "rx \"]\n1", .pcs = stack, .created_by = pcs[3]};
  const std::string text = text_of(g);
  const std::regex shape(
      "goroutine \\d+ \\[[^\\]]+\\]:\n"
      "([^\t\n]+\\([^\\)]*\\)\n\t[^\n]+:\\d+( \\+0x[0-9a-f]+)?\n)+"
      "created by [^\t\n]+\n\t[^\n]+:\\d+ \\+0x[0-9a-f]+\n");
  EXPECT_TRUE(std::regex_match(text, shape)) << text;
  EXPECT_NE(text.find("[runnable, name \"rx ???1\"]:"), std::string::npos) << text;
}

/// Templates in C++ are what generic code is in Go; their names come from the symbol table. (Lines are not
/// asked for: see the limits in symbols.h.)
TEST_F(TraceText, TemplatesAreShownWithoutReturnType) {
  NEEDS_LINES();
  const std::uintptr_t stack[] = {pcs[5]};
  EXPECT_NE(text_of({.id = 7, .status = "running", .pcs = stack}).find("\nshop::serve_any<int>()\n\t"),
            std::string::npos);
}

TEST_F(TraceText, ExactAddressIsNotMovedIntoTheCallBefore) {
  NEEDS_LINES();
  std::uintptr_t entry = 0;
  rt::symbolize(pcs[0], true, [&](const rt::SymbolFrame& f) { entry = f.entry; });
  const std::uintptr_t stack[] = {entry};
  rt::GoroutineTrace g{.id = 1, .status = "running", .pcs = stack, .first_is_exact = true};
  EXPECT_NE(text_of(g).find("shop::leaf()\n"), std::string::npos) << text_of(g);
  g.first_is_exact = false;
  EXPECT_EQ(text_of(g).find("shop::leaf()\n"), std::string::npos) << text_of(g);
}

TEST_F(TraceText, OnlyRuntimeFramesAreShownRatherThanNothing) {
  NEEDS_LINES();
  const std::uintptr_t stack[] = {pcs[4]};
  EXPECT_NE(text_of({.id = 2, .status = "waiting", .pcs = stack}).find("hidden_machinery"), std::string::npos);
}

TEST_F(TraceText, UnknownFramesStillSayWhere) {
  void* page = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(page, MAP_FAILED);
  const std::uintptr_t stack[] = {reinterpret_cast<std::uintptr_t>(page) + 16};
  const std::string where = hex(stack[0]);
  EXPECT_EQ(text_of({.id = 3, .pcs = stack}), "goroutine 3 [???]:\n?" + where + "()\n\t?+" + where + "\n");
  munmap(page, 4096);
  EXPECT_EQ(text_of({.id = 3, .status = "running"}),
            "goroutine 3 [running]:\n\tgoroutine running on other thread; stack unavailable\n");
  EXPECT_EQ(text_of({.id = 3, .status = "waiting"}), "goroutine 3 [waiting]:\n\tstack unavailable\n");
}

TEST_F(TraceText, DeepStacksAreElidedInTheMiddle) {
  std::vector<std::uintptr_t> deep(130, pcs[0]);
  deep[49] = deep[80] = pcs[3];
  const std::string text = text_of({.id = 4, .status = "running", .pcs = deep, .truncated = true});
  EXPECT_NE(text.find("...30 frames elided...\n"), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with("...additional frames elided...\n")) << text;
  const auto lines_in = std::count(text.begin(), text.end(), '\n');
  EXPECT_EQ(lines_in, 1 + 2 * 100 + 2);
  deep.resize(100);
  EXPECT_EQ(text_of({.id = 4, .status = "running", .pcs = deep}).find("elided"), std::string::npos);
}

TEST_F(TraceText, RawFormHasAddressesModulesAndOffsets) {
  const std::uintptr_t stack[] = {pcs[0], pcs[4], 16};
  rt::GoroutineTrace g{.id = 18, .status = "waiting", .wait_reason = "sleep", .pcs = stack, .created_by = pcs[3],
                       .creator_id = 1};
  rt::Module m{};
  ASSERT_TRUE(rt::find_module(pcs[0], &m));
  const auto raw = [&](std::uintptr_t pc) { return hex(pc) + " " + m.path + "+" + hex(pc - m.base); };
  char buf[4096];
  rt::Printer p(buf, sizeof buf);
  rt::print_raw(p, g);
  EXPECT_EQ(std::string(buf), "goroutine 18 [sleep]:\n\t" + raw(pcs[0]) + "\n\t" + raw(pcs[4]) + "\n\t0x10\ncreated by " +
                                  raw(pcs[3]) + " in goroutine 1\n");
}

TEST_F(TraceText, ManyGoroutinesAreGroupedAndAllIdsKept) {
  const std::uintptr_t a[] = {pcs[0], pcs[3]};
  const std::uintptr_t b[] = {pcs[1]};
  std::vector<rt::GoroutineTrace> all;
  all.push_back({.id = 1, .status = "running", .pcs = b});
  for (std::uint64_t id : {30, 18, 19, 20}) {
    all.push_back({.id = id, .wait_reason = "chan receive", .pcs = a, .created_by = pcs[3], .creator_id = 1});
  }
  for (std::uint64_t id = 50; id < 150; ++id) {
    all.push_back({.id = id, .wait_reason = "semacquire", .waiting_minutes = std::int64_t(2 + id % 6), .pcs = a,
                   .created_by = pcs[3], .creator_id = id % 2});
  }
  std::string s;
  rt::print_traces(rt::TextSink(s), all, rt::TracebackLevel::all);
  std::vector<std::string> heads;
  const std::regex head("(^|\n)((\\d+ goroutines: )?goroutine [^\n]*:\n)");
  for (std::sregex_iterator it(s.begin(), s.end(), head), end; it != end; ++it) heads.push_back((*it)[2]);
  EXPECT_EQ(heads, (std::vector<std::string>{"goroutine 1 [running]:\n",
                                             "4 goroutines: goroutine 18, 19, 20, 30 [chan receive]:\n",
                                             "100 goroutines: goroutine 50-149 [semacquire, 2-7 minutes]:\n"}))
      << s;
  if (rt::symbols_have_lines()) {
    EXPECT_NE(s.find("created by shop::main_loop in goroutine 1\n"), std::string::npos) << "all of one creator";
    EXPECT_NE(s.find("created by shop::main_loop\n"), std::string::npos) << "of several";
  }

  // At the limit each has its own text.
  all.resize(100);
  s.clear();
  rt::print_traces(rt::TextSink(s), all, rt::TracebackLevel::all);
  EXPECT_EQ(s.find("goroutines:"), std::string::npos);
  EXPECT_NE(s.find("\n\ngoroutine 18 [chan receive]:\n"), std::string::npos);
}

TEST_F(TraceText, PrinterSinkGetsTheSameText) {
  const std::uintptr_t stack[] = {pcs[0]};
  const rt::GoroutineTrace g{.id = 5, .status = "running", .pcs = stack};
  std::vector<char> buf(4096);
  rt::Printer p(buf.data(), buf.size());
  rt::print_trace(rt::TextSink(p), g, rt::TracebackLevel::single);
  EXPECT_EQ(std::string(buf.data()), text_of(g));
}

TEST(TraceTextName, PlainName) {
  const char* cases[][2] = {
      {"main", "main"},
      {"ns::f(int, char const*)", "ns::f"},
      {"ns::X::f(int) const", "ns::X::f"},
      {"ns::X::f() const &", "ns::X::f"},
      {"ns::f() [clone .cold]", "ns::f"},
      {"int ns::f<int>(int)", "ns::f<int>"},
      {"std::vector<int, std::allocator<int> > ns::f<int>(int)", "ns::f<int>"},
      {"ns::f(int)::{lambda(char)#1}::operator()(char) const", "ns::f(int)::{lambda(char)#1}::operator()"},
      {"auto f<int>()::{lambda()#1}::operator()() const", "f<int>()::{lambda()#1}::operator()"},
      {"operator()", "operator()"},
      {"(anonymous namespace)::f(int)", "(anonymous namespace)::f"},
      {"operator new(unsigned long)", "operator new"},
      {"X::operator unsigned int() const", "X::operator unsigned int"},
      {"X::operator<(X const&) const", "X::operator<"},
      {"void X::operator<< <int>(int)", "X::operator<< <int>"},
      {"my_operator f(int)", "f"},
      {"()", "()"},
      {"", ""},
  };
  for (const auto& c : cases) EXPECT_EQ(rt::function_name_only(c[0]), c[1]) << c[0];
}

TEST(TraceTextName, RuntimeLinkage) {
  for (const char* ours :
       {"_ZN4gort2v02rt4parkEv", "_ZNK4gort2v02rt1G4nameEv", "_ZZN4gort2v02rt1fEvENKUlvE_clEv",
        "_ZN4gort2v04arch6switchEv", "_ZN4gort2v02os10futex_waitEv", "_ZN4gort2v02rtL6staticEv",
        "gort_v0_context_start"}) {
    EXPECT_TRUE(rt::is_runtime_linkage(ours)) << ours;
  }
  for (const char* theirs :
       {"_ZN4gort2v05yieldEv", "_ZN4gort2v06rtlikeEv", "_ZN4shop4gort2v02rtEv", "_Z1fPN4gort2v02rt1GE", "main", "",
        "_Z", "_ZN", "_ZSt6invokeIN4gort2v02rt1FEEvv"}) {
    EXPECT_FALSE(rt::is_runtime_linkage(theirs)) << theirs;
  }
}

TEST(TracebackLevels, Parse) {
  using rt::TracebackLevel;
  EXPECT_EQ(rt::parse_traceback(nullptr), TracebackLevel::single);
  EXPECT_EQ(rt::parse_traceback(""), TracebackLevel::single);
  EXPECT_EQ(rt::parse_traceback("none"), TracebackLevel::none);
  EXPECT_EQ(rt::parse_traceback("single"), TracebackLevel::single);
  EXPECT_EQ(rt::parse_traceback("all"), TracebackLevel::all);
  EXPECT_EQ(rt::parse_traceback("system"), TracebackLevel::system);
  EXPECT_EQ(rt::parse_traceback("crash"), TracebackLevel::crash);
  for (const char* bad : {"All", "crashed", "1", " all", "all,"}) EXPECT_FALSE(rt::parse_traceback(bad)) << bad;
  char buf[256];
  rt::Printer p(buf, sizeof buf);
  rt::report_bad_traceback(p, "loud");
  EXPECT_NE(std::string(buf).find("GORT_TRACEBACK=loud is not one of none, single"), std::string::npos);
}

}  // namespace
