// The injections: what is asked of the thread, and what must have come of it.
#include <cstdio>
#include <cstring>

#include "debug/capture.h"
#include "tests/steps/steps.h"

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

constexpr Injection kAll[] = {
    {"traceback", ask_traceback, check_traceback},
    // To come, with world/world.h: the world is stopped and restarted; a time slice ends; a function runs on each P.
};

}  // namespace

std::span<const Injection> injections() noexcept { return kAll; }

}  // namespace gort::test::steps
