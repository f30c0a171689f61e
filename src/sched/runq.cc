#include "sched/runq.h"

namespace gort::inline v0::rt {

std::uint32_t RunQueue::spill(G** out) noexcept {
  std::uint32_t h = head_.load(os::memory_order_acquire);
  const std::uint32_t t = tail_.load(os::memory_order_relaxed);
  if (t - h < kSize) return 0;
  for (std::uint32_t i = 0; i < kBatch; ++i) out[i] = ring_[(h + i) % kSize].load(os::memory_order_relaxed);
  if (!head_.compare_exchange_strong(h, h + kBatch, os::memory_order_acq_rel, os::memory_order_relaxed)) return 0;
  return kBatch;
}

std::uint32_t RunQueue::grab(G** out) noexcept {
  std::uint32_t h = head_.load(os::memory_order_acquire);
  for (;;) {
    const std::uint32_t t = tail_.load(os::memory_order_acquire);
    std::uint32_t n = t - h;
    n -= n / 2;
    if (n == 0) return 0;
    if (n > kSize / 2) {  // head and tail were read apart: the pair never existed
      h = head_.load(os::memory_order_acquire);
      continue;
    }
    if (n > kBatch) n = kBatch;
    for (std::uint32_t i = 0; i < n; ++i) out[i] = ring_[(h + i) % kSize].load(os::memory_order_relaxed);
    if (head_.compare_exchange_strong(h, h + n, os::memory_order_acq_rel, os::memory_order_acquire)) return n;
  }
}

bool RunQueue::empty() const noexcept {
  // The owner moves a displaced runnext into the ring: between the two it is in neither. Reading tail
  // again tells whether that happened while we looked.
  for (;;) {
    const std::uint32_t h = head_.load(os::memory_order_acquire);
    const std::uint32_t t = tail_.load(os::memory_order_acquire);
    G* const next = next_.load(os::memory_order_acquire);
    if (t == tail_.load(os::memory_order_acquire)) return h == t && next == nullptr;
  }
}

std::uint32_t RunQueue::size() const noexcept {
  const std::uint32_t h = head_.load(os::memory_order_acquire);
  const std::uint32_t t = tail_.load(os::memory_order_acquire);
  const std::uint32_t n = t - h;
  return (n > kSize ? 0 : n) + (has_next() ? 1 : 0);
}

}  // namespace gort::inline v0::rt
