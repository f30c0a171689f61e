// gort: objects that are dear to make, kept for the next user. Go's sync.Pool.
//
//   gort::pool<buffer> buffers([] { return std::make_unique<buffer>(64_KiB); });
//   auto b = buffers.borrow();           // a buffer; given back at the end of the scope
//   b->clear();                          // as the last user left it
//
// Each processor has a small stock of its own, so that goroutines on different ones do not meet: an object that was put
// is mostly had again on the same processor, and soon. Who finds its own stock empty looks into the others'.
//
//   get() finds …                     and gives
//   one in this processor's stock     the one that was put last: a few nanoseconds
//   one in another's                  that one
//   none                              a new one
//
// A stock holds 16 objects; what does not fit is destroyed. What was not needed for a while is destroyed, too, in two steps:
// every kAge, by whoever puts something then, all stocks become the *victims*, and what is still among the victims from
// the time before is destroyed; get() takes a victim before it makes something new. So a pool that is used shrinks to what it
// uses within twice kAge (and some puts: not each of them looks at the clock). One that nobody uses keeps what it has: clear().
//
// Promised: what happened before put() is visible to who gets that object. get, put and borrow never block and never
// change the thread (what the pool's function or T's destructor do apart); callable from foreign threads.
// Not promised: that an object that was put comes back, or in which order.
// The idea of victims: Go 1.13, where the collector sets the pace.
#pragma once

#include <chrono>
#include <concepts>
#include <functional>
#include <memory>
#include <utility>

#include "gort/config.h"

namespace gort::inline v0 {

namespace detail {

struct pool_core;
pool_core* pool_make(void (*destroy)(void*) noexcept);
void pool_destroy(pool_core* core) noexcept;
void* pool_get(pool_core* core) noexcept;
void pool_put(pool_core* core, void* object) noexcept;
void pool_clear(pool_core* core) noexcept;

}  // namespace detail

template <class T>
class pool {
 public:
  /// At least so long an object stays that nobody needs.
  static constexpr std::chrono::seconds kAge{10};

  class give_back {
   public:
    give_back() noexcept = default;
    void operator()(T* object) const noexcept {
      if (owner_ != nullptr) {
        owner_->put(std::unique_ptr<T>(object));
      } else {
        delete object;
      }
    }

   private:
    friend pool;
    explicit give_back(pool* owner) noexcept : owner_(owner) {}
    pool* owner_ = nullptr;
  };
  /// Gives its object back to the pool, which must live until then.
  using lease = std::unique_ptr<T, give_back>;

  /// `make` makes one when there is none.
  explicit pool(std::function<std::unique_ptr<T>()> make)
      : make_(std::move(make)), core_(detail::pool_make(&destroy)) {}
  pool()
    requires std::default_initializable<T>
      : pool([] { return std::make_unique<T>(); }) {}
  pool(const pool&) = delete;
  pool& operator=(const pool&) = delete;
  /// Nobody uses it any more. Destroys what it has.
  ~pool() { detail::pool_destroy(core_); }

  /// One that was put, or a new one. Throws what making throws.
  [[nodiscard]] std::unique_ptr<T> get() {
    if (void* object = detail::pool_get(core_)) return std::unique_ptr<T>(static_cast<T*>(object));
    return make_();
  }
  /// Keeps it for others, or destroys it. Null: nothing.
  void put(std::unique_ptr<T> object) noexcept {
    if (object) detail::pool_put(core_, object.release());
  }
  [[nodiscard]] lease borrow() { return lease(get().release(), give_back(this)); }

  /// Destroys all that is in stock, one object per processor perhaps excepted. Others may go on using it meanwhile.
  void clear() noexcept { detail::pool_clear(core_); }

 private:
  static void destroy(void* object) noexcept { delete static_cast<T*>(object); }

  std::function<std::unique_ptr<T>()> make_;
  detail::pool_core* core_;
};

}  // namespace gort::inline v0
