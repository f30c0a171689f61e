// gort simulator: the machine: simulated threads, their sleeping and waking, and virtual time.
//
//   free -> runnable <-> blocked       runnable -> ended -> reaped
//
// With SimOptions::costs (cost.cc) there is a third way to be runnable: without a core, in the queue for one.
//
// Exactly one thread is `current`. It gives way in two places only: point(), before each step,
// where the strategy chooses who goes on, and block(). Each switch goes straight from one thread's
// stack to the next one's; the driver's stack is where the run began, and is returned to once, by
// finish().
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/os.h"
#include "os/sim/cores.h"
#include "os/sim/history.h"
#include "os/sim/random.h"
#include "os/sim/schedule.h"
#include "os/sim/sim.h"
#include "os/sim/store_buffer.h"
#include "os/sim/switch.h"

namespace gort::inline v0::os::sim {

inline constexpr std::int64_t kNever = INT64_MAX;

enum class State : std::uint8_t { free, runnable, blocked, ended, reaped };

struct Thread {
  Tls tls;
  Context context;  // while not current
  State state = State::free;
  bool in_handler = false;
  bool detached = false;
  Wait result = Wait::woken;      // of the last block()
  std::uint16_t runnable_at = 0;  // index in Machine::runnable_, while runnable
  SimOp waits_in = SimOp::point;  // while blocked
  const void* waits_on = nullptr;
  std::int64_t deadline = kNever;     // while blocked: a promised timeout
  std::int64_t spurious_at = kNever;  // while blocked: an end that nobody may rely on
  std::uint64_t steps = 0;
  std::uint64_t ran_at = 0;       // the step at which it was last current
  std::uint32_t decided = 0;      // decisions that were its own (SimDecision::at)
  std::uint32_t script_next = 0;  // in SimOptions::script
  SimOp next_op = SimOp::point;   // what it is about to do, while it is not current
  const void* next_where = nullptr;
  bool next_full = false;
  std::uint64_t pending = 0;  // signals, one bit each
  void (*entry)(void*) = nullptr;
  void* arg = nullptr;
  std::uintptr_t stack_lo = 0;  // above the guard page
  std::uintptr_t stack_hi = 0;
  char name[16] = {};
  StoreBuffer stores;
  // With costs.
  std::int64_t clock = 0;      // its own time: the end of what it has done
  std::int64_t placed_at = 0;  // when it got its core
  std::int64_t busy = 0;
  std::int64_t signal_at = 0;  // when what is pending arrives
  std::int64_t next_at = 0;    // in the heap
  int heap_at = -1;
  int pauses = 0;              // of the cpu_relax that it is about to do
  int core = -1;               // the last one; its own while it is runnable and not in the queue
};

class Machine {
 public:
  static constexpr std::size_t kStack = 256 * 1024;

  bool running() const noexcept { return current_ != nullptr; }
  /// Scheduling points count.
  bool live_points() const noexcept { return current_ != nullptr && !muted_; }

  /// Runs body as thread 0 until finish(); leaves the outcome in the history. On the driver's
  /// stack.
  void run(const SimOptions& options, void (*body)(void*), void* arg) noexcept;

  // The rest is called on simulated threads.

  void point(SimOp op, const void* where) noexcept;
  void access(SimOp op, const void* where, bool full, const SimSite& at) noexcept;
  bool delay(void* addr, const void* value, std::size_t bytes) noexcept;
  void drain(Thread& t) noexcept;
  void drain_one(int thread) noexcept;
  /// Every thread's (process_barrier).
  void drain_all() noexcept;
  void at_once(void (*look)(void*), void* arg) noexcept;
  void seen(std::uint64_t before, std::uint64_t after) noexcept {
    if (!costs()) history_->values(before, after);
  }
  void record(SimOp op, const void* where) noexcept;

  /// Index of the new thread; a negative errno.
  int create(void (*entry)(void*), void* arg, std::size_t stack_bytes, bool may_fail) noexcept;
  int reap(int thread) noexcept;
  void release_stack(Thread& t) noexcept;
  /// The current thread: reaped when it has ended.
  void detach() noexcept { current_->detached = true; }
  void join(int thread) noexcept;
  Wait futex_wait(const std::uint32_t* word, std::uint32_t expected,
                  std::int64_t timeout_ns) noexcept;
  void futex_wake(const void* word, int n) noexcept;
  void sleep(std::int64_t ns) noexcept;
  /// User code, for so long if it costs anything.
  void work(std::int64_t ns) noexcept;
  void relax(int pauses) noexcept;
  int signal(int thread, int signo) noexcept;
  void* map(std::size_t bytes, std::size_t align) noexcept;

