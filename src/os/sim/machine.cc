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
constexpr std::uint64_t kStoreStream = 3;
constexpr std::uint32_t kSpuriousWithin = 200;  // steps

const char* strategy_name(SimStrategy s) noexcept {
  static constexpr const char* kNames[] = {"uniform", "pct", "script", "exhaustive"};
  return kNames[static_cast<std::size_t>(s)];
}

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
  name_things = nullptr;
  muted_ = false;
  max_threads = options.max_threads;
  stores_ = Random(options.seed, kStoreStream);
  static constexpr unsigned kDelays[] = {20, 100, 300, 700};
  delay_permille_ = kDelays[stores_.below(4)];
  next_due_ = UINT64_MAX;
  if (costs()) cost_begin();

  create(body, arg, 0, false);
  current_ = &threads_[0];
  if (costs()) cores_.remove(*current_);
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
  if (costs()) cost_report();
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
  if (name_things != nullptr && current_ != nullptr) {
    muted_ = true;
    name_things();
  }
  Text history(h.text, sizeof h.text);
  history << "seed " << r.seed << ", strategy "
          << strategy_name(options_->strategy) << ", " << r.steps
          << " steps\n";
  h.print_records(history);
  const std::size_t end_of_records = history.size();
  print_threads(history);
  history << "verdict: " << sim_verdict_name(verdict);
  if (!r.message.empty()) history << ": " << r.message;
  history << '\n';
  r.history = {h.text, history.size()};
  if (verdict == SimVerdict::ok) return;
  const std::size_t begin = history.size();
  h.print_table(history, [](int i) { return static_cast<const char*>(machine.threads_[i].name); });
  history << std::string_view(h.text + end_of_records, begin - end_of_records);
  r.table = {h.text + begin, history.size() - begin};
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
  if (!costs()) history_->add(steps_, now_, index(*current_), op, where);
}

void Machine::point(SimOp op, const void* where) noexcept {
  // The kernel is entered: that is a full fence.
  step(op, where, op >= SimOp::futex_wait && op != SimOp::relax && op != SimOp::clock);
}

void Machine::step(SimOp op, const void* where, bool full) noexcept {
  if (costs()) return cost_step(op, where, full, "");
  tick();
  const int me = index(*current_);
  current_->next_op = op;
  current_->next_where = where;
  current_->next_full = full;
  switch_to(threads_[choose(me, op)]);
  deliver();
  if (full) drain(*current_);
  if (options_->note_words) note_step(index(*current_), current_->in_handler, op, where);
  record(op, where);
}

void Machine::tick() noexcept {
  if (++steps_ > options_->max_steps) {
    --steps_;
    finish(SimVerdict::livelock, "no end within max_steps steps");
  }
  ++current_->steps;
  now_ += options_->step_ns;
  if (steps_ >= next_due_) drain_due();
  if (next_event_ == kNever) return;
  if (decide(SimChoice::late, 0, [&] { return chance_.permille(options_->late_permille) ? 1 : 0; }) != 0)
    jump_to_deadline();
  if (next_event_ <= now_) expire();
}

/// Who goes on if nobody is preempted: the current thread, or, if it cannot or only waits, who has not run for longest.
int Machine::default_choice(int current, bool yields) noexcept {
  if (current >= 0 && !yields) return current;
  int best = -1;
  for (int i = 0; i < runnable_count_; ++i) {
    const int t = runnable_[i];
    if (t == current) continue;
    if (best < 0 || threads_[t].ran_at < threads_[best].ran_at ||
        (threads_[t].ran_at == threads_[best].ran_at && t < best)) {
      best = t;
    }
  }
  return best >= 0 ? best : current;
}

int Machine::choose(int current, SimOp op) noexcept {
  current_->ran_at = steps_;
  Choice choice{runnable_, runnable_count_, current, op, steps_, -1};
  const SimStrategy strategy = options_->strategy;
  ++current_->decided;
  if (strategy != SimStrategy::script && strategy != SimStrategy::exhaustive && !options_->record)
    return schedule_->pick(choice);
  choice.by_default = default_choice(current, choice.yields());
  const SimChoice what = current >= 0 ? SimChoice::step : SimChoice::block;
  const auto by_default = static_cast<std::uint64_t>(choice.by_default);
  int next = choice.by_default;
  if (strategy == SimStrategy::script) {
    next = static_cast<int>(scripted(what, by_default));
    if (next < 0 || next >= thread_count_ || threads_[next].state != State::runnable) next = choice.by_default;
  } else {
    next = schedule_->pick(choice);
  }
  if (options_->record && next != choice.by_default) {
    history_->decision({current_->decided, static_cast<std::uint16_t>(index(*current_)), what,
                        static_cast<std::uint64_t>(next)});
  }
  return next;
}

