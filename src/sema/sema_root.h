// gort: the table behind the semaphores: who waits for which address.
//
//   table of kSemRoots roots, by a hash of the address
//     root: a lock, nwait, a treap of the addresses that somebody waits on
//       address: a list of waiters, oldest first
//
// A waiter is whatever `gort::waiter` is embedded in (a G, a foreign thread's record), so it carries no
// tree links: each *address* has a node of its own while somebody waits on it. Go makes the oldest waiter
// the tree's node, which costs every waiter the links and every departure of an oldest one a re-hanging.
//
// Where there is no memory for a node, the waiters of such addresses stand *beside* the tree, in one list per root: waiting
// always works. Everything is O(waiters beside) there. An address is in the tree or beside it, never both.
//
// 256 roots. A power of two, because the hash is a multiplication (Fibonacci hashing, Knuth vol. 3, 6.4)
// and its best bits are the top ones: any stride between addresses (a lock in every 64-byte line, in every
// 4 KiB page) spreads evenly, while Go's `addr / 8 mod 251` needs a prime against such strides, and a
// division. 256 x 128 bytes: two lines each, since neighbouring lines are fetched in pairs.
#pragma once

#include <cstdint>

#include "base/mutex.h"
#include "gort/waiter.h"
#include "os/os.h"

namespace gort::inline v0::rt {

inline constexpr int kSemRootBits = 8;
inline constexpr std::uint32_t kSemRoots = 1u << kSemRootBits;

/// An address that somebody waits on. The tree is ordered by key, and by priority it is a heap (parent at
/// or above child). The priority is a hash of the key, so the tree's shape depends on the set alone.
struct SemAddr {
  const void* key = nullptr;
  SemAddr* left = nullptr;    ///< smaller keys; also the link of free nodes
  SemAddr* right = nullptr;   ///< greater keys
  waiter* head = nullptr;     ///< oldest waiter; never null while in the tree
  waiter* tail = nullptr;
  std::uint32_t count = 0;
  std::uint32_t priority = 0;
};

class alignas(128) SemRoot {
 public:
  constexpr SemRoot() noexcept : lock(LockRank::sema_root) {}

  Mutex lock;  ///< guards the tree, the lists, and every waiter in them

  /// Waiters that are queued or about to look once more before they queue. Written under the lock, read by
  /// releasers without it. See "The two-sided look" in sema.cc.
  os::atomic<std::uint32_t> nwait{0};

  // All of these under the lock.
  /// Puts w, whose key is set, at the end of its address's list, or at the front.
  void queue(waiter* w, bool front) noexcept;
  /// Waiters in one hand: off the queue, linked by next and prev, oldest first, still counted in nwait.
  struct Taken {
    waiter* first = nullptr;
    std::uint32_t n = 0;
    std::uint32_t gone = 0;  ///< n, and those passed over: what nwait is to be lowered by
  };
  /// Takes at most `max` waiters of `key` off. Those left over from an ended run are passed over and gone.
  Taken dequeue(const void* key, std::uint32_t max) noexcept;
  /// Puts all but the first `keep` back where they were.
  void put_back(Taken* taken, std::uint32_t keep) noexcept;
  /// The waiters taken will not come back: lowers nwait. Not earlier: a releaser that read the lower count
  /// meanwhile would go away, and the waiter put back would sleep on its unit.
  void settle(const Taken& taken) noexcept;
  /// The oldest waiter of `key` that is still queued; those left over from an ended run are dropped before. Null: none.
  waiter* first(const void* key) noexcept;
  /// Takes w off its address's list, wherever it stands there. For who keeps nwait himself (sync/wait_list.h).
  void take(waiter* w) noexcept;
  /// Waiters of `key`.
  std::uint32_t waiting(const void* key) const noexcept;
  /// The treap, for walks; and who stands beside it.
  const SemAddr* tree() const noexcept { return tree_; }
  const waiter* beside() const noexcept { return beside_; }

 private:
  SemAddr** place_of(const void* key) noexcept;
  /// Null: no memory.
  SemAddr* add_address(const void* key) noexcept;
  waiter* first_beside(const void* key) const noexcept;
  void queue_beside(waiter* w, bool front) noexcept;
  void take_beside(waiter* w) noexcept;
  Taken dequeue_beside(const void* key, std::uint32_t max) noexcept;
  void drop_address(SemAddr** at) noexcept;

  static constexpr std::uint32_t kKeep = 32;  // nodes that a root keeps for itself
  SemAddr* tree_ = nullptr;
  waiter* beside_ = nullptr;       // oldest first, of all addresses that have no node
  waiter* beside_last_ = nullptr;
  SemAddr* free_ = nullptr;
  std::uint32_t free_n_ = 0;
};

extern SemRoot sem_table[kSemRoots];

/// Index into sem_table.
inline std::uint32_t sem_root_index(const void* addr) noexcept {
  // Words are 4 bytes apart at least. 2^64 / golden ratio.
  const std::uint64_t a = reinterpret_cast<std::uintptr_t>(addr) >> 2;
  return static_cast<std::uint32_t>((a * 0x9e3779b97f4a7c15ULL) >> (64 - kSemRootBits));
}

inline SemRoot& sem_root(const void* addr) noexcept { return sem_table[sem_root_index(addr)]; }

/// The tree's own consistency; fatal if it is broken. Under the lock.
void check_sem_root(const SemRoot& root) noexcept;

}  // namespace gort::inline v0::rt
