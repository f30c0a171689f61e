#include "debug/start.h"

#include <pthread.h>

#include "arch/modules.h"
#include "base/print.h"
#include "debug/capture.h"
#include "debug/faults.h"
#include "debug/only_copy.h"
#include "debug/report.h"
#include "debug/sched_report.h"
#include "debug/stop_report.h"
#include "sched/entry.h"
#include "sched/sched.h"
#include "sync/context.h"
#include "world/preempt.h"
#include "world/signal.h"
#include "world/world.h"

namespace gort::inline v0::rt {

namespace {

enum Progress : std::uint32_t { kNotYet, kStarting, kStarted };
constinit os::atomic<std::uint32_t> progress{kNotYet};

void read_traceback_level() noexcept {
  const char* value = os::getenv("GORT_TRACEBACK");
  const auto level = parse_traceback(value);
  if (!level) {
    {
      Printer out(2);
      report_bad_traceback(out, value);
    }
    os::exit_process(2);
  }
  traceback_level = *level;
  fatal_by_abort.store(*level == TracebackLevel::crash, os::memory_order_relaxed);
}

void on_deadlock(bool main_gone) noexcept {
  fatal(main_gone ? "no goroutines (main called goexit) - deadlock!" : "all goroutines are asleep - deadlock!", true);
}

void refresh() noexcept { arch::refresh_modules(); }

void fill_hooks() noexcept {
  sched_hooks.deadlock = on_deadlock;
  sched_hooks.schedtrace = print_sched_report;
  sched_hooks.m_prepare = signals_m_prepare;
  sched_hooks.m_start = signals_m_start;
  sched_hooks.m_end = signals_m_end;
  sched_hooks.system_thread_start = signals_system_thread;
  sched_hooks.serve_requests = serve_signal_requests;
  sched_hooks.refresh_modules = refresh;
  sched_hooks.set_default_procs = gomaxprocs_default;
  if (debug_settings.asyncpreempt) sched_hooks.not_answered = signals_check;
  // A test may have put its own before these two.
  if (sched_hooks.stop_slow == nullptr) sched_hooks.stop_slow = report_slow_stop;
  if (sched_hooks.spare_time == nullptr) sched_hooks.spare_time = report_slow_stop_names;
  fatal_report_hook.store(report_fatal, os::memory_order_release);
}

}  // namespace

void start_with_reports(const StartOptions& options) noexcept {
  check_not_fork_child();
  for (;;) {
    std::uint32_t state = kNotYet;
    if (progress.compare_exchange_strong(state, kStarting)) break;
    if (state == kStarted) return;
    os::futex_wait(&progress, kStarting, -1);
  }
  refuse_second_copy();
  read_traceback_level();
  refresh();
  capture_start();
  preempt_start();
  fill_hooks();
  signals_start();
  faults_start();
  // The runtime's threads inherit the mask: a host that starts us with everything blocked keeps its own mask,
  // and we get one that we can work with.
  const os::SignalMask host = signals_unblock();
  signals_host_mask(host);
  // Of goroutines that are started before the first run.
  sched.background.store(root_new(), os::memory_order_release);
  start(options);
  os::signal_mask_set(host);
  // No handler before a fork: it would take locks, or wait for threads that may not be able to go on.
  ::pthread_atfork(nullptr, nullptr, fork_child_begins);
  progress.store(kStarted);
  os::futex_wake(&progress, 1 << 30);
}

}  // namespace gort::inline v0::rt
