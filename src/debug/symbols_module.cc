// The lock-free half: which module is mapped at an address.
#include <dlfcn.h>
#include <link.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "debug/symbols.h"
#include "os/atomic.h"

namespace gort::inline v0::rt {

namespace {

char exe_path[4096];
constinit os::atomic<const char*> exe_name{nullptr};
constinit os::atomic<bool> exe_claimed{false};

/// The program's own path; the loader has none for it. Asked of the kernel once; a thread that comes
/// while another is asking takes what the program was started as.
const char* program_path() noexcept {
  if (const char* known = exe_name.load(os::memory_order_acquire)) return known;
  if (!exe_claimed.exchange(true)) {
    const ssize_t n = readlink("/proc/self/exe", exe_path, sizeof exe_path - 1);
    if (n > 0) {
      exe_path[n] = '\0';
      exe_name.store(exe_path, os::memory_order_release);
      return exe_path;
    }
  }
  const auto* started_as = reinterpret_cast<const char*>(getauxval(AT_EXECFN));
  return started_as != nullptr ? started_as : "program";
}

}  // namespace

bool find_module(std::uintptr_t pc, Module* out) noexcept {
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 35)
  // Not dladdr or dl_iterate_phdr: they take the loader's lock, which the interrupted thread may hold.
  dl_find_object found;
  if (_dl_find_object(reinterpret_cast<void*>(pc), &found) != 0 || found.dlfo_link_map == nullptr) return false;
  const link_map* map = found.dlfo_link_map;
  out->base = map->l_addr;
  out->path = map->l_name != nullptr && map->l_name[0] != '\0' ? map->l_name : program_path();
  return true;
#else
  (void)pc, (void)out;
  return false;
#endif
}

}  // namespace gort::inline v0::rt
