// gort: intrusive lists. The link is a member of the element; nothing is allocated; callers lock.
#pragma once

#include <cstdint>

#include "base/check.h"

namespace gort::inline v0::rt {

/// Last in, first out, singly linked through T::*Next.
template <class T, T* T::*Next>
class Stack1 {
 public:
  bool empty() const noexcept { return head_ == nullptr; }
  T* head() const noexcept { return head_; }
  void push(T* t) noexcept {
    t->*Next = head_;
    head_ = t;
  }
  /// Null when empty.
  T* pop() noexcept {
    T* t = head_;
    if (t != nullptr) {
      head_ = t->*Next;
      t->*Next = nullptr;
    }
    return t;
  }
  /// O(length); false if it is not there.
  bool remove(T* t) noexcept {
    for (T** at = &head_; *at != nullptr; at = &((*at)->*Next)) {
      if (*at != t) continue;
      *at = t->*Next;
      t->*Next = nullptr;
      return true;
    }
    return false;
  }

 private:
  T* head_ = nullptr;
};

/// First in, first out, singly linked through T::*Next; knows its length.
template <class T, T* T::*Next>
class Queue1 {
 public:
  bool empty() const noexcept { return head_ == nullptr; }
  std::uint32_t size() const noexcept { return size_; }
  T* head() const noexcept { return head_; }
  void push_back(T* t) noexcept {
    t->*Next = nullptr;
    if (tail_ != nullptr) {
      tail_->*Next = t;
    } else {
      head_ = t;
    }
    tail_ = t;
    ++size_;
  }
  void push_front(T* t) noexcept {
    t->*Next = head_;
    head_ = t;
    if (tail_ == nullptr) tail_ = t;
    ++size_;
  }
  /// Behind `before`, which is in the list.
  void insert_after(T* before, T* t) noexcept {
    t->*Next = before->*Next;
    before->*Next = t;
    if (tail_ == before) tail_ = t;
    ++size_;
  }
  T* tail() const noexcept { return tail_; }
  T* pop_front() noexcept {
    T* t = head_;
    if (t == nullptr) return nullptr;
    head_ = t->*Next;
    if (head_ == nullptr) tail_ = nullptr;
    t->*Next = nullptr;
    --size_;
    return t;
  }
  /// Appends all of `other`, which is empty afterwards. O(1).
  void append(Queue1& other) noexcept {
    if (other.head_ == nullptr) return;
    if (tail_ != nullptr) {
      tail_->*Next = other.head_;
    } else {
      head_ = other.head_;
    }
    tail_ = other.tail_;
    size_ += other.size_;
    other.head_ = other.tail_ = nullptr;
    other.size_ = 0;
  }

 private:
  T* head_ = nullptr;
  T* tail_ = nullptr;
  std::uint32_t size_ = 0;
};

}  // namespace gort::inline v0::rt
