#include "harness.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace bench {
namespace {

double seconds(const timeval& t) noexcept {
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
}

/// Reads a whole file in pieces and hands each to `piece(data, size)`.
template <class F>
void read_pieces(const char* path, F&& piece) noexcept {
  static char buffer[1 << 16];  // one reader at a time: rows sample from one place
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("cannot open %s", path);
  for (ssize_t got; (got = read(fd, buffer, sizeof buffer - 1)) > 0;) {
    buffer[got] = 0;
    piece(buffer, static_cast<std::size_t>(got));
  }
  close(fd);
}

void print_json(const char* impl, const Options& o, const Result& r) {
  if (!std::isfinite(r.value)) fail("the value is not a number");
  std::printf(R"({"row":"%s","impl":"%s","procs":%d,"value":%.6g,"unit":"%s","extra":{)",
              o.row.c_str(), impl, o.procs, r.value, r.unit.c_str());
  const char* comma = "";
  for (const auto& [name, value] : r.numbers) {
    std::printf(R"(%s"%s":%.9g)", comma, name.c_str(), value);
    comma = ",";
  }
  for (const auto& [name, text] : r.notes) {
    std::printf(R"(%s"%s":"%s")", comma, name.c_str(), text.c_str());
    comma = ",";
  }
  std::printf("}}\n");
  if (std::fflush(stdout) != 0) fail("cannot write the result");
}

[[noreturn]] void usage(const char* program) {
  std::fprintf(
      stderr,
      "usage: %s ROW [--procs N] [--n COUNT] [--min-ms MS] [--config WORDS] | --list | --version\n",
      program);
  std::exit(2);
}

std::uint64_t number(const char* program, const char* text) {
  char* end = nullptr;
  const unsigned long long v = std::strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end != 0) usage(program);
  return v;
}

}  // namespace

void fail(const char* format, ...) {
  va_list args;
  va_start(args, format);
  std::vfprintf(stderr, format, args);
  va_end(args);
  std::fputc('\n', stderr);
  _exit(1);  // not exit: goroutines or fibers may still run, and destructors must not meet them
}

double now() noexcept {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

void sleep_seconds(double s) noexcept {
  timespec t{static_cast<time_t>(s), static_cast<long>((s - std::floor(s)) * 1e9)};
  while (nanosleep(&t, &t) != 0) {  // a runtime's signals may interrupt: the rest is left in t
  }
}

double process_cpu() noexcept {
  rusage u;
  getrusage(RUSAGE_SELF, &u);
  return seconds(u.ru_utime) + seconds(u.ru_stime);
}

Memory memory() noexcept {
  Memory m{};
  read_pieces("/proc/self/statm", [&](char* data, std::size_t) {
    long long size = 0, resident = 0;
    if (std::sscanf(data, "%lld %lld", &size, &resident) != 2) fail("cannot read statm");
    m.reserved = size * sysconf(_SC_PAGESIZE);
    m.resident = resident * sysconf(_SC_PAGESIZE);
  });
  read_pieces("/proc/self/status", [&](char* data, std::size_t) {  // shorter than one piece
    if (const char* at = std::strstr(data, "VmPTE:")) m.page_tables = std::atoll(at + 6) * 1024;
  });
  read_pieces("/proc/self/maps", [&](char* data, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) m.mappings += data[i] == '\n';
  });
  return m;
}

Result parked_result(std::uint64_t n, const Memory& before, const Memory& after, double create_s,
                     double wake_s) {
  const double count = static_cast<double>(n);
  return {
      static_cast<double>(after.resident - before.resident) / count,
      "B",
      {{"n", count},
       {"create_ns", create_s / count * 1e9},
       {"wake_ns", wake_s / count * 1e9},
       {"page_table_bytes", static_cast<double>(after.page_tables - before.page_tables) / count},
       {"mappings", static_cast<double>(after.mappings)},
       {"mappings_before", static_cast<double>(before.mappings)},
       {"reserved_mib", static_cast<double>(after.reserved - before.reserved) / (1 << 20)}}};
}

Result idle_result(double settle_seconds, double idle_seconds) noexcept {
  sleep_seconds(settle_seconds);
  const double cpu = process_cpu();
  const double wall = now();
  sleep_seconds(idle_seconds);
  const double used = process_cpu() - cpu;
  const double took = now() - wall;
  return {used * 1e3 / took, "ms/s", {{"seconds", took}}};
}

std::uint64_t next_count(const Timed& seen, double goal_seconds) noexcept {
  double factor = 1.2 * goal_seconds / (seen.seconds > 1e-9 ? seen.seconds : 1e-9);
  if (factor > 100) factor = 100;
  return static_cast<std::uint64_t>(std::ceil(static_cast<double>(seen.ops) * factor));
}

Result per_operation(const Timed& t, double cpu_seconds, double wall_seconds) {
  const double ops = static_cast<double>(t.ops);
  return {t.seconds / ops * 1e9,
          "ns",
          {{"n", ops}, {"seconds", t.seconds}, {"cpu_per_wall", cpu_seconds / wall_seconds}}};
}

double add_quantiles(Result& r, const std::string& prefix, std::vector<double>& seconds) {
  check(!seconds.empty(), "there are samples");
  std::sort(seconds.begin(), seconds.end());
  const auto at = [&](double q) {
    const auto i = static_cast<std::size_t>(q * static_cast<double>(seconds.size()));
    return seconds[std::min(i, seconds.size() - 1)] * 1e9;
  };
  r.numbers.insert(r.numbers.end(), {{prefix + "p10_ns", at(0.10)},
                                     {prefix + "p50_ns", at(0.50)},
                                     {prefix + "p90_ns", at(0.90)},
                                     {prefix + "p99_ns", at(0.99)},
                                     {prefix + "max_ns", at(1)}});
  return at(0.50);
}

int contender_main(int argc, char** argv, const char* impl, const char* version_json,
                   std::span<const Row> rows) {
  if (argc < 2) usage(argv[0]);
  Options o;
  o.row = argv[1];
  if (argc == 2 && o.row == "--list") {
    for (const Row& row : rows) std::puts(row.name);
    return 0;
  }
  if (argc == 2 && o.row == "--version") {
    std::printf("{\"impl\":\"%s\",%s}\n", impl, version_json);
    return 0;
  }
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--procs") {
      o.procs = static_cast<int>(number(argv[0], argv[i + 1]));
    } else if (flag == "--n") {
      o.n = number(argv[0], argv[i + 1]);
    } else if (flag == "--min-ms") {
      o.min_seconds = static_cast<double>(number(argv[0], argv[i + 1])) / 1e3;
    } else if (flag == "--config") {
      o.config = argv[i + 1];
    } else {
      usage(argv[0]);
    }
  }
  if (argc % 2 != 0 || o.procs < 1 || o.procs > 1024) usage(argv[0]);
  for (const Row& row : rows) {
    if (o.row == row.name) {
      print_json(impl, o, row.run(o));
      return 0;
    }
  }
  std::fprintf(stderr, "%s has no row %s\n", argv[0], o.row.c_str());
  return 2;
}

}  // namespace bench
