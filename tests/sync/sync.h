// What the tests of synchronization primitives share.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

#include "gort/cancelled.h"
#include "gort/gort.h"
#include "sched/entry.h"
#include "sched/sched.h"
#include "sema/sema.h"
#include "sync/cancel.h"
#include "tests/support/runtime_fixture.h"

namespace gort::test {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr int kSlowdown = 10;
#else
inline constexpr int kSlowdown = 1;
#endif

/// How many wait on any primitive.
inline std::uint64_t waiting() {
  rt::RuntimeEntry entry;
  return rt::sem_stats().waiters;
}
inline void until_waiting(std::uint64_t n) {
  while (waiting() != n) this_goroutine::yield();
}

inline void spin_for(std::int64_t ns) {
  const std::int64_t end = now_ns() + ns;
  while (now_ns() < end) {
  }
}

/// A context that somebody else cancels.
class Source {
 public:
  gort::context context() const { return scope_.context(); }
  void cancel() { scope_.cancel(); }

 private:
  gort::scope scope_;
};

/// The calling goroutine lives in a context that `source` cancels.
class InContext {
 public:
  explicit InContext(Source& source) : in_(source.context()) {}

 private:
  gort::with_context in_;
};

inline void fire(Source& source) { source.cancel(); }

/// Whether f() throws gort::cancelled.
template <class F>
bool is_cancelled_in(Source& source, F f) {
  InContext in(source);
  try {
    f();
  } catch (const cancelled&) {
    return true;
  }
  return false;
}

/// Runs f in n goroutines, or threads, and waits for all.
template <class F>
void in_goroutines(int n, F f) {
  std::vector<task<void>> all;
  for (int i = 0; i < n; ++i) all.push_back(spawn(f));
  for (auto& t : all) t.join();
}

class Threads {
 public:
  template <class F>
  Threads(int n, F f) {
    for (int i = 0; i < n; ++i) threads_.emplace_back(f);
  }
  void join() {
    gort::blocking([&] {
      for (auto& t : threads_) t.join();
    });
    threads_.clear();
  }
  ~Threads() { join(); }

 private:
  std::vector<std::thread> threads_;
};

class SyncTest : public RuntimeTestAtProcs {};

}  // namespace gort::test