  [[noreturn]] void finish(SimVerdict verdict, const char* message) noexcept;
  /// For the fault handler: as finish, but returns, on whatever stack it was called.
  void conclude(SimVerdict verdict, const char* message) noexcept;

  Thread& current() noexcept { return *current_; }
  bool delays_stores() const noexcept { return options_->store_buffers; }
  int index(const Thread& t) const noexcept { return static_cast<int>(&t - threads_); }
  Thread* thread(int i) noexcept { return i >= 0 && i < thread_count_ ? &threads_[i] : nullptr; }
  int live() const noexcept { return live_; }
  std::int64_t now() const noexcept { return now_; }
  /// Nothing that it does is before that; no step.
  std::int64_t clock() const noexcept { return costs() ? current_->clock : now_; }
  bool costs() const noexcept { return options_->costs != nullptr; }
  std::int64_t busy(const Thread& t) const noexcept {
    return costs() ? t.busy : static_cast<std::int64_t>(t.steps) * options_->step_ns;
  }
  void waited_for_lock(const char* name, std::int64_t ns) noexcept {
    if (costs()) cores_.waited_for_lock(name, ns);
  }
  std::uint64_t steps() const noexcept { return steps_; }
  const SimOptions& options() const noexcept { return *options_; }
  History& history() noexcept { return *history_; }
  Random& chance() noexcept { return chance_; }

  void (*signal_handler)(int) = nullptr;
  void (*name_things)() = nullptr;
  int max_threads = 0;

 private:
  static void thread_start() noexcept;
  void step(SimOp op, const void* where, bool full) noexcept;
  void tick() noexcept;
  void expire() noexcept;
  bool jump_to_deadline() noexcept;
  void block(SimOp op, const void* on, std::int64_t deadline, std::int64_t spurious_at) noexcept;
  void make_runnable(Thread& t, Wait result) noexcept;
  void leave_runnable(Thread& t) noexcept;
  int choose(int current, SimOp op) noexcept;
  int default_choice(int current, bool yields) noexcept;
  template <class F>
  std::uint64_t decide(SimChoice what, std::uint64_t by_default, F dice) noexcept;
  std::uint64_t scripted(SimChoice what, std::uint64_t by_default) noexcept;
  bool weakened(const SimSite& at) noexcept;
  void drain_due() noexcept;
  void switch_to(Thread& next, bool last = false) noexcept;
  void go_on(bool last = false) noexcept;
  void deliver() noexcept;
  void print_threads(Text& out) noexcept;
  void release_memory() noexcept;
  // cost.cc
  void cost_begin() noexcept;
  void cost_step(SimOp op, const void* where, bool full, const char* place) noexcept;
  void cost_charge(SimOp op, const void* where, bool full, const char* place) noexcept;
  void cost_ready(Thread& t, Wait result) noexcept;
  void cost_go_on(bool last) noexcept;
  void cost_report() noexcept;
  void spend(std::int64_t ns) noexcept;
  void leave_core() noexcept;
  void give_way() noexcept;
  Thread& next_thread() noexcept;

  const SimOptions* options_ = nullptr;
  History* history_ = nullptr;
  Schedule* schedule_ = nullptr;
  Thread* current_ = nullptr;
  Context driver_;
  Random chance_;  // the environment's dice; the strategy has its own
  Random stores_;  // the store buffers'
  unsigned delay_permille_ = 0;
  std::uint64_t next_due_ = UINT64_MAX;  // the earliest step at which a store leaves its buffer, or earlier
  bool full_ = false;                    // the operation that goes on is a full fence
  bool muted_ = false;
  std::uint64_t steps_ = 0;
  std::int64_t now_ = 0;
  std::int64_t next_event_ = kNever;  // the earliest deadline or spurious_at, or earlier
  std::uintptr_t arena_ = kArenaLo;   // first address not yet given out
  int thread_count_ = 0;
  int live_ = 0;
  int runnable_count_ = 0;
  std::uint16_t runnable_[kMaxThreads] = {};
  // With costs.
  Cores cores_;
  int waiting_n_ = 0;                      // threads without a core, oldest first
  int waiting_at_ = 0;
  std::uint16_t waiting_[kMaxThreads] = {};
  std::uint64_t woken_ = 0;
  std::uint64_t slept_ = 0;
  std::uint64_t signalled_ = 0;
  Thread threads_[kMaxThreads];
};

extern Machine machine;

}  // namespace gort::inline v0::os::sim
