#include "os/sim/cores.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os/sim/machine.h"

namespace gort::inline v0::os::sim {

namespace {

void* map_zeros(std::size_t bytes) noexcept {
  void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) machine.finish(SimVerdict::crash, "no memory for the cost model");
  return p;
}

}  // namespace

void Cores::begin(const SimCosts& costs) noexcept {
  costs_ = costs;
  cores_ = costs.cores < 1 ? 1 : costs.cores > kMostCores ? kMostCores : costs.cores;
  busy_ = heap_n_ = idle_n_ = 0;
  for (int i = cores_; i-- > 0;) {
    taken_[i] = false;
    listed_[i] = true;
    idle_[idle_n_++] = static_cast<std::uint16_t>(i);
  }
  words_ = (static_cast<std::size_t>(cores_) + 63) / 64;
  lines_ = static_cast<Line*>(map_zeros(kLines * sizeof(Line)));
  bitmaps_ = static_cast<std::uint64_t*>(map_zeros(kBitmapBytes));
  bitmaps_used_ = 0;
  places_ = static_cast<Spent*>(map_zeros(kPlaces * sizeof(Spent)));
  locks_ = static_cast<Spent*>(map_zeros(kPlaces * sizeof(Spent)));
  transfers_ = 0;
  transfer_ns_ = 0;
}

// ---- lines ----------------------------------------------------------------------------------

Line& Cores::line(const void* where) noexcept {
  const std::uintptr_t key = reinterpret_cast<std::uintptr_t>(where) / 64 + 1;
  for (std::size_t i = key * 0x9e3779b97f4a7c15 >> 44, n = 0; n < kLines;
       i = (i + 1) % kLines, ++n) {
    Line& l = lines_[i];
    if (l.key == key) return l;
    if (l.key != 0) continue;
    l.key = key;
    if ((bitmaps_used_ + words_) * sizeof(std::uint64_t) > kBitmapBytes) break;
    l.readers = bitmaps_ + bitmaps_used_;
    bitmaps_used_ += words_;
    return l;
  }
  machine.finish(SimVerdict::crash, "more cache lines than the cost model knows");
}

std::int64_t Cores::access(int core, const void* where, Access how, std::int64_t now,
                           const char* place) noexcept {
  Line& l = line(where);
  const std::uint64_t bit = std::uint64_t{1} << core % 64;
  std::uint64_t& readers = l.readers[core / 64];
  const bool untouched = l.owner < 0 && l.free_at == 0;
  const std::int64_t at_hand = how == Access::rmw ? costs_.atomic : costs_.local;
  if (untouched || l.owner == core || (how == Access::read && (readers & bit) != 0)) {
    if (untouched || how != Access::read) {
      if (l.owner != core) memset(l.readers, 0, words_ * sizeof l.readers[0]);
      l.owner = core;
      readers |= bit;
      if (l.free_at == 0) l.free_at = 1;
    }
    return at_hand;
  }
  const std::int64_t begin = now > l.free_at ? now : l.free_at;
  std::int64_t took = begin - now + costs_.remote + at_hand;
  if (how == Access::read) {
    // From a core that has written it, one after the other; copies of what nobody writes do not wait for each other much.
    l.free_at = begin + (l.owner >= 0 ? costs_.remote : costs_.remote / 8);
    l.owner = -1;
  } else {
    memset(l.readers, 0, words_ * sizeof l.readers[0]);
    l.owner = core;
    l.free_at = begin + costs_.remote;
    // The store waits in the core's buffer, not the thread.
    if (how == Access::write) took = at_hand;
  }
  readers |= bit;
  ++transfers_;
  transfer_ns_ += took;
  Spent& s = spent(places_, place);
  ++s.times;
  s.ns += took;
  return took;
}

// ---- cores ----------------------------------------------------------------------------------

