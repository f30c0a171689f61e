// gort: what the process may use of its machine, and its environment.
#include "os/linux/machine.h"

#include <unistd.h>

#include <cerrno>
#include <cstddef>

#include "os/linux/syscall.h"
#include "os/os.h"

namespace gort::inline v0::os {
namespace {

long ask_kernel(unsigned long* mask, std::size_t bytes) noexcept {
  return kernel::call(SYS_sched_getaffinity, 0, bytes, mask);
}

int bits_set(const unsigned long* mask, long bytes) noexcept {
  int n = 0;
  for (long i = 0; i < bytes / static_cast<long>(sizeof *mask); ++i) {
    n += __builtin_popcountl(mask[i]);
  }
  return n;
}

}  // namespace

int count_cpus(AffinityFn ask) noexcept {
  unsigned long few[16] = {};  // 1,024 processors, as in cpu_set_t
  long got = ask(few, sizeof few);
  int n = got > 0 ? bits_set(few, got) : 0;
  for (std::size_t bytes = page_size(); got == -EINVAL && bytes <= (1u << 20); bytes *= 2) {
    auto* many = static_cast<unsigned long*>(mem_map(bytes, 1));
    if (many == nullptr) break;
    got = ask(many, bytes);
    if (got > 0) n = bits_set(many, got);
    mem_unmap(many, bytes);
  }
  return n > 0 ? n : 1;
}

int cpu_count() noexcept { return count_cpus(ask_kernel); }

std::int64_t cgroup_cpu_limit_milli() noexcept { return cgroup_cpu_limit_milli(""); }
std::int64_t cgroup_pids_limit() noexcept { return cgroup_pids_limit(""); }

const char* getenv(const char* name) noexcept {
  if (*name == '\0' || ::environ == nullptr) return nullptr;
  for (char** entry = ::environ; *entry != nullptr; ++entry) {
    const char* n = name;
    const char* e = *entry;
    while (*n != '\0' && *n != '=' && *n == *e) ++n, ++e;
    if (*n == '\0' && *e == '=') return e + 1;
  }
  return nullptr;
}

}  // namespace gort::inline v0::os
