// gort: what symbolize() asks of whoever reads symbol tables; see symbols.h for the contract above it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gort::inline v0::rt {

/// A function at an address as it is written in the file: mangled, or a plain name. Empty: unknown.
struct FoundFrame {
  std::string name;
  std::string file;
  int line = 0;
};

struct Found {
  std::vector<FoundFrame> frames;  ///< innermost first; all but the last are inlined
  std::string symbol;              ///< from the symbol table, for the last frame
  std::uintptr_t entry = 0;        ///< that symbol's address
  std::string module;              ///< only where find_module() cannot tell
  std::uintptr_t base = 0;
};

/// How often the loader has added and removed modules.
struct LoaderCounts {
  unsigned long long adds = 0;
  unsigned long long subs = 0;
};
LoaderCounts loader_counts() noexcept;

/// Looks `pc` up as it is. Whatever is not found stays empty. May throw std::bad_alloc.
Found find_symbols(std::uintptr_t pc, LoaderCounts counts);

}  // namespace gort::inline v0::rt
