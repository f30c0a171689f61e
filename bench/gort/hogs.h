// Goroutines that never call into gort: only the runtime's preemption takes the processor from them.
#pragma once

#include <gort/gort.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

namespace gort_rows {

/// `count` goroutines, each of which calls a copy of `work` until end(). work() returns how many operations it did.
class Hogs {
 public:
  template <class Work>
  Hogs(std::size_t count, const Work& work) : counters_(count) {
    tasks_.reserve(count);
    for (Counter& c : counters_) {
      tasks_.push_back(gort::spawn([this, &c, work = Work(work)]() mutable {
        while (!stop_.load(std::memory_order_relaxed)) {
          c.operations.store(c.operations.load(std::memory_order_relaxed) + work(),
                             std::memory_order_relaxed);
        }
      }));
    }
  }
  Hogs(const Hogs&) = delete;
  Hogs& operator=(const Hogs&) = delete;
  ~Hogs() { end(); }

  void end() {
    stop_.store(true, std::memory_order_relaxed);
    for (gort::task<void>& t : tasks_) t.join();
    tasks_.clear();
  }

  std::size_t size() const { return counters_.size(); }
  std::uint64_t count(std::size_t i) const {
    return counters_[i].operations.load(std::memory_order_relaxed);
  }

  /// Yields until each has done something.
  void wait_until_all_run() const {
    for (std::size_t i = 0; i < size(); ++i) {
      while (count(i) == 0) gort::this_goroutine::yield();
    }
  }

 private:
  struct alignas(128) Counter {  // a cache line of its own, and the next, which is fetched along
    std::atomic<std::uint64_t> operations = 0;
  };
  std::vector<Counter> counters_;
  std::vector<gort::task<void>> tasks_;
  std::atomic<bool> stop_ = false;
};

/// Computes without a call.
struct Spin {
  std::uint64_t spun = 0;
  std::uint64_t operator()() {
    for (std::uint64_t i = 0; i < 1000; ++i) spun = spun * 6364136223846793005u + i;
    asm volatile("" : "+r"(spun));  // the loop is not left out
    return 1;
  }
};

/// Replaces one of its 64 blocks by a new one of 16 to 2063 bytes: mostly the thread's own cache, sometimes an
/// arena and its lock.
class MallocFree {
 public:
  MallocFree() = default;
  MallocFree(const MallocFree&) {}  // a copy begins without blocks
  MallocFree& operator=(const MallocFree&) = delete;
  ~MallocFree() {
    for (char* b : blocks_) std::free(b);
  }
  std::uint64_t operator()() {
    constexpr std::uint64_t kBatch = 100;
    for (std::uint64_t i = 0; i < kBatch; ++i) {
      random_ = random_ * 1664525 + 1013904223;
      char*& block = blocks_[random_ >> 8 & 63];
      std::free(block);
      block = static_cast<char*>(std::malloc(16 + (random_ >> 21)));
      *static_cast<volatile char*>(block) = 1;
    }
    return kBatch;
  }

 private:
  char* blocks_[64] = {};
  std::uint32_t random_ = 1;
};

}  // namespace gort_rows
