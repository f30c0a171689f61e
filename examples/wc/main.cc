// wc [--nonspace] [DIR]: the lines, words and bytes of every file under DIR (/usr/share), as
//
//   find DIR -type f -exec cat {} + | LC_ALL=C wc
//
// One goroutine per file, written as if it had a thread to itself: it waits for one of 16 permits, opens,
// reads and counts. The walk starts them as fast as it finds files, so tens of thousands wait at once, on a
// handful of threads. Files and directories that cannot be read are named on stderr and counted; the exit
// status is 1 then, as with find, cat and wc.
#include <dirent.h>
#include <fcntl.h>
#include <gort/gort.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "count.h"

namespace {

constexpr int kAtOnce = 16;           // files being read
constexpr int kMostWaiting = 50'000;  // files whose goroutine exists: bounds memory on a huge tree
constexpr std::size_t kBuffer = 128 << 10;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// One regular file. Written by its goroutine alone, read when that has ended.
struct File {
  std::string path;
  wc::Text text;
  int error = 0;
};

/// Everything that the goroutines share.
struct Job {
  wc::Rule rule = wc::Rule::printable;
  gort::semaphore room{kMostWaiting};  // one unit for each goroutine that may still be started
  gort::semaphore permits{kAtOnce};    // one unit for each file that may be read now ...
  std::atomic<unsigned> buffers{(1u << kAtOnce) - 1};  // ... and, as a bit, a buffer for it
  std::unique_ptr<unsigned char[]> memory{new unsigned char[kAtOnce * kBuffer]};
  std::atomic<std::uint64_t> files_done{0}, bytes_done{0};
  std::deque<File> files;  // in find's order; the walk's alone to append to
  int unreadable_directories = 0;
  std::int64_t most_goroutines = 0;
  int most_threads = 0;
};

/// A permit, with the buffer that goes with it; waits for one, and gives both back.
class Desk {
 public:
  explicit Desk(Job& job) : job_(job) {
    job_.permits.acquire();
    unsigned free = job_.buffers.load(std::memory_order_relaxed);
    do {
      bit_ = free & -free;  // never 0: there are as many buffers as permits
    } while (!job_.buffers.compare_exchange_weak(free, free & ~bit_, std::memory_order_acquire));
  }
  Desk(const Desk&) = delete;
  Desk& operator=(const Desk&) = delete;
  ~Desk() {
    job_.buffers.fetch_or(bit_, std::memory_order_release);
    job_.permits.release();
  }
  unsigned char* buffer() const { return &job_.memory[std::countr_zero(bit_) * kBuffer]; }

 private:
  Job& job_;
  unsigned bit_;
};

// The calls that may sleep give their error as a negative result, and are not inlined: errno belongs to the
// thread, a goroutine may have another one after gort::blocking, and compilers keep errno's address.
[[gnu::noinline]] int open_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  return fd < 0 ? -errno : fd;
}

[[gnu::noinline]] ssize_t read_some(int fd, unsigned char* buffer) {
  ssize_t n;
  do {
    n = ::read(fd, buffer, kBuffer);
  } while (n < 0 && errno == EINTR);
  return n < 0 ? -errno : n;
}

/// The body of a file's goroutine.
void count_file(Job& job, File& file) {
  Desk desk(job);
  const int fd = gort::blocking(open_file, file.path);
  if (fd < 0) {
    file.error = -fd;
    return;
  }
  for (;;) {
    const ssize_t n = gort::blocking(read_some, fd, desk.buffer());
    if (n < 0) file.error = static_cast<int>(-n);
    if (n <= 0) break;
    wc::add_bytes(file.text, desk.buffer(), static_cast<std::size_t>(n), job.rule);
    job.bytes_done.fetch_add(static_cast<std::uint64_t>(n), std::memory_order_relaxed);
  }
  gort::blocking(::close, fd);
  job.files_done.fetch_add(1, std::memory_order_relaxed);
}

void start_file(Job& job, std::string path) {
  job.room.acquire();
  File& file = job.files.emplace_back(std::move(path));
  gort::go([&job, &file] {
    count_file(job, file);
    job.room.release();  // the last touch: the walk may end the job now
  });
  job.most_goroutines = std::max(job.most_goroutines, gort::num_goroutine());
}

struct Entry {
  std::string name;
  ino_t inode;
  bool directory;
};

