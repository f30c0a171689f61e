// gort: everything that the runtime asks of the kernel, in one contract.
//
// src/os/linux implements it over futex, mmap, tgkill and clocks; src/os/sim implements it over
// simulated threads in one real thread. No other part of the core talks to the kernel, and nothing
// here allocates with malloc (thread_create apart, which only the template thread may call: rule L1).
//
// Times are nanoseconds of the monotonic clock in std::int64_t. Errors are errno values, 0 is success.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/atomic.h"
#include "os/tls.h"

namespace gort::inline v0::os {

// ---- threads --------------------------------------------------------------------------------

/// Handle of a created thread, opaque; needed to reap it, and of no use once the thread is detached.
struct Thread {
  std::uintptr_t handle = 0;
};

/// Starts a joinable thread with its own stack of `stack_bytes` (0: the platform's choice for system
/// stacks) and the creator's signal mask. Returns 0 or errno (EAGAIN: limits).
/// Calls malloc and takes loader locks: only a thread without a P may call it (rule L1).
int thread_create(Thread* out, void (*entry)(void*), void* arg, std::size_t stack_bytes) noexcept;

/// The calling thread's resources shall go when it ends: nobody reaps it. Once, on a created thread. Takes no lock.
void thread_detach() noexcept;

/// Releases an ended thread's resources, unless it is detached. EBUSY while it still runs (its TLS destructors included);
/// never waits.
int thread_try_reap(Thread t) noexcept;

/// Kernel id of the calling thread. Cached by callers; one system call.
int thread_id() noexcept;

/// Lowest and one-past-highest address of the calling thread's stack; false if unknown.
/// libc's answer, which takes malloc: before the thread has a P (rule L1), once per thread.
bool thread_stack(std::uintptr_t* lo, std::uintptr_t* hi) noexcept;

/// Names the calling thread (at most 15 characters are kept) for gdb and top.
void thread_set_name(const char* name) noexcept;

/// Number of threads of this process as the kernel counts them; negative if that cannot be read.
/// A thread counts until its very end, which may come a little after it could be reaped.
/// Opens /proc, or looks at it if there is no descriptor left: only for suspicion of deadlock, never on a fast path.
int process_thread_count() noexcept;

/// Gives the rest of the time slice to the kernel's other threads.
void thread_yield() noexcept;

/// A hint to the core inside a spin loop: `n` pauses. A scheduling point under the simulator.
void cpu_relax(int n) noexcept;

/// Sleeps the calling thread. Threads without P only.
void sleep_ns(std::int64_t ns) noexcept;

/// Ends the process at once: no exit handlers, no flushing.
[[noreturn]] void exit_process(int code) noexcept;

/// Ends the process by SIGABRT, with its default action restored (a core dump where allowed).
[[noreturn]] void abort_process() noexcept;

// ---- futex ----------------------------------------------------------------------------------

enum class Wait : std::uint8_t { woken, changed, timed_out };

/// Sleeps while *addr == expected, at most timeout_ns (negative: no limit). Spurious returns are
/// possible and reported as `woken`; EINTR too. Whoever calls loops on its own condition.
Wait futex_wait(atomic<std::uint32_t>* addr, std::uint32_t expected, std::int64_t timeout_ns) noexcept;

/// Wakes at most n sleepers. Touches only the address, not the word: the word may be gone already.
void futex_wake(atomic<std::uint32_t>* addr, int n) noexcept;

/// Whether *addr == value now, as the kernel sees it: false if there is no such memory (any more).
bool futex_is(atomic<std::uint32_t>* addr, std::uint32_t value) noexcept;

// ---- barriers -------------------------------------------------------------------------------

/// Before the first process_barrier. False: the kernel has none.
bool process_barrier_init() noexcept;

/// Every thread of this process that runs passes a full barrier before this returns: the dear half of a pair whose
/// other half is a mere compiler barrier. Some microseconds.
void process_barrier() noexcept;

// ---- signals --------------------------------------------------------------------------------

/// Sends `signo` to one thread of this process. ESRCH if it is gone.
int signal_thread(int tid, int signo) noexcept;

/// A timer that sends its own thread a signal, for that thread only. In a handler of its signal,
/// signal_from_timer (os/signal.h) tells it from others'.
struct ThreadTimer {
  int id = -1;         // the kernel's; -1: not made yet
  bool armed = false;  // since the last disarm
};
/// In `ns` from now, once; made at the first call. False: the kernel has none left for us.
bool timer_arm(ThreadTimer* t, int signo, std::int64_t ns) noexcept;
void timer_disarm(ThreadTimer* t) noexcept;
/// Gives it back, before its thread ends.
void timer_delete(ThreadTimer* t) noexcept;

// ---- clocks ---------------------------------------------------------------------------------

/// Monotonic time. About 20 ns.
std::int64_t nanotime() noexcept;

/// That time in `ns` from now, but no later than the clock goes.
inline std::int64_t nanotime_in(std::int64_t ns) noexcept {
  std::int64_t sum;
  return __builtin_add_overflow(nanotime(), ns, &sum) ? INT64_MAX : sum;  // ns cannot take it below: it is not negative
}

/// CPU time that the calling thread has used.
std::int64_t thread_cputime() noexcept;

/// CPU time that another thread of this process has used; negative if there is no such thread. About 200 ns.
std::int64_t thread_cputime_of(int tid) noexcept;

/// Ticks of the cheapest counter of this CPU: for seeds, and for os/quick_clock.h; by itself not a clock.
std::uint64_t cputicks() noexcept;

// ---- memory ---------------------------------------------------------------------------------

/// The kernel's page size in bytes.
std::size_t page_size() noexcept;

/// Reserves `bytes` (a multiple of the page size) of zeroed, lazily committed, readable and writable
/// address space that does not count against overcommit (MAP_NORESERVE). `align` is a power of two.
/// Null if there is none: the caller names the culprit.
void* mem_map(std::size_t bytes, std::size_t align) noexcept;

/// Gives address space back.
void mem_unmap(void* p, std::size_t bytes) noexcept;

/// Gives the pages' memory back at once; they read as zero afterwards (MADV_DONTNEED).
void mem_discard(void* p, std::size_t bytes) noexcept;

/// Keeps huge pages away from [p, p+bytes): one touched word must cost 4 KiB, not 2 MiB.
void mem_no_huge_pages(void* p, std::size_t bytes) noexcept;

enum class Guard : std::uint8_t {
  none,     ///< not guarded: the bound on guards was reached
  cheap,    ///< MADV_GUARD_INSTALL (Linux 6.13): costs no mapping
  mapping,  ///< mprotect(PROT_NONE): splits the mapping, so it counts against vm.max_map_count
};

/// Makes every access to [p, p+bytes) fault. Tries `cheap`, then, if `may_split`, `mapping`.
Guard mem_guard(void* p, std::size_t bytes, bool may_split) noexcept;

/// Undoes mem_guard of the given kind.
void mem_unguard(void* p, std::size_t bytes, Guard kind) noexcept;

/// How many bytes at the *high* end of [lo, hi) were ever touched, found from page residency
/// (mincore): page granular, cheap to ask, a floor if pages were given back in between.
std::size_t mem_resident_from_top(const void* lo, const void* hi) noexcept;

// ---- files, as far as reports need them -----------------------------------------------------

/// Writes all bytes to a descriptor, retrying short writes and EINTR; gives up on errors, without SIGPIPE, and where nobody
/// reads: after a second, and at once as long as that lasts. Raw write(2), 4 KiB at most in each.
void write_all(int fd, const char* data, std::size_t n) noexcept;

/// Opens /dev/null where the standard input, output or error output is closed: otherwise the next socket or event would get
/// that number, and the reports meant for it. For the start, with one thread.
void fill_standard_fds() noexcept;

/// Reads a small file into buf (at most n-1 bytes, zero terminated). Returns the length or -errno.
std::ptrdiff_t read_file(const char* path, char* buf, std::size_t n) noexcept;

// ---- machine --------------------------------------------------------------------------------

/// Processors that this process may use: its affinity mask.
int cpu_count() noexcept;

/// The cgroup's CPU limit (v2 cpu.max or v1 cfs quota, the tightest of all ancestors) in thousandths of
/// a processor; 0 if there is none. Reads files: at start and from sysmon only.
std::int64_t cgroup_cpu_limit_milli() noexcept;

/// The cgroup's limit on the number of processes and threads (pids.max, the tightest of all ancestors); 0 if
/// there is none. Reads files: at start only.
std::int64_t cgroup_pids_limit() noexcept;

/// The value of an environment variable, or null. Reads the process environment without copying.
const char* getenv(const char* name) noexcept;

}  // namespace gort::inline v0::os
