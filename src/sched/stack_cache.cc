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

/// Claims for p's account, which has none to spare. False: no address space.
bool claim_more(P* p) noexcept {
  if (stack_claim(default_stack_bytes(), kClaims)) {
    p->claims += kClaims;
    return true;
  }
  // Every claim is needed: those that stand for stacks in the cache, too.
  if (p->stacks.size() != 0) {
    LockGuard guard(sched.g_free_lock);
    for (Stack s; p->stacks.pop(&s);) sched.stacks.push(s);
  }
  if (p->claims != 0) return true;
  if (!stack_claim(default_stack_bytes(), 1)) return false;
  p->claims = 1;
  return true;
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
  if (p == nullptr) {
    LockGuard guard(sched.g_free_lock);
    sched.stacks.push(s);
    return;
  }
  p->stacks.push(s);
  GORT_DCHECK(p->stacks.size() <= p->claims, "a P keeps more stacks than it has claims for");
  if (p->stacks.size() <= kOwn) return;
  LockGuard guard(sched.g_free_lock);
  Stack t;
  for (std::uint32_t i = 0; i < kBatch && p->stacks.pop(&t); ++i) sched.stacks.push(t);
}

bool stack_claim_one(P* p) noexcept {
  if (p == nullptr) return stack_claim(default_stack_bytes(), 1);
  if (p->claims <= p->stacks.size() && !claim_more(p)) return false;
  --p->claims;
  return true;
}

void stack_unclaim_one(P* p) noexcept {
  if (p == nullptr) {
    stack_unclaim(default_stack_bytes(), 1);
    return;
  }
  if (++p->claims <= 4 * kClaims) return;
  p->claims -= 2 * kClaims;
  stack_unclaim(default_stack_bytes(), 2 * kClaims);
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
