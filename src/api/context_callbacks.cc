// What happens when a context is cancelled, besides the ends of waits: after_func, stop tokens, wait().
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "api/cancellation.h"
#include "api/context.h"
#include "base/sanitizer.h"
#include "gort/this_goroutine.h"
#include "sched/entry.h"
#include "sched/sched.h"
#include "sched/spawn.h"
#include "sync/chan.h"

/// LeakSanitizer's, if the program has that.
extern "C" void __lsan_ignore_object(const void* p) __attribute__((weak));

namespace gort::inline v0 {

namespace detail {

namespace {

rt::ContextCallback* entry_of(const callback_core* reg) noexcept {
  return static_cast<rt::ContextCallback*>(reg->entry);
}

void unref(callback_core* reg) noexcept {
  if (reg->refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (rt::ContextCallback* cb = entry_of(reg); cb != nullptr) {
    rt::RuntimeEntry entry;
    rt::callback_free(cb);
  }
  reg->destroy(reg);
}

void discard(callback_core* reg) noexcept {
  rt::RuntimeEntry entry;
  rt::g_discard(std::exchange(entry_of(reg)->g, nullptr));
}

/// The goroutine of a callback.
void run_callback(void* p) {
  auto* reg = static_cast<callback_core*>(p);
  reg->runner.store(this_goroutine::id(), std::memory_order_relaxed);
  try {
    reg->call(reg);
  } catch (const goexit_signal&) {
  } catch (const cancelled&) {
  }
  goroutine_ends();
  static_cast<void>(task_finish(&reg->ended));
  unref(reg);
}

/// True: it has not run, and will not.
bool take_back(callback_core* reg) noexcept {
  if (reg->entry == nullptr || reg->context == nullptr) return false;
  {
    rt::RuntimeEntry entry;
    if (!rt::context_remove_callback(entry_of(reg), to_rt(reg->context))) return false;
  }
  discard(reg);
  return true;
}

/// Waits for the end of a function that has begun, or will. False: its goroutine is left over from an ended run, and never
/// goes on.
bool wait_ended(callback_core* reg) noexcept {
  const std::uint32_t epoch = entry_of(reg)->run_epoch.load(os::memory_order_acquire);
  // 0: who cancels is about to start it.
  return task_wait_in_epoch(&reg->ended, epoch != 0 ? epoch : rt::sched.run_epoch.load(os::memory_order_seq_cst));
}

}  // namespace

namespace {

/// A channel that is closed when c is cancelled. Throws std::bad_alloc.
rt::Chan* done_of(rt::Context* c) {
  context_seen(c);
  rt::Chan* done = nullptr;
  {
    rt::RuntimeEntry entry;
    done = rt::context_done(c);
  }
  if (done == nullptr) throw std::bad_alloc();
  return done;
}

}  // namespace

/// What a context keeps for its stop tokens. The callback that requests the stop is the context's, and detached.
struct StopSource {
  StopSource() = default;
  StopSource(const StopSource&) = default;
  StopSource& operator=(const StopSource&) = delete;
  StopSource(StopSource&&) = default;
  /// The tokens are users': what they did with the common state comes before its end, if this is that. TSan sees their
  /// part of the counting and not ours; the state's address is all that a source has.
  ~StopSource() {
    const void* state = nullptr;
    static_assert(sizeof source == sizeof state);
    std::memcpy(&state, &source, sizeof state);
    if (state != nullptr) rt::san::acquire(state);
  }
  std::stop_source source;
};

void callback_dropped(callback_core* reg) noexcept {
  discard(reg);
  unref(reg);
}

void stop_source_destroy(void* source) noexcept { delete static_cast<StopSource*>(source); }

void callback_register(context_node* node, callback_core* reg) {
  rt::Context* c = node != nullptr ? to_rt(node)->src : nullptr;
  if (c == nullptr) return;  // nobody will ever cancel it
  new_goroutine g(0);
  rt::ContextCallback* cb = nullptr;
  {
    rt::RuntimeEntry entry;
    cb = rt::callback_alloc();
  }
  if (cb == nullptr) throw std::bad_alloc();
  context_seen(c);
  rt::context_ref(c);
  reg->context = from_rt(c);
  reg->refs.store(2, std::memory_order_relaxed);
  rt::RuntimeEntry entry;
  cb->g = static_cast<rt::G*>(g.release());
  cb->fn = run_callback;
  cb->arg = reg;
  reg->entry = cb;
  rt::context_add_callback(c, cb);
}

}  // namespace detail

bool context::callback::stop() noexcept {
  if (reg_ == nullptr || !detail::take_back(reg_)) return false;
  detail::unref(reg_);  // the list's
  detail::context_unref(std::exchange(reg_->context, nullptr));
  return true;
}

context::callback::~callback() {
  if (reg_ == nullptr || rt::in_fork_child()) return;
  const bool may_run = reg_->context != nullptr && !stop();
  // A foreign thread has the number 0, as the runner of a function that has been started and does not run yet.
  const std::uint64_t self = this_goroutine::id();
  const bool own = self != 0 && reg_->runner.load(std::memory_order_relaxed) == self;
  if (may_run && !own && !detail::wait_ended(reg_)) {
    if (&__lsan_ignore_object != nullptr) __lsan_ignore_object(reg_);  // the goroutine has it, and lies still for good
  }
  detail::context_unref(reg_->context);
  detail::unref(reg_);
}

void context::callback::detach() && noexcept {
  detail::callback_core* reg = std::exchange(reg_, nullptr);
  if (reg == nullptr) return;
  detail::context_node* c = std::exchange(reg->context, nullptr);
  detail::unref(reg);
  detail::context_unref(c);
}

std::stop_token context::stop_token() const {
  rt::Context* c = node_ != nullptr ? detail::to_rt(node_)->src : nullptr;
  if (c == nullptr) return std::stop_source().get_token();
  if (void* made = c->api.load(os::memory_order_acquire)) return static_cast<detail::StopSource*>(made)->source.get_token();
  auto fresh = std::make_unique<detail::StopSource>();
  std::move(after_func([mine = detail::StopSource(*fresh)]() mutable { mine.source.request_stop(); })).detach();
  void* expected = nullptr;
  if (c->api.compare_exchange_strong(expected, fresh.get(), os::memory_order_acq_rel, os::memory_order_acquire)) {
    return fresh.release()->source.get_token();
  }
  return static_cast<detail::StopSource*>(expected)->source.get_token();
}

void context::wait() const {
  rt::ChanWait how;
  how.cancel = detail::cancellation();
  if (rt::is_cancelled(how.cancel)) detail::throw_cancelled();
  rt::Context* c = node_ != nullptr ? detail::to_rt(node_)->src : nullptr;
  rt::Chan* done = c != nullptr ? detail::done_of(c) : nullptr;
  {
    rt::RuntimeEntry entry;
    if (c != nullptr) {
      rt::chan_recv(done, nullptr, how);
    } else {
      rt::chan_never(rt::WaitReason::context_wait, how);
    }
  }
  // The caller may live below this context, and the cancellation be on its way down: the same end, then, for all of them.
  if (how.cancel == nullptr) return;
  for (rt::Context* at = rt::context_of(how.cancel); at != nullptr; at = at->up) {
    if (rt::is_cancelled(&at->source)) throw gort::cancelled(detail::cause_of(at));
  }
}

select_case context::on_cancelled() const {
  static constexpr detail::case_ops nothing_to_do{nullptr, nullptr, nullptr};
  rt::Context* c = node_ != nullptr ? detail::to_rt(node_)->src : nullptr;
  detail::chan_head* done = c != nullptr ? detail::done_of(c) : nullptr;
  return {done, detail::case_kind::recv, nullptr, &nothing_to_do};
}

}  // namespace gort::inline v0