std::uint64_t Machine::scripted(SimChoice what, std::uint64_t by_default) noexcept {
  const auto script = options_->script;
  const Thread& me = *current_;
  auto& next = current_->script_next;
  const int who = index(me);
  while (next < script.size() &&
         (script[next].thread < who || (script[next].thread == who && script[next].at < me.decided))) {
    ++next;
  }
  if (next == script.size() || script[next].thread != who || script[next].at != me.decided) return by_default;
  return script[next].what == what ? script[next].value : by_default;
}

template <class F>
std::uint64_t Machine::decide(SimChoice what, std::uint64_t by_default, F dice) noexcept {
  if (costs()) return by_default;
  ++current_->decided;
  std::uint64_t value = 0;
  switch (options_->strategy) {
    case SimStrategy::script:
      value = scripted(what, by_default);
      break;
    case SimStrategy::exhaustive:
      value = schedule_->decide(what, by_default);
      break;
    default:
      value = dice();
      break;
  }
  if (options_->record && value != by_default) {
    history_->decision({current_->decided, static_cast<std::uint16_t>(index(*current_)), what, value});
  }
  return value;
}

void Machine::switch_to(Thread& next, bool last) noexcept {
  Thread* me = current_;
  if (me == &next) return;
  current_ = &next;
  switch_context(me->context, next.context, last);
}

/// The current thread cannot run; somebody else does. Returns when it can, and was chosen.
void Machine::go_on(bool last) noexcept {
  if (costs()) return cost_go_on(last);
  while (runnable_count_ == 0) {
    if (!jump_to_deadline()) finish(SimVerdict::deadlock, "nobody can run, no timeout is pending");
    expire();
  }
  switch_to(threads_[choose(-1, SimOp::point)], last);
}

void Machine::make_runnable(Thread& t, Wait result) noexcept {
  if (costs()) return cost_ready(t, result);
  t.state = State::runnable;
  t.result = result;
  t.next_op = SimOp::futex_return;  // up to its next step
  t.next_full = false;
  t.runnable_at = static_cast<std::uint16_t>(runnable_count_);
  runnable_[runnable_count_++] = static_cast<std::uint16_t>(index(t));
}

void Machine::leave_runnable(Thread& t) noexcept {
  if (costs()) return leave_core();
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
  if (costs()) {
    ++slept_;
    if (deadline != kNever) cores_.add(me, deadline > me.clock ? deadline : me.clock);
  }
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
  const std::uint64_t spurious = decide(SimChoice::spurious, 0, [&]() -> std::uint64_t {
    if (!chance_.permille(options_->spurious_permille)) return 0;
    return static_cast<std::uint64_t>(options_->step_ns) * (1 + chance_.below(kSpuriousWithin));
  });
  if (spurious != 0) spurious_at = now_ + static_cast<std::int64_t>(spurious);
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
    Thread* first = nullptr;
    Thread* chosen = nullptr;
    std::uint32_t sleepers = 0;
    std::uint64_t all = 0;
    const bool dice = options_->strategy == SimStrategy::uniform || options_->strategy == SimStrategy::pct;
    for (int i = 0; i < thread_count_; ++i) {
      Thread& t = threads_[i];
      if (t.state != State::blocked || t.waits_in != SimOp::futex_wait || t.waits_on != word)
        continue;
      if (first == nullptr) first = &t;
      if (i < 64) all |= std::uint64_t{1} << i;
      if (++sleepers == 1 || (dice && chance_.below(sleepers) == 0)) chosen = &t;
    }
    if (sleepers > 1) {
      schedule_->offer(all);
      const auto by_default = static_cast<std::uint64_t>(index(*first));
      const auto who = decide(SimChoice::wake, by_default,
                              [&] { return static_cast<std::uint64_t>(index(*chosen)); });
      chosen = first;
      if (Thread* t = thread(static_cast<int>(who)); t != nullptr && t->state == State::blocked &&
                                                     t->waits_in == SimOp::futex_wait && t->waits_on == word) {
        chosen = t;
      }
    }
    if (chosen == nullptr) break;
    make_runnable(*chosen, Wait::woken);
    ++woken;
    ++woken_;
    if (costs()) {
      spend(chosen->core >= 0 ? options_->costs->wake_call : options_->costs->wake_busy);
      now_ = current_->clock;
    }
  }
  seen(woken, woken);
}

// ---- threads --------------------------------------------------------------------------------

