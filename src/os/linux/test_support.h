// gort: help for tests of memory and of the process itself. Tests only.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GORT_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define GORT_TEST_SANITIZED 1
#endif
#endif

namespace gort::test {

/// Runs `body` in a forked child and returns how that ended: its return value (0..127), or 1000
/// plus the signal that killed it. For what would spoil this process: limits, filters, faults,
/// ends.
template <class F>
int in_child(F body) {
  std::cout.flush();
  std::fflush(nullptr);
  pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  if (pid < 0) return -1;
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

inline thread_local sigjmp_buf fault_jump;
inline thread_local volatile std::uintptr_t fault_address;

/// Touches the byte at p. 0 if that went well, else the address that the kernel reported with
/// SIGSEGV.
inline std::uintptr_t touch_faults_at(const volatile void* p, bool write) {
  struct sigaction catch_it = {};
  struct sigaction before;
  catch_it.sa_flags = SA_SIGINFO | SA_NODEFER;
  catch_it.sa_sigaction = [](int, siginfo_t* info, void*) {
    fault_address = reinterpret_cast<std::uintptr_t>(info->si_addr);
    siglongjmp(fault_jump, 1);
  };
  ::sigaction(SIGSEGV, &catch_it, &before);
  fault_address = 0;
  if (sigsetjmp(fault_jump, 1) == 0) {
    auto* byte = static_cast<volatile char*>(const_cast<volatile void*>(p));
    if (write) {
      *byte = 1;
    } else {
      (void)*byte;
    }
  }
  ::sigaction(SIGSEGV, &before, nullptr);
  return fault_address;
}

/// Mappings of this process.
inline int mapping_count() {
  std::ifstream maps("/proc/self/maps");
  int n = 0;
  for (std::string line; std::getline(maps, line);) ++n;
  return n;
}

/// A size in KiB out of /proc/self/status, such as "VmRSS"; -1 if it is not there.
inline long status_kib(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(name + ":", 0) == 0) return std::stol(line.substr(name.size() + 1));
  }
  return -1;
}

/// From here on this process's madvise(advice) fails with EINVAL, as on a kernel that does not know
/// it. Not to be undone: call it in a child. (x86-64 and aarch64 are little endian: args[2] begins
/// with its low half.)
inline bool forbid_madvise(unsigned advice) {
  sock_filter code[] = {
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 3, SYS_madvise},
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, args[2])},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, advice},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EINVAL},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  };
  sock_fprog program = {static_cast<unsigned short>(std::size(code)), code};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace gort::test
