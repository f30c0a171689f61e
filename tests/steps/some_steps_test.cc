// test: timeout=120
// Every stretch with every injection, at a part of the instructions: what `make test` has time for.
#include <gtest/gtest.h>

#include "tests/steps/steps.h"
#include "tests/steps/suite.h"

GORT_STEPS_SUITE(SomeSteps, {.max_points = 5, .recordings = 1, .stepped = 0})
