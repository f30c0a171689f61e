#include "debug/kernel_state.h"

#include <cerrno>
#include <cstring>

#include "os/signal.h"

namespace gort::inline v0::rt {

namespace {

/// /proc/self/task/TID/`file` as a string; its length, or -errno.
std::ptrdiff_t length_of_task_file(int tid, const char* file, char* buf, std::size_t n) noexcept {
  char path[64];
  Printer(path, sizeof path) << "/proc/self/task/" << tid << '/' << file;
  return os::read_file(path, buf, n);
}

/// False if it cannot be read.
bool read_task_file(int tid, const char* file, char* buf, std::size_t n) noexcept {
  return length_of_task_file(tid, file, buf, n) > 0;
}

/// A line "Name:\t00000000004000" of /proc/…/status as a mask.
bool mask_of(const char* status, const char* name, std::uint64_t* out) noexcept {
  const char* at = std::strstr(status, name);
  if (at == nullptr) return false;
  at += std::strlen(name);
  while (*at == ' ' || *at == '\t') ++at;
  *out = 0;
  for (;; ++at) {
    int digit;
    if (*at >= '0' && *at <= '9') digit = *at - '0';
    else if (*at >= 'a' && *at <= 'f') digit = *at - 'a' + 10;
    else return true;
    *out = *out << 4 | static_cast<std::uint64_t>(digit);
  }
}

const char* state_text(char state) noexcept {
  switch (state) {
    case 'R': return "running or ready";
    case 'S': return "sleep";
    case 'D': return "uninterruptible sleep";
    case 'T': return "stopped by a signal";
    case 't': return "stopped by a debugger";
    case 'Z':
    case 'X': return "dead";
    default: return "?";
  }
}

}  // namespace

KernelState read_kernel_state(int tid) noexcept {
  KernelState k;
  char buf[2048];
  if (const std::ptrdiff_t n = length_of_task_file(tid, "stat", buf, sizeof buf); n <= 0) {
    // A thread that has ended, before or while its file was read; else it is the file that cannot be had.
    k.readable = n == -ESRCH || (n == -ENOENT && os::read_file("/proc/self/stat", buf, sizeof buf) > 0);
    return k;
  }
  k.alive = true;
  // "tid (name) S …"; the name may hold anything.
  if (const char* end = std::strrchr(buf, ')'); end != nullptr && end[1] == ' ') k.state = end[2];
  // "0" stands for none, and for a reader who may not know.
  if (read_task_file(tid, "wchan", buf, sizeof buf) && std::strcmp(buf, "0") != 0) {
    Printer(k.wchan, sizeof k.wchan) << buf;
  }
  // "running", or the call's number with its arguments, or -1.
  if (read_task_file(tid, "syscall", buf, sizeof buf) && buf[0] >= '0' && buf[0] <= '9') {
    k.syscall = 0;
    for (const char* c = buf; *c >= '0' && *c <= '9'; ++c) k.syscall = k.syscall * 10 + (*c - '0');
  }
  std::uint64_t blocked = 0, pending = 0;
  if (read_task_file(tid, "status", buf, sizeof buf)) {
    k.urg_known = mask_of(buf, "SigBlk:", &blocked) && mask_of(buf, "SigPnd:", &pending);
    k.urg_blocked = (blocked & os::signal_bit(os::kSigUrg)) != 0;
    k.urg_pending = (pending & os::signal_bit(os::kSigUrg)) != 0;
  }
  return k;
}

void print(Printer& out, const KernelState& k) noexcept {
  if (!k.readable) {
    out << "not to be had (no descriptor left, or no /proc)";
    return;
  }
  if (!k.alive) {
    out << "no such thread";
    return;
  }
  out << k.state << " (" << state_text(k.state) << ')';
  if (k.wchan[0] != '\0') out << ", in " << k.wchan;
  if (k.syscall >= 0) out << ", system call " << k.syscall;
  if (!k.urg_known) return;
  out << (k.urg_blocked ? ", SIGURG blocked" : ", SIGURG not blocked") << (k.urg_pending ? ", one pending" : "");
}

}  // namespace gort::inline v0::rt
