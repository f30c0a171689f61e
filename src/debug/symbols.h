// gort: from addresses to functions, files and lines.
//
//   symbolize(pc, true, [](const SymbolFrame& f) { … });   // innermost inlined function first
//   find_module(pc, &m);                                   // which file is mapped there; signal-safe
//
// One machine address can stand for several functions of the source: the one that owns the code, and those
// that the compiler inlined there. symbolize() reports each as a frame of its own.
//
// A *return* address points behind its call, often into the next line and, after a call that never
// returns, into the next function. Say so with `is_return_address`: pc - 1 is looked up then.
//
// Names come from DWARF and from .symtab (so hidden and static functions have names, unless stripped),
// demangled and never shortened. Three back ends, chosen when gort is configured (cmake/GortSymbols.cmake):
// libdw, which is the best; libbacktrace; and the loader's own table, which has exported names only. Known
// limits: a *static* function that GCC inlined has only its unqualified name in DWARF; assembly has lines
// only where it was assembled with -g; and the libbacktrace of GCC 12 loses the file and line (never the
// name) of functions in sections that several objects share, templates and inline functions, because it
// searches units as if their ranges did not overlap.
//
// Who may call. symbolize() allocates, takes the loader's lock and reads files the first time (tens of
// milliseconds for a large program, microseconds later; without room for that in address space it finds nothing). So: never inside the runtime while holding a P,
// never under a stop of the world, never in a signal handler; collect addresses there, symbolize after.
// find_module() and everything that prints raw addresses may be called anywhere.
// Both are thread-safe; symbolize() waits for no lock of its own, so a goroutine that is held captive
// within it, or a fork, keeps nobody else from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>

namespace gort::inline v0::rt {

/// A mapped file: the program or a shared library.
struct Module {
  const char* path;     ///< lives until the module is unloaded
  std::uintptr_t base;  ///< load address: address - base is what addr2line -e path takes
};

/// The module at pc; false if there is none (or the C library, before glibc 2.35, cannot tell without
/// locks). Takes no lock, allocates nothing: also for signal handlers and fatal paths.
bool find_module(std::uintptr_t pc, Module* out) noexcept;

/// One function at an address. The strings live during the callback only.
struct SymbolFrame {
  const char* function;   ///< demangled; null if unknown
  const char* linkage;    ///< the same as the linker knows it, else as DWARF has it; null if unknown
  const char* file;       ///< null if unknown
  int line;               ///< 0 if unknown
  bool inlined;           ///< its code is part of the next frame's function
  std::uintptr_t entry;   ///< address of the function that owns the code; 0 if unknown
  const char* module;     ///< null if nothing is mapped there
  std::uintptr_t offset;  ///< the pc asked for, minus the module's base (minus 0 without module)
};

using SymbolCallback = void (*)(void* context, const SymbolFrame& frame);

/// Calls back once for each function at pc, innermost first, at least once (then with module and offset
/// alone). True if a function name was found. Errors, no memory included, only leave fields unknown;
/// what the callback throws goes through.
bool symbolize(std::uintptr_t pc, bool is_return_address, SymbolCallback callback, void* context);

template <class F>
  requires std::is_invocable_v<F&, const SymbolFrame&>
bool symbolize(std::uintptr_t pc, bool is_return_address, F&& f) {
  using Fn = std::remove_reference_t<F>;
  return symbolize(
      pc, is_return_address,
      [](void* context, const SymbolFrame& frame) { (*static_cast<Fn*>(context))(frame); },
      const_cast<void*>(static_cast<const void*>(std::addressof(f))));
}

/// Whether this build can find files, lines and hidden names, or exported names only.
bool symbols_have_lines() noexcept;
/// Whether that holds for templates and inline functions as well (libdw).
bool symbols_have_all_lines() noexcept;

}  // namespace gort::inline v0::rt
