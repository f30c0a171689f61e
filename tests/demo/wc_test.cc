// The demo program's totals against those of find, cat and wc, over a tree of awkward files.
// test: labels=smoke timeout=120
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <vector>

int wc_main(int argc, char** argv);

namespace {

struct Result {
  int status = -1;
  std::string out, err;
};

std::string slurp(const std::string& path) {
  std::ostringstream s;
  s << std::ifstream(path).rdbuf();
  return s.str();
}

/// Runs f in a child, as somebody who may not read everything even if we may. The runtime is process-wide
/// state and reads its settings once: each run needs a process of its own.
Result in_child(const std::function<int()>& f) {
  std::string dir = testing::TempDir() + "gort_wc_out.XXXXXX";
  if (::mkdtemp(dir.data()) == nullptr) return {};
  const std::string out = dir + "/out", err = dir + "/err";
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT, 0600), 1);
    ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT, 0600), 2);
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) ::_exit(99);
    const int status = f();
    std::fflush(nullptr);
    ::_exit(status);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  Result r{WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), slurp(out), slurp(err)};
  ::unlink(out.c_str());
  ::unlink(err.c_str());
  ::rmdir(dir.c_str());
  return r;
}

Result run_wc(std::vector<std::string> args, int procs) {
  return in_child([&] {
    ::setenv("GORT_MAXPROCS", std::to_string(procs).c_str(), 1);
    args.insert(args.begin(), "wc");
    std::vector<char*> argv;
    for (auto& a : args) argv.push_back(a.data());
    argv.push_back(nullptr);
    return wc_main(static_cast<int>(args.size()), argv.data());
  });
}

std::string shell(const std::string& command, const std::string& dir) {
  return in_child([&] {
           return ::execl("/bin/sh", "sh", "-c", command.c_str(), "sh", dir.c_str(),
                          static_cast<char*>(nullptr));
         })
      .out;
}

/// The table of the report: first word of a line to the number after it.
std::map<std::string, double> table(const std::string& out) {
  std::map<std::string, double> rows;
  std::istringstream lines(out);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    double value;
    if (words >> name >> value) rows[name] = value;
  }
  return rows;
}

struct Totals {
  double lines = -1, words = -1, bytes = -1;
  bool operator==(const Totals&) const = default;
};
void PrintTo(const Totals& t, std::ostream* os) {
  *os << std::fixed << t.lines << " lines, " << t.words << " words, " << t.bytes << " bytes";
}
Totals parse(const std::string& line) {
  Totals t;
  std::istringstream(line) >> t.lines >> t.words >> t.bytes;
  return t;
}

class Wc : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "gort_wc_tree.XXXXXX";
    ASSERT_NE(::mkdtemp(dir_.data()), nullptr);
    ASSERT_EQ(::chmod(dir_.c_str(), 0755), 0);
    if (shell("printf '\\001' | LC_ALL=C wc -w", dir_)[0] != '0') options_.push_back("--nonspace");
  }
  void TearDown() override {
    const std::string command = "chmod -R u+rwx '" + dir_ + "' 2>/dev/null; rm -rf '" + dir_ + "'";
    EXPECT_EQ(std::system(command.c_str()), 0);
  }

  void file(const std::string& name, const std::string& content, mode_t mode = 0644) {
    const std::string path = dir_ + "/" + name;
    std::ofstream(path, std::ios::binary) << content;
    ASSERT_EQ(::chmod(path.c_str(), mode), 0) << path;
  }
  void directory(const std::string& name, mode_t mode = 0755) {
    ASSERT_EQ(::mkdir((dir_ + "/" + name).c_str(), mode), 0) << name;
  }
  void awkward_files();

  /// Counts the tree at each number of Ps and compares with the real wc.
  void expect_as_wc(int status, double files, double unreadable) {
    const Totals stream = parse(shell("find \"$1\" -type f -exec cat {} + | LC_ALL=C wc", dir_));
    const Totals by_file = parse(shell(  // of no files wc says nothing
        "{ echo 0 0 0; find \"$1\" -type f -print0 | LC_ALL=C wc --files0-from=-; } | tail -n 1",
        dir_));
    ASSERT_GE(stream.bytes, 0);
    auto args = options_;
    args.push_back(dir_);
    for (const int procs : {1, 2, 4}) {
      SCOPED_TRACE(testing::Message() << "GORT_MAXPROCS=" << procs);
      const Result r = run_wc(args, procs);
      auto rows = table(r.out);
      EXPECT_EQ(r.status, status) << r.err;
      EXPECT_EQ((Totals{rows["lines"], rows["words"], rows["bytes"]}), stream);
      EXPECT_EQ((Totals{rows["lines"], rows["words-by-file"], rows["bytes"]}), by_file);
      EXPECT_EQ(rows["files"], files);
      EXPECT_EQ(rows["unreadable"], unreadable) << r.err;
      EXPECT_EQ(rows["goroutines"], files + 2);
      EXPECT_GE(rows["threads"], 1);
    }
  }

  std::string dir_;
  std::vector<std::string> options_;
};

