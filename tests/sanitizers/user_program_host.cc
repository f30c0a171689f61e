// What a program does beside goroutines and channels: thread_local variables, stops of the world, bubbles, signals, child
// processes, stop tokens. Used correctly: nothing of it may be reported.
#include <gort/gort.h>
#include <gort/net.h>
#include <gort/os.h>
#include <gort/testing/bubble.h>
#include <gort/world.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <future>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

#include "tests/sanitizers/user_program.h"

using namespace std::chrono_literals;

namespace user {

namespace {

template <class F>
void in_many(int n, F f) {
  gort::scope s;
  for (int i = 0; i < n; ++i) {
    s.go([&f, i] {
      f(i);
      gort::this_goroutine::yield();
      f(i);
    });
  }
  s.join();
}

thread_local int turns = 0;
[[gnu::noinline]] void take_a_turn() { ++turns; }
[[gnu::noinline]] void set_errno(int e) { errno = e; }

/// Whoever runs on a thread uses what is the thread's, one goroutine after the other. The standard library does, too.
void thread_locals() {
  in_many(30, [](int i) {
    take_a_turn();
    set_errno(i);
    std::once_flag once;
    std::call_once(once, [] {});
    std::promise<int> p;
    p.set_value(i);
    check(p.get_future().get() == i, "std::future");
  });
  in_many(5, [](int) {
    gort::os_thread_lock lock;
    take_a_turn();
  });
}

/// Plain variables, changed while nobody runs: by goroutines that run, that come back from a call, that begin later.
void stopped_worlds() {
  bool stop = false;
  int epoch = 0;
  int polls = 0;
  int calls = 0;
  int sleeps = 0;
  gort::scope s;
  s.go([&] {
    for (; !stop; ++polls) gort::poll();
  });
  s.go([&] {
    for (; !stop; ++calls) gort::blocking([] { std::this_thread::sleep_for(100us); });
  });
  s.go([&] {
    for (; !stop; ++sleeps) gort::this_goroutine::sleep_for(100us);
  });
  while (epoch < 5) {
    gort::this_goroutine::sleep_for(1ms);
    s.go([&] {
      const int seen = epoch;
      gort::this_goroutine::yield();
      check(epoch >= seen, "epoch");
    });
    auto w = gort::stop_world("changing", 1s);
    if (!w) continue;
    polls = calls = sleeps = 0;
    stop = ++epoch == 5;
  }
  s.join();
}

/// A test in virtual time looks at what the others have done when they are blocked.
void bubbles() {
  gort::testing::bubble::run([] {
    std::string said;
    gort::go([&] {
      said += "at once, ";
      gort::this_goroutine::sleep_for(1h);
      said += "later";
    });
    gort::testing::bubble::wait();
    check(said == "at once, ", "bubble::wait");
    gort::this_goroutine::sleep_for(2h);
    check(said == "at once, later", "a sleep in a bubble");
  });
}

void signals() {
  auto usr1 = gort::os::signals::on({SIGUSR1});
  check(usr1.has_value(), "signals");
  gort::chan<int> kept = usr1->channel();
  std::raise(SIGUSR1);
  static_cast<void>(kept.recv_for(10ms));  // a sanitizer may keep it back
}

/// Descriptors' numbers come again, to other goroutines.
void descriptors() {
  in_many(4, [](int) {
    auto r = gort::os::run({.argv = {"echo", "hello"}});
    check(r && r->out == "hello\n", "os::run");
    auto two = gort::net::socket_pair();
    check(two && two->first.write_all("x"), "socket_pair");
    auto p = gort::os::pipe();
    check(p && p->writer.write_all("x"), "pipe");
    auto d = gort::net::bind_datagram("127.0.0.1:0");
    check(d.has_value(), "bind_datagram");
  });
}

void stop_tokens() {
  for (int i = 0; i < 20; ++i) {
    gort::with_cancel c;
    std::stop_token token = c.context().stop_token();
    gort::event told;
    std::stop_callback tell(token, [&] { told.set(); });
    gort::go([&c] { c.cancel(); });
    gort::shield whatever;
    told.wait();
  }
}

}  // namespace

void host_clean() {
  thread_locals();
  stopped_worlds();
  bubbles();
  signals();
  descriptors();
  stop_tokens();
}

void race_bubble() {
  gort::testing::bubble::run([] {
    for (int n : {1, 2}) {
      gort::go([n] {
        write_it(n);
        for (int i = 0; i < 100; ++i) gort::this_goroutine::yield();  // both are there at once, on stacks of their own
      });
    }
    gort::this_goroutine::sleep_for(1h);
  });
}

}  // namespace user
