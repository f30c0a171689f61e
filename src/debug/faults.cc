#include "debug/faults.h"

#include <cxxabi.h>
#include <dlfcn.h>

#include <cstdlib>
#include <exception>
#include <memory>
#include <string_view>
#include <typeinfo>

#include "arch/unwind.h"
#include "base/print.h"
#include "debug/report.h"
#include "os/signal.h"
#include "sched/entry.h"
#include "sched/sched.h"
#include "sched/spawn.h"
#include "sched/sysmon.h"
#include "world/signal.h"

namespace gort::inline v0::rt {

namespace {

constinit os::SignalAction host_segv = {};
constinit os::SignalAction host_bus = {};
constinit std::terminate_handler host_terminate = nullptr;
/// nanotime of the first SIGQUIT; 0: none yet.
constinit os::atomic<std::int64_t> quit_asked{0};
constinit os::atomic<bool> quit_served{false};

// ---- stack overflow -----------------------------------------------------------------------------

/// The goroutine whose stack's guard was hit by code that runs on that very stack. A stray pointer into
/// some guard is not an overflow.
G* overflowed(std::uintptr_t address, std::uintptr_t sp) noexcept {
  G* g = current_g();
  if (g == nullptr || address == 0) return nullptr;
  Stack hit;
  if (stack_classify(address, &hit) != StackAddr::guard || hit.lo != g->stack.lo) return nullptr;
  // A large frame may have carried sp beyond the guard, too.
  return sp < hit.hi && sp > hit.lo - 2 * kStackGuard ? g : nullptr;
}

void on_fault(int signo, void* info, void* context) {
  const std::uintptr_t sp = os::signal_context_sp(context);
  if (G* g = overflowed(os::signal_fault_address(info), sp); g != nullptr) {
    fatal_begin();  // first: another thread's report, if there is one, is not about these registers
    report_from_signal(context);
    fatal_stack_overflow(g, sp);
  }
  if (!in_fork_child()) fatal_join();  // another thread dies already, and has something to say
  os::signal_chain(signo, info, context, signo == os::kSigBus ? host_bus : host_segv);
}

// ---- exceptions ---------------------------------------------------------------------------------

void print_what(Printer& out) noexcept {
  try {
    throw;
  } catch (const std::exception& e) {
    out << " (" << e.what() << ")";
  } catch (...) {
  }
}

/// Whether std::terminate was called because nobody catches the exception. Otherwise it was called on the
/// exception's way, by a function that is noexcept, and the throw point is gone from the stack.
bool nobody_catches() noexcept {
  std::uintptr_t pcs[16];
  const std::size_t n = arch::collect(arch::cursor_here(), pcs, 16);
  bool knows_libstdcxx = false;
  for (std::size_t i = 0; i < n; ++i) {
    Dl_info info;
    if (dladdr(reinterpret_cast<void*>(pcs[i] - 1), &info) == 0 || info.dli_sname == nullptr) continue;
    const std::string_view name = info.dli_sname;
    if (name == "__gxx_personality_v0") return false;
    if (name == "__cxa_throw" || name == "__cxa_rethrow" || name.starts_with("_ZSt17rethrow_exception")) return true;
    knows_libstdcxx |= name == "_ZSt9terminatev";
  }
  return !knows_libstdcxx;  // linked statically or stripped: the common case, then
}

void print_exception(Printer& out, const std::type_info& type) noexcept {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(type.name(), nullptr, nullptr, &status), &std::free);
  out << "terminate: exception of type " << (name != nullptr ? name.get() : type.name());
  print_what(out);
  out << (nobody_catches() ? " left " : " met a noexcept function on ");
}

/// The dying goroutine tells who it is; then things go on as they would without us.
[[noreturn]] void on_terminate() {
  if (const G* g = current_g(); g != nullptr) {
    fatal_begin();
    {
      Printer out(2);
      if (const std::type_info* type = abi::__cxa_current_exception_type(); type != nullptr) {
        print_exception(out, *type);
      } else {
        out << "terminate: called on ";
      }
      out << "goroutine " << g->goid;
      if (g->name[0] != '\0') out << " [" << g->name << ']';
      out << '\n';
    }
    report_fatal({"terminate", false});
    end_process_in_time();  // whoever comes next may take longer: writers of minidumps
  }
  if (host_terminate != nullptr) host_terminate();
  std::abort();
}

// ---- SIGQUIT ------------------------------------------------------------------------------------

void on_quit(int signo, void* info, void* context) {
  if (in_fork_child()) return os::signal_chain(signo, info, context, os::SignalAction{});  // nobody else would answer
  const std::int64_t now = os::nanotime();
  std::int64_t first = 0;
  if (quit_asked.compare_exchange_strong(first, now)) {
    sysmon_ring();
    return;
  }
  if (now - first < kQuitPatience || quit_served.exchange(true)) {
    sysmon_ring();
    return;
  }
  Printer(2) << "SIGQUIT: quit (the monitor does not answer: addresses only)\n";
  report_from_signal(context);
  report_raw();
  if (fatal_by_abort.load(os::memory_order_relaxed)) os::abort_process();
  os::exit_process(2);
}

}  // namespace

void serve_signal_requests() noexcept {
  if (quit_asked.load(os::memory_order_acquire) == 0 || quit_served.exchange(true)) return;
  fatal_begin();
  Printer(2) << "SIGQUIT: quit\n";
  fatal_after_print({"SIGQUIT", true});
}

void faults_start() noexcept {
  os::signal_install(os::kSigSegv, on_fault, &host_segv);
  os::signal_install(os::kSigBus, on_fault, &host_bus);
  host_terminate = std::set_terminate(on_terminate);
  os::SignalAction quit;
  if (os::signal_read(os::kSigQuit, &quit) && os::signal_is_default(quit)) {
    os::signal_install(os::kSigQuit, on_quit, nullptr);
    signals_also_unblock(os::signal_bit(os::kSigQuit));
  }
}

}  // namespace gort::inline v0::rt
