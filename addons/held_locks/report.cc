// The report, in two stages, as a dying program's (debug/report.h). The goroutine is about to park, in the runtime,
// perhaps with a runtime lock: so first the addresses, without malloc, at once. The names when it unlocks that mutex,
// in its own code; if it never comes so far, the addresses must do. Where the report is fatal, both at once.
#include <cstring>

#include "addons/held_locks/held.h"
#include "base/print.h"
#include "debug/capture.h"
#include "debug/report.h"
#include "debug/symbols.h"
#include "sched/sched.h"
#include "sched/start.h"
#include "world/signal.h"

namespace gort::inline v0::rt::held_locks {

namespace {

constexpr std::size_t kMostPlaces = 256;  // told once each; no more reports after so many
constexpr std::size_t kMostPending = 8;   // reports that wait for their names; others have addresses only
constexpr std::size_t kNamesStack = std::size_t{1} << 20;

constinit os::atomic<std::uint64_t> places[kMostPlaces] = {};

struct Report {
  os::atomic<std::uint32_t> state{0};  // kFree, kFilling, kReady, kPrinting
  Held held;
  rt::WaitReason why = rt::WaitReason::none;
  rt::Captured captured;
};
enum State : std::uint32_t { kFree, kFilling, kReady, kPrinting };
constinit Report reports[kMostPending] = {};
constinit os::atomic<std::uint32_t> ready_reports{0};

/// Whether this place is told for the first time: where the lock was taken, and where the goroutine departs.
bool is_new_place(const Held& h, const rt::Frames& frames) noexcept {
  constexpr std::size_t kTold = 10;  // the runtime's frames, and the user's innermost few
  std::uint64_t hash = 14695981039346656037u;
  const auto add = [&](std::uint64_t v) { hash = (hash ^ v) * 1099511628211u; };
  for (std::size_t i = 0; i < h.frames; ++i) add(h.place[i]);
  for (std::size_t i = 0; i < frames.n && i < kTold; ++i) add(frames.pcs[i]);
  if (hash == 0) hash = 1;
  for (os::atomic<std::uint64_t>& p : places) {
    std::uint64_t there = p.load(os::memory_order_relaxed);
    if (there == 0 && p.compare_exchange_strong(there, hash)) return true;
    if (there == hash) return false;
  }
  return false;
}

const char* what(Kind kind) noexcept {
  switch (kind) {
    case Kind::mutex: return "a std::mutex";
    case Kind::shared: return "a std::shared_mutex (for reading)";
    case Kind::exclusive: return "a std::shared_mutex (for writing)";
  }
  return "?";
}

void print_address(rt::Printer& out, std::uintptr_t pc) noexcept {
  out << rt::Hex{pc};
  rt::Module m;
  if (rt::find_module(pc, &m)) out << ' ' << m.path << '+' << rt::Hex{pc - m.base};
}

/// "goroutine 7 parks (semacquire) while it holds a std::mutex at 0x55d0, locked at"
void print_first_line(rt::Printer& out, const Held& h, rt::WaitReason why) noexcept {
  out << "goroutine " << h.goid;
  if (why == rt::WaitReason::none) {
    out << " yields";
  } else if (why == rt::WaitReason::blocking_ends) {
    out << " leaves gort::blocking";
  } else {
    out << " parks (" << rt::wait_reason_text(why) << ")";
  }
  out << " while it holds " << what(h.kind) << " at " << h.lock << ", locked at";
}

void print_addresses(rt::Printer& out, const Held& h, rt::WaitReason why, const rt::GoroutineTrace& trace) noexcept {
  print_first_line(out, h, why);
  out << ' ';
  print_address(out, h.place[0]);
  out << '\n';
  for (std::size_t i = 1; i < h.frames; ++i) {
    out << '\t';
    print_address(out, h.place[i]);
    out << '\n';
  }
  rt::print_raw(out, trace);
}

/// Of the place where the lock was taken: without the standard library's share in it, and gort's.
void print_place_names(rt::Printer& out, const Held& h) {
  bool begun = false;
  for (std::size_t i = 0; i < h.frames; ++i) {
    rt::symbolize(h.place[i], true, [&](const rt::SymbolFrame& f) {
      if (f.function == nullptr) return;
      const bool library = std::strncmp(f.function, "std::", 5) == 0 || std::strncmp(f.function, "__gthread", 9) == 0;
      const bool carrier = std::strstr(f.function, "gort::v0::detail::") != nullptr;
      if (carrier || (library && !begun)) return;
      begun = true;
      out << "\t" << f.function << "\n";
      if (f.file != nullptr) out << "\t\t" << f.file << ':' << f.line << '\n';
    });
  }
}

void print_names(const Report& r) noexcept {
  rt::Printer out(2);
  try {
    out << "gort: with names: ";
    print_first_line(out, r.held, r.why);
    out << '\n';
    print_place_names(out, r.held);
    rt::print_trace(rt::TextSink(out), r.captured.trace, rt::TracebackLevel::single);
    out << '\n';
  } catch (...) {
    out << "(no memory for names)\n";
  }
}

/// The end of the program; as in any fatal report, names are bounded in time.
[[noreturn]] void die(const Held& h, rt::WaitReason why, const rt::GoroutineTrace& trace) noexcept {
  rt::fatal_begin();
  {
    rt::Printer out(2);
    out << "fatal error: ";
    print_addresses(out, h, why, trace);
  }
  const bool timed = rt::end_process_within(rt::kNamesLimit);
  os::tls().in_runtime = 0;
  if (void* stack = timed ? os::mem_map(kNamesStack, 0) : nullptr; stack != nullptr) {
    Held copy = h;
    arch::call_on_stack(
        static_cast<char*>(stack) + kNamesStack,
        [](void* p) noexcept {
          rt::Printer out(2);
          out << "locked at\n";
          try {
            print_place_names(out, *static_cast<const Held*>(p));
          } catch (...) {
          }
        },
        &copy);
  }
  rt::fatal_after_print({"a std::mutex is held over a park", false});
}

/// A free slot, now kFilling, or null.
Report* take_slot() noexcept {
  for (Report& r : reports) {
    std::uint32_t state = kFree;
    if (r.state.compare_exchange_strong(state, kFilling)) return &r;
  }
  return nullptr;
}

void report(rt::G* g, const Held& h, rt::WaitReason why) noexcept {
  rt::Captured local;
  rt::capture_current(g, arch::cursor_here(), &local);
  if (!is_new_place(h, local.frames)) return;
  if (rt::debug_settings.held_locks == rt::HeldLocks::fatal) die(h, why, local.trace);
  {
    rt::Printer out(2);
    out << "gort: ";
    print_addresses(out, h, why, local.trace);
  }
  Report* r = take_slot();
  if (r == nullptr) return;
  r->held = h;
  r->why = why;
  rt::capture_current(g, arch::cursor_here(), &r->captured);
  r->state.store(kReady, os::memory_order_release);
  ready_reports.fetch_add(1, os::memory_order_release);
}

}  // namespace

void report_departure(rt::G* g, rt::WaitReason why) noexcept {
  if (g->locked_m != nullptr) return;  // it stays on its thread, and so does what it holds
  // Taken out of the books: it may be unlocked on another thread, and is reported once.
  for (Held h; take_held(g->goid, &h);) report(g, h, why);
}

void print_names_of(const void* lock) noexcept {
  if (__builtin_expect(ready_reports.load(os::memory_order_acquire) == 0, 1)) return;
  const os::Tls& t = os::tls();
  if (t.in_runtime != 0 || t.in_handler != 0 || t.window != 0) return;
  const rt::G* g = rt::current_g();
  for (Report& r : reports) {
    std::uint32_t state = kReady;
    if (r.state.load(os::memory_order_acquire) != kReady || r.held.lock != lock) continue;
    if (g == nullptr || r.held.goid != g->goid || !r.state.compare_exchange_strong(state, kPrinting)) continue;
    ready_reports.fetch_sub(1, os::memory_order_relaxed);
    print_names(r);
    r.state.store(kFree, os::memory_order_release);
  }
}

}  // namespace gort::inline v0::rt::held_locks
