#include "os/poll.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "os/linux/test_support.h"

namespace {

using namespace gort::os;

/// From here on epoll_pwait2 fails like this.
bool forbid_pwait2(unsigned error) {
  constexpr unsigned kNumber = 441;
  sock_filter code[] = {
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, kNumber},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | error},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  };
  sock_fprog program = {static_cast<unsigned short>(std::size(code)), code};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// Old kernels say ENOSYS, container sandboxes of their age EPERM: both have epoll_pwait.
TEST(OsPoll, WaitsWithoutTheNewerCall) {
  for (const unsigned error : {ENOSYS, EPERM}) {
    EXPECT_EQ(gort::test::in_child([error] {
                if (!forbid_pwait2(error)) return 1;
                const int poller = poll_create();
                const int bell = bell_create();
                if (poller < 0 || bell < 0 || poll_add_level(poller, bell, 7) != 0) return 2;
                PollEvent events[kPollBatch];
                const std::int64_t begin = nanotime();
                if (poll_wait(poller, events, 2'500'000) != 0) return 3;
                if (nanotime() - begin < 2'500'000) return 4;
                bell_ring(bell);
                if (poll_wait(poller, events, 2'500'000) != 1 || events[0].tag != 7) return 5;
                return 0;
              }),
              0)
        << error;
  }
}

}  // namespace
