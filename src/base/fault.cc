#include "base/fault.h"

#if defined(GORT_TESTING)

#include "base/print.h"

namespace gort::inline v0::rt {

constinit os::atomic<std::uint64_t> faults{0};
constinit os::atomic<std::uint32_t> test_hooks_set{0};

namespace {

struct Hook {
  TestHook fn = nullptr;
  void* arg = nullptr;
};
constinit Hook hooks[static_cast<int>(TestPoint::kCount)] = {};

bool same(const char* name, const char* word, const char* end) noexcept {
  while (word != end && *name == *word && *name != '\0') ++name, ++word;
  return *name == '\0' && word == end;
}

void switch_off(const char* all, const char* word, const char* end) noexcept {
  for (int i = 0; i < static_cast<int>(Fault::kCount); ++i) {
    if (!same(fault_name(static_cast<Fault>(i)), word, end)) continue;
    set_fault(static_cast<Fault>(i), true);
    return;
  }
  Printer(2) << "gort: GORT_FAULT=" << all << ": there is a name that is not known\n";
  os::exit_process(2);
}

}  // namespace

const char* fault_name(Fault f) noexcept {
  switch (f) {
    case Fault::s0: return "s0";
    case Fault::s1: return "s1";
    case Fault::s2: return "s2";
    case Fault::s3: return "s3";
    case Fault::s4: return "s4";
    case Fault::resend: return "resend";
    case Fault::idle_drain: return "idle_drain";
    case Fault::progress: return "progress";
    case Fault::handed: return "handed";
    case Fault::captives: return "captives";
    case Fault::lock_slices: return "lock_slices";
    case Fault::handoff_yields: return "handoff_yields";
    case Fault::gc_order: return "gc_order";
    case Fault::cancel_look: return "cancel_look";
    case Fault::cancel_walk: return "cancel_walk";
    case Fault::cancel_hang: return "cancel_hang";
    case Fault::timer_break: return "timer_break";
    case Fault::starvation: return "starvation";
    case Fault::wait_look: return "wait_look";
    case Fault::alone: return "alone";
    case Fault::net_break: return "net_break";
    case Fault::sysmon_watch: return "sysmon_watch";
    case Fault::net_ready: return "net_ready";
    case Fault::net_serve: return "net_serve";
    case Fault::net_stale: return "net_stale";
    case Fault::hold_queue: return "hold_queue";
    case Fault::hold_runnable: return "hold_runnable";
    case Fault::chan_next: return "chan_next";
    case Fault::chan_at_once: return "chan_at_once";
    case Fault::select_look: return "select_look";
    case Fault::select_leave: return "select_leave";
    case Fault::lock_sleep: return "lock_sleep";
    case Fault::lock_mark: return "lock_mark";
    case Fault::run_rights: return "run_rights";
    case Fault::run_retired: return "run_retired";
    case Fault::count_moves: return "count_moves";
    case Fault::task_done: return "task_done";
    case Fault::stop_turns: return "stop_turns";
    case Fault::sleeper_p: return "sleeper_p";
    case Fault::wait_close: return "wait_close";
    case Fault::class_debt: return "class_debt";
    case Fault::cancel_at_once: return "cancel_at_once";
    case Fault::need_memory: return "need_memory";
    case Fault::bubble_dead: return "bubble_dead";
    case Fault::no_memory: return "no_memory";
    case Fault::kCount: break;
  }
  return "?";
}

void set_fault(Fault f, bool on) noexcept {
  const std::uint64_t bit = std::uint64_t{1} << static_cast<unsigned>(f);
  if (on) {
    faults.fetch_or(bit, os::memory_order_relaxed);
  } else {
    faults.fetch_and(~bit, os::memory_order_relaxed);
  }
}

void faults_from_environment() noexcept {
  const char* v = os::getenv("GORT_FAULT");
  if (v == nullptr) return;
  for (const char *c = v, *word = v;; ++c) {
    if (*c != ',' && *c != '\0') continue;
    if (c != word) switch_off(v, word, c);
    if (*c == '\0') return;
    word = c + 1;
  }
}

void set_test_hook(TestPoint at, TestHook hook, void* arg) noexcept {
  const std::uint32_t bit = 1u << static_cast<unsigned>(at);
  test_hooks_set.fetch_and(~bit, os::memory_order_seq_cst);
  hooks[static_cast<int>(at)] = {hook, arg};
  if (hook != nullptr) test_hooks_set.fetch_or(bit, os::memory_order_seq_cst);
}

void run_test_hook(TestPoint at) noexcept {
  const std::uint32_t bit = 1u << static_cast<unsigned>(at);
  if ((test_hooks_set.load(os::memory_order_acquire) & bit) == 0) return;
  const Hook h = hooks[static_cast<int>(at)];
  h.fn(h.arg);
}

}  // namespace gort::inline v0::rt

#endif
