#include "gort/pool.h"

#include <atomic>
#include <cstdint>

#include "base/sanitizer.h"
#include "os/os.h"
#include "sched/entry.h"
#include "sched/sched.h"
#include "sched/window.h"

namespace gort::inline v0::detail {

namespace {

#if defined(GORT_TESTING)
constinit std::atomic<std::int64_t> age_ns{std::chrono::nanoseconds(pool<int>::kAge).count()};
std::int64_t most_age() noexcept { return age_ns.load(std::memory_order_relaxed); }
#else
constexpr std::int64_t most_age() noexcept { return std::chrono::nanoseconds(pool<int>::kAge).count(); }
#endif
constexpr std::uint32_t kKept = 15;  // and one in `hot`

constexpr std::uint32_t kLooks = 16;  // each so manieth put looks at the clock

/// One processor's. Nobody waits for `busy` but clear(): whoever finds it taken does without this stock. It is held inside
/// windows only, so its holder is not taken off its processor meanwhile.
struct alignas(128) Stock {
  std::atomic<void*> hot{nullptr};  // of the P with this number alone, inside a window
  std::atomic<std::uint32_t> puts{0};  // likewise
  std::atomic<bool> busy{false};    // guards the rest
  std::atomic<std::uint32_t> n{0};
  std::atomic<std::uint32_t> victims_n{0};
  void* kept[kKept];
  void* victims[kKept];

  bool try_lock() noexcept { return !busy.exchange(true, std::memory_order_acquire); }
  void unlock() noexcept { busy.store(false, std::memory_order_release); }

