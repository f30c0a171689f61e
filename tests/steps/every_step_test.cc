// test: labels=slow timeout=300
// Every stretch with every injection, at all instructions. steps.h tells how it works.
#include <gtest/gtest.h>

#include "tests/steps/steps.h"
#include "tests/steps/suite.h"

GORT_STEPS_SUITE(EveryStep, {})
