// The injections: what is asked of the thread, and what must have come of it.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <utility>

#include "debug/capture.h"
#include "gort/world.h"
#include "sched/entry.h"
#include "sched/sched.h"
#include "tests/steps/steps.h"
#include "world/world.h"

extern "C" {
[[gnu::visibility("hidden")]] extern const char gort_v0_context_first[];
}

namespace gort::test::steps {

namespace {

// ---- where are you? -----------------------------------------------------------------------------

constexpr std::int64_t kPatienceHere = 60'000'000'000;  // half of it is the driver's watchdog

void ask_traceback(rt::M* m, Answer* out) noexcept {
  static rt::Captured captured;
  std::int64_t patience = kPatienceHere;
  out->ok = rt::capture_m(m, &patience, &captured);
  if (!out->ok) std::snprintf(out->why, sizeof out->why, "no answer");
  out->walk = captured.frames;
}

std::string text_of(const rt::Frames& f) {
  std::string s;
  for (std::uint32_t i = 0; i < f.n; ++i) s += "\n      " + name_of(f.pcs[i] - 1);
  return s;
}

/// The frames that both have at their outer ends.
std::uint32_t common_end(const rt::Frames& a, const rt::Frames& b) {
  std::uint32_t n = 0;
  while (n < a.n && n < b.n && a.pcs[a.n - 1 - n] == b.pcs[b.n - 1 - n]) ++n;
  return n;
}

bool ends_in_a_goroutine(const rt::Frames& f) {
  return f.pcs[f.n - 1] - 1 - reinterpret_cast<std::uintptr_t>(gort_v0_context_first) < 32;
}

bool ends_in_a_thread(const rt::Frames& f) {
  const std::string outermost = name_of(f.pcs[f.n - 1] - 1);
  return outermost.find("clone") != std::string::npos || outermost.find("start_thread") != std::string::npos;
}

/// The unwinder's own last instructions, where it has loaded half of the registers of the frame that it lands in:
/// no tables describe them, and nobody can walk from there.
bool unwinder_lands(const rt::Frames& f) { return name_of(f.pcs[0] - 1).starts_with("_Unwind_"); }

std::string check_traceback(const Stood& at, const Answer& a, Answer* reference) {
  const rt::Frames& walk = a.walk;
  if (!a.ok) return a.why;
  if (walk.n == 0) return "no frames";
  if (at.exactly && unwinder_lands(walk)) return {};
  if (walk.end != gort::arch::WalkEnd::bottom) return "the walk is lost behind" + text_of(walk);
  if (!ends_in_a_goroutine(walk) && !ends_in_a_thread(walk)) return "a walk to nowhere:" + text_of(walk);
  if (!at.exactly) return {};
  if (walk.pcs[0] - 1 != at.pc) return "the first frame is not where the thread stood:" + text_of(walk);
  if (!at.on_goroutine) return {};
  if (at.first) {
    *reference = a;
    return walk.n > 4 ? "" : "the first walk is too short:" + text_of(walk);
  }
  // Of the first walk, gort_steps_begin, begin and the body are the stretch's own; who called these is there always.
  if (common_end(reference->walk, walk) + 3 < reference->walk.n) {
    return "the goroutine's outer frames are missing:" + text_of(walk);
  }
  return {};
}

std::string check_ok(const Stood&, const Answer& a, Answer*) { return a.ok ? "" : a.why; }

// ---- stops --------------------------------------------------------------------------------------

void say(Answer* out, const char* what, long n) noexcept {
  out->ok = false;
  std::snprintf(out->why, sizeof out->why, "%s (%ld)", what, n);
}

/// While the world is stopped: every P is, and the goroutine does not go on.
void look_at_stopped_world(Answer* out) noexcept {
  const std::uint64_t progress = page->progress.load();
  for (std::int32_t i = 0; i < rt::sched.nprocs.load(); ++i) {
    if (rt::p_at(i)->status.load() != rt::PStatus::stopped) say(out, "the world is stopped, but not this P", i);
  }
  if (!rt::world_stopped()) say(out, "the world is not stopped", 0);
  for (const std::int64_t until = os::nanotime() + 30'000; os::nanotime() < until;) os::cpu_relax(16);
  if (page->progress.load() != progress) say(out, "a goroutine went on in the stopped world", 0);
}

void stop_world(rt::M*, Answer* out) noexcept {
  rt::RuntimeEntry entry;
  out->ok = true;
  rt::WorldHold hold = rt::stop_the_world(rt::StopReason::test);
  look_at_stopped_world(out);
  rt::start_the_world(std::move(hold));
}

/// The second one finds the thread on its way out of the first.
void stop_world_twice(rt::M*, Answer* out) noexcept {
  rt::RuntimeEntry entry;
  out->ok = true;
  rt::WorldHold hold = rt::world_acquire(rt::StopReason::test);
  for (int i = 0; i < 2; ++i) {
    rt::stop_with(hold);
    look_at_stopped_world(out);
    rt::start_with(hold);
  }
  rt::world_release(std::move(hold));
}

void stop_at_calls(rt::M*, Answer* out) noexcept {
  const auto w = gort::stop_world("steps", std::chrono::seconds(20));
  out->ok = static_cast<bool>(w);
  if (!out->ok) std::snprintf(out->why, sizeof out->why, "a stop at calls was not in time");
}

/// One P more, and back: Ps come and go, and who stands in the middle of something may lose its own.
void change_procs(rt::M*, Answer* out) noexcept {
  rt::RuntimeEntry entry;
  out->ok = true;
  const std::int32_t n = rt::gomaxprocs(0);
  rt::gomaxprocs(n + 1);
  const std::int32_t more = rt::gomaxprocs(n);
  if (more != n + 1) say(out, "one P more was to be there", more);
}

// ---- a time slice ends --------------------------------------------------------------------------

void end_slice(rt::M* m, Answer* out) noexcept {
  out->ok = true;
  m->pending.fetch_or(rt::kPendingYield);
  rt::sched_hooks.preempt(m, false);
}

/// It is nominated as one that sleeps in the kernel; the handler decides.
void nominate_asleep(rt::M* m, Answer* out) noexcept {
  out->ok = true;
  rt::sched_hooks.preempt(m, true);
}

// ---- a function on each P -----------------------------------------------------------------------

void run_on_each_p(rt::M*, Answer* out) noexcept {
  static std::atomic<int> runs[8];
  rt::RuntimeEntry entry;
  out->ok = true;
  for (auto& n : runs) n = 0;
  rt::WorldHold hold = rt::world_acquire(rt::StopReason::for_each_p);
  rt::for_each_p(hold, [](rt::P* p, void*) noexcept { ++runs[p->id]; }, nullptr);
  for (std::int32_t i = 0; i < rt::sched.nprocs.load(); ++i) {
    if (runs[i] != 1) say(out, "the function did not run once on a P, but", runs[i]);
  }
  rt::world_release(std::move(hold));
}

constexpr Injection kAll[] = {
    {"traceback", rt::kAskedTrace, ask_traceback, check_traceback},
    {"stop", rt::kAskedPreempt, stop_world, check_ok},
    {"two_stops", rt::kAskedPreempt, stop_world_twice, check_ok},
    {"stop_at_calls", rt::kAskedPreempt, stop_at_calls, check_ok},
    {"procs", rt::kAskedPreempt, change_procs, check_ok},
    {"slice", rt::kAskedPreempt, end_slice, check_ok},
    {"asleep", rt::kAskedAsleep, nominate_asleep, check_ok},
    {"each_p", rt::kAskedPreempt, run_on_each_p, check_ok},
};

}  // namespace

std::span<const Injection> injections() noexcept { return kAll; }

}  // namespace gort::test::steps
