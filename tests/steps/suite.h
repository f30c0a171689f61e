// gort tests: one GoogleTest case for each stretch with each injection.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <tuple>

#include "tests/steps/steps.h"
#include "tests/support/runtime_fixture.h"

namespace gort::test::steps {

using Case = std::tuple<Stretch, Injection>;

inline std::string case_name(const ::testing::TestParamInfo<Case>& info) {
  return std::string(std::get<1>(info.param).name) + "_" + std::get<0>(info.param).name;
}

inline void run_case(const Case& c, const Options& options) {
#if defined(GORT_TEST_TSAN)
  GTEST_SKIP() << "TSan keeps signals back until the next system call";
#elif defined(GORT_TEST_ASAN)
  GTEST_SKIP() << "not tried under ASan yet";
#endif
  const char* waits_for = std::get<1>(c).waits_for;
  if (waits_for != nullptr && std::getenv("GORT_STEPS_ALL") == nullptr) GTEST_SKIP() << waits_for;
  const Report r = drive(std::get<0>(c), std::get<1>(c), options);
  if (!r.skipped.empty()) GTEST_SKIP() << r.skipped;
  EXPECT_TRUE(r.failures.empty()) << r.failures;
  EXPECT_GT(r.exact, 0u) << r.summary();
  std::cout << r.summary() << "\n";
}

}  // namespace gort::test::steps

#define GORT_STEPS_SUITE(name, ...)                                                                                 \
  namespace {                                                                                                       \
  using namespace gort::test::steps;                                                                                \
  class name : public ::testing::TestWithParam<Case> {};                                                            \
  TEST_P(name, AtEachInstruction) { run_case(GetParam(), Options __VA_ARGS__); }                                    \
  INSTANTIATE_TEST_SUITE_P(all, name,                                                                               \
                           ::testing::Combine(::testing::ValuesIn(stretches().begin(), stretches().end()),          \
                                              ::testing::ValuesIn(injections().begin(), injections().end())),       \
                           case_name);                                                                              \
  }
