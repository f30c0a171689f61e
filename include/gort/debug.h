// gort: looking at a program from within.
#pragma once

#include <string>

#include "gort/config.h"

namespace gort::inline v0 {

// Both allocate, read debug information and take milliseconds the first time. Frames of the runtime are left
// out. Neither stops anybody: each goroutine is caught at a moment of its own, and one that goes on while it
// is looked at may be listed without frames. Any thread, the runtime running or not.

/// The calling goroutine's traceback as text, in the shape of Go's, with functions, files and lines. On a
/// foreign thread: its stack, headed "thread" and the kernel's id.
std::string stack();

/// The same of every goroutine, the caller first, then by id; the parked ones with their wait reasons. Those
/// that run are asked by a signal (SIGURG) to say where they are, waiting for at most 200 ms in all; a raw system call
/// that they sleep in may return EINTR. More than 100 are grouped by equal stacks.
std::string all_stacks();

}  // namespace gort::inline v0
