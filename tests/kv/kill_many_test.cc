// gort-kv killed in the middle of 200 saves.
// test: labels=slow timeout=1200
#include <gtest/gtest.h>

#include "kill_in_saves.h"

namespace {

TEST(Kill, InTwoHundredSaves) { kv_test::kill_in_saves(200); }

}  // namespace
