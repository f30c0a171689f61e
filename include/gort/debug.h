// gort: looking at a program from within.
#pragma once

#include <string>

#include "gort/config.h"

namespace gort::inline v0 {

/// The calling goroutine's traceback as text, in the shape of Go's, with functions, files and lines.
/// Allocates, reads debug information, takes milliseconds the first time. On a foreign thread: its stack.
std::string stack();

/// The same of every goroutine, the parked ones with their wait reasons. A goroutine that runs meanwhile is
/// listed without frames.
std::string all_stacks();

}  // namespace gort::inline v0
