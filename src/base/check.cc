#include "base/check.h"

#include "base/print.h"

namespace gort::inline v0::rt {

constinit os::atomic<void (*)(const FatalReport&)> fatal_report_hook{nullptr};
constinit os::atomic<bool> fatal_by_abort{false};

namespace {

/// Kernel id of the thread that reports; 0 before. Written once in a process.
constinit os::atomic<std::uint32_t> dying{0};
/// The reporter has printed its own message and runs the hook. Its own writes and reads only.
constinit os::atomic<bool> in_hook{false};

}  // namespace

void fatal_begin() noexcept {
  std::uint32_t expected = 0;
  const auto me = static_cast<std::uint32_t>(os::thread_id());
  if (dying.compare_exchange_strong(expected, me)) return;
  if (expected == me) {
    if (!in_hook.load(os::memory_order_relaxed)) return;
    Printer(2) << "fatal error while reporting a fatal error\n";
    os::exit_process(2);
  }
  for (;;) os::futex_wait(&dying, expected, -1);
}

void fatal_join() noexcept {
  const std::uint32_t reporter = dying.load(os::memory_order_relaxed);
  if (reporter == 0 || reporter == static_cast<std::uint32_t>(os::thread_id())) return;
  for (;;) os::futex_wait(&dying, reporter, -1);
}

void fatal_fork_child() noexcept {
  dying.store(0, os::memory_order_relaxed);
  in_hook.store(false, os::memory_order_relaxed);
}

void fatal_after_print(const FatalReport& report) noexcept {
  fatal_begin();
  in_hook.store(true, os::memory_order_relaxed);
  if (auto* hook = fatal_report_hook.load(os::memory_order_acquire)) hook(report);
  if (fatal_by_abort.load(os::memory_order_relaxed)) os::abort_process();
  os::exit_process(2);
}

void fatal(const char* message, bool all_goroutines) noexcept {
  fatal_begin();
  Printer(2) << "fatal error: " << message << "\n";
  fatal_after_print({message, all_goroutines});
}

void check_failed(const char* file, int line, const char* expr, const char* text) noexcept {
  fatal_begin();
  Printer(2) << "fatal error: gort: " << text << "\n\tCHECK failed: " << expr << " at " << file << ':' << line
             << "\n";
  fatal_after_print({text, false});
}

}  // namespace gort::inline v0::rt
