// Who may look at the environment, and who may change it.
#pragma once

#include "gort/shared_mutex.h"

namespace gort::inline v0::os {

/// Shared for who reads it: env(), and the start of a child, which inherits it and is found by its PATH.
extern gort::shared_mutex env_turns;

}  // namespace gort::inline v0::os
