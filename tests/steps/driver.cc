// The driver: records which instructions a stretch has, then leads the thread to each of them in turn.
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <new>
#include <vector>

#include "debug/symbols.h"
#include "sched/sched.h"
#include "tests/steps/steps.h"
#include "tests/steps/tracee.h"

namespace gort::test::steps {

namespace {

constexpr std::int64_t kWatchdog = 20'000'000'000;
constexpr std::size_t kMaxSteps = 100'000;      // of one round
constexpr std::int64_t kGraceToAsk = 5'000'000;  // for a helper that sends no signal: it needs none, or it waits
constexpr std::size_t kMaxFailures = 10;
constexpr std::uint32_t kWarmUp = 5;

std::int64_t now() noexcept {
  timespec t = {};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

struct Point {
  std::uintptr_t pc;
  std::uint32_t turn;  ///< from 1
};

/// One child, from fork to end.
class Child {
 public:
  Child(const Stretch& stretch, const Injection& injection);
  ~Child();
  Child(const Child&) = delete;

  Page& page() noexcept { return *page_; }
  pid_t pid() const noexcept { return pid_; }
  bool failed() const noexcept { return !trouble_.empty(); }
  /// What went wrong with the child as a whole, with all that can be said about it.
  const std::string& trouble() const noexcept { return trouble_; }

  /// Waits for a condition; false (and trouble) if the child dies or the time is up.
  template <class F>
  bool await(F condition, const char* what);
  /// Rounds end; the child must end in order.
  void finish();

  void set_trouble(const char* what);

 private:
  std::string printed() const;
  std::string threads() const;
  std::string scheduler() const;
  bool ended(int limit_ms);

  Page* page_ = nullptr;
  pid_t pid_ = 0;
  int log_ = -1;
  int status_ = 0;
  bool reaped_ = false;
  std::string trouble_;
};

Child::Child(const Stretch& stretch, const Injection& injection) {
  void* p = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  page_ = new (p) Page;
  log_ = ::memfd_create("steps", MFD_CLOEXEC);
  pid_ = ::fork();
  if (pid_ != 0) return;
  ::dup2(log_, 2);
  child_main(stretch, injection, page_);
}

Child::~Child() {
  if (!reaped_) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, __WALL);
  }
  ::close(log_);
  ::munmap(page_, sizeof(Page));
}

std::string Child::printed() const {
  std::string s(static_cast<std::size_t>(::lseek(log_, 0, SEEK_END)), '\0');
  const ssize_t n = ::pread(log_, s.data(), s.size(), 0);
  s.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return s;
}

bool Child::ended(int limit_ms) {
  for (const std::int64_t deadline = now() + limit_ms * 1'000'000LL; !reaped_;) {
    if (::waitpid(pid_, &status_, WNOHANG) == pid_) {
      reaped_ = true;
    } else if (now() > deadline) {
      break;
    } else {
      ::poll(nullptr, 0, 1);
    }
  }
  return reaped_;
}

/// Where all threads stand.
std::string Child::threads() const {
  std::string s;
  const std::string dir = "/proc/" + std::to_string(pid_) + "/task";
  DIR* d = ::opendir(dir.c_str());
  if (d == nullptr) return s;
  while (const dirent* e = ::readdir(d)) {
    const int tid = std::atoi(e->d_name);
    if (tid == 0) continue;
    std::string name;
    std::getline(std::ifstream(dir + "/" + e->d_name + "/comm"), name);
    Tracee t;
    machine::At at;
    s += "  thread " + std::to_string(tid) + " " + name + ": ";
    s += t.attach(pid_, tid) && t.at(&at) ? name_of(at.pc) : "?";
    s += "\n";
    t.detach();
  }
  ::closedir(d);
  return s;
}

/// Copies an object of the child's, which stands at the same address here.
template <class T>
const T* copy_of(pid_t pid, const T* at, void* buffer) {
  const iovec to = {buffer, sizeof(T)};
  const iovec from = {const_cast<void*>(static_cast<const void*>(at)), sizeof(T)};
  return ::process_vm_readv(pid, &to, 1, &from, 1, 0) == static_cast<ssize_t>(sizeof(T)) ? static_cast<const T*>(buffer) : nullptr;
}

/// What the scheduler counts, and the states of its Ps.
std::string Child::scheduler() const {
  alignas(rt::Sched) static std::byte sched_copy[sizeof(rt::Sched)];
  const rt::Sched* s = copy_of(pid_, &rt::sched, sched_copy);
  if (s == nullptr) return {};
  std::string text = "  scheduler: ";
  const auto add = [&](const char* name, long n) { text += std::string(name) + " " + std::to_string(n) + ", "; };
  add("queued globally", s->global_size);
  add("captives", s->ncaptive);
  add("idle Ps", s->npidle);
  add("idle Ms", s->nmidle);
  add("idle locked Ms", s->nmidle_locked);
  add("Ms", s->mcount);
  add("spinning", s->nmspinning);
  add("need_spinning", s->need_spinning);
  add("orders", s->orders);
  add("of them spinning", s->orders_spinning);
  add("stopping", s->stopping);
  add("sysmon_wait", s->sysmon_wait);
  add("Ps", s->nprocs);
  for (std::int32_t i = 0; i < s->nprocs && i < 4; ++i) {
    alignas(rt::P) std::byte p_copy[sizeof(rt::P)];
    if (const rt::P* p = copy_of(pid_, s->all_p[i].load(), p_copy)) add("P in status", static_cast<long>(p->status.load()));
  }
  return text + "\n";
}

void Child::set_trouble(const char* what) {
  if (failed()) return;
  trouble_ = std::string(what) + "\n";
  if (!reaped_) {
    trouble_ += scheduler() + threads();
    ::kill(pid_, SIGQUIT);  // gort prints all goroutines and ends
    ended(5'000);
  }
  if (reaped_) {
    trouble_ += WIFSIGNALED(status_) ? "  it died of signal " + std::to_string(WTERMSIG(status_)) + "\n"
                                     : "  its exit status was " + std::to_string(WEXITSTATUS(status_)) + "\n";
  }
  trouble_ += "  it printed:\n" + printed();
}

template <class F>
bool Child::await(F condition, const char* what) {
  const std::int64_t deadline = now() + kWatchdog;
  while (!failed()) {
    const std::uint32_t seen = page_->parent_bell.load();
    if (condition()) return true;
    if (ended(0)) {
      set_trouble("the child has ended");
    } else if (now() > deadline) {
      set_trouble(what);
    } else {
      wait_bell(page_->parent_bell, seen);
    }
  }
  return false;
}

void Child::finish() {
  page_->stop = true;
  page_->go = page_->ready.load() + 1;  // the round that begins just now, if it does
  ring(page_->child_bell);
  // Rounds may be begun until the goroutine has seen `stop`; nobody halts them.
  const std::int64_t deadline = now() + kWatchdog;
  while (!ended(1)) {
    page_->go = page_->ready.load();
    page_->wake = page_->ready.load();
    page_->over = page_->ready.load();
    ring(page_->child_bell);
    if (now() > deadline) return set_trouble("the child does not end after the last round");
  }
  if (status_ != 0) set_trouble("the child has not ended in order");
  if (page_->wrong != 0) set_trouble("the stretch had wrong results");
}

/// Parent and thread take turns, so they are fastest on one processor.
class OneProcessor {
 public:
  OneProcessor() noexcept {
    ::sched_getaffinity(0, sizeof all_, &all_);
    int cpu = 0;
    while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET(cpu, &all_)) ++cpu;
    CPU_ZERO(&one_);
    CPU_SET(cpu, &one_);
  }
  void parent(bool on) const noexcept { set(0, on); }
  void set(pid_t tid, bool on) const noexcept { ::sched_setaffinity(tid, sizeof all_, on ? &one_ : &all_); }

 private:
  cpu_set_t all_, one_;
};

class Driver {
 public:
  Driver(const Stretch& stretch, const Injection& injection, const Options& options)
      : stretch_(stretch), injection_(injection), options_(options) {}

