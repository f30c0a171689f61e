// What compiler-inserted polls cost (docs/polls.md): compiled once with them and once without by bench/polls/run.
//
// Prints "row ns" for each row: the least of several runs, per operation. Every row's result is checked.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <gort/gort.h>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace {

/// Each run is shorter than a time slice, so that no request comes: it is the fast path that is measured.
constexpr int kRuns = 15;

void row(const char* name, double operations, const std::function<bool()>& run) {
  double best = 1e30;
  for (int i = 0; i < kRuns; ++i) {
    gort::this_goroutine::yield();  // a new slice
    const auto start = std::chrono::steady_clock::now();
    const bool right = run();
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    if (!right) {
      std::fprintf(stderr, "%s: wrong result\n", name);
      std::exit(1);
    }
    best = std::min(best, took.count() / operations);
  }
  std::printf("%s %.4f\n", name, best);
}

/// Nothing but a counter that the compiler must count in a register.
[[gnu::noinline]] std::uint64_t count(std::uint64_t n) {
  std::uint64_t i = 0;
  while (i < n) {
    ++i;
    asm volatile("" : "+r"(i));
  }
  return i;
}

/// What a compiler turns into vector instructions, if nothing keeps it from that.
[[gnu::noinline]] std::uint32_t sum(const std::vector<std::uint32_t>& v) {
  std::uint32_t s = 0;
  for (std::uint32_t x : v) s += x;
  return s;
}

/// A chain of dependent arithmetic, a few instructions a turn.
[[gnu::noinline]] std::uint64_t xorshift(std::uint64_t x, int n) {
  for (int i = 0; i < n; ++i) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
  }
  return x;
}

std::string make_text(std::size_t words) {
  std::string text;
  std::uint64_t x = 88172645463325252u;
  for (std::size_t i = 0; i < words; ++i) {
    x = xorshift(x, 1);
    for (std::uint64_t n = x % 5000, k = 0; n != 0 || k == 0; n /= 26, ++k) text += static_cast<char>('a' + n % 26);
    text += x % 11 == 0 ? '\n' : ' ';
  }
  return text;
}

/// Counts words: the kind of code that servers consist of, branches, hashing, memory.
[[gnu::noinline]] std::size_t count_words(std::string_view text, std::unordered_map<std::string, int>& counts) {
  std::size_t words = 0;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    while (end < text.size() && text[end] != ' ' && text[end] != '\n') ++end;
    ++counts[std::string(text.substr(i, end - i))];
    ++words;
    i = end + 1;
  }
  return words;
}

void all_rows() {
  constexpr std::size_t kMany = 1'000'000;
  row("count", kMany, [] { return count(kMany) == kMany; });
  const std::vector<std::uint32_t> ones(1 << 20, 1);
  row("sum", 1 << 20, [&] { return sum(ones) == 1 << 20; });
  row("xorshift", kMany, [] { return xorshift(1, kMany) != 0; });
  std::vector<std::uint64_t> numbers(20'000);
  row("sort", 20'000, [&] {
    std::uint64_t x = 1;
    for (std::uint64_t& n : numbers) n = x = xorshift(x, 1);
    std::sort(numbers.begin(), numbers.end());
    return std::is_sorted(numbers.begin(), numbers.end());
  });
  constexpr std::size_t kWords = 20'000;
  const std::string text = make_text(kWords);
  row("words", kWords, [&] {
    std::unordered_map<std::string, int> counts;
    return count_words(text, counts) == kWords && counts.size() > 1000;
  });
}

}  // namespace

/// With an argument, without starting gort: what a program pays that only links it.
int main(int argc, char**) {
  if (argc > 1) {
    all_rows();
    return 0;
  }
  return gort::run({.max_procs = 1}, [] {
    all_rows();
    return 0;
  });
}
