#include "base/check.h"

#include "base/print.h"

namespace gort::inline v0::rt {

constinit os::atomic<void (*)(const FatalReport&)> fatal_report_hook{nullptr};
constinit os::atomic<bool> fatal_by_abort{false};

namespace {

/// Kernel id of the thread that reports; 0 before. Written once.
constinit os::atomic<std::uint32_t> dying{0};

/// Makes the caller the one that reports. Everybody else waits here: two reports at once are unreadable,
/// and the first is the cause. The reporter itself, dying a second time, leaves at once.
void begin_dying() noexcept {
  std::uint32_t expected = 0;
  const auto me = static_cast<std::uint32_t>(os::thread_id());
  if (dying.compare_exchange_strong(expected, me)) return;
  if (expected == me) {
    Printer(2) << "fatal error while reporting a fatal error\n";
    os::exit_process(2);
  }
  for (;;) os::futex_wait(&dying, expected, -1);
}

}  // namespace

void fatal_after_print(const FatalReport& report) noexcept {
  begin_dying();
  if (auto* hook = fatal_report_hook.load(os::memory_order_acquire)) hook(report);
  if (fatal_by_abort.load(os::memory_order_relaxed)) os::abort_process();
  os::exit_process(2);
}

void fatal(const char* message, bool all_goroutines) noexcept {
  Printer(2) << "fatal error: " << message << "\n";
  fatal_after_print({message, all_goroutines});
}

void check_failed(const char* file, int line, const char* expr, const char* text) noexcept {
  Printer(2) << "fatal error: gort: " << text << "\n\tCHECK failed: " << expr << " at " << file << ':' << line
             << "\n";
  fatal_after_print({text, false});
}

}  // namespace gort::inline v0::rt
