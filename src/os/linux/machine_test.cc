#include "os/linux/machine.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "os/os.h"

namespace {

using namespace gort::os;
namespace fs = std::filesystem;

TEST(OsMachine, CpuCountIsTheAffinityMask) {
  cpu_set_t all;
  ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  EXPECT_EQ(cpu_count(), CPU_COUNT(&all));
  int first = 0;
  while (!CPU_ISSET(first, &all)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(cpu_count(), 1);
  sched_setaffinity(0, sizeof all, &all);
}

TEST(OsMachine, MaskGrowsOverAThousandProcessors) {
  // A kernel of 8,192 processors wants 1,024 bytes and has 3,000 of them for us.
  auto large = [](unsigned long* mask, std::size_t bytes) -> long {
    if (bytes < 1024) return -EINVAL;
    for (int cpu = 0; cpu < 3000; ++cpu) mask[cpu / 64] |= 1UL << (cpu % 64);
    return 1024;
  };
  EXPECT_EQ(count_cpus(large), 3000);
  auto larger = [](unsigned long* mask, std::size_t bytes) -> long {
    if (bytes < 20'000) return -EINVAL;
    mask[2499] = 6;
    return 20'000;
  };
  EXPECT_EQ(count_cpus(larger), 2);
  EXPECT_EQ(count_cpus([](unsigned long*, std::size_t) -> long { return -EINVAL; }), 1);
  EXPECT_EQ(count_cpus([](unsigned long*, std::size_t) -> long { return -EPERM; }), 1);
}

/// A tree of fake files below a temporary directory.
class CgroupTest : public testing::Test {
 protected:
  CgroupTest() {
    char name[] = "/tmp/gort_cgroup_XXXXXX";
    root_ = mkdtemp(name);
  }
  ~CgroupTest() override { fs::remove_all(root_); }
  void file(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  void v2(const std::string& group, const std::string& mount_root = "/") {
    file("/proc/self/cgroup", "0::" + group + "\n");
    file("/proc/self/mountinfo",
         "22 28 0:20 / /proc rw,nosuid - proc proc rw\n"
         "30 22 0:26 " +
             mount_root + " /sys/fs/cgroup rw,nosuid shared:4 master:1 - cgroup2 cgroup2 rw\n");
  }
  std::int64_t limit() { return cgroup_cpu_limit_milli(root_.c_str()); }
  std::string root_;
};

TEST_F(CgroupTest, NothingThereIsNoLimit) { EXPECT_EQ(limit(), 0); }

TEST_F(CgroupTest, V2Values) {
  v2("/app");
  const std::string max = "/sys/fs/cgroup/app/cpu.max";
  EXPECT_EQ(limit(), 0);
  struct {
    const char* text;
    std::int64_t milli;
  } cases[] = {
      {"max 100000\n", 0},
      {"150000 100000\n", 1500},
      {"50000 100000\n", 500},
      {"200000 50000\n", 4000},
      {"1000 1000000\n", 1},
      {"1 1000000\n", 1},
      {"", 0},
      {"junk\n", 0},
      {"100000\n", 0},
      {"100000 0\n", 0},
      {"-1 100000\n", 0},
      {"9223372036854775807 100000\n", 0},
  };
  for (auto& c : cases) {
    file(max, c.text);
    EXPECT_EQ(limit(), c.milli) << c.text;
  }
}

TEST_F(CgroupTest, V2TightestAncestorBinds) {
  v2("/a/b/c");
  file("/sys/fs/cgroup/a/b/c/cpu.max", "400000 100000\n");
  EXPECT_EQ(limit(), 4000);
  file("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  EXPECT_EQ(limit(), 4000);
  file("/sys/fs/cgroup/a/cpu.max", "250000 100000\n");
  EXPECT_EQ(limit(), 2500);
  file("/sys/fs/cgroup/cpu.max", "200000 100000\n");  // the mount point: a container's own group
  EXPECT_EQ(limit(), 2000);
  file("/sys/fs/cpu.max", "1000 100000\n");  // above the mount: not ours
  EXPECT_EQ(limit(), 2000);
}

TEST_F(CgroupTest, V2InItsOwnNamespace) {
  v2("/");
  file("/sys/fs/cgroup/cpu.max", "300000 100000\n");
  EXPECT_EQ(limit(), 3000);
}

TEST_F(CgroupTest, V2MountOfASubtree) {
  v2("/docker/abc/x", "/docker/abc");
  file("/sys/fs/cgroup/x/cpu.max", "300000 100000\n");
  EXPECT_EQ(limit(), 3000);
  file("/sys/fs/cgroup/cpu.max", "100000 100000\n");
  EXPECT_EQ(limit(), 1000);
  v2("/docker/abcdef", "/docker/abc");  // a longer name is no child
  file("/sys/fs/cgroup/def/cpu.max", "1000 100000\n");
  EXPECT_EQ(limit(), 1000);
}

TEST_F(CgroupTest, V2MovedOutOfItsNamespace) {
  v2("/../other");
  file("/sys/fs/other/cpu.max", "1000 100000\n");
  file("/sys/fs/cgroup/cpu.max", "200000 100000\n");
  EXPECT_EQ(limit(), 2000);
}

TEST_F(CgroupTest, V2EscapedMountPoint) {
  file("/proc/self/cgroup", "0::/g\n");
  file("/proc/self/mountinfo", "30 22 0:26 / /my\\040groups rw - cgroup2 none rw\n");
  file("/my groups/g/cpu.max", "700000 100000\n");
  EXPECT_EQ(limit(), 7000);
}

TEST_F(CgroupTest, V1) {
  file("/proc/self/cgroup", "5:memory:/app\n4:cpu,cpuacct:/app/x\n3:cpuset:/wrong\n0::/\n");
  file("/proc/self/mountinfo",
       "33 31 0:29 / /cg/cpuset rw - cgroup cgroup rw,cpuset\n"
       "32 31 0:29 / /cg/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n");
  const std::string dir = "/cg/cpu,cpuacct/app";
  file(dir + "/x/cpu.cfs_period_us", "100000\n");
  file(dir + "/x/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(limit(), 0);
  file(dir + "/x/cpu.cfs_quota_us", "350000\n");
  EXPECT_EQ(limit(), 3500);
  file(dir + "/cpu.cfs_quota_us", "125000\n");
  file(dir + "/cpu.cfs_period_us", "50000\n");
  EXPECT_EQ(limit(), 2500);
}

TEST_F(CgroupTest, BothVersionsTheTighterBinds) {
  file("/proc/self/cgroup", "1:cpu:/a\n0::/b\n");
  file("/proc/self/mountinfo",
       "32 31 0:29 / /cg/cpu rw - cgroup cgroup rw,cpu\n"
       "41 31 0:38 / /cg/unified rw - cgroup2 cgroup2 rw\n");
  file("/cg/cpu/a/cpu.cfs_quota_us", "200000");
  file("/cg/cpu/a/cpu.cfs_period_us", "100000");
  EXPECT_EQ(limit(), 2000);
  file("/cg/unified/b/cpu.max", "100000 100000");
  EXPECT_EQ(limit(), 1000);
  file("/cg/unified/b/cpu.max", "300000 100000");
  EXPECT_EQ(limit(), 2000);
}

TEST_F(CgroupTest, LongLinesAndPathsDoNotHarm) {
  std::string deep;
  for (int i = 0; i < 300; ++i) deep += "/level" + std::to_string(i);
  v2("/app");
  file("/sys/fs/cgroup/app/cpu.max", "200000 100000\n");
  std::ofstream mounts(root_ + "/proc/self/mountinfo");
  mounts << "29 22 0:25 / / rw - overlay overlay rw,lowerdir=" << std::string(20'000, 'l') << "\n"
         << "30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
  mounts.close();
  EXPECT_EQ(limit(), 2000);
  v2(deep);
  EXPECT_EQ(limit(), 0);
}

TEST(OsMachine, RealCgroupFilesAreReadable) { EXPECT_GE(cgroup_cpu_limit_milli(), 0); }

TEST(OsMachine, Getenv) {
  setenv("GORT_TEST_VALUE", "a=b", 1);
  setenv("GORT_TEST_EMPTY", "", 1);
  unsetenv("GORT_TEST_VALU");
  EXPECT_STREQ(gort::os::getenv("GORT_TEST_VALUE"), "a=b");
  EXPECT_STREQ(gort::os::getenv("GORT_TEST_EMPTY"), "");
  EXPECT_EQ(gort::os::getenv("GORT_TEST_VALU"), nullptr);
  EXPECT_EQ(gort::os::getenv("GORT_TEST_VALUE=a"), nullptr);
  EXPECT_EQ(gort::os::getenv("GORT_TEST_VALUE_LONGER"), nullptr);
  EXPECT_EQ(gort::os::getenv(""), nullptr);
  EXPECT_EQ(gort::os::getenv("GORT_TEST_VALUE"), ::getenv("GORT_TEST_VALUE"));  // not a copy
  char** before = environ;
  environ = nullptr;
  EXPECT_EQ(gort::os::getenv("GORT_TEST_VALUE"), nullptr);
  environ = before;
}

}  // namespace
