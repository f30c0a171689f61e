// gort: what destructors in headers ask before they call into gort. Not for direct use.
#pragma once

#include "gort/config.h"

namespace gort::inline v0::detail {

/// Whether this is the child of a fork, once the runtime has started: what a destructor would give back is the parent's.
bool in_fork_child() noexcept;

}  // namespace gort::inline v0::detail
