// Goroutines that compute for ever and never call gort: what a bad loop in a handler would be. DEBUG HOG lets them loose
// to show that the others go on being served.
#pragma once

#include <gort/go.h>

#include <atomic>
#include <chrono>
#include <cstdint>

namespace kv {

class hog_pen {
 public:
  /// So many endless loops from now on, in place of those that are there; 0: none.
  void let_loose(int n) {
    const std::uint64_t herd = herd_.fetch_add(1, std::memory_order_relaxed) + 1;
    count_.store(n, std::memory_order_relaxed);
    for (int i = 0; i < n; ++i) {
      gort::go({.name = "hog"}, [this, herd] {
        // Neither a call into gort nor a system call in it: only a signal can interrupt this.
        while (herd_.load(std::memory_order_relaxed) == herd) {
        }
      });
    }
  }
  int count() const noexcept { return count_.load(std::memory_order_relaxed); }
  ~hog_pen() { let_loose(0); }

 private:
  std::atomic<std::uint64_t> herd_{0};
  std::atomic<int> count_{0};
};

}  // namespace kv