void Wc::awkward_files() {
  std::mt19937 random(7);
  const auto noise = [&random](std::size_t n) {
    std::string s(n, '\0');
    for (char& c : s) c = static_cast<char>(random());
    return s;
  };
  file("empty", "");
  file("word", "word");
  file("word and newline", "word\n");
  file("spaces", "  \t \r\v\f  ");
  file("newlines", "\n\n\n");
  file("nothing printable", std::string("\0\x01\x7f\x80\xff", 5));
  file("words around nothing printable", std::string("a\0b \x01 c\xff", 8));
  file("utf-8", "gr\xc3\xbc\xc3\x9f dich \xc2\xa0 \xe2\x80\x83 Welt");
  file("line\nbreak", "x y");
  file("-n", "an option?");
  file("*", "a pattern?");
  file("\xff\xfe", "no UTF-8 name");
  file("binary", noise(300'000));
  file("10 MB", noise(5'000'000) + std::string(5'000'000, 'x') + " y");
  for (const std::size_t n : {63, 64, 65, 131'071, 131'072, 131'073}) {
    file("x" + std::to_string(n), std::string(n, 'x'));
  }
  std::string deep = "deep";
  directory(deep);
  for (int i = 0; i < 200; ++i) directory(deep += "/d" + std::to_string(i % 10));
  file(deep + "/file", "at the bottom");
  // Nothing that find -type f sees, and two ways to walk in circles.
  ASSERT_EQ(::symlink("10 MB", (dir_ + "/link").c_str()), 0);
  ASSERT_EQ(::symlink("nowhere", (dir_ + "/dangling").c_str()), 0);
  ASSERT_EQ(::symlink("..", (dir_ + "/deep/up").c_str()), 0);
  ASSERT_EQ(::symlink(".", (dir_ + "/self").c_str()), 0);
  ASSERT_EQ(::mkfifo((dir_ + "/fifo").c_str(), 0644), 0);
}

TEST_F(Wc, AwkwardFiles) {
  awkward_files();
  expect_as_wc(0, 21, 0);
}

TEST_F(Wc, UnreadableFilesAndDirectoriesAreNamed) {
  file("secret", "for nobody", 0);
  file("open", "for everybody");
  directory("closed");
  file("closed/inside", "x");
  ASSERT_EQ(::chmod((dir_ + "/closed").c_str(), 0), 0);
  expect_as_wc(1, 2, 2);
  const Result r = run_wc({dir_}, 2);
  EXPECT_NE(r.err.find("wc: " + dir_ + "/secret: Permission denied\n"), std::string::npos) << r.err;
  EXPECT_NE(r.err.find("wc: " + dir_ + "/closed: Permission denied\n"), std::string::npos) << r.err;
}

// Where words join over the ends of files depends on the order; find reads large directories differently.
TEST_F(Wc, ManyFilesInFindsOrder) {
  std::mt19937 random(11);
  const char* const contents[] = {"a", " a", "a ", " ", "\x01", "a b"};
#if defined(__SANITIZE_THREAD__)
  constexpr int kFiles = 5'000;  // each has a goroutine, and TSan holds 8128
#else
  constexpr int kFiles = 10'500;
#endif
  for (int i = 0; i < kFiles; ++i)
    file(std::to_string(random()) + "." + std::to_string(i), contents[random() % 6]);
  expect_as_wc(0, kFiles, 0);
}

TEST_F(Wc, OneFileOrNone) {
  expect_as_wc(0, 0, 0);
  file("only", "one two\nthree");
  const Result r = run_wc({dir_ + "/only"}, 2);
  auto rows = table(r.out);
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_EQ((Totals{rows["lines"], rows["words"], rows["bytes"]}), (Totals{1, 3, 13}));
}

TEST_F(Wc, WrongUse) {
  EXPECT_EQ(run_wc({"--what"}, 2).status, 2);
  EXPECT_EQ(run_wc({dir_, dir_}, 2).status, 2);
  const Result r = run_wc({dir_ + "/missing"}, 2);
  EXPECT_EQ(r.status, 1);
  EXPECT_EQ(r.err, "wc: " + dir_ + "/missing: No such file or directory\n");
}

}  // namespace
