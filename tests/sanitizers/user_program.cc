// A user's program: the public headers and nothing else. user_program_test compiles it with a sanitizer, links
// it to a *release* library, which is not instrumented, and runs each mode:
//
//   clean          much of the API, correctly used: nothing may be reported
//   race           two goroutines, each at work when the other is, write one variable
//   race-short     the same, by goroutines that end at once
//   race-waiter    one writes before it waits on a semaphore, the other after its release()
//   race-channel   one writes after its send(), the other after its recv()
//   race-bubble    two of a bubble: their maker sees what both did, they do not see each other
//   ended          ends while threads of the runtime do
//   deadlock       waits for nobody: said also where the tool has a thread of its own
//   heap           a goroutine reads what another one has freed
//   stack          a goroutine reads a local of a function that has returned
//   ceiling n      n goroutines at once, parked: how many the sanitizer can hold
//   ceiling-in-turn  more than it can hold, a few at a time: those that have ended must not count
//
// No test framework: it would not be instrumented.
#include <gort/gort.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/sanitizers/user_program.h"

namespace user {

void check(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "user_program: %s\n", what);
  std::abort();
}

int shared_by_mistake = 0;

[[gnu::noinline]] void write_it(int n) {
  volatile int* p = &shared_by_mistake;
  *p = n;
}

}  // namespace user

