// gort: how contexts reach the runtime. Not for direct use.
#pragma once

#include <atomic>
#include <cstdint>

#include "gort/clock.h"
#include "gort/config.h"
#include "gort/detail/goroutine.h"

namespace gort::inline v0 {

class context;

namespace detail {

struct context_node;  // rt::Context

void context_ref(context_node* c) noexcept;
void context_unref(context_node* c) noexcept;
const void* context_value(const context_node* c, const void* key) noexcept;

template <class Key>
[[gnu::visibility("default")]] inline constexpr char key_identity = 0;  // one in all modules
template <class Key>
const void* key_id() noexcept {
  return &key_identity<Key>;
}

struct context_access {
  static context_node* node(const context& c) noexcept;
  static context adopt(context_node* c) noexcept;
};

enum context_kind : std::uint8_t { kind_cancel, kind_value, kind_shield };

struct context_value_slot {
  const void* key = nullptr;
  void* value = nullptr;
  void (*destroy)(void*) noexcept = nullptr;
};

/// Installs a context as the caller's current one while it lives.
class installer {
 public:
  installer(const installer&) = delete;
  installer& operator=(const installer&) = delete;

 protected:
  // These throw std::bad_alloc, but for a shield.
  installer(context_kind kind, std::int64_t deadline_ns);
  /// Takes the value over, also if it throws.
  installer(context_kind kind, context_value_slot value);
  explicit installer(context_node* other);
  ~installer();

  context_node* node_ = nullptr;  ///< null: a shield for which there was no memory

 private:
  void install(void* made) noexcept;
  context_node* before_ = nullptr;
  void* cancel_before_ = nullptr;
};

/// A registered function. Shared by who has registered it and the goroutine that will run it.
struct callback_core {
  void (*call)(callback_core*) = nullptr;
  void (*destroy)(callback_core*) noexcept = nullptr;
  std::atomic<std::uint32_t> refs{1};
  std::atomic<std::uint64_t> runner{0};  ///< the goroutine that runs it
  task_core ended;                       ///< of that goroutine
  void* entry = nullptr;            ///< rt::ContextCallback; null: it never runs
  context_node* context = nullptr;  ///< in which it is registered; counted, until detached
};
/// Throws std::bad_alloc; the caller still owns it then.
void callback_register(context_node* c, callback_core* reg);

}  // namespace detail
}  // namespace gort::inline v0
