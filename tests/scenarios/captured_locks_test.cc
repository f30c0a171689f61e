// Captured on purpose, inside what a library or the program itself holds: captured.h.
// The program goes on, the captive has its turn and leaves, and stops of the world come through meanwhile.
// test: needs=GORT_UNSANITIZED
#include "tests/scenarios/captured.h"

#include <linux/futex.h>
#include <link.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/syscall.h>

#include <mutex>
#include <shared_mutex>
#include <string>

#include "tests/support/malloc_guard.h"

namespace gort::test {
namespace {

using captured::here;

// ---- malloc: one arena, no caches in the way ------------------------------------------------------

const int one_arena = ::mallopt(M_ARENA_MAX, 1);

constexpr std::size_t kBeyondCaches = 5000;  // more than a thread cache keeps, less than what is mapped

/// The mutex of glibc's main arena, by way of the list of free chunks, whose head is in there (glibc 2.27 and later).
std::atomic<int>* arena_mutex() {
  static std::atomic<int>* const found = [] {
    constexpr std::size_t kFromTheEnd = 100'000;
    constexpr std::ptrdiff_t kTop = 0x60;  // offsetof(malloc_state, top): the list's head is a chunk at that place
    // From the arena's end, with neighbours that are in use: so it stays a chunk of its own when it is free.
    void* volatile before = std::malloc(kFromTheEnd);
    void* volatile a = std::malloc(kFromTheEnd);
    void* volatile after = std::malloc(kFromTheEnd);
    const auto chunk = reinterpret_cast<std::uintptr_t>(a);
    Dl_info libc = {}, at = {};
    ::dladdr(reinterpret_cast<void*>(&::mallopt), &libc);
    std::free(a);
    void* next = *reinterpret_cast<void* volatile*>(chunk);
    for (int i = 0; i < 1000; ++i) {
      if (::dladdr(next, &at) != 0 && at.dli_fbase == libc.dli_fbase) break;
      next = *reinterpret_cast<void* volatile*>(static_cast<char*>(next) + 2 * sizeof(void*));
    }
    std::free(after);
    std::free(before);
    return reinterpret_cast<std::atomic<int>*>(static_cast<char*>(next) - kTop);
  }();
  return found;
}

/// As malloc does: locked from here on, for everybody.
void hold_arena() {
  std::atomic<int>* m = arena_mutex();
  // Not malloc's own code, so here a contended lock is just tried again.
  for (int free = 0; !m->compare_exchange_weak(free, 1); free = 0) {}
  here();
  if (m->exchange(0) > 1) ::syscall(SYS_futex, m, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

void want_arena() {
  void* volatile p = std::malloc(kBeyondCaches);
  std::free(p);
}

/// Nothing but libc's own code: mallinfo2 looks at every free chunk with the arena locked.
void hold_mallinfo() {
  std::vector<void*> chunks(100'000);
  for (void*& p : chunks) p = std::malloc(200);
  for (std::size_t i = 0; i < chunks.size(); i += 2) std::free(chunks[i]);
  captured::inside = true;
  while (!captured::leave.load(std::memory_order_relaxed)) {
    volatile std::size_t n = ::mallinfo2().ordblks;
    static_cast<void>(n);
  }
  for (std::size_t i = 1; i < chunks.size(); i += 2) std::free(chunks[i]);
}

bool arena_is_held() { return arena_mutex()->load() != 0; }

// ---- stdio ------------------------------------------------------------------------------------

FILE* file() {
  static FILE* const f = [] {
    cookie_io_functions_t io = {};
    io.write = [](void*, const char*, std::size_t n) -> ssize_t {
      here();
      return static_cast<ssize_t>(n);
    };
    FILE* opened = ::fopencookie(nullptr, "w", io);
    ::setvbuf(opened, nullptr, _IONBF, 0);
    return opened;
  }();
  return f;
}

void write_to_file() { std::fputs("text", file()); }

// ---- the loader -------------------------------------------------------------------------------

void walk_modules() {
  ::dl_iterate_phdr(
      [](dl_phdr_info*, std::size_t, void*) {
        here();
        return 1;
      },
      nullptr);
}

void load_a_library() {
  void* library = ::dlopen(GORT_TEST_CONSTRUCTOR_PLUGIN, RTLD_NOW);
  if (library == nullptr) std::abort();
  ::dlclose(library);
}

void hold_dlopen() {
  ::setenv("GORT_TEST_CONSTRUCTOR", std::to_string(reinterpret_cast<std::uintptr_t>(&here)).c_str(), 1);
  load_a_library();
}

// ---- the C++ run time ---------------------------------------------------------------------------

void initialize() {
  static const int once = (here(), 1);
  static_cast<void>(once);
}

struct Unwound {
  ~Unwound() { here(); }
};
void throw_and_catch() {
  try {
    Unwound u;
    throw std::string("thrown");
  } catch (const std::string&) {
  }
}

// ---- the program's own ------------------------------------------------------------------------

std::mutex mutex;
void lock_mutex() {
  std::lock_guard<std::mutex> lock(mutex);
  here();
}

pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
void lock_to_write() {
  ::pthread_rwlock_wrlock(&rwlock);
  here();
  ::pthread_rwlock_unlock(&rwlock);
}
void lock_to_read() {
  ::pthread_rwlock_rdlock(&rwlock);
  ::pthread_rwlock_unlock(&rwlock);
}

std::once_flag once;
void call_once() { std::call_once(once, here); }

// ---- threads ------------------------------------------------------------------------------------

#if defined(GORT_MALLOC_GUARD)
void make_a_thread() {
  pthread_attr_t attr;
  ::pthread_attr_init(&attr);
  ::pthread_attr_setstacksize(&attr, 32 << 20);  // larger than what libc keeps, so all of it is made anew
  pthread_t t;
  if (::pthread_create(&t, &attr, [](void*) -> void* { return nullptr; }, nullptr) != 0) std::abort();
  ::pthread_attr_destroy(&attr);
  ::pthread_join(t, nullptr);
}
void hold_thread_creation() {
  malloc_guard_hook(here);  // libc asks for the thread's own memory in the middle
  make_a_thread();
  malloc_guard_hook(nullptr);
}
#endif

constexpr Place kPlaces[] = {
    {"malloc", hold_arena, want_arena, true},
    {"mallinfo", hold_mallinfo, want_arena, false, arena_is_held},
    {"stdio", write_to_file, write_to_file, true},
    // So long that the runtime's own look at the modules, once a second, comes by.
    {"modules", walk_modules, walk_modules, true, nullptr, 2500},
    {"dlopen", hold_dlopen, load_a_library, true},
    {"static", initialize, initialize, true},
    {"unwinder", throw_and_catch, throw_and_catch, false},
    {"mutex", lock_mutex, lock_mutex, true},
    {"rwlock", lock_to_write, lock_to_read, true},
    {"once", call_once, call_once, true},
#if defined(GORT_MALLOC_GUARD)
    {"thread", hold_thread_creation, make_a_thread, false},
#endif
};

struct Case {
  const Place* place;
  int procs;
  Threads threads;
};

std::vector<Case> all_cases() {
  std::vector<Case> all;
  for (const Place& p : kPlaces) {
    for (int procs : {1, 2}) {
      for (Threads t : {Threads::exact, Threads::refused, Threads::free}) all.push_back({&p, procs, t});
    }
  }
  return all;
}

class Captured : public RuntimeTest, public ::testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    arena_mutex();
    file();
  }
};

TEST_P(Captured, InsideThePlace) {
  const auto& [place, procs, threads] = GetParam();
  GORT_TEST_START(procs, Stage::max_threads(procs, threads));
  Stage(*place, procs, threads).play();
}

INSTANTIATE_TEST_SUITE_P(Everywhere, Captured, ::testing::ValuesIn(all_cases()), [](const auto& c) {
  return std::string(c.param.place->name) + "_" + std::to_string(c.param.procs) + "_" +
         name_of(c.param.threads);
});

#if defined(GORT_TESTING)

// The same with L2 switched off: the captive is never seen again. Without this, the tests above prove nothing.
class CapturedWithoutL2 : public Captured {
 protected:
  void TearDown() override {}
};

TEST_P(CapturedWithoutL2, IsNeverSeenAgain) {
  const auto& [place, procs, threads] = GetParam();
  EXPECT_EXIT(
      {
        if (!started_with(procs, Stage::max_threads(procs, threads))) std::_Exit(3);
        Stage(*place, procs, threads, true).play();
        std::_Exit(0);
      },
      ::testing::ExitedWithCode(42), "told to leave\nstarved\n$");
}

std::vector<Case> exact_cases() {
  std::vector<Case> exact;
  for (const Case& c : all_cases()) {
    if (c.threads == Threads::exact) exact.push_back(c);
  }
  return exact;
}

INSTANTIATE_TEST_SUITE_P(Everywhere, CapturedWithoutL2, ::testing::ValuesIn(exact_cases()), [](const auto& c) {
  return std::string(c.param.place->name) + "_" + std::to_string(c.param.procs);
});

#endif

}  // namespace
}  // namespace gort::test
