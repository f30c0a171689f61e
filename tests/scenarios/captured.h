// gort tests: a goroutine is made a captive exactly while it stands inside something that others need.
//
// A Place is such a thing: malloc's arena, a FILE, the loader ... `hold` does an operation in whose middle user code of
// ours runs (a callback, a constructor); that code calls here(), and computes there until it is told to leave. The
// goroutine never comes back to the scheduler by itself, so its slice ends in the middle of that code, by SIGURG.
//
//   director (a foreign thread)      captive            hogs: one per P, for (;;)        others
//   waits                            enters the place
//   lets the hogs run                computes           run
//   sees it captive                  is captured
//   stops the world, often           captive or not     stopped in place
//   lets the others run              "                  "                                want the same, and wait
//   tells it to leave                gets a P (L2), leaves
//                                    ends                                                have it, end
//
// The director uses nothing that the place may hold: no malloc, no stdio. All goroutines are made beforehand.
//
// Threads::exact is the bar of L2: as many Ms as there are captive and hogs, and no way to get another one. A slice can
// end in favour of the captive's own M only. With Fault::captives the captive is never seen again.
// Threads::refused: one M for each goroutine when it begins, and the system refuses every further one.
// Threads::free: likewise, and the template thread may make spare ones: if the place is something that pthread_create
// needs, it waits there.
#pragma once

#include <dlfcn.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>
#include <vector>

#include "base/fault.h"
#include "gort/semaphore.h"
#include "sched/entry.h"
#include "sched/sched.h"
#include "sched/start.h"
#include "tests/support/runtime_fixture.h"
#include "world/world.h"

namespace gort::test {

struct Place {
  const char* name;
  void (*hold)();            ///< the operation, with here() in its middle; on a goroutine
  void (*want)();            ///< the same by somebody else
  bool excludes;             ///< nobody gets through `want` while here() is being executed
  bool (*held)() = nullptr;  ///< for places without a callback: whether the goroutine is inside just now
  int at_least_ms = 0;       ///< stays inside so long
};

enum class Threads { exact, refused, free };

namespace captured {

inline std::atomic<bool> refuse{false};
inline std::atomic<int> refused{0};

inline std::atomic<rt::G*> who{nullptr};  ///< the goroutine that shall be captured
inline std::atomic<bool> inside{false};
inline std::atomic<bool> leave{false};
inline std::atomic<int> tried{0}, got{0};
inline std::atomic<bool> over{false};
inline std::atomic<pthread_t> hog_thread{};

inline void say(const char* text) { [[maybe_unused]] const ssize_t n = ::write(2, text, std::strlen(text)); }

/// User code in the middle of the place.
inline void here() {
  if (rt::current_g() == nullptr || rt::current_g() != who.load(std::memory_order_relaxed)) return;
  inside.store(true, std::memory_order_relaxed);
  while (!leave.load(std::memory_order_relaxed)) {}
}

/// The CPU time of a thread, in ns.
inline std::int64_t cpu_of(pthread_t t) {
  clockid_t clock;
  timespec ts = {};
  if (::pthread_getcpuclockid(t, &clock) == 0) ::clock_gettime(clock, &ts);
  return ts.tv_sec * 1'000'000'000LL + ts.tv_nsec;
}

inline bool is_captive() {
  const rt::G* g = who.load();
  return g != nullptr && g->status.load() == rt::GStatus::captive;
}

/// Under a stop: it is captive, and no P is on its way to it.
inline bool has_no_p() {
  const rt::M* m = who.load()->m;
  for (int i = 0; i < rt::sched.nprocs; ++i) {
    if (rt::p_at(i)->m.load() == m) return false;
  }
  return is_captive();
}

template <class F>
inline void until(F condition) {
  while (!condition()) ::usleep(100);
}

/// Runs f while the world stands.
template <class F>
inline void stopped(F f) {
  rt::RuntimeEntry entry;
  rt::WorldHold w = rt::stop_the_world(rt::StopReason::test);
  for (int i = 0; i < rt::sched.nprocs; ++i) {
    if (rt::p_at(i)->status.load() != rt::PStatus::stopped) {
      say("a P runs in a stop\n");
      std::abort();
    }
  }
  f();
  rt::start_the_world(std::move(w));
}

}  // namespace captured

/// One play. `fault`: L2 is switched off when the goroutine has been captured; then the process ends with status 42 if a
/// hog has run for fifty slices since, and the captive not at all.
class Stage {
 public:
  Stage(const Place& place, int procs, Threads threads, bool fault = false)
      : place_(place), procs_(procs), threads_(threads), fault_(fault) {}

  static constexpr int kOthers = 2;
  /// For GORT_TEST_START: 0 is no limit.
  static int max_threads(int procs, Threads threads) {
    return threads == Threads::exact ? rt::kSystemThreads + 1 + procs : 0;
  }

