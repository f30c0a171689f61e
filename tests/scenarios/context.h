// What the tests of contexts share.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <system_error>

#include "sync/context.h"
#include "tests/support/runtime_fixture.h"

namespace gort::test {

using namespace std::chrono_literals;

struct user : gort::context_key<std::string> {};
struct depth : gort::context_key<int> {};

/// At the end no context is left.
class ContextTest : public gort::test::RuntimeTestAtProcs {
 protected:
  void TearDown() override {
    gort::test::RuntimeTestAtProcs::TearDown();
    EXPECT_EQ(gort::rt::contexts_in_use(), 0u);
  }
};

/// Waits for an event that nobody sets; the cause of its end.
inline std::error_code wait_for_ever() {
  gort::event never;
  try {
    never.wait();
  } catch (const gort::cancelled& e) {
    return e.cause();
  }
  return {};
}

template <class F>
std::optional<std::error_code> cancelled_by(F f) {
  try {
    f();
  } catch (const gort::cancelled& e) {
    return e.cause();
  }
  return {};
}

}  // namespace gort::test
