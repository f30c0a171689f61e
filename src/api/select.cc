#include "sync/select.h"
#include "sync/timers.h"

#include <exception>
#include <new>

#include "api/chan_wait.h"
#include "gort/chan.h"
#include "sched/entry.h"

namespace gort::inline v0::detail {

namespace {

constexpr std::size_t kNone = SIZE_MAX;

/// What the cases besides the channels' ask for.
struct Others {
  bool has_otherwise = false;
  std::size_t otherwise = 0;
  std::size_t timeout = 0;  ///< which `after` is the first
  std::int64_t ns = kForeverNs;
  bool has_timeout = false;
  bool prepared = false;              ///< a send has been: what is not delivered must go back
};

/// A sending case's slot: its own, or that of an earlier case which moves from the same object.
void prepare_send(case_data* cases, std::size_t i) {
  case_data& c = cases[i];
  for (std::size_t j = 0; c.ops->shares && j < i; ++j) {
    if (cases[j].kind != case_kind::send || cases[j].ops != c.ops || cases[j].target != c.target)
      continue;
    c.slot = cases[j].slot;
    return;
  }
  c.ops->prepare(c);
  c.owns_slot = true;
}

/// Undoes what `prepare` did for the sending cases, but `fired`. The first exception of a T that may throw on
/// its way back is kept.
void settle_lost(case_data* cases, std::size_t n, std::size_t fired,
                 std::exception_ptr* error) noexcept {
  for (std::size_t i = 0; i < n; ++i) {
    case_data& c = cases[i];
    if (c.kind != case_kind::send || c.ops->in_place || !c.owns_slot || (fired != kNone && cases[fired].slot == c.slot)) continue;
    try {
      c.ops->lost(c);
    } catch (...) {
      if (!*error) *error = std::current_exception();
    }
  }
}

/// First the cases that copy, then those that move: they may name the same object.
void prepare_sends(case_data* cases, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) cases[i].owns_slot = false;
  try {
    for (const bool moves : {false, true}) {
      for (std::size_t i = 0; i < n; ++i) {
        const case_data& c = cases[i];
        if (c.kind == case_kind::send && !c.ops->in_place && c.ops->shares == moves) prepare_send(cases, i);
      }
    }
  } catch (...) {
    std::exception_ptr error = std::current_exception();
    settle_lost(cases, n, kNone, &error);
    std::rethrow_exception(error);
  }
}

Others prepare(case_data* cases, std::size_t n) {
  Others o;
  for (std::size_t i = 0; i < n; ++i) {
    case_data& c = cases[i];
    switch (c.kind) {
      case case_kind::recv:
        c.slot = c.storage;
        break;
      case case_kind::send:
        if (c.ops->in_place) {
          c.slot = c.target;
          break;
        }
        o.prepared = true;
        break;
      case case_kind::timeout:
        if (!o.has_timeout || c.wait_ns < o.ns) o.timeout = i, o.ns = c.wait_ns;
        o.has_timeout = true;
        break;
      case case_kind::otherwise:
        if (!o.has_otherwise) o.otherwise = i;
        o.has_otherwise = true;
        break;
      case case_kind::never:
        break;
    }
  }
  if (o.prepared) prepare_sends(cases, n);
  return o;
}

/// The index of the case that fired; cancelled and closed throw.
std::size_t finish(case_data* cases, std::size_t n, const rt::SelectResult& result, const Others& others) {
  std::exception_ptr error;
  const bool fired = result.end == chan_end::done;
  if (others.prepared) settle_lost(cases, n, fired ? result.index : kNone, &error);
  if (fired) {
    case_data& c = cases[result.index];
    if (c.ops->fired != nullptr) c.ops->fired(c);
  }
  if (error) std::rethrow_exception(error);
  switch (result.end) {
    case chan_end::done:
      return result.index;
    case chan_end::closed:
      throw_chan_closed();
    case chan_end::cancelled:
      throw_cancelled();
    case chan_end::timeout:
      return others.timeout;
    case chan_end::no_memory:
      throw std::bad_alloc();
    case chan_end::would_block:
      break;
  }
  return others.has_otherwise ? others.otherwise : others.timeout;
}

}  // namespace

std::size_t select(case_data* cases, std::size_t n) {
  rt::ChanWait how;
  const Others others = prepare(cases, n);
  // An `after` without time is as good as an `otherwise`, which is asked for first.
  const bool block = !others.has_otherwise && (!others.has_timeout || others.ns > 0);
  rt::SelectResult result;
  if (!others.has_otherwise && !context_allows(&how)) {
    result.end = chan_end::cancelled;
  } else {
    if (block && others.has_timeout) how.deadline = deadline_in(others.ns);
    rt::RuntimeEntry entry;
    result = rt::select(cases, n, block, how);
  }
  return finish(cases, n, result, others);
}

}  // namespace gort::inline v0::detail
