// gort tests: the switch of the malloc guard (malloc_guard.cc).
//
// Debug test programs are linked with a malloc family that refuses to serve a thread which is in the
// runtime: rule L1 says that the core never waits for a lock that user code can hold, and malloc's are
// such locks. A thread is in the runtime when it is an M (os::tls().m) inside a RuntimeEntry
// (os::tls().in_runtime). The process then says what happened and aborts.
//
// Not under sanitizers, which bring their own malloc, and not in release builds: then
// GORT_MALLOC_GUARD is not defined. One test program may switch the guard off for itself; nothing else
// should, a finding is a finding.
#pragma once

namespace gort::test {

/// Off or on for the whole process; on from the start. Returns what it was.
bool malloc_guard(bool on) noexcept;

/// Calls served while the guard was on. Proves in a test that the guard is linked at all.
unsigned long malloc_guard_calls() noexcept;

/// Runs `fn` in every call of the family from now on, before it is served; null: no more. For tests that want to be
/// in the middle of whatever allocates. `fn` must not allocate.
void malloc_guard_hook(void (*fn)()) noexcept;

}  // namespace gort::test
