// Each small primitive, in bodies small enough for every schedule to be tried: the bounds are stated in the list below.
#include "base/mutex.h"
#include "base/note.h"
#include "tests/sim/scenario.h"

namespace gort::inline v0::rt {

namespace {

using os::sim_assert;
using os::sim_join;
using os::sim_spawn;
using os::SimOptions;
using os::SimVerdict;

constexpr SimOptions kSmall = {.pct_steps = 40, .max_steps = 5000, .isolate = false};
constexpr SimOptions kBuffered = {.pct_steps = 40, .max_steps = 5000, .store_buffers = true, .isolate = false};

// ---- Mutex -------------------------------------------------------------------------------------------

template <int Threads>
void mutex_once(void*) {
  struct Room {
    Mutex mutex{LockRank::leaf};
    os::atomic<int> inside{0};
    void visit() {
      mutex.lock();
      sim_assert(inside.load() == 0, "one at a time");
      inside.store(1);
      inside.store(0);
      mutex.unlock();
    }
  } room;
  os::sim_label(&room.mutex, sizeof room.mutex, "mutex");
  os::sim_label(&room.inside, sizeof room.inside, "inside");
  int ids[Threads];
  for (int i = 1; i < Threads; ++i) ids[i] = sim_spawn([](void* p) { static_cast<Room*>(p)->visit(); }, &room);
  room.visit();
  for (int i = 1; i < Threads; ++i) sim_join(ids[i]);
}

// ---- Note --------------------------------------------------------------------------------------------

void note_once(void*) {
  struct Hand {
    Note note;
    os::atomic<int> thing{0};
  } h;
  os::sim_label(&h.note, sizeof h.note, "note");
  const int t = sim_spawn(
      [](void* p) {
        auto* hand = static_cast<Hand*>(p);
        hand->thing.store(1, os::memory_order_relaxed);
        hand->note.wakeup();
      },
      &h);
  h.note.sleep();
  sim_assert(h.thing.load(os::memory_order_relaxed) == 1, "a wakeup publishes");
  h.note.clear();
  sim_join(t);
}

/// Two ring, one clears and looks: nothing rung for is left lying. Broken: it looks, then clears.
template <bool Broken>
void ring_twice(void*) {
  struct Bell {
    Note note;
    os::atomic<int> work{0};
  } b;
  os::sim_label(&b.note, sizeof b.note, "note");
  os::sim_label(&b.work, sizeof b.work, "work");
  constexpr auto ringer = [](void* p) {
    static_cast<Bell*>(p)->work.fetch_add(1);
    static_cast<Bell*>(p)->note.ring();
  };
  const int x = sim_spawn(ringer, &b);
  const int y = sim_spawn(ringer, &b);
  for (int done = 0; done < 2;) {
    b.note.sleep();
    if constexpr (Broken) {
      done += b.work.exchange(0);
      b.note.clear();
    } else {
      b.note.clear();
      done += b.work.exchange(0);
    }
  }
  sim_join(x);
  sim_join(y);
}
constexpr Flaw kClearsLate[] = {{.name = "clears_late",
                                 .what = "the note is cleared after the look",
                                 .verdict = SimVerdict::deadlock,
                                 .body = ring_twice<true>}};

/// The clear, a plain store, and the look that follows it: template thread and sysmon put a full fence between the
/// two, since the ringer's words are read without a lock. Litmus: the words are one flag, set before ring().
template <bool Fence>
void clear_and_look(void*) {
  struct Bell {
    Note note;
    os::atomic<int> flag{0};
  } b;
  os::sim_label(&b.note, sizeof b.note, "note");
  os::sim_label(&b.flag, sizeof b.flag, "flag");
  b.note.ring();  // an earlier one, for nothing
  const int t = sim_spawn(
      [](void* p) {
        auto* bell = static_cast<Bell*>(p);
        bell->flag.store(1, os::memory_order_relaxed);
        bell->note.ring();
      },
      &b);
  for (;;) {
    b.note.clear();
    if constexpr (Fence) os::fence(os::memory_order_seq_cst);
    if (b.flag.load(os::memory_order_relaxed) != 0) break;
    b.note.sleep();
  }
  sim_join(t);
}
constexpr Flaw kNoFence[] = {{.name = "no_fence",
                              .what = "no fence between clearing the note and looking",
                              .verdict = SimVerdict::deadlock,
                              .body = clear_and_look<false>}};

constexpr Scenario kAll[] = {
    {.name = "small_mutex2",
     .what = "two threads, one lock, once each",
     .body = mutex_once<2>,
     .options = kBuffered,
     .seeds = 1000,
     .preemptions = os::kSimAll},
    {.name = "small_mutex3",
     .what = "three threads, one lock, once each",
     .body = mutex_once<3>,
     .options = kSmall,
     .seeds = 1000,
     .preemptions = 3},
    {.name = "small_note",
     .what = "a wakeup and a sleep",
     .body = note_once,
     .options = kBuffered,
     .seeds = 1000,
     .preemptions = os::kSimAll},
    {.name = "small_bell",
     .what = "two ring, one clears and looks",
     .body = ring_twice<false>,
     .options = kSmall,
     .seeds = 1000,
     .preemptions = os::kSimAll,
     .flaws = kClearsLate},
    {.name = "small_clear",
     .what = "clear, full fence, look, against store, ring",
     .body = clear_and_look<true>,
     .options = kBuffered,
     .seeds = 1000,
     .preemptions = os::kSimAll,
     .flaws = kNoFence},
};

}  // namespace

extern const std::span<const Scenario> small_scenarios;
const std::span<const Scenario> small_scenarios = kAll;

}  // namespace gort::inline v0::rt
