// gort: blocking calls. A goroutine that is about to block in the kernel lets its P go.
//
//   enter_blocking   the P stays near (status syscall): if the call is short, exit takes it back with one
//                    CAS; if it is long, sysmon retakes it (20 us to 10 ms) and others run.
//   exit_blocking    takes the old P, else any idle one, else queues the goroutine. May change its thread.
//
// Between the two the goroutine runs user code *without a P*: it counts as running for nobody, is not
// stopped by a stop of the world, and must not touch collected objects. A call into gort from there takes a
// P for its duration, on the same thread (RuntimeEntry does it). They nest; the outermost pair counts.
// On a foreign thread both do nothing.
#pragma once

namespace gort::inline v0::rt {

void enter_blocking() noexcept;
void exit_blocking() noexcept;

}  // namespace gort::inline v0::rt
