// gort: starting the runtime, and the settings that it starts with.
//
// Nothing runs before the first run, go or start: no thread, no signal handler from static initialization,
// so a program may daemonize or fork first.
#pragma once

#include <cstdint>

namespace gort::inline v0::rt {

inline constexpr std::int32_t kSystemThreads = 2;  ///< template thread and sysmon

struct StartOptions {
  std::int32_t max_procs = 0;    ///< 0: from the environment, else from affinity and cgroup
  std::int32_t max_threads = 0;  ///< 0: the default
};

/// GORT_DEBUG, read at start; constant afterwards.
enum class HeldLocks : std::uint8_t { warn, fatal };
struct DebugSettings {
  std::int64_t schedtrace_ns = 0;
  bool scheddetail = false;
  bool asyncpreempt = true;                  ///< false: goroutines are stopped at calls into gort only
  std::int64_t slow_stop_ns = 10'000'000'000;  ///< a stop that takes longer is reported
  HeldLocks held_locks = HeldLocks::warn;
  std::int32_t pollers = 0;                  ///< instances of the network poller; 0: by the number of Ps
};
extern DebugSettings debug_settings;

/// Starts the runtime unless it runs. Any thread without P. A bad environment value ends the process with
/// exit status 2 and a message that names it.
void start(const StartOptions& options) noexcept;

inline void start_if_needed() noexcept;

/// GORT_MAXPROCS; 0: not set. A bad value ends the process.
std::int32_t procs_from_environment() noexcept;

/// Threads of this process that are not the runtime's own; negative if that cannot be read.
std::int32_t foreign_thread_count() noexcept;

/// What the number of Ps would be without options and environment: affinity, cgroup limit (rounded up, at
/// least 2 unless there are fewer processors). Pure.
std::int32_t default_procs(std::int32_t cpus, std::int64_t cgroup_milli) noexcept;

/// Reads the affinity mask and the cgroup's limit again. If they say another number of Ps than there are, and nobody has said one (options,
/// environment, max_procs), a goroutine is started that sets it. The template thread: it reads files.
void recheck_default_procs() noexcept;

#if defined(GORT_TESTING)
/// Instead of the processors that there are, and of the cgroup's limit in thousandths; negative: those again.
void set_limits_for_test(std::int32_t cpus, std::int64_t milli) noexcept;
#endif

/// From how many captives on ordinary goroutines get less time (captives.h): 64 per P, at most a quarter of the
/// cgroup's limit of processes.
std::int32_t many_captives(std::int32_t procs) noexcept;

/// Parses a whole decimal number, nothing before or after it. False: not a number, or above int64.
bool parse_number(const char* s, std::int64_t* out) noexcept;

}  // namespace gort::inline v0::rt

#include "sched/sched.h"

namespace gort::inline v0::rt {
inline void start_if_needed() noexcept {
  if (__builtin_expect(!sched.started.load(os::memory_order_acquire), 0)) start({});
}
}  // namespace gort::inline v0::rt
