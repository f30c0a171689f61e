// The second part of user_program.cc: channels, select, locks, timers, contexts, the network.
#include <gort/gort.h>
#include <gort/net.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "tests/sanitizers/user_program.h"

using namespace std::chrono_literals;

namespace user {
namespace {

// In a box (its move may throw); larger than a page; more than usually aligned.
struct throwing_move {
  std::vector<int> v;
  explicit throwing_move(int n) : v(8, n) {}
  throwing_move(throwing_move&& o) noexcept(false) : v(std::move(o.v)) {}
  throwing_move& operator=(throwing_move&& o) noexcept(false) {
    v = std::move(o.v);
    return *this;
  }
};
struct page {
  std::array<int, 1500> n{};
};
struct alignas(64) line {
  int n = 0;
};

template <class T, class Make, class Look>
void pipeline(std::ptrdiff_t capacity, Make make, Look look) {
  gort::chan<T> in(capacity), out(capacity);
  gort::scope s;
  s.go([=] {
    gort::closing done(in);
    for (int i = 0; i < 60; ++i) in.send(make(i));
  });
  s.go([=] {
    gort::closing done(out);
    for (auto&& v : in) out.send(std::move(v));
  });
  int sum = 0;
  while (auto v = out.recv()) sum += look(*v);
  s.join();
  check(sum == 60 * 59 / 2, "pipeline");
}

void channels() {
  for (std::ptrdiff_t capacity : {0, 1, 16}) {
    pipeline<std::unique_ptr<int>>(
        capacity, [](int i) { return std::make_unique<int>(i); }, [](auto& p) { return *p; });
    pipeline<std::string>(
        capacity, [](int i) { return std::string(40, 'x') + std::to_string(i); },
        [](auto& s) { return std::stoi(s.substr(40)); });
    pipeline<throwing_move>(
        capacity, [](int i) { return throwing_move(i); }, [](auto& t) { return t.v[7]; });
    pipeline<page>(
        capacity,
        [](int i) {
          page p;
          p.n.back() = i;
          return p;
        },
        [](auto& p) { return p.n.back(); });
    pipeline<line>(capacity, [](int i) { return line{i}; }, [](auto& l) { return l.n; });
    // Many at both ends, some of them foreign threads; the last values stay in the buffer when the channel goes.
    gort::chan<std::unique_ptr<int>> c(capacity);
    gort::wait_group senders;
    for (int g = 0; g < 4; ++g) {
      senders.go([=] {
        for (int i = 0; i < 30; ++i) c.send(std::make_unique<int>(i));
      });
    }
    std::thread foreign([=] {
      for (int i = 0; i < 30; ++i) c.send(std::make_unique<int>(i));
    });
    for (int i = 0; i < 5 * 30 - static_cast<int>(capacity); ++i) check(**c.recv() < 30, "value");
    senders.wait();
    gort::blocking([&] { foreign.join(); });
  }
}

void selects() {
  gort::chan<std::string> words(0), more(2);
  gort::chan<int> quit(0);
  gort::scope s;
  for (const auto& c : {words, more}) {
    s.go([=] {
      for (int i = 0; i < 50; ++i) {
        std::string w = "word " + std::to_string(i);
        if (gort::select(c.on_send(std::move(w)), quit.on_recv()) == 1) return;
      }
    });
  }
  std::optional<std::string> a, b;
  int n = 0;
  for (; n < 100; ++n) {
    const std::size_t fired = gort::select(words.on_recv(a), more.on_recv(b), gort::after(10s));
    check(fired < 2 && (fired == 0 ? a : b)->starts_with("word "), "select");
  }
  s.join();
  check(gort::select(words.on_recv(a), gort::after(1ms)) == 1, "nobody sends");
  check(gort::select(words.on_recv(a), gort::otherwise) == 1, "nobody sends");
}

struct guarded {
  gort::mutex m;
  gort::shared_mutex shared;
  gort::condition_variable changed;
  std::map<int, std::string> plain;
  long counter = 0;
};

void locks() {
  guarded g;
  gort::once_flag once;
  int made = 0;
  gort::barrier meet(4);
  gort::latch all(4);
  gort::scope s;
  for (int t = 0; t < 4; ++t) {
    s.go([&, t] {
      gort::call_once(once, [&] { made = 7; });
      check(made == 7, "once");
      for (int i = 0; i < 50; ++i) {
        {
          std::scoped_lock hold(g.m);
          ++g.counter;
          if (i % 10 == 0) gort::this_goroutine::yield();
        }
        if (i % 5 == t) {
          std::unique_lock hold(g.shared);
          g.plain[t] += "x";
        } else {
          std::shared_lock hold(g.shared);
          for (auto& [k, v] : g.plain) check(!v.empty(), "shared");
        }
      }
      meet.arrive_and_wait();
      check(g.counter == 200, "barrier");  // nobody writes it between the two
      meet.arrive_and_wait();
      std::unique_lock hold(g.m);
      ++g.counter;
      g.changed.notify_all();
      g.changed.wait(hold, [&] { return g.counter == 204; });
      all.count_down();
    });
  }
  all.wait();
  s.join();
  std::thread foreign([&] {
    std::scoped_lock hold(g.m);
    ++g.counter;
  });
  {
    std::scoped_lock hold(g.m);
    ++g.counter;
  }
  gort::blocking([&] { foreign.join(); });
  check(g.counter == 206, "mutex");
}

void timers() {
  int seen = 0;
  gort::event rung;
  auto f = gort::after_func(1ms, [&] {
    seen = 1;
    rung.set();
  });
  rung.wait();
  check(seen == 1 && !f.stop(), "after_func");
  gort::ticker beat(200us);
  for (int i = 0; i < 5; ++i) static_cast<void>(beat.recv());
  beat.stop();
  for (int i = 0; i < 30; ++i) {
    gort::timer t(i % 2 == 0 ? 0us : 50us);
    if (i % 3 == 0)
      t.stop();
    else
      static_cast<void>(t.recv());
    t.reset(1h);
  }
  gort::this_goroutine::sleep_for(1ms);
}

void contexts() {
  for (int i = 0; i < 20; ++i) {
    gort::chan<int> never(0);
    int cleaned = 0;
    std::vector<gort::task<void>> tasks;
    {
      gort::with_cancel in;
      for (int t = 0; t < 3; ++t) {
        tasks.push_back(gort::spawn([=] {
          if (t == 0)
            static_cast<void>(never.recv());
          else if (t == 1)
            gort::this_goroutine::sleep_for(1h);
          else
            gort::this_goroutine::context().wait();
        }));
      }
      auto callback = in.context().after_func([&] { ++cleaned; });
      if (i % 2 == 0) gort::this_goroutine::yield();
      in.cancel();
      if (callback.stop()) cleaned = 1;  // false: it has ended
    }
    for (auto& t : tasks) {
      try {
        t.get();
      } catch (const gort::cancelled&) {
      }
    }
    check(cleaned == 1, "after_func of a context");
    gort::with_timeout limit(100us);
    try {
      static_cast<void>(never.recv());
      check(false, "timeout");
    } catch (const gort::cancelled&) {
    }
  }
}

void network() {
  gort::net::listener l = gort::net::listen("127.0.0.1:0").value();
  gort::scope s;
  s.go([&] {
    for (int i = 0; i < 3; ++i) {
      auto c = l.accept().value();
      char buf[256];
      while (auto n = c.read_some(buf)) {
        if (*n == 0 || !c.write_all(std::string_view(buf, *n))) break;
      }
    }
  });
  for (int i = 0; i < 3; ++i) {
    auto c = gort::net::dial(l.local_address().to_string()).value();
    for (int k = 0; k < 10; ++k) {
      const std::string text = "message " + std::to_string(k);
      check(c.write_all(text).has_value(), "write");
      char buf[64];
      std::string back;
      while (back.size() < text.size()) {
        auto n = c.read_some(buf);
        check(n && *n != 0, "read");
        back.append(buf, *n);
      }
      check(back == text, "echo");
    }
  }
  s.join();
}

}  // namespace

void sync_clean() {
  channels();
  selects();
  locks();
  timers();
  contexts();
  network();
}

void race_channel() {
  gort::chan<int> c(1);
  auto a = gort::spawn([=] {
    c.send(1);
    write_it(1);  // after, not before
  });
  static_cast<void>(c.recv());
  write_it(2);
  a.join();
}

}  // namespace user
