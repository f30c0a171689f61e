#include "debug/schedtrace_text.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace rt = gort::v0::rt;

namespace {

template <class... Args>
std::string printed(void (*print)(rt::Printer&, Args...) noexcept, std::type_identity_t<Args>... args) {
  char buf[1024];
  rt::Printer p(buf, sizeof buf);
  print(p, args...);
  return buf;
}

std::string detail(const auto& part) {
  char buf[1024];
  rt::Printer p(buf, sizeof buf);
  rt::print_scheddetail(p, part);
  return buf;
}

const rt::SchedTraceTotals kTotals{.elapsed_ms = 1004, .gomaxprocs = 2, .idleprocs = 1, .threads = 5,
                                   .idlethreads = 2, .runqueue = 3};
const rt::SchedTraceP kPs[] = {{.id = 0, .schedtick = 12, .runqsize = 256}, {.id = 1, .schedtick = 7}};

std::string short_line() { return printed(&rt::print_schedtrace, kTotals, kPs); }

/// A line without its values: numbers, nil, truth values, reasons, and how many Ps there are.
std::string shape(std::string line) {
  line = std::regex_replace(line, std::regex("[ \t\n]+$"), "");
  line = std::regex_replace(line, std::regex("\\[( \\d+)+ \\]"), "[ N ]");
  line = std::regex_replace(line, std::regex("=(-?\\d+|nil|true|false)"), "=V");
  line = std::regex_replace(line, std::regex("\\(.*\\) m="), "(R) m=");
  line = std::regex_replace(line, std::regex("preemptoff=.* locks"), "preemptoff=R locks");
  return std::regex_replace(line, std::regex("^(SCHED |  [PMG])\\d+"), "$1N");
}

TEST(SchedTraceText, GoldenLines) {
  EXPECT_EQ(short_line(),
            "SCHED 1004ms: gomaxprocs=2 idleprocs=1 threads=5 spinningthreads=0 needspinning=0 idlethreads=2 "
            "runqueue=3 [ 256 0 ] schedticks=[ 12 7 ]\n");
  EXPECT_EQ(detail(rt::SchedTraceTotals{.gomaxprocs = 1, .gcwaiting = true, .nmidlelocked = 2, .stopwait = 3}),
            "SCHED 0ms: gomaxprocs=1 idleprocs=0 threads=0 spinningthreads=0 needspinning=0 idlethreads=0 runqueue=0 "
            "gcwaiting=true nmidlelocked=2 stopwait=3 sysmonwait=false\n");
  EXPECT_EQ(detail(rt::SchedTraceP{.id = 3, .status = 1, .schedtick = 9, .syscalltick = 8, .m = 0, .runqsize = 5,
                                   .gfreecnt = 6, .timerslen = 7}),
            "  P3: status=1 schedtick=9 syscalltick=8 m=0 runqsize=5 gfreecnt=6 timerslen=7\n");
  EXPECT_EQ(detail(rt::SchedTraceP{}),
            "  P0: status=0 schedtick=0 syscalltick=0 m=nil runqsize=0 gfreecnt=0 timerslen=0\n");
  EXPECT_EQ(detail(rt::SchedTraceM{.id = 4, .p = 1, .curg = 20, .mallocing = 1, .throwing = 2, .preemptoff = "x",
                                   .locks = 3, .dying = 4, .spinning = true, .blocked = false, .lockedg = 21}),
            "  M4: p=1 curg=20 mallocing=1 throwing=2 preemptoff=x locks=3 dying=4 spinning=true blocked=false "
            "lockedg=21\n");
  EXPECT_EQ(detail(rt::SchedTraceM{}),
            "  M0: p=nil curg=nil mallocing=0 throwing=0 preemptoff= locks=0 dying=0 spinning=false blocked=false "
            "lockedg=nil\n");
  EXPECT_EQ(detail(rt::SchedTraceG{.id = 1, .status = 4, .waitreason = "semacquire"}),
            "  G1: status=4(semacquire) m=nil lockedm=nil\n");
  EXPECT_EQ(detail(rt::SchedTraceG{.id = 2, .status = 2, .m = 0, .lockedm = 5}), "  G2: status=2() m=0 lockedm=5\n");
}

// ---- against Go itself ----------------------------------------------------------------------

std::string run(const std::string& command, int* status) {
  std::string out;
  FILE* p = popen(command.c_str(), "r");
  if (p == nullptr) return *status = -1, out;
  char buf[4096];
  while (const std::size_t n = std::fread(buf, 1, sizeof buf, p)) out.append(buf, n);
  *status = pclose(p);
  return out;
}

/// What a small Go program prints under this GODEBUG; empty without Go.
class RealGo : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    int status = 0;
    version_ = run("go env GOVERSION 2>/dev/null", &status);
    if (status != 0) return;
    char dir[] = "/tmp/gort_schedtrace_XXXXXX";
    ASSERT_NE(mkdtemp(dir), nullptr);
    dir_ = dir;
    std::ofstream(dir_ + "/main.go") << "package main\n\nimport \"time\"\n\n"
                                        "func main() { time.Sleep(350 * time.Millisecond) }\n";
    const std::string built = run("cd " + dir_ + " && GOTOOLCHAIN=local GO111MODULE=off go build -o prog main.go 2>&1",
                                  &status);
    ASSERT_EQ(status, 0) << built;
  }
  static void TearDownTestSuite() {
    int status;
    if (!dir_.empty()) run("rm -r " + dir_, &status);
  }
  void SetUp() override {
    if (dir_.empty()) GTEST_SKIP() << "needs the go command on PATH";
    if (int minor = 0; std::sscanf(version_.c_str(), "go1.%d", &minor) == 1 && minor < 26) {
      GTEST_SKIP() << "needs Go 1.26 or later, whose fields these are; found " << version_;
    }
  }

  /// Shapes of its lines by what they begin with: "S", "P", "M", "G".
  static std::map<char, std::set<std::string>> shapes(const std::string& godebug) {
    int status = 0;
    std::istringstream text(run("GOMAXPROCS=2 GODEBUG=" + godebug + " " + dir_ + "/prog 2>&1", &status));
    EXPECT_EQ(status, 0);
    std::map<char, std::set<std::string>> out;
    for (std::string line; std::getline(text, line);) {
      if (line.starts_with("SCHED ")) out['S'].insert(shape(line));
      if (line.starts_with("  ")) out[line[2]].insert(shape(line));
    }
    return out;
  }

  static inline std::string dir_, version_;
};

TEST_F(RealGo, PrintsTheSameShortLine) {
  EXPECT_EQ(shapes("schedtrace=100")['S'], std::set<std::string>{shape(short_line())});
}

TEST_F(RealGo, PrintsTheSameDetail) {
  auto go = shapes("schedtrace=100,scheddetail=1");
  EXPECT_EQ(go['S'], std::set<std::string>{shape(detail(kTotals))});
  EXPECT_EQ(go['P'], std::set<std::string>{shape(detail(kPs[0]))});
  EXPECT_EQ(go['M'], std::set<std::string>{shape(detail(rt::SchedTraceM{}))});
  EXPECT_EQ(go['G'], std::set<std::string>{shape(detail(rt::SchedTraceG{.waitreason = "sleep"}))});
}

}  // namespace
