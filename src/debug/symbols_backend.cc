#include "debug/symbols_backend.h"

#include <dlfcn.h>
#include <link.h>

#include <new>

#include "debug/symbols.h"
#include "os/atomic.h"

#if defined(GORT_HAVE_LIBBACKTRACE) && !defined(GORT_HAVE_LIBDW)
#include <backtrace.h>
#endif

namespace gort::inline v0::rt {

LoaderCounts loader_counts() noexcept {
  LoaderCounts counts;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* out) {
        *static_cast<LoaderCounts*>(out) = {info->dlpi_adds, info->dlpi_subs};
        return 1;  // one module is enough: the counts are the loader's
      },
      &counts);
  return counts;
}

#if defined(GORT_HAVE_LIBDW)

// symbols_libdw.cc has it.

#elif defined(GORT_HAVE_LIBBACKTRACE)

namespace {

/// libbacktrace's view of the modules that were loaded when it first looked. A state cannot be freed, so
/// a superseded one is kept, reachable. That is rare: see below.
struct Generation {
  backtrace_state* state;
  LoaderCounts made_at;
  Generation* older;
};
constinit os::atomic<Generation*> newest{nullptr};

void ignore_error(void*, const char*, int) {}

Generation* new_generation(Generation* old, LoaderCounts counts) {
  auto* made = new Generation{backtrace_create_state(nullptr, 1, ignore_error, nullptr), counts, old};
  if (newest.compare_exchange_strong(old, made)) return made;
  delete made;  // somebody was faster; the small state itself is lost
  return old;
}

struct Collect {
  Found* found;
  bool no_memory = false;
};

/// Called from C code without unwind tables of its own making: nothing may be thrown through it.
template <class F>
void guarded(Collect& c, F f) noexcept {
  try {
    f();
  } catch (...) {
    c.no_memory = true;
  }
}

int on_frame(void* data, std::uintptr_t, const char* file, int line, const char* function) {
  auto& c = *static_cast<Collect*>(data);
  if (file == nullptr && function == nullptr) return 0;
  guarded(c, [&] {
    c.found->frames.push_back({function != nullptr ? function : "", file != nullptr ? file : "", line});
  });
  return 0;
}

void on_symbol(void* data, std::uintptr_t, const char* name, std::uintptr_t value, std::uintptr_t) {
  auto& c = *static_cast<Collect*>(data);
  if (name == nullptr) return;
  guarded(c, [&] {
    c.found->symbol = name;
    c.found->entry = value;
  });
}

void ask(const Generation& g, std::uintptr_t pc, Found& found) {
  if (g.state == nullptr) return;
  Collect c{&found};
  backtrace_pcinfo(g.state, pc, on_frame, ignore_error, &c);
  backtrace_syminfo(g.state, pc, on_symbol, ignore_error, &c);
  if (c.no_memory) throw std::bad_alloc();
}

}  // namespace

Found find_symbols(std::uintptr_t pc, LoaderCounts counts) {
  Found found;
  Generation* g = newest.load(os::memory_order_acquire);
  // A module that went away may have made room for another at the same addresses: look again at all.
  if (g == nullptr || g->made_at.subs != counts.subs) g = new_generation(g, counts);
  ask(*g, pc, found);
  // Modules that were added since matter only if this address may be in one.
  Module m;
  if (found.frames.empty() && found.symbol.empty() && g->made_at.adds != counts.adds && find_module(pc, &m)) {
    g = new_generation(g, counts);
    ask(*g, pc, found);
  }
  return found;
}

bool symbols_have_lines() noexcept { return true; }
bool symbols_have_all_lines() noexcept { return false; }

#else

Found find_symbols(std::uintptr_t pc, LoaderCounts) {
  Found found;
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(pc), &info) == 0) return found;
  if (info.dli_sname != nullptr) {
    found.symbol = info.dli_sname;
    found.entry = reinterpret_cast<std::uintptr_t>(info.dli_saddr);
  }
  if (info.dli_fname != nullptr) {
    found.module = info.dli_fname;
    found.base = reinterpret_cast<std::uintptr_t>(info.dli_fbase);
  }
  return found;
}

bool symbols_have_lines() noexcept { return false; }
bool symbols_have_all_lines() noexcept { return false; }

#endif

}  // namespace gort::inline v0::rt
