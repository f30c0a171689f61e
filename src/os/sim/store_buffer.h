// gort simulator: a thread's store buffer. Stores leave it in the order in which they came; the owner's loads see the
// youngest store to their word.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gort::inline v0::os::sim {

class StoreBuffer {
 public:
  static constexpr int kMost = 12;
  struct Entry {
    void* addr;
    std::uint64_t bits;
    std::uint64_t due;  // the step at which it leaves by itself
    std::uint32_t bytes;
  };

  bool empty() const noexcept { return n_ == 0; }
  bool full() const noexcept { return n_ == kMost; }
  const Entry& oldest() const noexcept { return e_[0]; }

  void put(void* addr, const void* value, std::size_t bytes, std::uint64_t due) noexcept {
    Entry& e = e_[n_++];
    e = {addr, 0, due, static_cast<std::uint32_t>(bytes)};
    __builtin_memcpy(&e.bits, value, bytes);
  }
  /// Takes the oldest out and lets it be seen.
  void drain_one() noexcept {
    __builtin_memcpy(e_[0].addr, &e_[0].bits, e_[0].bytes);
    for (int i = 1; i < n_; ++i) e_[i - 1] = e_[i];
    --n_;
  }
  void forward(const void* addr, void* value, std::size_t bytes) const noexcept {
    for (int i = n_; i-- > 0;) {
      if (e_[i].addr != addr) continue;
      __builtin_memcpy(value, &e_[i].bits, bytes);
      return;
    }
  }
  void forget(const void* addr) noexcept {
    int kept = 0;
    for (int i = 0; i < n_; ++i) {
      if (e_[i].addr != addr) e_[kept++] = e_[i];
    }
    n_ = kept;
  }

 private:
  int n_ = 0;
  Entry e_[kMost] = {};
};

}  // namespace gort::inline v0::os::sim
