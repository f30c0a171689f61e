// gort: the scheduler's state as GORT_DEBUG=schedtrace and scheddetail print it.
#pragma once

namespace gort::inline v0::rt {

/// sched_hooks.schedtrace: one SCHED line on stderr, in one write; `detail`: one for each P, M and G too.
/// Counts are read under sched.lock, the rest without, so lines may disagree a little. Sysmon's only.
void print_sched_report(bool detail) noexcept;

}  // namespace gort::inline v0::rt