int Machine::create(void (*entry)(void*), void* arg, std::size_t stack_bytes,
                    bool may_fail) noexcept {
  if (current_ != nullptr) point(SimOp::create, reinterpret_cast<const void*>(entry));
  if (may_fail && (live_ >= max_threads || decide(SimChoice::refuse, 0, [&] {
                     return chance_.permille(options_->thread_fail_permille) ? 1 : 0;
                   }) != 0)) {
    record(SimOp::create_failed, nullptr);
    return -EAGAIN;
  }
  if (thread_count_ == kMaxThreads)
    finish(SimVerdict::crash, "more threads in one run than the simulator knows");
  for (int i = 0; i < thread_count_; ++i) {  // those that have left their stacks since
    if (threads_[i].detached && threads_[i].state == State::ended) release_stack(threads_[i]);
  }
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
  t.ran_at = steps_;
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
  release_stack(*t);
  return 0;
}

void Machine::release_stack(Thread& t) noexcept {
  t.state = State::reaped;
  const std::size_t page = page_size();
  ::munmap(reinterpret_cast<void*>(t.stack_lo - page), t.stack_hi - t.stack_lo + page);
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

// ---- store buffers --------------------------------------------------------------------------

void Machine::access(SimOp op, const void* where, bool full, const SimSite& at) noexcept {
  if (costs()) return cost_step(op, where, full, at.function_name());
  if (op == SimOp::store || op == SimOp::fence) {
    if (full) history_->fence_met(op, at);
    full = full && (options_->weaken == nullptr || !weakened(at));
  }
  step(op, where, full);
  history_->site(at.function_name());
  full_ = full;
}

/// Whether SimOptions::weaken is `function` or `function:line` of this place.
bool Machine::weakened(const SimSite& at) noexcept {
  char site[sizeof(SimFence::site)];
  History::print_site(site, at);
  const std::string_view place(site);
  const std::string_view wanted(options_->weaken);
  return place == wanted || (place.starts_with(wanted) && place[wanted.size()] == ':');
}

bool Machine::delay(void* addr, const void* value, std::size_t bytes) noexcept {
  if (!options_->store_buffers || full_ || bytes > sizeof(StoreBuffer::Entry::bits)) return false;
  StoreBuffer& stores = current_->stores;
  const std::uint64_t steps = decide(SimChoice::delay, 0, [&]() -> std::uint64_t {
    if (!stores_.permille(delay_permille_)) return 0;
    const std::uint32_t magnitude = 1u << stores_.below(11);
    return 1 + magnitude + stores_.below(magnitude);
  });
  if (steps == 0 && stores.empty()) return false;
  if (stores.full()) {
    stores.drain_one();
    if (stores.empty()) return false;
  }
  const std::uint64_t due = steps >= UINT64_MAX - steps_ ? UINT64_MAX : steps_ + steps;
  stores.put(addr, value, bytes, due);
  history_->delayed();
  if (due < next_due_) next_due_ = due;
  return true;
}

void Machine::drain_one(int i) noexcept {
  StoreBuffer& stores = threads_[i].stores;
  history_->add(steps_, now_, i, SimOp::drain, stores.oldest().addr);
  seen(stores.oldest().bits, stores.oldest().bits);
  stores.drain_one();
}

void Machine::drain(Thread& t) noexcept {
  while (!t.stores.empty()) drain_one(index(t));
}

void Machine::drain_all() noexcept {
  for (int i = 0; i < thread_count_; ++i) drain(threads_[i]);
}

void Machine::drain_due() noexcept {
  next_due_ = UINT64_MAX;
  for (int i = 0; i < thread_count_; ++i) {
    const StoreBuffer& stores = threads_[i].stores;
    while (!stores.empty() && stores.oldest().due <= steps_) drain_one(i);
    if (!stores.empty() && stores.oldest().due < next_due_) next_due_ = stores.oldest().due;
  }
}

void Machine::at_once(void (*look)(void*), void* arg) noexcept {
  const bool before = muted_;
  muted_ = true;
  look(arg);
  muted_ = before;
}

// ---- signals --------------------------------------------------------------------------------

int Machine::signal(int i, int signo) noexcept {
  point(SimOp::signal, nullptr);
  seen(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(signo));
  Thread* t = thread(i);
  if (t == nullptr || t->state == State::ended || t->state == State::reaped) return ESRCH;
  if (signo <= 0 || signo >= 64) return EINVAL;
  if (signal_handler == nullptr) return 0;
  if (costs()) {
    ++signalled_;
    if (t->pending == 0) t->signal_at = t->state == State::blocked ? now_ : now_ + options_->costs->signal_run;
  }
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
  if (costs()) {
    if (t.signal_at > t.clock) return;
    spend(options_->costs->signal_handle);
  }
  drain(t);  // an interrupt is a full fence
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