namespace {

using user::check;
using user::write_it;

// ---- clean ----------------------------------------------------------------------------------

/// Deep frames with address-taken locals: what a sanitizer poisons, and what the next goroutine on the
/// same stack, of another depth, must not find poisoned.
[[gnu::noinline]] int dig(int depth) {
  volatile char local[96];
  for (std::size_t i = 0; i < sizeof local; ++i) local[i] = static_cast<char>(depth);
  if (depth > 0) {
    const int below = dig(depth - 1);
    return below + local[5];
  }
  gort::this_goroutine::yield();
  return local[95];
}

void spawn_and_join() {
  for (int round = 0; round < 100; ++round) {
    std::vector<gort::task<int>> tasks;
    std::vector<int> in(10, round);
    for (int i = 0; i < 10; ++i) tasks.push_back(gort::spawn([&in, i] { return dig(i) + in[i]; }));
    for (auto& t : tasks) static_cast<void>(t.get());
    in.assign(10, 0);
  }
}

void closures() {
  // Small ones lie in the goroutine's record, which is used again and again; large ones on the heap.
  struct large {
    int n[64] = {};
  };
  gort::semaphore done(0);
  for (int i = 0; i < 2'000; ++i) {
    auto text = std::make_shared<std::string>("closure");
    gort::go([text, &done] {
      check(*text == "closure", "closure");
      done.release();
    });
    if (i % 4 != 0) continue;
    gort::go([l = large{}, &done] {
      check(l.n[63] == 0, "large closure");
      done.release();
    });
    done.acquire();
  }
  for (int i = 0; i < 2'000; ++i) done.acquire();
}

void semaphores() {
  gort::semaphore mutex(1);
  long counter = 0;  // guarded by it
  std::vector<gort::task<void>> tasks;
  for (int i = 0; i < 8; ++i) {
    tasks.push_back(gort::spawn([&] {
      for (int n = 0; n < 300; ++n) {
        if (n % 3 != 0 || !mutex.try_acquire()) mutex.acquire();
        ++counter;
        if (n % 7 == 0) gort::this_goroutine::yield();
        mutex.release();
      }
    }));
  }
  for (auto& t : tasks) t.join();
  check(counter == 8 * 300, "counter");
}

void ping_pong() {
  gort::semaphore a(0), b(0);
  int ball = 0;
  auto other = gort::spawn([&] {
    for (int i = 0; i < 1'000; ++i) {
      a.acquire();
      ++ball;
      b.release();
    }
  });
  for (int i = 0; i < 1'000; ++i) {
    ++ball;
    a.release();
    b.acquire();
  }
  other.join();
  check(ball == 2'000, "ball");
}

void detached() {
  auto ended = std::make_shared<std::atomic<int>>(0);
  for (int i = 0; i < 300; ++i) {
    auto t = gort::spawn([ended] {
      auto result = std::make_unique<int>(1);
      ended->fetch_add(1);
      return result;
    });
    if (i % 2 == 0) gort::this_goroutine::yield();
    std::move(t).detach();
  }
  while (ended->load() < 300) gort::this_goroutine::yield();
}

struct at_exit {
  ~at_exit() { gort::this_goroutine::yield(); }
};

[[gnu::noinline]] void throw_from(int depth) {
  volatile char frame[64];
  frame[0] = 1;
  at_exit guard;
  if (depth == 0) throw std::runtime_error("thrown");
  throw_from(depth - 1);
  frame[1] = frame[0];
}

void exceptions() {
  std::vector<gort::task<void>> tasks;
  for (int i = 0; i < 8; ++i) {
    tasks.push_back(gort::spawn([i] {
      for (int n = 0; n < 20; ++n) {
        try {
          throw_from(n % 5);
          check(false, "thrown");
        } catch (const std::runtime_error& e) {
          gort::this_goroutine::yield();  // in a catch block
          check(std::strcmp(e.what(), "thrown") == 0, "what");
        }
      }
      if (i % 2 == 0) throw std::logic_error("kept");
      if (i % 4 == 1) gort::goexit();
    }));
  }
  int kept = 0, exits = 0;
  for (auto& t : tasks) {
    try {
      t.get();
    } catch (const std::logic_error&) {
      ++kept;
    } catch (const gort::goroutine_exit_error&) {
      ++exits;
    }
  }
  check(kept == 4 && exits == 2, "exceptions over goroutines");
}

void blocking_calls() {
  int fd[2];
  check(::pipe(fd) == 0, "pipe");
  long sent = 0;  // handed over through the pipe only, so the reader takes it after join
  auto writer = gort::spawn([&] {
    for (int i = 0; i < 50; ++i) {
      ++sent;
      check(gort::blocking([&] { return ::write(fd[1], "x", 1); }) == 1, "write");
      gort::this_goroutine::yield();
    }
  });
  for (int i = 0; i < 50; ++i) {
    char c;
    check(gort::blocking([&] { return ::read(fd[0], &c, 1); }) == 1, "read");
  }
  writer.join();
  check(sent == 50, "sent");
  gort::blocking([] { gort::spawn([] { dig(3); }).join(); });
  ::close(fd[0]);
  ::close(fd[1]);
}

void locked_threads() {
  std::vector<gort::task<void>> tasks;
  for (int i = 0; i < 4; ++i) {
    tasks.push_back(gort::spawn([] {
      gort::os_thread_lock lock;
      const pid_t thread = ::gettid();
      for (int n = 0; n < 20; ++n) gort::this_goroutine::yield();
      gort::spawn([] { dig(2); }).join();
      check(::gettid() == thread, "thread");
    }));
    gort::spawn([] {  // its thread ends with it
      gort::lock_os_thread();
      gort::this_goroutine::yield();
    }).join();
  }
  for (auto& t : tasks) t.join();
}

gort::goroutine_local<std::string> local_text;

void locals() {
  std::vector<gort::task<void>> tasks;
  for (int i = 0; i < 50; ++i) {
    tasks.push_back(gort::spawn([i] {
      *local_text = "goroutine number " + std::to_string(i);
      gort::this_goroutine::yield();
      check(*local_text == "goroutine number " + std::to_string(i), "goroutine_local");
    }));
  }
  for (auto& t : tasks) t.join();
}

void own_stacks() {
  using namespace gort::literals;
  for (int i = 0; i < 50; ++i) {
    gort::spawn(gort::go_options{.name = "deep", .stack = i % 2 == 0 ? 1_MiB : 64_KiB}, [i] { dig(i); }).join();
  }
}

void foreign_threads() {
  gort::semaphore ready(0);
  int handed_over = 0;
  std::thread thread([&] {
    for (int i = 0; i < 50; ++i) gort::spawn([i] { return dig(i % 8); }).join();
    handed_over = 1;
    ready.release();
  });
  ready.acquire();
  check(handed_over == 1, "from a foreign thread");
  gort::blocking([&] { thread.join(); });
}

void clean() {
  for (int round = 0; round < 3; ++round) {
    spawn_and_join();
    closures();
    semaphores();
    ping_pong();
    detached();
    exceptions();
    blocking_calls();
    locked_threads();
    locals();
    own_stacks();
    foreign_threads();
    user::sync_clean();
    user::host_clean();
  }
}

// ---- with an error --------------------------------------------------------------------------

/// Both run on one thread, one after the other, and still nothing orders them.
void race() {
  auto a = gort::spawn([] {
    write_it(1);
    for (int i = 0; i < 100; ++i) gort::this_goroutine::yield();
  });
  auto b = gort::spawn([] {
    write_it(2);
    for (int i = 0; i < 100; ++i) gort::this_goroutine::yield();
  });
  a.join();
  b.join();
}

void race_short() {
  auto a = gort::spawn(write_it, 1);
  auto b = gort::spawn(write_it, 2);
  a.join();
  b.join();
}

/// A release() is visible to the acquire() that takes its unit, not the other way round.
void race_waiter() {
  gort::semaphore s(0);
  std::atomic<bool> waits{false};
  auto a = gort::spawn([&] {
    write_it(1);
    waits.store(true, std::memory_order_relaxed);
    s.acquire();
  });
  while (!waits.load(std::memory_order_relaxed)) gort::this_goroutine::yield();
  for (int i = 0; i < 100; ++i) gort::this_goroutine::yield();  // until it waits, in all likelihood
  s.release();
  write_it(2);
  a.join();
}

void heap() {
  gort::semaphore freed(0);
  auto* numbers = new int[16]();
  auto a = gort::spawn([&] {
    delete[] numbers;
    freed.release();
  });
  int seen = 0;
  auto b = gort::spawn([&] {
    freed.acquire();
    seen = static_cast<volatile int*>(numbers)[3];
  });
  a.join();
  b.join();
  std::printf("%d\n", seen);
}

volatile int* escaped = nullptr;

[[gnu::noinline]] void let_a_local_escape() {
  volatile int local[8] = {1, 2, 3};
  escaped = &local[2];
}

void stack() {
  gort::spawn([] {
    let_a_local_escape();
    gort::this_goroutine::yield();
    std::printf("%d\n", *escaped);
  }).join();
}

/// How many goroutines, each of which has run and is parked, this process can hold. Prints as it goes,
/// so that the last line tells also when the sanitizer ends the process.
void ceiling(long most) {
  gort::semaphore gate(0), parked(0);
  for (long n = 1; n <= most; ++n) {
    gort::go([&] {
      parked.release();
      gate.acquire();
    });
    parked.acquire();
    if (n % 100 == 0 || n > 8'000) {
      std::printf("parked %ld\n", n);
      std::fflush(stdout);
    }
  }
  gate.release(most);
}

/// A goroutine that ends locked ends its thread: which is about to be gone when the program is.
void ended() {
  std::vector<gort::task<void>> tasks;
  for (int i = 0; i < 3; ++i) {
    tasks.push_back(gort::spawn([] {
      gort::lock_os_thread();
      gort::this_goroutine::yield();
    }));
  }
  for (auto& t : tasks) t.join();
}

void ceiling_in_turn() {
  for (int i = 0; i < 200; ++i) {
    std::vector<gort::task<int>> tasks;
    for (int n = 0; n < 100; ++n) tasks.push_back(gort::spawn(dig, 1));
    for (auto& t : tasks) t.join();
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "clean";
  const long n = argc > 2 ? std::atol(argv[2]) : 100'000;
  gort::run([&] {
    if (mode == "clean") clean();
    else if (mode == "race") race();
    else if (mode == "race-short") race_short();
    else if (mode == "race-waiter") race_waiter();
    else if (mode == "heap") heap();
    else if (mode == "stack") stack();
    else if (mode == "ceiling") ceiling(n);
    else if (mode == "ceiling-in-turn") ceiling_in_turn();
    else if (mode == "race-channel") user::race_channel();
    else if (mode == "race-bubble") user::race_bubble();
    else if (mode == "ended") ended();
    else if (mode == "deadlock") gort::semaphore(0).acquire();
    else check(false, "mode?");
  });
  std::puts("done");
}
