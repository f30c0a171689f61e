// gort: looking at a program from within.
#pragma once

#include <string>

#include "gort/config.h"

namespace gort::inline v0 {

// Both allocate (std::bad_alloc), read debug information and take milliseconds the first time. Without room for that in
// address space names stay unknown. Frames of the runtime are left out. Any thread, the runtime running or not.

/// The calling goroutine's traceback as text, in the shape of Go's, with functions, files and lines. On a
/// foreign thread: its stack, headed "thread" and the kernel's id.
std::string stack();

/// The same of every goroutine, all at one moment, the caller first, then by id; the parked ones with their wait
/// reasons. Stops the world while addresses are collected (about a microsecond for each goroutine; names are looked up
/// after it), but for goroutines inside gort::blocking, which are asked by a signal to say where they are, 200 ms at most
/// in all. A raw system call that a goroutine sleeps in may return EINTR. More than 100 are grouped by equal stacks.
/// May wait for others who have stopped the world, and change the thread.
std::string all_stacks();

}  // namespace gort::inline v0