/// The files and directories in a directory, in the order in which find takes them. Gives 0 or an error.
[[gnu::noinline]] int list_directory(const std::string& path, std::vector<Entry>& entries) {
  DIR* dir = ::opendir(path.c_str());
  if (dir == nullptr) return errno;
  errno = 0;
  while (const dirent* e = ::readdir(dir)) {
    const std::string_view name = e->d_name;
    if (name == "." || name == "..") continue;
    unsigned char type = e->d_type;
    struct stat st;
    if (type == DT_UNKNOWN && ::fstatat(::dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
      type = IFTODT(st.st_mode);
    }
    entries.push_back({e->d_name, e->d_ino, type == DT_DIR});
    // Kept, for the count of entries below, but with nothing to look at: links, sockets, devices.
    if (type != DT_DIR && type != DT_REG) entries.back().name.clear();
    errno = 0;
  }
  const int error = errno;
  // A large directory is read in the order of inodes, to spare a disk: only where words join depends on it.
  struct statfs fs;
  constexpr long kTmpfs = 0x01021994, kNfs = 0x6969;
  if (entries.size() > 10'000 && ::fstatfs(::dirfd(dir), &fs) == 0 && fs.f_type != kTmpfs &&
      fs.f_type != kNfs) {
    std::ranges::sort(entries, {}, &Entry::inode);
  }
  ::closedir(dir);
  return error;
}

void walk(Job& job, const std::string& path) {
  std::vector<Entry> entries;
  if (const int error = gort::blocking(list_directory, path, entries); error != 0) {
    std::fprintf(stderr, "wc: %s: %s\n", path.c_str(), std::strerror(error));
    ++job.unreadable_directories;
  }
  const std::string prefix = path.ends_with('/') ? path : path + '/';
  for (const Entry& e : entries) {
    if (e.name.empty()) continue;
    if (e.directory) {
      walk(job, prefix + e.name);
    } else {
      start_file(job, prefix + e.name);
    }
  }
}

/// Threads of this process, by the kernel's count.
int count_threads() {
  char text[4096] = {};
  const int fd = ::open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t n = ::read(fd, text, sizeof text - 1);
  ::close(fd);
  const char* line = n > 0 ? std::strstr(text, "\nThreads:") : nullptr;
  return line != nullptr ? std::atoi(line + 9) : 0;
}

/// Looks at the threads every 20 ms, and tells a terminal twice a second how far things are, until `stop`
/// can be read.
void watch(Job& job, int stop) {
  const auto start = Clock::now();
  const bool terminal = ::isatty(STDERR_FILENO) == 1;
  pollfd ended{.fd = stop, .events = POLLIN, .revents = 0};
  for (int look = 1; gort::blocking([&] { return ::poll(&ended, 1, 20); }) <= 0; ++look) {
    const int threads = gort::blocking(count_threads);
    job.most_threads = std::max(job.most_threads, threads);
    if (!terminal || look % 25 != 0) continue;
    const double mb = static_cast<double>(job.bytes_done.load(std::memory_order_relaxed)) / 1e6;
    std::fprintf(stderr, "\r%8llu files %9.1f MB %8.1f MB/s %7lld goroutines %3d threads\033[K",
                 static_cast<unsigned long long>(job.files_done.load(std::memory_order_relaxed)),
                 mb, mb / seconds_since(start), static_cast<long long>(gort::num_goroutine()),
                 threads);
  }
  if (terminal) std::fputs("\r\033[K", stderr);
}

double cpu_seconds(const rusage& u) {
  const auto s = [](timeval t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return s(u.ru_utime) + s(u.ru_stime);
}

int report(const Job& job, double seconds) {
  wc::Text stream;  // all files one behind the other
  std::uint64_t words_by_file = 0;
  int unreadable = job.unreadable_directories;
  for (const File& f : job.files) {
    stream += f.text;
    words_by_file += f.text.words;
    if (f.error == 0) continue;
    ++unreadable;
    std::fprintf(stderr, "wc: %s: %s\n", f.path.c_str(), std::strerror(f.error));
  }
  rusage usage;
  ::getrusage(RUSAGE_SELF, &usage);
  const auto number = [](const char* what, std::uint64_t n, const char* remark) {
    std::printf("  %-14s %14llu   %s\n", what, static_cast<unsigned long long>(n), remark);
  };
  number("files", job.files.size(), "");
  number("lines", stream.lines, "");
  number("words", stream.words,
         "of all files one behind the other, where the last word of one and");
  number("words-by-file", words_by_file,
         "the first of the next may be one; and of each file by itself");
  number("bytes", stream.bytes, "");
  number("unreadable", static_cast<std::uint64_t>(unreadable),
         "files and directories, named on stderr");
  std::printf("  %-14s %14.3f   of which on a CPU, all threads together: %.3f\n", "seconds",
              seconds, cpu_seconds(usage));
  std::printf("  %-14s %14.1f\n", "MB/s", static_cast<double>(stream.bytes) / 1e6 / seconds);
  std::printf("  %-14s %14zu   at most %lld at a time, %d of them reading\n", "goroutines",
              job.files.size() + 2, static_cast<long long>(job.most_goroutines), kAtOnce);
  std::printf("  %-14s %14d   at most; for %d Ps\n", "threads", job.most_threads,
              gort::num_procs());
  std::printf("  %-14s %14ld   at most\n", "resident MB", usage.ru_maxrss / 1024);
  return unreadable > 0 ? 1 : 0;
}

int count_tree(Job& job, const std::string& root) {
  std::printf("%s: %d Ps, a goroutine per file, %d reading at a time\n", root.c_str(),
              gort::num_procs(), kAtOnce);
  std::fflush(stdout);
  const auto start = Clock::now();
  const int stop = ::eventfd(0, EFD_CLOEXEC);
  job.most_threads = gort::blocking(count_threads);
  gort::task<void> watcher = gort::spawn([&job, stop] { watch(job, stop); });
  struct stat st;
  if (gort::blocking([&] { return ::stat(root.c_str(), &st); }) == 0 && S_ISREG(st.st_mode)) {
    start_file(job, root);
  } else {
    walk(job, root);
  }
  // Who has all units knows that all goroutines have ended.
  for (int i = 0; i < kMostWaiting; ++i) job.room.acquire();
  const double seconds = seconds_since(start);
  ::eventfd_write(stop, 1);
  watcher.join();
  ::close(stop);
  return report(job, seconds);
}

constexpr char kUsage[] =
    R"(usage: wc [--nonspace] [DIR]
  Counts lines, words and bytes of the files under DIR (/usr/share), as LC_ALL=C wc does.
  --nonspace  words are whatever is not white space, as later coreutils than 9.1 have it
)";

}  // namespace

int main(int argc, char** argv) {
  std::string root = "/usr/share";
  Job job;
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    if (arg == "--nonspace") {
      job.rule = wc::Rule::nonspace;
    } else if (arg.empty() || arg.starts_with('-') || i + 1 < argc) {
      std::fputs(kUsage, stderr);
      return 2;
    } else {
      root = arg;
    }
  }
  return gort::run([&] { return count_tree(job, root); });
}
