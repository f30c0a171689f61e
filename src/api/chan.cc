#include "gort/chan.h"

#include <new>

#include "api/chan_wait.h"
#include "base/check.h"
#include "base/sanitizer.h"
#include "sched/entry.h"
#include "sync/bubble.h"
#include "sync/chan.h"
#include "sync/chan_at_once.h"
#include "sync/timers.h"

namespace gort::inline v0::detail {

namespace {

rt::Chan* of(chan_head* c) noexcept { return static_cast<rt::Chan*>(c); }
const rt::Chan* of(const chan_head* c) noexcept { return static_cast<const rt::Chan*>(c); }

constexpr std::size_t kRingAt = sizeof(rt::Chan);
static_assert(kRingAt % chan_inline_align == 0);
constexpr std::size_t kBesideAlign = 16;

chan_end never(rt::WaitReason reason, rt::ChanWait how) {
  rt::RuntimeEntry entry;
  return rt::chan_never(reason, how);
}

}  // namespace

chan_head* chan_make(std::ptrdiff_t capacity, std::size_t element_size, void (*drop)(void* element) noexcept, beside more) {
  if (capacity < 0) rt::fatal("gort::chan: negative capacity");
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<std::size_t>(capacity), element_size, &bytes) ||
      __builtin_add_overflow(bytes, kRingAt + more.bytes + (more.bytes != 0 ? kBesideAlign : 0), &bytes) ||
      bytes > PTRDIFF_MAX - alignof(rt::Chan)) {
    throw std::bad_array_new_length();
  }
  // Aligned by hand: the allocator's aligned form takes twice as long.
  constexpr std::size_t kSpare = alignof(rt::Chan) - __STDCPP_DEFAULT_NEW_ALIGNMENT__;
  void* block = ::operator new(bytes + kSpare);
  void* memory = reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(block) + kSpare) & -alignof(rt::Chan));
  auto* c = ::new (memory) rt::Chan;
  c->block = block;
  c->cap = static_cast<std::size_t>(capacity);
  c->size = static_cast<std::uint32_t>(element_size);
  c->ring = static_cast<std::byte*>(memory) + kRingAt;
  c->drop = drop;
  c->bubble = rt::bubble_serial();
  return c;
}

void* chan_beside(chan_head* head) noexcept {
  const std::size_t ring = (head->cap * head->size + kBesideAlign - 1) & -kBesideAlign;
  return of(head)->ring + ring;
}

void chan_free(chan_head* head) noexcept {
  if (rt::in_fork_child()) return;
  rt::Chan* c = of(head);
  rt::san::acquire(&c->handles);  // counted down by users' code, or by ours, whose part TSan does not see
  {
    rt::RuntimeEntry entry;
    rt::chan_quiet(c);
  }
  for (void* box = nullptr;;) {
    void* left = rt::chan_next_left(c, &box);
    if (left == nullptr) break;
    c->drop(left);
  }
  void* block = c->block;
  c->~Chan();
  ::operator delete(block);
}

chan_end chan_send(chan_head* c, const void* slot) {
  rt::CancelSource* const cancel = cancellation();
  if (rt::is_cancelled(cancel)) return chan_end::cancelled;
  if (c == nullptr) return never(rt::WaitReason::chan_send_null, {.cancel = cancel});
  rt::RuntimeEntry entry;
  return rt::chan_send_at_once(of(c), slot) ? chan_end::done : rt::chan_send(of(c), slot, {.cancel = cancel});
}

chan_end chan_recv(chan_head* c, void* slot) {
  rt::CancelSource* const cancel = cancellation();
  if (rt::is_cancelled(cancel)) return chan_end::cancelled;
  if (c == nullptr) return never(rt::WaitReason::chan_receive_null, {.cancel = cancel});
  rt::RuntimeEntry entry;
  return rt::chan_recv_at_once(of(c), slot) ? chan_end::done : rt::chan_recv(of(c), slot, {.cancel = cancel});
}

chan_end chan_try_send(chan_head* c, const void* slot) {
  if (c == nullptr || !c->can_send()) return chan_end::would_block;
  rt::RuntimeEntry entry;
  return rt::chan_send_at_once(of(c), slot) ? chan_end::done : rt::chan_try_send(of(c), slot);
}

chan_end chan_try_recv(chan_head* c, void* slot) {
  if (c == nullptr || !c->can_recv()) return chan_end::would_block;
  if (c->closed.load(std::memory_order_acquire) != 0 && !c->has_value()) {
    rt::san::acquire(&c->closed);
    return chan_end::closed;
  }
  rt::RuntimeEntry entry;
  return rt::chan_recv_at_once(of(c), slot) ? chan_end::done : rt::chan_try_recv(of(c), slot);
}

chan_end chan_send_for(chan_head* c, const void* slot, std::int64_t ns) {
  rt::ChanWait how;
  if (!context_allows(&how)) return chan_end::cancelled;
  if (ns <= 0) {
    const chan_end end = chan_try_send(c, slot);
    return end == chan_end::would_block ? chan_end::timeout : end;
  }
  if (c == nullptr) {
    how.deadline = deadline_in(ns);
    return never(rt::WaitReason::chan_send_null, how);
  }
  rt::RuntimeEntry entry;
  if (rt::chan_send_at_once(of(c), slot)) return chan_end::done;
  how.deadline = deadline_in(ns);  // not before: most need none
  return rt::chan_send(of(c), slot, how);
}

chan_end chan_recv_for(chan_head* c, void* slot, std::int64_t ns) {
  rt::ChanWait how;
  if (!context_allows(&how)) return chan_end::cancelled;
  if (ns <= 0) {
    const chan_end end = chan_try_recv(c, slot);
    return end == chan_end::would_block ? chan_end::timeout : end;
  }
  if (c == nullptr) {
    how.deadline = deadline_in(ns);
    return never(rt::WaitReason::chan_receive_null, how);
  }
  rt::RuntimeEntry entry;
  if (rt::chan_recv_at_once(of(c), slot)) return chan_end::done;
  how.deadline = deadline_in(ns);  // not before: most need none
  return rt::chan_recv(of(c), slot, how);
}

void chan_close(chan_head* c) {
  if (c == nullptr) rt::fatal("gort::chan: close of a null channel");
  bool first = false;
  {
    rt::RuntimeEntry entry;
    first = rt::chan_close(of(c));
  }
  if (!first) rt::fatal("gort::chan: close of a closed channel");
}

void chan_give_back(chan_head* c, void* box) noexcept {
  rt::RuntimeEntry entry;
  rt::chan_give_back(of(c), box);
}

std::size_t chan_len(const chan_head* c) noexcept {
  if (c == nullptr || of(c)->of_timer) return 0;
  return of(c)->count.load(os::memory_order_acquire) + of(c)->given_back.load(os::memory_order_acquire);
}

std::size_t chan_cap(const chan_head* c) noexcept { return c != nullptr && !of(c)->of_timer ? of(c)->cap : 0; }

void throw_chan_closed() { throw closed(); }

chan_status status_of(chan_end end, chan_status blocked) {
  switch (end) {
    case chan_end::closed: return chan_status::closed;
    case chan_end::cancelled: throw_cancelled();
    default: return blocked;
  }
}

}  // namespace gort::inline v0::detail
