// gort simulator: the machine with SimOptions::costs (costs.h): who makes the next step is who is furthest behind.
#include "os/sim/machine.h"

namespace gort::inline v0::os::sim {

namespace {
constexpr std::int64_t kWorkPiece =
    1000;  // ns of user code between two moments at which a signal is noticed
}

void Machine::cost_begin() noexcept {
  cores_.begin(*options_->costs);
  waiting_n_ = waiting_at_ = 0;
  woken_ = slept_ = signalled_ = 0;
}

void Machine::spend(std::int64_t ns) noexcept {
  current_->clock += ns;
  current_->busy += ns;
}

void Machine::cost_step(SimOp op, const void* where, bool full, const char* place) noexcept {
  if (++steps_ > options_->max_steps) {
    --steps_;
    finish(SimVerdict::livelock, "no end within max_steps steps");
  }
  Thread& me = *current_;
  ++me.steps;
  spend(options_->costs->plain);
  if (waiting_n_ != 0 && me.clock - me.placed_at >= options_->costs->slice) give_way();
  if (!cores_.empty() && cores_.earliest().next_at < me.clock) {
    cores_.add(me, me.clock);
    switch_to(next_thread());
  }
  now_ = me.clock;
  deliver();
  now_ = me.clock;
  cost_charge(op, where, full, place);
}

/// What the step takes. It takes effect at its beginning.
void Machine::cost_charge(SimOp op, const void* where, bool full, const char* place) noexcept {
  const SimCosts& c = *options_->costs;
  const auto line = [&](Cores::Access how) {
    spend(cores_.access(current_->core, where, how, now_, place));
  };
  switch (op) {
    case SimOp::load:
      return line(Cores::Access::read);
    case SimOp::store:
      return line(full ? Cores::Access::rmw : Cores::Access::write);
    case SimOp::exchange:
    case SimOp::cas:
    case SimOp::add:
    case SimOp::sub:
    case SimOp::bit_or:
    case SimOp::bit_and:
      return line(Cores::Access::rmw);
    case SimOp::fence:
      return spend(full ? c.atomic : 0);
    case SimOp::clock:
      return spend(c.clock);
    case SimOp::relax:
      return spend(current_->pauses * c.pause);
    case SimOp::yield:
      spend(c.yield);
      if (waiting_n_ != 0) give_way();
      return;
    case SimOp::futex_wait:
    case SimOp::futex_wake:
    case SimOp::sleep:
      return spend(c.call);
    case SimOp::signal:
      return spend(c.signal_send);
    case SimOp::memory:
      return spend(c.memory);
    case SimOp::create:
      return spend(c.thread);
    default:
      return;
  }
}

/// A thread that slept, or is new, can run from now on.
void Machine::cost_ready(Thread& t, Wait result) noexcept {
  cores_.remove(t);
  t.state = State::runnable;
  t.result = result;
  t.core = cores_.take(t.core);
  if (t.core < 0) {
    if (t.clock < now_) t.clock = now_;
    waiting_[(waiting_at_ + waiting_n_++) % kMaxThreads] = static_cast<std::uint16_t>(index(t));
    return;
  }
  const std::int64_t at = now_ + options_->costs->wake_run;
  if (t.clock < at) t.clock = at;
  t.placed_at = t.clock;
  cores_.add(t, t.clock);
}

/// The current thread's core goes to who has waited longest for one.
void Machine::leave_core() noexcept {
  if (waiting_n_ == 0) return cores_.give(current_->core);
  Thread& next = threads_[waiting_[waiting_at_]];
  waiting_at_ = (waiting_at_ + 1) % kMaxThreads;
  --waiting_n_;
  next.core = current_->core;
  const std::int64_t at = current_->clock + options_->costs->context_switch;
  next.clock = next.clock > at ? next.clock : at;
  next.placed_at = next.clock;
  cores_.add(next, next.clock);
}

/// The kernel lets another thread run here.
void Machine::give_way() noexcept {
  Thread& me = *current_;
  leave_core();
  me.core = -1;
  waiting_[(waiting_at_ + waiting_n_++) % kMaxThreads] = static_cast<std::uint16_t>(index(me));
  switch_to(next_thread());
  now_ = me.clock;
}

/// Who is furthest behind, out of the heap.
Thread& Machine::next_thread() noexcept {
  for (;;) {
    if (cores_.empty()) finish(SimVerdict::deadlock, "nobody can run, no timeout is pending");
    Thread& t = cores_.earliest();
    cores_.remove(t);
    if (t.state == State::runnable) return t;
    now_ = t.next_at;
    cost_ready(t, Wait::timed_out);
  }
}

/// As go_on.
void Machine::cost_go_on(bool last) noexcept {
  Thread& me = *current_;
  switch_to(next_thread(), last);
  now_ = me.clock;
}

void Machine::work(std::int64_t ns) noexcept {
  if (!costs()) return point(SimOp::point, nullptr);
  for (; ns > 0; ns -= kWorkPiece) {
    spend(ns < kWorkPiece ? ns : kWorkPiece);
    point(SimOp::point, nullptr);
  }
}

void Machine::relax(int pauses) noexcept {
  current_->pauses = pauses;
  point(SimOp::relax, nullptr);
}

void Machine::cost_report() noexcept {
  SimReport& r = history_->report;
  r = SimReport{};
  r.steps = steps_;
  r.wakes = woken_;
  r.sleeps = slept_;
  r.signals = signalled_;
  for (int i = 0; i < thread_count_; ++i) r.busy_ns += threads_[i].busy;
  cores_.report(r);
}

}  // namespace gort::inline v0::os::sim