  void* pop(std::atomic<std::uint32_t>& count, void** from) noexcept {
    if (count.load(std::memory_order_relaxed) == 0) return nullptr;
    rt::Window window;
    if (!try_lock()) return nullptr;
    const std::uint32_t had = count.load(std::memory_order_relaxed);
    void* const object = had != 0 ? from[had - 1] : nullptr;
    if (had != 0) count.store(had - 1, std::memory_order_relaxed);
    unlock();
    return object;
  }
  bool push(void* object) noexcept {
    rt::Window window;
    if (!try_lock()) return false;
    const std::uint32_t had = n.load(std::memory_order_relaxed);
    if (had != kKept) {
      kept[had] = object;
      n.store(had + 1, std::memory_order_relaxed);
    }
    unlock();
    return had != kKept;
  }
};

/// This P's number, a moment ago; 0 on a thread without P. Only a hint.
std::uint32_t processor() noexcept {
  rt::Window window;
  const rt::M* m = rt::self_m();
  return m != nullptr && m->p != nullptr ? static_cast<std::uint32_t>(m->p->id.load(os::memory_order_relaxed)) : 0;
}

}  // namespace

struct pool_core {
  std::uint32_t size;
  void (*destroy)(void*) noexcept;
  std::atomic<std::int64_t> aged;  ///< nanotime
  Stock* stocks;
};

namespace {

template <class F>
auto with_hot(pool_core* core, F f) noexcept -> decltype(f(*core->stocks)) {
  rt::Window window;
  const rt::M* m = rt::self_m();
  const rt::P* p = m != nullptr ? m->p : nullptr;
  if (p == nullptr || static_cast<std::uint32_t>(p->id.load(os::memory_order_relaxed)) >= core->size) return {};
  return f(core->stocks[p->id.load(os::memory_order_relaxed)]);
}

/// Gives what stands among the victims, what is kept becomes the victims. False: somebody is at this stock.
bool try_replace_victims(Stock& s, void** out, std::uint32_t* gone) noexcept {
  if (!s.try_lock()) return false;
  *gone = s.victims_n.load(std::memory_order_relaxed);
  for (std::uint32_t i = 0; i < *gone; ++i) out[i] = s.victims[i];
  const std::uint32_t n = s.n.load(std::memory_order_relaxed);
  for (std::uint32_t i = 0; i < n; ++i) s.victims[i] = s.kept[i];
  s.victims_n.store(n, std::memory_order_relaxed);
  s.n.store(0, std::memory_order_relaxed);
  s.unlock();
  return true;
}

/// That, and destroys them, under no lock. `wait`: for who is at the stock, some instructions.
void replace_victims(pool_core* core, Stock& s, bool wait) noexcept {
  void* out[kKept];
  std::uint32_t gone = 0;
  if (rt::in_fork_child()) {  // nobody is at it any more, and no window is needed; who was, will not let it go
    static_cast<void>(try_replace_victims(s, out, &gone));
  } else {
    for (int round = 0;; ++round) {
      {
        rt::Window window;
        if (try_replace_victims(s, out, &gone)) break;
      }
      if (!wait) return;
      if (round < 100) {
        os::cpu_relax(8);
      } else {
        os::thread_yield();
      }
    }
  }
  for (std::uint32_t i = 0; i < gone; ++i) {
    rt::san::acquire(out[i]);
    core->destroy(out[i]);
  }
}

void age(pool_core* core) noexcept {
  const std::int64_t now = os::nanotime();
  std::int64_t last = core->aged.load(std::memory_order_relaxed);
  if (now - last < most_age() || !core->aged.compare_exchange_strong(last, now, std::memory_order_relaxed)) return;
  for (std::uint32_t i = 0; i < core->size; ++i) replace_victims(core, core->stocks[i], false);
}

}  // namespace

#if defined(GORT_TESTING)
void set_pool_age_for_test(std::int64_t ns) noexcept { age_ns.store(ns, std::memory_order_relaxed); }
#endif

pool_core* pool_make(void (*destroy)(void*) noexcept) {
  const int cpus = os::cpu_count();
  const std::uint32_t size = static_cast<std::uint32_t>(cpus < 1 ? 1 : cpus);
  auto stocks = std::make_unique<Stock[]>(size);
  auto* core = new pool_core{size, destroy, os::nanotime(), stocks.get()};
  stocks.release();
  return core;
}

void pool_destroy(pool_core* core) noexcept {
  pool_clear(core);
  for (std::uint32_t i = 0; i < core->size; ++i) {
    if (void* object = core->stocks[i].hot.load(std::memory_order_relaxed)) {
      rt::san::acquire(object);
      core->destroy(object);
    }
  }
  delete[] core->stocks;
  delete core;
}

void pool_clear(pool_core* core) noexcept {
  for (std::uint32_t i = 0; i < core->size; ++i) {
    replace_victims(core, core->stocks[i], true);
    replace_victims(core, core->stocks[i], true);
  }
}

void* pool_get(pool_core* core) noexcept {
  rt::check_not_fork_child();
  void* object = with_hot(core, [](Stock& s) {
    void* had = s.hot.load(std::memory_order_relaxed);
    if (had != nullptr) s.hot.store(nullptr, std::memory_order_relaxed);
    return had;
  });
  const std::uint32_t at = object == nullptr ? processor() : 0;
  for (std::uint32_t i = 0; object == nullptr && i < core->size; ++i) {
    Stock& s = core->stocks[(at + i) % core->size];
    object = s.pop(s.n, s.kept);
  }
  for (std::uint32_t i = 0; object == nullptr && i < core->size; ++i) {
    Stock& s = core->stocks[(at + i) % core->size];
    object = s.pop(s.victims_n, s.victims);
  }
  if (object != nullptr) rt::san::acquire(object);
  return object;
}

void pool_put(pool_core* core, void* object) noexcept {
  if (rt::in_fork_child()) return core->destroy(object);  // by the destructor of a lease
  rt::san::release(object);
  enum class Put : std::uint8_t { no, yes, yes_and_look };
  const Put put = with_hot(core, [=](Stock& s) {
    if (s.hot.load(std::memory_order_relaxed) != nullptr) return Put::no;
    s.hot.store(object, std::memory_order_relaxed);
    const std::uint32_t puts = s.puts.load(std::memory_order_relaxed) + 1;
    s.puts.store(puts, std::memory_order_relaxed);
    return puts % kLooks == 0 ? Put::yes_and_look : Put::yes;
  });
  if (put == Put::yes_and_look) age(core);
  if (put != Put::no) return;
  const bool kept = core->stocks[processor() % core->size].push(object);
  age(core);
  if (!kept) core->destroy(object);
}

}  // namespace gort::inline v0::detail
