// gort: the umbrella header.
#pragma once

#include "gort/blocking.h"
#include "gort/cancelled.h"
#include "gort/clock.h"
#include "gort/config.h"
#include "gort/context.h"
#include "gort/event.h"
#include "gort/go.h"
#include "gort/goroutine_local.h"
#include "gort/os_thread.h"
#include "gort/promise.h"
#include "gort/run.h"
#include "gort/scope.h"
#include "gort/semaphore.h"
#include "gort/this_goroutine.h"
#include "gort/waiter.h"
