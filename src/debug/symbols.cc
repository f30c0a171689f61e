#include "debug/symbols.h"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <unordered_map>
#include <vector>

#include "debug/symbols_backend.h"

namespace gort::inline v0::rt {

namespace {

struct NamedFrame {
  std::string function;  // demangled
  std::string linkage;
  std::string file;
  int line = 0;
};

/// All that is known of one address; immutable once in the cache.
struct Entry {
  std::vector<NamedFrame> frames;  // innermost first, at least one
  std::uintptr_t entry = 0;
  std::string module;
  std::uintptr_t base = 0;
  unsigned long long subs = 0;  // modules unloaded when it was made: another count, another truth
};

constexpr std::size_t kMaxCached = 32768;

/// Only ever try_lock'ed: a goroutine can be held captive with the lock in hand, and a fatal report must
/// not wait for it. Who does not get it works without the cache.
///
/// Never destroyed, since reports are written until the process's last instruction; and no function-local
/// static, whose guard would be a lock that one does wait for.
using CacheMap = std::unordered_map<std::uintptr_t, std::shared_ptr<const Entry>>;
constinit std::mutex cache_lock;
constinit CacheMap* cache_map = nullptr;  // guarded by cache_lock

bool is_mangled(const std::string& name) { return name.starts_with("_Z"); }

std::string demangled(const std::string& name) {
  if (!is_mangled(name)) return name;
  int status = 0;
  std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status), &std::free);
  return status == 0 && text != nullptr ? std::string(text.get()) : name;
}

/// The best of two names for the function that owns the code. DWARF of a static function has the plain
/// name only, the symbol table has the whole; for clones (f.cold) DWARF has the better one.
const std::string& better_name(const std::string& dwarf, const std::string& symbol) {
  if (is_mangled(dwarf) || symbol.empty()) return dwarf;
  return is_mangled(symbol) || dwarf.empty() ? symbol : dwarf;
}

std::shared_ptr<const Entry> look_up(std::uintptr_t pc, LoaderCounts counts) {
  Found found = find_symbols(pc, counts);
  auto e = std::make_shared<Entry>();
  e->entry = found.entry;
  e->subs = counts.subs;
  Module m;
  if (find_module(pc, &m)) {
    e->module = m.path;
    e->base = m.base;
  } else if (!found.module.empty()) {
    e->module = found.module;
    e->base = found.base;
  }
  if (found.frames.empty()) found.frames.emplace_back();
  found.frames.back().name = better_name(found.frames.back().name, found.symbol);
  for (FoundFrame& f : found.frames) {
    e->frames.push_back({demangled(f.name), std::move(f.name), std::move(f.file), f.line});
  }
  return e;
}

std::shared_ptr<const Entry> cached_or_looked_up(std::uintptr_t pc) {
  const LoaderCounts counts = loader_counts();
  {
    std::unique_lock guard(cache_lock, std::try_to_lock);
    if (guard.owns_lock() && cache_map != nullptr) {
      auto it = cache_map->find(pc);
      if (it != cache_map->end() && it->second->subs == counts.subs) return it->second;
    }
  }
  auto e = look_up(pc, counts);
  std::unique_lock guard(cache_lock, std::try_to_lock);
  if (guard.owns_lock()) {
    if (cache_map == nullptr) cache_map = new CacheMap;
    if (cache_map->size() >= kMaxCached) cache_map->clear();
    cache_map->insert_or_assign(pc, e);
  }
  return e;
}

const char* or_null(const std::string& s) { return s.empty() ? nullptr : s.c_str(); }

}  // namespace

bool symbolize(std::uintptr_t pc, bool is_return_address, SymbolCallback callback, void* context) {
  const std::uintptr_t at = is_return_address && pc != 0 ? pc - 1 : pc;
  std::shared_ptr<const Entry> e;
  try {
    e = cached_or_looked_up(at);
  } catch (const std::bad_alloc&) {
    Module m{nullptr, 0};
    find_module(at, &m);
    callback(context, {nullptr, nullptr, nullptr, 0, false, 0, m.path, pc - m.base});
    return false;
  }
  bool named = false;
  for (std::size_t i = 0; i < e->frames.size(); ++i) {
    const NamedFrame& f = e->frames[i];
    named |= !f.function.empty();
    callback(context, {or_null(f.function), or_null(f.linkage), or_null(f.file), f.line,
                       i + 1 < e->frames.size(), e->entry, or_null(e->module), pc - e->base});
  }
  return named;
}

}  // namespace gort::inline v0::rt
