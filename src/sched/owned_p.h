// gort: OwnedP, a P in nobody's hand but the current function's.
//
// Rule R made a type. From the moment a P leaves one of its places until it is in the next one, exactly
// one OwnedP stands for it, on the stack of one thread that cannot be stopped, preempted or parked
// meanwhile (Tls::locks and Tls::owned count it). The rules, all CHECKed in every build:
//
//   born   idle list (pidle_get), syscall (retake_p), release_p, a new one (own_new_p), after a stop (take_stopped_p)
//   dies   wire, hand_to_m, pidle_put, stop_owned_p
//
//   * It dies exactly once, on the thread where it was born: the destructor CHECKs. C++ has no linear
//     types, so forgetting one is caught at run time, at the end of the very scope that forgot it.
//   * Not default-constructible, not copyable, not assignable (assignment would drop a P). "Perhaps one"
//     is MaybeOwnedP, which must be asked before it gives one out.
//   * It is never alive over a context switch, a note's sleep, thread creation or user code: those CHECK
//     Tls::owned == 0.
//   * Death is not a stop point. Requests are honoured at the outermost runtime exit, in schedule(), when
//     parking and at syscall entry and exit, nowhere else.
#pragma once

#include <utility>

#include "base/check.h"
#include "os/os.h"
#include "sched/p.h"

namespace gort::inline v0::rt {

struct M;

class [[nodiscard]] OwnedP {
 public:
  OwnedP(OwnedP&& other) noexcept : p_(std::exchange(other.p_, nullptr)) {}
  OwnedP(const OwnedP&) = delete;
  OwnedP& operator=(OwnedP&&) = delete;
  OwnedP& operator=(const OwnedP&) = delete;
  ~OwnedP() { GORT_CHECK(p_ == nullptr, "a P was dropped: an OwnedP went out of scope alive"); }

  P* operator->() const noexcept {
    GORT_CHECK(p_ != nullptr, "an OwnedP is used after it was given away");
    return p_;
  }

 private:
  explicit OwnedP(P* p) noexcept : p_(p) {
    os::Tls& t = os::tls();
    ++t.owned;
    ++t.locks;
    p->owner.store(static_cast<M*>(t.m), os::memory_order_relaxed);
  }
  /// Ends the ownership; the caller has put (or is about to put, unstoppably) the P into its next place.
  P* die() && noexcept {
    GORT_CHECK(p_ != nullptr, "an OwnedP is used after it was given away");
    os::Tls& t = os::tls();
    GORT_CHECK(t.owned > 0, "an OwnedP dies on a thread that owns none");
    --t.owned;
    --t.locks;
    return std::exchange(p_, nullptr);
  }

  P* p_;

  friend class MaybeOwnedP;
  // Births.
  friend class MaybeOwnedP pidle_get() noexcept;
  friend class MaybeOwnedP retake_p(P* p) noexcept;
  friend OwnedP release_p() noexcept;
  friend OwnedP own_new_p(P* p) noexcept;
  friend class MaybeOwnedP take_stopped_p(P* p) noexcept;
  // Deaths.
  friend void wire(OwnedP p) noexcept;
  friend void hand_to_m(OwnedP p, M* m) noexcept;
  friend void pidle_put(OwnedP p) noexcept;
  friend void stop_owned_p(OwnedP p) noexcept;
  friend void old_send_request(OwnedP p, bool spinning) noexcept;  // test builds (old_ways.h)
};

/// The answer of a birth that can fail.
class [[nodiscard]] MaybeOwnedP {
 public:
  MaybeOwnedP() noexcept = default;
  MaybeOwnedP(OwnedP p) noexcept : p_(std::exchange(p.p_, nullptr)) {}  // NOLINT: an answer
  MaybeOwnedP(const MaybeOwnedP&) = delete;
  MaybeOwnedP& operator=(const MaybeOwnedP&) = delete;
  ~MaybeOwnedP() { GORT_CHECK(p_ == nullptr, "a P was dropped: nobody took it out of a MaybeOwnedP"); }

  explicit operator bool() const noexcept { return p_ != nullptr; }
  P* operator->() const noexcept { return p_; }
  OwnedP take() noexcept {
    GORT_CHECK(p_ != nullptr, "there is no P to take");
    OwnedP out(p_);
    // The count went up in OwnedP(P*) once more than there are Ps: the value moves, the account does not.
    os::Tls& t = os::tls();
    --t.owned;
    --t.locks;
    p_ = nullptr;
    return out;
  }

 private:
  P* p_ = nullptr;
};

}  // namespace gort::inline v0::rt
