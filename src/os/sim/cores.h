// gort simulator: virtual cores and their cache lines, for runs with SimOptions::costs (costs.h).
//
// A thread that can run is on a core, or in the queue for one. Those on cores and those that sleep until some time are in
// a heap by their next moment; the machine goes on with the earliest.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/sim/costs.h"
#include "os/sim/sim.h"

namespace gort::inline v0::os::sim {

struct Thread;

/// What a core's caches know of 64 bytes.
struct Line {
  std::uintptr_t key = 0;            // address / 64 + 1; 0: unused
  std::int64_t free_at = 0;          // the last transfer ends
  int owner = -1;                    // the core that may write it; -1: several may read it
  std::uint64_t* readers = nullptr;  // bit per core
};

/// Times that functions have spent in transfers, by their names' addresses; locks' by ranks.
struct Spent {
  const char* name = nullptr;
  std::uint64_t times = 0;
  std::int64_t ns = 0;
};

class Cores {
 public:
  static constexpr int kMostCores = 2048;

  void begin(const SimCosts& costs) noexcept;

  /// What an access costs a core that begins it at `now`.
  enum class Access : std::uint8_t { read, write, rmw };
  std::int64_t access(int core, const void* where, Access how, std::int64_t now,
                      const char* place) noexcept;

  /// An idle core, the wanted one if it is; -1: none.
  int take(int wanted) noexcept;
  void give(int core) noexcept;
  bool any_idle() const noexcept { return busy_ < cores_; }

  // The heap; threads keep their places in it.
  bool empty() const noexcept { return heap_n_ == 0; }
  Thread& earliest() const noexcept { return *heap_[0]; }
  void add(Thread& t, std::int64_t when) noexcept;
  void remove(Thread& t) noexcept;

  void waited_for_lock(const char* name, std::int64_t ns) noexcept;
  void report(SimReport& r) noexcept;

 private:
  static constexpr std::size_t kLines = 1u << 20;
  static constexpr std::size_t kPlaces = 1024;
  static constexpr std::size_t kBitmapBytes = std::size_t{1} << 30;  // address space, not memory
  Line& line(const void* where) noexcept;
  Spent& spent(Spent* table, const char* name) noexcept;
  void sift_up(int i) noexcept;
  void sift_down(int i) noexcept;
  void place(int i, Thread* t) noexcept;

  SimCosts costs_;
  int cores_ = 0;
  int busy_ = 0;
  int idle_n_ = 0;
  std::uint16_t idle_[kMostCores] = {};  // a stack; may hold busy ones
  bool taken_[kMostCores] = {};
  bool listed_[kMostCores] = {};  // is in idle_
  std::size_t words_ = 0;         // of a bitmap
  Line* lines_ = nullptr;
  std::uint64_t* bitmaps_ = nullptr;
  std::size_t bitmaps_used_ = 0;
  Spent* places_ = nullptr;
  Spent* locks_ = nullptr;
  std::uint64_t transfers_ = 0;
  std::int64_t transfer_ns_ = 0;
  int heap_n_ = 0;
  Thread* heap_[4096] = {};
};

}  // namespace gort::inline v0::os::sim