  Report drive();

 private:
  bool start_child();
  bool await_ready();
  bool lead_to_begin();
  void record();
  bool lead(const Point& p, bool stepping);
  void inject(const Point& p);
  bool asked();
  bool finish_round();
  void let_go() noexcept;
  void fail(const Stood& at, const std::string& why, std::size_t index);
  enum class Went { there, elsewhere, child_failed };
  Went go_on(bool stepping);
  std::vector<Point> points() const;
  bool test_point(const Point& p, std::size_t index);

  const Stretch& stretch_;
  const Injection& injection_;
  const Options& options_;
  const OneProcessor processor_;
  const std::uintptr_t begin_ = reinterpret_cast<std::uintptr_t>(&gort_steps_begin);
  const std::uintptr_t end_ = reinterpret_cast<std::uintptr_t>(&gort_steps_end);

  std::unique_ptr<Child> child_;
  Tracee thread_;
  pid_t led_ = 0;            // its thread id, while its processor is set
  std::uint32_t round_ = 0;
  Answer reference_;
  std::map<std::uintptr_t, std::pair<std::size_t, std::uint32_t>> seen_;  // pc: first index, most turns
  std::size_t failures_ = 0;
  std::size_t stepped_ = 0;
  Report report_;
};

bool Driver::start_child() {
  thread_ = {};
  led_ = 0;
  processor_.parent(false);  // the child inherits it
  child_ = std::make_unique<Child>(stretch_, injection_);
  processor_.parent(true);
  round_ = 0;
  for (std::uint32_t i = 0; i < kWarmUp; ++i) {
    if (!await_ready()) return false;
    child_->page().go = round_;
    child_->page().wake = round_;
    ring(child_->page().child_bell);
    if (!child_->await([&] { return child_->page().done == round_; }, "a round without any halt does not end")) return false;
  }
  return true;
}

bool Driver::await_ready() {
  child_->page().over = round_++;
  return child_->await([&] { return child_->page().ready == round_; }, "no new round begins");
}

/// Halts the thread at the first marker.
bool Driver::lead_to_begin() {
  if (!await_ready()) return false;
  Page& page = child_->page();
  if (!thread_.attach(child_->pid(), page.tid)) {
    child_->set_trouble("cannot attach to the thread");
    return false;
  }
  led_ = page.tid;
  processor_.set(led_, true);
  if (!thread_.break_at(begin_, 0)) {
    child_->set_trouble("no breakpoint register");
    return false;
  }
  page.go = round_;
  if (go_on(false) == Went::there) return true;
  child_->set_trouble("the thread does not come to the first marker");
  return false;
}

/// One step, or to a breakpoint. Elsewhere: the round has ended on another thread.
Driver::Went Driver::go_on(bool stepping) {
  Page& page = child_->page();
  const std::int64_t deadline = now() + kWatchdog;
  stepping ? thread_.step() : thread_.run();
  for (;;) {
    switch (thread_.wait()) {
      case Halt::trap: return Went::there;
      case Halt::gone: return Went::elsewhere;
      case Halt::tick: break;
    }
    if (page.done == round_) return Went::elsewhere;
    if (now() > deadline) {
      thread_.detach();
      child_->set_trouble("the thread does not come back from its stretch");
      return Went::child_failed;
    }
    if (page.wake != round_) {
      page.wake = round_;
      ring(page.child_bell);
    }
  }
}

void Driver::let_go() noexcept {
  thread_.detach();
  if (led_ != 0) processor_.set(led_, false);
  led_ = 0;
}

/// Steps through one round and notes its instructions.
void Driver::record() {
  if (!lead_to_begin()) return;
  std::map<std::uintptr_t, std::uint32_t> turns;
  thread_.break_at(0, 0);
  for (std::size_t i = 0; i < kMaxSteps; ++i) {
    machine::At at;
    if (!thread_.at(&at)) break;
    const std::uint32_t turn = ++turns[at.pc];
    auto& seen = seen_.try_emplace(at.pc, i, 0u).first->second;
    seen.second = std::min(std::max(seen.second, turn), kMaxTurns);
    if (at.pc == end_ || go_on(true) != Went::there) break;
  }
  let_go();
  finish_round();
}

std::vector<Point> Driver::points() const {
  std::vector<std::pair<std::size_t, Point>> all;
  for (const auto& [pc, seen] : seen_) {
    for (std::uint32_t turn = 1; turn <= seen.second; ++turn) all.push_back({seen.first, {pc, turn}});
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Point> out;
  const std::size_t n = std::min(all.size(), options_.max_points);
  for (std::size_t i = 0; i < n; ++i) out.push_back(all[i * all.size() / n].second);
  return out;
}

/// From the first marker to the point. False: the stretch ended without it.
bool Driver::lead(const Point& p, bool stepping) {
  for (std::uint32_t turn = p.pc == begin_ ? 1 : 0;;) {
    if (turn == p.turn) return true;
    if (!stepping && turn == 0) thread_.break_at(p.pc, end_);
    if (stepping && turn == 0) thread_.break_at(0, 0);
    machine::At at;
    for (std::size_t i = 0;; ++i) {
      if (i == kMaxSteps || go_on(stepping) != Went::there || !thread_.at(&at)) return false;
      if (at.pc == p.pc) break;
      if (at.pc == end_) return false;
    }
    ++turn;
  }
}

/// The injection's request is made: a SIGURG may be sysmon's, too.
bool Driver::asked() {
  alignas(8) std::byte copy[sizeof(rt::M::asked)];
  const auto* bits = copy_of(child_->pid(), &child_->page().m->asked, copy);
  return bits != nullptr && (bits->load() & injection_.bit) != 0;
}

/// The thread stands at p. After this, nobody is traced.
void Driver::inject(const Point& p) {
  Page& page = child_->page();
  machine::At at;
  thread_.at(&at);
  Stood stood = {at.pc, at.sp, false, at.sp - page.stack_lo < page.stack_hi - page.stack_lo, p.pc == begin_};
  page.inject = round_;
  ring(page.child_bell);
  // Users' code at the first marker: what is asked comes by a signal there, however late.
  for (const std::int64_t deadline = now() + (stood.first ? kWatchdog : kGraceToAsk);;) {
    const bool last_look = page.answered == round_ || now() > deadline;
    stood.exactly = thread_.pending(SIGURG) && asked();
    if (stood.exactly || last_look) break;
    const timespec moment = {0, 5'000};
    ::nanosleep(&moment, nullptr);
  }
  ++(stood.exactly ? report_.exact : report_.unasked);
  let_go();
  page.wake = round_;
  ring(page.child_bell);
  const bool ended = finish_round() &&
                     child_->await([&] { return page.answered == round_; }, "what was asked for never came");
  const std::string why = ended ? injection_.check(stood, page.answer, &reference_) : child_->trouble();
  if (!why.empty()) fail(stood, why, report_.exact + report_.unasked + report_.missed);
}

bool Driver::finish_round() {
  Page& page = child_->page();
  page.wake = round_;
  ring(page.child_bell);
  return child_->await([&] { return page.done == round_; }, "the round does not end");
}

void Driver::fail(const Stood& at, const std::string& why, std::size_t index) {
  ++failures_;
  report_.failures += std::string(stretch_.name) + ", " + injection_.name + ", point " + std::to_string(index) + " of " +
                      std::to_string(report_.points) + ", at " + name_of(at.pc) +
                      (at.exactly ? "" : " (or later: no signal waited there)") + ": " + why + "\n";
}

/// False: that is enough.
bool Driver::test_point(const Point& p, std::size_t index) {
  for (const bool stepping : {false, true}) {
    if (stepping && ++stepped_ > options_.stepped) {
      ++report_.missed;
      break;
    }
    if (!lead_to_begin()) break;
    if (lead(p, stepping)) {
      inject(p);
      break;
    }
    let_go();
    if (child_->failed() || !finish_round()) break;
    if (stepping) ++report_.missed;
  }
  if (!child_->failed()) return failures_ < kMaxFailures;
  if (report_.failures.find(child_->trouble()) == std::string::npos) {
    fail({.pc = p.pc}, child_->trouble(), index);
  }
  return failures_ < 3 && start_child();
}

/// Why stepping does not work in this place; empty if it does.
std::string obstacle() {
  if (!machine::kKnown) return "the driver does not know this processor's registers";
  const pid_t pid = ::fork();
  if (pid == 0) {
    for (;;) ::pause();
  }
  Tracee t;
  std::string why;
  if (!t.attach(pid, pid)) {
    why = std::string("ptrace is not permitted here: ") + std::strerror(errno);
  } else if (!t.break_at(reinterpret_cast<std::uintptr_t>(&gort_steps_begin), 0)) {
    why = "there are no breakpoint registers here";
  }
  t.detach();
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, __WALL);
  return why;
}

Report Driver::drive() {
  report_.skipped = obstacle();
  if (!report_.skipped.empty()) return report_;
  Tracee::start_ticks();
  if (start_child()) {
    for (int i = 0; i < options_.recordings && !child_->failed(); ++i) record();
  }
  const std::vector<Point> all = points();
  report_.points = all.size();
  for (std::size_t i = 0; i < all.size() && !child_->failed(); ++i) {
    if (!test_point(all[i], i + 1)) break;
  }
  if (!child_->failed()) child_->finish();
  if (child_->failed() && report_.failures.empty()) fail({}, child_->trouble(), 0);
  processor_.parent(false);
  return report_;
}

}  // namespace

std::string Report::summary() const {
  return std::to_string(points) + " points: " + std::to_string(exact) + " interrupted exactly, " +
         std::to_string(unasked) + " without a signal, " + std::to_string(missed) + " not reached";
}

std::string name_of(std::uintptr_t pc) {
  char text[64];
  std::snprintf(text, sizeof text, "%#lx", static_cast<unsigned long>(pc));
  std::string s = text;
  rt::symbolize(pc, false, [&](const rt::SymbolFrame& f) {
    if (f.inlined) return;
    std::snprintf(text, sizeof text, "+%#lx", static_cast<unsigned long>(pc - f.entry));
    s = f.function != nullptr ? std::string(f.function) + text : s + " in " + (f.module != nullptr ? f.module : "?");
  });
  return s;
}

Report drive(const Stretch& stretch, const Injection& injection, const Options& options) {
  return Driver(stretch, injection, options).drive();
}

}  // namespace gort::test::steps