int Cores::take(int wanted) noexcept {
  if (busy_ == cores_) return -1;
  int core = wanted;
  if (core < 0 || taken_[core]) {
    do {
      core = idle_[--idle_n_];
      listed_[core] = false;
    } while (taken_[core]);
  }
  taken_[core] = true;
  ++busy_;
  return core;
}

void Cores::give(int core) noexcept {
  taken_[core] = false;
  --busy_;
  if (listed_[core]) return;
  listed_[core] = true;
  idle_[idle_n_++] = static_cast<std::uint16_t>(core);
}

// ---- the heap -------------------------------------------------------------------------------

void Cores::place(int i, Thread* t) noexcept {
  heap_[i] = t;
  t->heap_at = i;
}

void Cores::sift_up(int i) noexcept {
  Thread* t = heap_[i];
  for (; i > 0; i = (i - 1) / 2) {
    Thread* up = heap_[(i - 1) / 2];
    if (up->next_at <= t->next_at) break;
    place(i, up);
  }
  place(i, t);
}

void Cores::sift_down(int i) noexcept {
  Thread* t = heap_[i];
  for (;;) {
    int child = 2 * i + 1;
    if (child >= heap_n_) break;
    if (child + 1 < heap_n_ && heap_[child + 1]->next_at < heap_[child]->next_at) ++child;
    if (t->next_at <= heap_[child]->next_at) break;
    place(i, heap_[child]);
    i = child;
  }
  place(i, t);
}

void Cores::add(Thread& t, std::int64_t when) noexcept {
  t.next_at = when;
  place(heap_n_++, &t);
  sift_up(heap_n_ - 1);
}

void Cores::remove(Thread& t) noexcept {
  const int i = t.heap_at;
  if (i < 0) return;
  t.heap_at = -1;
  Thread* last = heap_[--heap_n_];
  if (last == &t) return;
  place(i, last);
  sift_up(i);
  sift_down(last->heap_at);
}

// ---- what was spent -------------------------------------------------------------------------

Spent& Cores::spent(Spent* table, const char* name) noexcept {
  for (std::size_t i = reinterpret_cast<std::uintptr_t>(name) * 0x9e3779b97f4a7c15 >> 54;;
       i = (i + 1) % kPlaces) {
    Spent& s = table[i];
    if (s.name == name) return s;
    if (s.name != nullptr) continue;
    s.name = name;
    return s;
  }
}

void Cores::waited_for_lock(const char* name, std::int64_t ns) noexcept {
  Spent& s = spent(locks_, name);
  ++s.times;
  s.ns += ns;
}

void Cores::report(SimReport& r) noexcept {
  r.transfers = transfers_;
  r.transfer_ns = transfer_ns_;
  // A function may have a name per file.
  for (std::size_t i = 0; i < kPlaces; ++i) {
    for (std::size_t k = i + 1; k < kPlaces && places_[i].times != 0; ++k) {
      if (places_[k].times == 0 || strcmp(places_[i].name, places_[k].name) != 0) continue;
      places_[i].times += places_[k].times;
      places_[i].ns += places_[k].ns;
      places_[k].times = 0;
    }
  }
  const auto longest = [](Spent* table, SimHot* out, int& n, bool function) {
    for (n = 0; n < SimReport::kMost; ++n) {
      Spent* most = nullptr;
      for (std::size_t i = 0; i < kPlaces; ++i) {
        if (table[i].times != 0 && (most == nullptr || table[i].ns > most->ns)) most = &table[i];
      }
      if (most == nullptr) break;
      const std::string_view text =
          function ? short_name(most->name) : std::string_view(most->name);
      SimHot& h = out[n];
      const std::size_t bytes = text.size() < sizeof h.what - 1 ? text.size() : sizeof h.what - 1;
      memcpy(h.what, text.data(), bytes);
      h.what[bytes] = '\0';
      h.times = most->times;
      h.ns = most->ns;
      most->times = 0;
      most->ns = -1;
    }
  };
  longest(places_, r.places, r.places_n, true);
  longest(locks_, r.locks, r.locks_n, false);
}

}  // namespace gort::inline v0::os::sim
