// gort: the lines of GORT_DEBUG=schedtrace=N and scheddetail=1, field by field as Go 1.26 prints them.
//
//   SCHED 1004ms: gomaxprocs=2 idleprocs=1 threads=5 spinningthreads=0 needspinning=0 idlethreads=2
//       runqueue=0 [ 0 0 ] schedticks=[ 12 7 ]                                  (one line)
//
// With scheddetail the SCHED line has other fields at its end, and one line for each P, M and G follows.
// Formatting only: the caller has read the numbers, each for itself, so that they may disagree a little.
// No malloc, no lock; callable wherever a Printer is.
#pragma once

#include <cstdint>
#include <span>

#include "base/print.h"

namespace gort::inline v0::rt {

/// Stands for "none" in every id below; printed as nil.
inline constexpr std::int64_t kNil = -1;

struct SchedTraceTotals {
  std::int64_t elapsed_ms = 0;  ///< since the first such line
  std::int32_t gomaxprocs = 0;
  std::int32_t idleprocs = 0;
  std::int32_t threads = 0;
  std::int32_t spinningthreads = 0;
  std::uint32_t needspinning = 0;
  std::int32_t idlethreads = 0;
  std::int64_t runqueue = 0;  ///< of the global queue
  // With scheddetail only:
  bool gcwaiting = false;  ///< somebody stops the world
  std::int32_t nmidlelocked = 0;
  std::int32_t stopwait = 0;
  bool sysmonwait = false;
};

struct SchedTraceP {
  std::int64_t id = 0;
  std::uint32_t status = 0;  ///< 0 idle, 1 running, 2 syscall, 3 stopped, 4 dead
  std::uint32_t schedtick = 0;
  std::uint32_t syscalltick = 0;
  std::int64_t m = kNil;
  std::uint32_t runqsize = 0;
  std::int64_t gfreecnt = 0;
  std::int64_t timerslen = 0;
};

struct SchedTraceM {
  std::int64_t id = 0;
  std::int64_t p = kNil;
  std::int64_t curg = kNil;
  std::int32_t mallocing = 0;
  std::int32_t throwing = 0;
  const char* preemptoff = nullptr;  ///< why it may not be preempted; null or "": it may
  std::int32_t locks = 0;
  std::int32_t dying = 0;
  bool spinning = false;
  bool blocked = false;  ///< sleeps on its note
  std::int64_t lockedg = kNil;
};

struct SchedTraceG {
  std::int64_t id = 0;
  std::uint32_t status = 0;  ///< 0 idle, 1 runnable, 2 running, 3 syscall, 4 waiting, 6 dead
  const char* waitreason = nullptr;
  std::int64_t m = kNil;
  std::int64_t lockedm = kNil;
};

/// The one line of plain schedtrace.
void print_schedtrace(Printer& out, const SchedTraceTotals& totals, std::span<const SchedTraceP> ps) noexcept;

/// The lines of scheddetail: this first, then every P, every M, every G.
void print_scheddetail(Printer& out, const SchedTraceTotals& totals) noexcept;
void print_scheddetail(Printer& out, const SchedTraceP& p) noexcept;
void print_scheddetail(Printer& out, const SchedTraceM& m) noexcept;
void print_scheddetail(Printer& out, const SchedTraceG& g) noexcept;

}  // namespace gort::inline v0::rt
