// Where values live: the only file that knows. Here it is ordinary memory and a count of references, so that it can be
// exchanged for a collected heap and the two compared.
//
// The rest of the server asks three things of a value's reference:
//
//   make<T>(…)       a new value
//   ref<T>           copies mean the same value; it lives as long as one of them
//   r.shared()       whether another reference may see it. A value that is shared is never written: who wants to
//                    change it makes a clone first (keyspace.h). That is how a snapshot goes on reading what
//                    clients go on changing.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace kv {

/// What every value begins with.
class counted {
 public:
  counted() noexcept = default;
  counted(const counted&) noexcept {}  // a clone has references of its own
  counted& operator=(const counted&) = delete;
  virtual ~counted() = default;

 private:
  template <class T>
  friend class ref;
  // Written by whoever holds a reference: sessions, and the snapshot's writer without a shard's lock.
  mutable std::atomic<std::uint32_t> references_{0};
};

template <class T>
class ref {
 public:
  ref() noexcept = default;
  explicit ref(T* p) noexcept : p_(p) { take(); }
  ref(const ref& o) noexcept : p_(o.p_) { take(); }
  ref(ref&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  template <class U>
  ref(ref<U> o) noexcept : p_(o.release()) {}
  ref& operator=(ref o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~ref() {
    // Release: our reads of the value come before its end. Acquire: so do all others'.
    if (p_ != nullptr && p_->references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete p_;
  }

  T* get() const noexcept { return p_; }
  T& operator*() const noexcept { return *p_; }
  T* operator->() const noexcept { return p_; }
  explicit operator bool() const noexcept { return p_ != nullptr; }
  /// Acquire, for the partner in ~ref: who finds itself alone may write what the other has read.
  bool shared() const noexcept { return p_->references_.load(std::memory_order_acquire) > 1; }
  /// The caller takes the reference over.
  T* release() noexcept { return std::exchange(p_, nullptr); }
  /// Takes over what release() gave.
  static ref adopt(T* p) noexcept {
    ref r;
    r.p_ = p;
    return r;
  }

 private:
  void take() noexcept {
    if (p_ != nullptr) p_->references_.fetch_add(1, std::memory_order_relaxed);
  }
  T* p_ = nullptr;
};

template <class T, class... Args>
ref<T> make(Args&&... args) {
  return ref<T>(new T(std::forward<Args>(args)...));
}

}  // namespace kv
