#include "sync/shared_mutex.h"

#include "base/check.h"
#include "gort/detail/sync_words.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::uint32_t kWriter = detail::kSharedWriter;
constexpr std::uint32_t kWriterParked = detail::kSharedWriterParked;
constexpr std::uint32_t kReaderParked = detail::kSharedReaderParked;
constexpr std::uint32_t kReader = detail::kSharedReader;

struct Lists {
  explicit Lists(SyncWord* word) noexcept : readers(word, 0), writers(word, 1) {}
  Mutex& lock() const noexcept { return readers.lock(); }
  std::uint32_t parked() const noexcept {
    return (readers.empty() ? 0 : kReaderParked) | (writers.empty() ? 0 : kWriterParked);
  }
  WaitList readers;
  WaitList writers;
};

bool try_read(SyncWord* word) noexcept {
  std::uint32_t now = word->load(os::memory_order_relaxed);
  while ((now & (kWriter | kWriterParked)) == 0) {
    if (now / kReader == detail::kSharedMaxReaders) fatal("gort::shared_mutex: too many readers");
    if (word->compare_exchange_weak(now, now + kReader, os::memory_order_acquire, os::memory_order_relaxed)) {
      return true;
    }
  }
  return false;
}

/// `n` readers' holds are given up. False: they are the last ones, and somebody waits for that: the lock is the caller's
/// alone. Under the lists' lock.
bool drop_readers(SyncWord* word, std::uint32_t n) noexcept {
  // Acquire: other readers have left without the lock, before the writer to whom it goes.
  std::uint32_t now = word->load(os::memory_order_acquire);
  for (;;) {
    if (now / kReader < n) fatal("gort::shared_mutex: unlock_shared of one that no reader holds");
    if (now / kReader == n && (now & (kWriterParked | kReaderParked)) != 0) return false;
    if (word->compare_exchange_weak(now, now - n * kReader, os::memory_order_release, os::memory_order_acquire)) {
      return true;
    }
  }
}

/// `chain` of `n` readers, which the word counts already, gets its holds. False: as drop_readers, for those that had gone.
bool admit(SyncWord* word, WaiterChain* chain, WakeChain* wake) noexcept {
  std::uint32_t gone = 0;
  while (waiter* w = chain->pop()) gone += wake->grant(w) ? 0 : 1;
  return gone == 0 || drop_readers(word, gone);
}

/// The lock, which is the caller's alone, to those whose turn it is. Under the lists' lock; with all others waiting or
/// about to take that, nobody else writes the word before somebody has been granted something.
void pass_on(SyncWord* word, const Lists& lists, bool writer_first, WakeChain* wake) noexcept {
  for (;;) {
    waiter* const w = lists.writers.first();
    if (w != nullptr && (writer_first || lists.readers.empty())) {
      lists.writers.take(w);
      word->store(kWriter | lists.parked(), os::memory_order_release);
      if (wake->grant(w)) return;
      continue;
    }
    if (lists.readers.empty()) {
      word->store(0, os::memory_order_release);
      return;
    }
    WaiterChain readers;
    const std::uint32_t n = take_all(lists.readers, &readers);
    word->store(n * kReader | lists.parked(), os::memory_order_release);
    if (admit(word, &readers, wake)) return;
    writer_first = true;
  }
}

/// A writer's time has run out.
void writer_left(SyncWord* word, const Lists& lists, waiter* node) noexcept {
  WakeChain wake;
  {
    LockGuard guard(lists.lock());
    if (!lists.writers.leave(node) || !lists.writers.empty()) return;
    // Readers that waited because of it, only, get in beside those that hold the lock.
    std::uint32_t now = word->load(os::memory_order_relaxed);
    WaiterChain readers;
    const std::uint32_t n = (now & kWriter) == 0 ? take_all(lists.readers, &readers) : 0;
    const std::uint32_t parked = lists.readers.empty() ? 0 : kReaderParked;
    while (!word->compare_exchange_weak(now, ((now & ~(kWriterParked | kReaderParked)) | parked) + n * kReader,
                                        os::memory_order_release, os::memory_order_relaxed)) {
    }
    if (!admit(word, &readers, &wake)) pass_on(word, lists, true, &wake);
  }
  wake.wake();
}

void reader_left(SyncWord* word, const Lists& lists, waiter* node) noexcept {
  LockGuard guard(lists.lock());
  if (lists.readers.leave(node) && lists.readers.empty()) word->fetch_and(~kReaderParked, os::memory_order_relaxed);
}

}  // namespace

bool shared_mutex_lock_slow(SyncWord* word, std::int64_t deadline) noexcept {
  BlockingWait wait(WaitReason::shared_mutex_lock, deadline, nullptr);
  const Lists lists(word);
  lists.lock().lock();
  for (std::uint32_t now = word->load(os::memory_order_relaxed);;) {
    if (now == 0) {
      if (!word->compare_exchange_weak(now, kWriter, os::memory_order_acquire, os::memory_order_relaxed)) continue;
      lists.lock().unlock();
      san::acquire(word);
      return true;
    }
    if (word->compare_exchange_weak(now, now | kWriterParked, os::memory_order_relaxed, os::memory_order_relaxed)) break;
  }
  lists.writers.queue(wait.node());
  if (wait.park_unlock(&lists.lock()) != WaitEnd::done) {
    writer_left(word, lists, wait.node());
    return false;
  }
  san::acquire(word);
  return true;
}

bool shared_mutex_lock_shared_slow(SyncWord* word, std::int64_t deadline) noexcept {
  BlockingWait wait(WaitReason::shared_mutex_rlock, deadline, nullptr);
  const Lists lists(word);
  lists.lock().lock();
  for (;;) {
    if (try_read(word)) {
      lists.lock().unlock();
      san::acquire(word);
      return true;
    }
    std::uint32_t now = word->load(os::memory_order_relaxed);
    if ((now & (kWriter | kWriterParked)) == 0) continue;
    if (word->compare_exchange_weak(now, now | kReaderParked, os::memory_order_relaxed, os::memory_order_relaxed)) break;
  }
  lists.readers.queue(wait.node());
  if (wait.park_unlock(&lists.lock()) != WaitEnd::done) {
    reader_left(word, lists, wait.node());
    return false;
  }
  san::acquire(word);
  return true;
}

void shared_mutex_unlock_slow(SyncWord* word) noexcept {
  san::release(word);
  if ((word->load(os::memory_order_relaxed) & kWriter) == 0) {
    fatal("gort::shared_mutex: unlock of one that no writer holds");
  }
  const Lists lists(word);
  WakeChain wake;
  {
    LockGuard guard(lists.lock());
    pass_on(word, lists, false, &wake);
  }
  wake.wake();
}

void shared_mutex_unlock_shared_slow(SyncWord* word) noexcept {
  san::release(word);
  if (word->load(os::memory_order_relaxed) < kReader) {
    fatal("gort::shared_mutex: unlock_shared of one that no reader holds");
  }
  const Lists lists(word);
  WakeChain wake;
  {
    LockGuard guard(lists.lock());
    if (!drop_readers(word, 1)) pass_on(word, lists, true, &wake);
  }
  wake.wake();
}

}  // namespace gort::inline v0::rt