  void play() {
    using namespace captured;
    inside = leave = over = false;
    tried = got = 0;
    std::thread director([this] { direct(); });
    gort::run([this] {
      make_threads(1 + procs_ + (threads_ == Threads::exact ? 0 : kOthers));
      gort::task<void> captive = gort::spawn([this] {
        begin_.acquire();
        who = rt::current_g();
        place_.hold();
        who = nullptr;
      });
      std::vector<gort::task<void>> others, hogs;
      for (int i = 0; i < kOthers; ++i) {
        others.push_back(gort::spawn([this] {
          let_others_.acquire();
          ++tried;
          place_.want();
          ++got;
        }));
      }
      for (int i = 0; i < procs_; ++i) {
        hogs.push_back(gort::spawn([this] {
          let_hogs_.acquire();
          hog_thread = ::pthread_self();
          while (!over.load(std::memory_order_relaxed)) {}
        }));
      }
      ready_ = true;
      captive.join();
      for (auto& t : others) t.join();
      over = true;
      for (auto& t : hogs) t.join();
    });
    director.join();
    refuse = false;
    EXPECT_EQ(got.load(), kOthers);
    EXPECT_GE(stops_captive_, kStops) << "stops that met it captive inside";
    if (place_.excludes) { EXPECT_EQ(got_too_early_, 0); }
  }

 private:
  static constexpr int kStops = 5;
  static constexpr std::int64_t kStarved = 500'000'000;  ///< ns of a hog's CPU time: fifty slices

  void direct() {
    using namespace captured;
    until([&] { return ready_.load(); });
    refuse = threads_ == Threads::refused;
    begin_.release();
    until([] { return inside.load(); });
    const std::int64_t begin = now_ns();
    let_hogs_.release(procs_);
    until(is_captive);
    while (stops_captive_ < kStops || now_ns() - begin < place_.at_least_ms * 1'000'000LL) {
      stopped([&] { stops_captive_ += is_captive() && (place_.held == nullptr || place_.held()) ? 1 : 0; });
      ::usleep(1000);
    }
    // Without a thread to spare they cannot begin before it has left: its own thread is the one they get.
    if (threads_ != Threads::exact) {
      let_others_.release(kOthers);
      until([] { return tried.load() == kOthers; });
      ::usleep(2000);
    }
    got_too_early_ = got.load();
    if (fault_) {
      switch_l2_off();
      say("told to leave\n");
    }
    leave = true;
    if (fault_) end_if_starved();
    if (threads_ == Threads::exact) let_others_.release(kOthers);
  }

  /// So many Ms exist afterwards: as many goroutines block in the kernel at the same time.
  static void make_threads(int n) {
    std::atomic<int> inside{0};
    std::vector<gort::task<void>> tasks;
    for (int i = 0; i < n; ++i) {
      tasks.push_back(gort::spawn([&] {
        gort::blocking([&] {
          ++inside;
          captured::until([&] { return inside.load() == n; });
        });
      }));
    }
    for (auto& t : tasks) t.join();
  }

  void switch_l2_off() {
#if defined(GORT_TESTING)
    for (bool so = false; !so; ::usleep(1000)) {
      captured::stopped([&] {
        so = captured::has_no_p() && (place_.held == nullptr || place_.held());
        if (so) rt::set_fault(rt::Fault::captives, true);
      });
    }
#endif
  }

  static void end_if_starved() {
    const std::int64_t from = captured::cpu_of(captured::hog_thread);
    while (captured::who.load() != nullptr) {
      ::usleep(1000);
      if (captured::cpu_of(captured::hog_thread) - from < kStarved) continue;
      captured::say(captured::is_captive() ? "starved\n" : "not captive any more\n");
      ::_exit(captured::is_captive() ? 42 : 1);
    }
  }

  const Place& place_;
  int procs_;
  Threads threads_;
  bool fault_;
  int stops_captive_ = 0;
  int got_too_early_ = 0;
  std::atomic<bool> ready_{false};
  gort::semaphore begin_{0}, let_hogs_{0}, let_others_{0};
};

inline const char* name_of(Threads t) {
  return t == Threads::exact ? "exact" : t == Threads::refused ? "refused" : "free";
}

}  // namespace gort::test

/// The runtime asks for threads inside itself, users do not.
extern "C" [[gnu::used]] inline int pthread_create(pthread_t* out, const pthread_attr_t* attr, void* (*fn)(void*),
                                                   void* arg) noexcept {
  using Fn = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const Fn real = reinterpret_cast<Fn>(::dlsym(RTLD_NEXT, "pthread_create"));
  if (gort::os::tls().in_runtime != 0 && gort::test::captured::refuse.load()) {
    ++gort::test::captured::refused;
    return EAGAIN;
  }
  return real(out, attr, fn, arg);
}
