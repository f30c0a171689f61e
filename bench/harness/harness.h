// The common face of the C++ contenders of `make bench`: command line, measuring, one JSON line.
//
//   <program> ROW [--procs N] [--n COUNT] [--min-ms MS] [--config WORDS]
//   <program> --list       names of the rows that it has, one a line
//   <program> --version    one JSON line: who it is and what compiled it
//
// A program runs one row once, checks the row's result itself and prints one line
//   {"row":"yield2","impl":"gort","procs":1,"value":12.3,"unit":"ns","extra":{...}}
// It ends with 0 if the row ran and its result was right, 1 if not (the reason is on stderr, and
// there is no line), 2 if the command line was wrong. bench/peers/go follows the same contract.
//
// A row is measured in its second run at the earliest, so that stacks and caches are warm; without
// --n the count grows until one run takes --min-ms (300). Times are wall time of the monotonic
// clock.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace bench {

struct Options {
  std::string row;
  std::string config;  ///< the contender's own words for other than its best configuration
  int procs = 1;
  std::uint64_t n = 0;  ///< 0: as many as take min_seconds
  double min_seconds = 0.3;

  bool has(const char* word) const { return config.find(word) != std::string::npos; }
};

struct Result {
  double value = 0;
  std::string unit;
  std::vector<std::pair<std::string, double>> numbers;  ///< "extra", in this order
  std::vector<std::pair<std::string, std::string>>
      notes{};  ///< "extra" too: configuration in words
};

struct Row {
  const char* name;
  Result (*run)(const Options&);
};

/// What one timed run did: `ops` may be more than asked for (rounded up to whole batches).
struct Timed {
  std::uint64_t ops;
  double seconds;
};

/// Ends the program with 1 and the reason on stderr.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

/// A failed check is a failed row, never a figure.
inline void check(bool ok, const char* what) {
  if (!ok) fail("check failed: %s", what);
}

/// Seconds of the monotonic clock.
double now() noexcept;

/// Raw nanosleep, however often signals interrupt it: for threads that are not the runtime's.
void sleep_seconds(double s) noexcept;

/// User and system CPU seconds of the whole process, ended threads included.
double process_cpu() noexcept;

/// What the kernel says about this process. Reads /proc with plain read(2), no allocation.
struct Memory {
  std::int64_t resident;     ///< bytes, /proc/self/statm
  std::int64_t page_tables;  ///< bytes, VmPTE
  std::int64_t reserved;     ///< bytes of address space
  std::int64_t mappings;     ///< lines of /proc/self/maps
};
Memory memory() noexcept;

/// The extra figures of the parked rows: differences per parked task, mappings as they are.
Result parked_result(std::uint64_t n, const Memory& before, const Memory& after, double create_s,
                     double wake_s);

/// The idle row: CPU milliseconds per second that the process uses while the caller sleeps
/// `seconds` (raw nanosleep: from a thread of its own). Waits first for a burst's after-effects to
/// end.
Result idle_result(double settle_seconds, double seconds) noexcept;

/// The count that should take a fifth more than `goal_seconds`, judged by one run; grows at most a
/// hundredfold, is at least 1.
std::uint64_t next_count(const Timed& seen, double goal_seconds) noexcept;

/// Nanoseconds per operation, with the count and the share of CPU ("cpu_per_wall") as extra
/// figures.
Result per_operation(const Timed& t, double cpu_seconds, double wall_seconds);

/// Measures `body`, a callable Timed(std::uint64_t ops). Its first run, with `first`, only warms
/// up.
template <class F>
Result measure(const Options& o, std::uint64_t first, F&& body) {
  Timed t = body(first);
  for (;;) {
    const std::uint64_t n = o.n != 0 ? o.n : next_count(t, o.min_seconds);
    const double cpu = process_cpu();
    const double wall = now();
    t = body(n);
    if (o.n != 0 || t.seconds >= o.min_seconds)
      return per_operation(t, process_cpu() - cpu, now() - wall);
  }
}

/// Sorts `seconds` and adds the 10th, 50th, 90th and 99th percentile and the greatest, in nanoseconds
/// ("<prefix>p10_ns", ...), to r's extra figures. Returns the median in nanoseconds.
double add_quantiles(Result& r, const std::string& prefix, std::vector<double>& seconds);

/// main() of a contender. `version_json` is the inside of a JSON object, without braces.
int contender_main(int argc, char** argv, const char* impl, const char* version_json,
                   std::span<const Row> rows);

}  // namespace bench
