// gort: the umbrella header.
#pragma once

#include "gort/blocking.h"
#include "gort/chan.h"
#include "gort/clock.h"
#include "gort/config.h"
#include "gort/go.h"
#include "gort/goroutine_local.h"
#include "gort/os_thread.h"
#include "gort/run.h"
#include "gort/select.h"
#include "gort/semaphore.h"
#include "gort/this_goroutine.h"
#include "gort/timer.h"
#include "gort/waiter.h"
