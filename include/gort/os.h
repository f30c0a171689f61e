// gort: the rest of the outside: files, pipes, child processes, signals, the environment. See the headers; errors are
// those of gort/net/result.h.
#pragma once

#include "gort/os/env.h"
#include "gort/os/file.h"
#include "gort/os/pipe.h"
#include "gort/os/process.h"
#include "gort/os/signals.h"
