#include "sched/stack_cache.h"

#include <new>

#include "sched/sched.h"
#include "sched/spawn.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::uint32_t kOwn = 64;         // stacks that a P keeps for itself
constexpr std::uint32_t kBatch = 32;       // moved between caches at once
constexpr std::uint32_t kFresh = 8;        // taken from the pool at once: their links touch a page each
constexpr std::uint32_t kClaims = 64;      // claimed at once
constexpr std::uint32_t kTrimBatch = 512;  // given to the pool per look, at most
constexpr std::uint32_t kKeep = 64;        // left in the shared cache for good
constexpr std::int64_t kOnItsWay = 5'000'000'000;  // ns that a stack takes from one place to another, at the very most

/// How many stacks p may put into its cache now, beside one that is used at once: no more than it has claims for.
std::uint32_t room(const P* p, std::uint32_t most) noexcept { return p->claims < most ? p->claims : most; }

bool take_shared(Stack* out) noexcept {
  LockGuard guard(sched.g_free_lock);
  return sched.stacks.pop(out);
}

/// All other stacks have claims of their own: one that this claim stands for is in the pool, in the shared cache, or on
/// its way between the two.
Stack take_last(std::int64_t until) noexcept {
  for (Stack s;; os::thread_yield()) {
    if (stack_alloc(default_stack_bytes(), &s) || take_shared(&s)) return s;
    if (os::nanotime() > until) fatal("no goroutine stack to be had although one was claimed");
  }
}

/// A claim of several has failed, and none has succeeded since: then no P keeps claims that it does not need.
constinit os::atomic<bool> scarce{false};

/// p's stacks go where everybody finds them, and with them what their claims stood for.
void share_stacks(P* p) noexcept {
  if (p->stacks.size() == 0) return;
  LockGuard guard(sched.g_free_lock);
  for (Stack s; p->stacks.pop(&s);) sched.stacks.push(s);
}

/// What idle Ps keep is of use to nobody. Under sched.lock they are nobody's.
void empty_idle_ps() noexcept {
  LockGuard guard(sched.lock);
  for (P* p = sched.idle_p; p != nullptr; p = p->idle_link) {
    share_stacks(p);
    stack_unclaim_all(p);
  }
}

bool claim_last() noexcept {
  if (stack_claim(default_stack_bytes(), 1)) return true;
  empty_idle_ps();
  return stack_claim(default_stack_bytes(), 1);
}

/// Claims for p's account, which has none to spare. False: no address space.
bool claim_more(P* p) noexcept {
  const bool enough = stack_claim(default_stack_bytes(), kClaims);
  scarce.store(!enough, os::memory_order_relaxed);
  if (enough) {
    p->claims += kClaims;
    return true;
  }
  share_stacks(p);
  if (p->claims == 0 && claim_last()) p->claims = 1;
  return p->claims != 0;
}

}  // namespace

void StackList::push(const Stack& s) noexcept {
  auto* f = ::new (reinterpret_cast<void*>(s.hi - sizeof(FreeStack))) FreeStack{s, head_};
  head_ = f;
  ++size_;
}

Stack stack_take_slow(P* p) noexcept {
  Stack s;
  {
    LockGuard guard(sched.g_free_lock);
    const std::uint32_t most = room(p, kBatch - 1) + 1;
    while (p->stacks.size() < most && sched.stacks.pop(&s)) p->stacks.push(s);
    if (sched.stacks.size() < sched.stacks_low) sched.stacks_low = sched.stacks.size();
  }
  if (p->stacks.pop(&s)) return s;
  Stack got[kFresh];
  const std::size_t n = stack_alloc_batch(default_stack_bytes(), got, room(p, kFresh - 1) + 1);
  if (n == 0) return take_last(os::nanotime() + kOnItsWay);
  for (std::size_t i = 1; i < n; ++i) p->stacks.push(got[i]);
  return got[0];
}

void stack_put(P* p, const Stack& s) noexcept {
  if (p == nullptr || p->stacks.size() >= p->claims) {
    LockGuard guard(sched.g_free_lock);
    sched.stacks.push(s);
    return;
  }
  p->stacks.push(s);
  if (p->stacks.size() <= kOwn) return;
  LockGuard guard(sched.g_free_lock);
  Stack t;
  for (std::uint32_t i = 0; i < kBatch && p->stacks.pop(&t); ++i) sched.stacks.push(t);
}

bool stack_claim_one(P* p) noexcept {
  if (p == nullptr) return claim_last();
  if (p->claims <= p->stacks.size() && !claim_more(p)) return false;
  --p->claims;
  return true;
}

void stack_unclaim_one(P* p) noexcept {
  if (p == nullptr) {
    stack_unclaim(default_stack_bytes(), 1);
    return;
  }
  ++p->claims;
  std::uint32_t n = 0;
  if (p->claims > 4 * kClaims) n = 2 * kClaims;
  if (scarce.load(os::memory_order_relaxed)) n = p->claims - p->stacks.size();
  if (n == 0) return;
  p->claims -= n;
  stack_unclaim(default_stack_bytes(), n);
}

void stack_unclaim_all(P* p) noexcept {
  if (p->claims != 0) stack_unclaim(default_stack_bytes(), p->claims);
  p->claims = 0;
}

void stack_cache_trim() noexcept {
  Stack batch[32];
  std::uint32_t todo = 0;
  {
    LockGuard guard(sched.g_free_lock);
    // What lay unused since the last look.
    todo = sched.stacks_low > kKeep ? (sched.stacks_low - kKeep + 1) / 2 : 0;
    if (todo > kTrimBatch) todo = kTrimBatch;
  }
  while (todo > 0) {
    std::uint32_t n = 0;
    {
      LockGuard guard(sched.g_free_lock);
      while (n < 32 && n < todo && sched.stacks.pop(&batch[n])) ++n;
    }
    if (n == 0) break;
    stack_free_batch(batch, n);
    todo -= n;
  }
  LockGuard guard(sched.g_free_lock);
  sched.stacks_low = sched.stacks.size();
}

bool stack_cache_trimmable() noexcept {
  LockGuard guard(sched.g_free_lock);
  return sched.stacks.size() > kKeep;
}

}  // namespace gort::inline v0::rt
