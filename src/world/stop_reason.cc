#include "world/world.h"

namespace gort::inline v0::rt {

const char* stop_reason_text(StopReason r) noexcept {
  switch (r) {
    case StopReason::gomaxprocs: return "GOMAXPROCS";
    case StopReason::all_stacks: return "all goroutines stack trace";
    case StopReason::goroutine_profile: return "goroutine profile";
    case StopReason::read_mem_stats: return "read mem stats";
    case StopReason::write_heap_dump: return "write heap dump";
    case StopReason::start_trace: return "start trace";
    case StopReason::stop_trace: return "stop trace";
    case StopReason::for_each_p: return "for each P";
    case StopReason::user: return "user";
    case StopReason::gc_mark_start: return "GC sweep termination";
    case StopReason::gc_mark_end: return "GC mark termination";
    case StopReason::test: return "test";
  }
  return "?";
}

}  // namespace gort::inline v0::rt
