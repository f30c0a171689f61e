#include "os/sim/machine.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(GORT_SIM_ASAN)
#include <sanitizer/asan_interface.h>
#endif

namespace gort::inline v0::os::sim {

constinit Machine machine;

namespace {
constexpr std::uint64_t kChanceStream = 2;
constexpr std::uint32_t kSpuriousWithin = 200;  // steps

std::uintptr_t round_up(std::uintptr_t v, std::uintptr_t to) noexcept {
  return (v + to - 1) / to * to;
}
}  // namespace

// ---- a run ----------------------------------------------------------------------------------

void Machine::run(const SimOptions& options, void (*body)(void*), void* arg) noexcept {
  options_ = &options;
  history_ = &History::instance();
  history_->begin(options);
  schedule_ = &schedule_of(options.strategy);
  schedule_->begin(options);
  chance_ = Random(options.seed, kChanceStream);
  steps_ = 0;
  now_ = options.start_ns;
  next_event_ = kNever;
  arena_ = kArenaLo;
  thread_count_ = live_ = runnable_count_ = 0;
  signal_handler = nullptr;
  max_threads = options.max_threads;

  create(body, arg, 0, false);
  current_ = &threads_[0];
  switch_context(driver_, current_->context);
  // finish() comes back here.
  release_memory();
}

void Machine::thread_start() noexcept {
  entered();
  Thread& t = machine.current();
  t.entry(t.arg);
  if (machine.index(t) == 0) machine.finish(SimVerdict::ok, "");
  // Between the entry's return and the end, a real thread still runs its TLS destructors: try_reap
  // must be able to see it so.
  machine.point(SimOp::exit, nullptr);
  if (t.tls.locks != 0) machine.finish(SimVerdict::crash, "a thread ended with Tls::locks > 0");
  if (t.tls.m != nullptr) machine.finish(SimVerdict::crash, "a thread ended with Tls::m set");
  machine.leave_runnable(t);
  t.state = State::ended;
  --machine.live_;
  for (int i = 0; i < machine.thread_count_; ++i) {
    Thread& other = machine.threads_[i];
    if (other.state == State::blocked && other.waits_in == SimOp::join && other.waits_on == &t) {
      machine.make_runnable(other, Wait::woken);
    }
  }
  machine.go_on(true);
  __builtin_unreachable();
}

void Machine::conclude(SimVerdict verdict, const char* message) noexcept {
  History& h = *history_;
  h.close();
  SimResult& r = h.result;
  r.verdict = verdict;
  r.steps = steps_;
  r.virtual_ns = now_ - options_->start_ns;
  r.threads = thread_count_;
  Text text(h.message, sizeof h.message);
  text << message;
  // The first lines written are the cause, as a rule; without a final newline.
  std::string_view out = h.output();
  if (verdict == SimVerdict::crash && !out.empty()) {
    if (out.back() == '\n') out.remove_suffix(1);
    text << (message[0] != '\0' ? ": " : "") << out;
  }
  r.message = {h.message, text.size()};
  if (verdict == SimVerdict::ok && !options_->keep_history) return;
  Text history(h.text, sizeof h.text);
  history << "seed " << r.seed << ", strategy "
          << (options_->strategy == SimStrategy::pct ? "pct" : "uniform") << ", " << r.steps
          << " steps\n";
  h.print_records(history);
  print_threads(history);
  history << "verdict: " << sim_verdict_name(verdict);
  if (!r.message.empty()) history << ": " << r.message;
  history << '\n';
  r.history = {h.text, history.size()};
}

void Machine::finish(SimVerdict verdict, const char* message) noexcept {
  conclude(verdict, message);
  Thread& last = *current_;
  current_ = nullptr;
  switch_context(last.context, driver_, true);
  __builtin_unreachable();
}

void Machine::print_threads(Text& out) noexcept {
  for (int i = 0; i < thread_count_; ++i) {
    const Thread& t = threads_[i];
    if (t.state == State::reaped) continue;
    out << 'T' << i;
    if (t.name[0] != '\0') out << " (" << t.name << ')';
    if (t.state == State::ended) {
      out << " ended\n";
    } else if (t.state == State::runnable) {
      out << (&t == current_ ? " running\n" : " runnable\n");
    } else {
      switch (t.waits_in) {
        case SimOp::futex_wait:
          out << " sleeps on ";
          history_->print_place(out,
                                History::translate(reinterpret_cast<std::uintptr_t>(t.waits_on)));
          break;
        case SimOp::join:
          out << " joins T" << index(*static_cast<const Thread*>(t.waits_on));
          break;
        default:
          out << " sleeps";
          break;
      }
      if (t.deadline != kNever) out << " until " << t.deadline;
      out << '\n';
    }
  }
}

// ---- steps and switches ---------------------------------------------------------------------

void Machine::record(SimOp op, const void* where) noexcept {
  history_->add(steps_, now_, index(*current_), op, where);
}

void Machine::point(SimOp op, const void* where) noexcept {
  tick();
  const int me = index(*current_);
  switch_to(threads_[choose(me, op)]);
  deliver();
  record(op, where);
}

void Machine::tick() noexcept {
  if (++steps_ > options_->max_steps) {
    --steps_;
    finish(SimVerdict::livelock, "no end within max_steps steps");
  }
  ++current_->steps;
  now_ += options_->step_ns;
  if (next_event_ == kNever) return;
  if (chance_.permille(options_->late_permille)) jump_to_deadline();
  if (next_event_ <= now_) expire();
}

int Machine::choose(int current, SimOp op) noexcept {
  return schedule_->pick({runnable_, runnable_count_, current, op, steps_});
}

void Machine::switch_to(Thread& next, bool last) noexcept {
  Thread* me = current_;
  if (me == &next) return;
  current_ = &next;
  switch_context(me->context, next.context, last);
}

/// The current thread cannot run; somebody else does. Returns when it can, and was chosen.
void Machine::go_on(bool last) noexcept {
  while (runnable_count_ == 0) {
    if (!jump_to_deadline()) finish(SimVerdict::deadlock, "nobody can run, no timeout is pending");
    expire();
  }
  switch_to(threads_[choose(-1, SimOp::point)], last);
}

void Machine::make_runnable(Thread& t, Wait result) noexcept {
  t.state = State::runnable;
  t.result = result;
  t.runnable_at = static_cast<std::uint16_t>(runnable_count_);
  runnable_[runnable_count_++] = static_cast<std::uint16_t>(index(t));
}

void Machine::leave_runnable(Thread& t) noexcept {
  const std::uint16_t last = runnable_[--runnable_count_];
  runnable_[t.runnable_at] = last;
  threads_[last].runnable_at = t.runnable_at;
}

void Machine::block(SimOp op, const void* on, std::int64_t deadline,
                    std::int64_t spurious_at) noexcept {
  Thread& me = *current_;
  leave_runnable(me);
  me.state = State::blocked;
  me.waits_in = op;
  me.waits_on = on;
  me.deadline = deadline;
  me.spurious_at = spurious_at;
  const std::int64_t event = deadline < spurious_at ? deadline : spurious_at;
  if (event < next_event_) next_event_ = event;
  go_on();
}

// ---- time -----------------------------------------------------------------------------------

void Machine::expire() noexcept {
  next_event_ = kNever;
  for (int i = 0; i < thread_count_; ++i) {
    Thread& t = threads_[i];
    if (t.state != State::blocked) continue;
    if (t.deadline <= now_) {
      make_runnable(t, Wait::timed_out);
    } else if (t.spurious_at <= now_) {
      make_runnable(t, Wait::woken);
    } else {
      const std::int64_t event = t.deadline < t.spurious_at ? t.deadline : t.spurious_at;
      if (event < next_event_) next_event_ = event;
    }
  }
}

/// Moves time to the earliest promised timeout; false if there is none.
bool Machine::jump_to_deadline() noexcept {
  std::int64_t earliest = kNever;
  for (int i = 0; i < thread_count_; ++i) {
    const Thread& t = threads_[i];
    if (t.state == State::blocked && t.deadline < earliest) earliest = t.deadline;
  }
  if (earliest == kNever) return false;
  if (earliest > now_) now_ = earliest;
  return true;
}

void Machine::sleep(std::int64_t ns) noexcept {
  point(SimOp::sleep, nullptr);
  seen(static_cast<std::uint64_t>(ns), static_cast<std::uint64_t>(ns));
  if (ns <= 0) return;
  const std::int64_t until = ns > kNever - 1 - now_ ? kNever - 1 : now_ + ns;
  while (now_ < until) {  // signals interrupt
    block(SimOp::sleep, nullptr, until, kNever);
    deliver();
  }
  record(SimOp::wake, nullptr);
}

// ---- futex ----------------------------------------------------------------------------------

Wait Machine::futex_wait(const std::uint32_t* word, std::uint32_t expected,
                         std::int64_t timeout_ns) noexcept {
  point(SimOp::futex_wait, word);
  const std::uint32_t value = *word;
  seen(value, expected);
  if (value != expected) return Wait::changed;
  std::int64_t deadline = kNever;
  if (timeout_ns >= 0) deadline = timeout_ns > kNever - 1 - now_ ? kNever - 1 : now_ + timeout_ns;
  std::int64_t spurious_at = kNever;
  if (chance_.permille(options_->spurious_permille)) {
    spurious_at = now_ + options_->step_ns * (1 + chance_.below(kSpuriousWithin));
  }
  block(SimOp::futex_wait, word, deadline, spurious_at);
  const Wait result = current_->result;
  record(SimOp::futex_return, word);
  seen(0, static_cast<std::uint64_t>(result));
  deliver();
  return result;
}

void Machine::futex_wake(const void* word, int n) noexcept {
  point(SimOp::futex_wake, word);
  std::uint64_t woken = 0;
  for (; n > 0; --n) {
    // Any of the sleepers: the contract promises no order. Reservoir sampling of one.
    Thread* chosen = nullptr;
    std::uint32_t sleepers = 0;
    for (int i = 0; i < thread_count_; ++i) {
      Thread& t = threads_[i];
      if (t.state != State::blocked || t.waits_in != SimOp::futex_wait || t.waits_on != word)
        continue;
      if (++sleepers == 1 || chance_.below(sleepers) == 0) chosen = &t;
    }
    if (chosen == nullptr) break;
    make_runnable(*chosen, Wait::woken);
    ++woken;
  }
  seen(woken, woken);
}

// ---- threads --------------------------------------------------------------------------------

int Machine::create(void (*entry)(void*), void* arg, std::size_t stack_bytes,
                    bool may_fail) noexcept {
  if (current_ != nullptr) point(SimOp::create, reinterpret_cast<const void*>(entry));
  if (may_fail && (live_ >= max_threads || chance_.permille(options_->thread_fail_permille))) {
    record(SimOp::create_failed, nullptr);
    return -EAGAIN;
  }
  if (thread_count_ == kMaxThreads)
    finish(SimVerdict::crash, "more threads in one run than the simulator knows");
  const std::size_t page = page_size();
  const std::size_t bytes = round_up(stack_bytes > kStack ? stack_bytes : kStack, page);
  auto* base = static_cast<std::byte*>(map(bytes + page, page));
  if (base == nullptr) {
    if (may_fail) return -EAGAIN;
    finish(SimVerdict::crash, "no memory for a simulated thread's stack");
  }
  ::mprotect(base, page, PROT_NONE);

  Thread& t = threads_[thread_count_++];
  t = Thread{};
  t.entry = entry;
  t.arg = arg;
  t.stack_lo = reinterpret_cast<std::uintptr_t>(base) + page;
  t.stack_hi = t.stack_lo + bytes;
  t.context.prepare(t.stack_lo, t.stack_hi, thread_start);
  ++live_;
  schedule_->created(index(t));
  make_runnable(t, Wait::woken);
  if (current_ != nullptr)
    seen(static_cast<std::uint64_t>(index(t)), static_cast<std::uint64_t>(index(t)));
  return index(t);
}

int Machine::reap(int i) noexcept {
  point(SimOp::reap, nullptr);
  seen(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(i));
  Thread* t = thread(i);
  if (t == nullptr || t->state == State::reaped)
    finish(SimVerdict::crash, "thread_try_reap of no thread");
  if (t->state != State::ended) return EBUSY;
  t->state = State::reaped;
  const std::size_t page = page_size();
  ::munmap(reinterpret_cast<void*>(t->stack_lo - page), t->stack_hi - t->stack_lo + page);
  return 0;
}

void Machine::join(int i) noexcept {
  point(SimOp::join, nullptr);
  seen(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(i));
  Thread* t = thread(i);
  if (t == nullptr || t == current_) finish(SimVerdict::crash, "sim_join of no other thread");
  while (t->state != State::ended && t->state != State::reaped) {
    block(SimOp::join, t, kNever, kNever);
    deliver();
  }
}

// ---- signals --------------------------------------------------------------------------------

int Machine::signal(int i, int signo) noexcept {
  point(SimOp::signal, nullptr);
  seen(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(signo));
  Thread* t = thread(i);
  if (t == nullptr || t->state == State::ended || t->state == State::reaped) return ESRCH;
  if (signo <= 0 || signo >= 64) return EINVAL;
  if (signal_handler == nullptr) return 0;
  t->pending |= std::uint64_t{1} << signo;
  // Interrupts the sleep, as EINTR: that may be reported as a wake-up.
  if (t->state == State::blocked && !t->in_handler) make_runnable(*t, Wait::woken);
  return 0;
}

/// Runs the handler for what is pending. Called where a thread goes on: before its step, and at the
/// end of each sleep.
void Machine::deliver() noexcept {
  Thread& t = *current_;
  if (t.pending == 0 || t.in_handler || signal_handler == nullptr) return;
  t.in_handler = true;
  while (t.pending != 0) {
    const int signo = __builtin_ctzll(t.pending);
    t.pending &= t.pending - 1;
    record(SimOp::handler, nullptr);
    seen(static_cast<std::uint64_t>(signo), static_cast<std::uint64_t>(signo));
    signal_handler(signo);
  }
  t.in_handler = false;
}

// ---- memory ---------------------------------------------------------------------------------

void* Machine::map(std::size_t bytes, std::size_t align) noexcept {
  const std::size_t page = page_size();
  // A page between any two mappings, and no address twice in a run: a stray access faults.
  const std::uintptr_t at = round_up(arena_ + page, align > page ? align : page);
  if (bytes > kArenaHi - at) return nullptr;
  arena_ = at + bytes;
  void* p = ::mmap(reinterpret_cast<void*>(at), bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (p != reinterpret_cast<void*>(at)) return nullptr;
#if defined(GORT_SIM_ASAN)
  // An earlier run's frames may have stood here.
  ASAN_UNPOISON_MEMORY_REGION(p, bytes);
#endif
  return p;
}

void Machine::release_memory() noexcept {
  ::munmap(reinterpret_cast<void*>(kArenaLo), arena_ - kArenaLo);
}

}  // namespace gort::inline v0::os::sim
