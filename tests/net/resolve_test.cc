// Names, with a resolver of our own in the place of the C library's: one that takes as long as the test likes.
// test: timeout=120
#include <gtest/gtest.h>
#include <netdb.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <vector>

#include "gort/net.h"
#include "tests/support/runtime_fixture.h"

using namespace std::chrono_literals;
namespace net = gort::net;
using gort::test::yield_until;

namespace {
std::atomic<bool> answers{false};
std::atomic<int> inside{0}, calls{0};
}  // namespace

extern "C" int getaddrinfo(const char*, const char*, const addrinfo*, addrinfo**) {
  ++calls;
  ++inside;
  while (!answers) ::usleep(1000);
  --inside;
  return EAI_NONAME;
}

namespace {

class Resolve : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(Resolve);

// A resolver that hangs must not take a thread for each of those who ask: the limit of threads is the program's end.
TEST_P(Resolve, AHangingResolverTakesABoundedNumberOfThreads) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    constexpr int kAskers = 300, kLookUps = 128;
    std::vector<gort::task<net::result<std::vector<net::address>>>> askers;
    for (int i = 0; i < kAskers; ++i) {
      askers.push_back(gort::spawn([] {
        const gort::with_timeout limit(500ms);
        return net::resolve("a.name", 80);
      }));
    }
    ASSERT_TRUE(yield_until([] { return inside >= kLookUps; }));
    for (auto& a : askers) EXPECT_EQ(a.get().error(), std::errc::operation_canceled);
    EXPECT_EQ(inside, kLookUps);
    answers = true;
    ASSERT_TRUE(yield_until([] { return inside == 0; }));
    EXPECT_EQ(calls, kLookUps) << "who has given up is not looked up for";
    EXPECT_EQ(net::resolve("a.name", 80).error(), std::error_code(EAI_NONAME, net::resolve_category()));
  });
}

}  // namespace
