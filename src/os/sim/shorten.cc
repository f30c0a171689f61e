// gort simulator: failing scripts made short.
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os/sim/history.h"
#include "os/sim/sim.h"

namespace gort::inline v0::os {

namespace {

constexpr std::size_t kMost = sim::History::kMaxDecisions;

struct Scratch {
  SimDecision best[kMost];
  SimDecision tried[kMost];
  SimDecision script[kMost];  // sorted
  SimDecision merge[kMost];
  char message[512];
};

Scratch& scratch() noexcept {
  static constinit Scratch* s = nullptr;
  if (s == nullptr) {
    void* m = ::mmap(nullptr, sizeof(Scratch), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m == MAP_FAILED) ::_exit(99);
    s = static_cast<Scratch*>(m);
  }
  return *s;
}

/// By thread, then by number: a bottom-up merge sort, as the history has them in the order of time.
void sort(SimDecision* d, SimDecision* other, std::size_t n) noexcept {
  const auto before = [](const SimDecision& a, const SimDecision& b) {
    return a.thread != b.thread ? a.thread < b.thread : a.at < b.at;
  };
  for (std::size_t run = 1; run < n; run *= 2) {
    for (std::size_t lo = 0; lo < n; lo += 2 * run) {
      const std::size_t mid = lo + run < n ? lo + run : n;
      const std::size_t hi = lo + 2 * run < n ? lo + 2 * run : n;
      std::size_t a = lo;
      std::size_t b = mid;
      for (std::size_t i = lo; i < hi; ++i) {
        const bool left = b == hi || (a < mid && !before(d[b], d[a]));
        other[i] = left ? d[a++] : d[b++];
      }
    }
    memcpy(d, other, n * sizeof *d);
  }
}

class Shortener {
 public:
  Shortener(const SimOptions& options, const SimResult& failed, void (*body)(void*), void* arg) noexcept
      : options_(options), body_(body), arg_(arg), verdict_(failed.verdict) {
    options_.strategy = SimStrategy::script;
    // The rest of a message may have addresses and counts in it.
    std::size_t n = failed.message.find('\n');
    if (n == failed.message.npos) n = failed.message.size();
    if (n > sizeof s_.message) n = sizeof s_.message;
    memcpy(s_.message, failed.message.data(), n);
    message_ = {s_.message, n};
    n_ = failed.decisions.size();
    memcpy(s_.best, failed.decisions.data(), n_ * sizeof(SimDecision));
  }

  SimResult run(std::uint64_t max_runs) noexcept {
    left_ = max_runs;
    if (fails(s_.best, n_)) {
      // Parts are stretches of time: a switch to another thread and the one back go together.
      for (std::size_t part = n_; part > kSmall && left_ > 0; part = (part + 1) / 2) leave_out_parts(part);
      for (bool any = true; any && left_ > 0;) {
        any = false;
        for (std::size_t part = kSmall; part > 0; --part) any |= leave_out_parts(part);
      }
    }
    ++left_;
    fails(s_.best, n_);
    SimResult r = last_;
    r.decisions = {s_.best, n_};
    return r;
  }

 private:
  static constexpr std::size_t kSmall = 6;

  bool fails(const SimDecision* d, std::size_t n) noexcept {
    if (left_ == 0) return false;
    --left_;
    memcpy(s_.script, d, n * sizeof *d);
    sort(s_.script, s_.merge, n);
    options_.script = {s_.script, n};
    last_ = sim_run(options_, body_, arg_);
    return last_.verdict == verdict_ && last_.message.substr(0, message_.size()) == message_;
  }

  /// Leaves out each stretch of `part` decisions in turn. True: something could be spared.
  bool leave_out_parts(std::size_t part) noexcept {
    bool any = false;
    for (std::size_t at = 0; at < n_ && left_ > 0;) {
      const std::size_t end = at + part < n_ ? at + part : n_;
      memcpy(s_.tried, s_.best, at * sizeof(SimDecision));
      memcpy(s_.tried + at, s_.best + end, (n_ - end) * sizeof(SimDecision));
      if (!fails(s_.tried, n_ - (end - at))) {
        at += part > kSmall ? part : 1;
        continue;
      }
      n_ -= end - at;
      memcpy(s_.best, s_.tried, n_ * sizeof(SimDecision));
      any = true;
    }
    return any;
  }

  Scratch& s_ = scratch();
  SimOptions options_;
  void (*body_)(void*);
  void* arg_;
  SimVerdict verdict_;
  std::string_view message_;
  SimResult last_;
  std::size_t n_ = 0;
  std::uint64_t left_ = 0;
};

}  // namespace

SimResult sim_shorten(const SimOptions& options, const SimResult& failed, std::uint64_t max_runs,
                      void (*body)(void*), void* arg) noexcept {
  return Shortener(options, failed, body, arg).run(max_runs);
}

}  // namespace gort::inline v0::os
