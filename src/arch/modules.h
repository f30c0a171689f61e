// gort: which loaded module a code address is in, and where that module's unwind tables are.
//
// A table of the program, its shared libraries and the kernel's vdso, one entry for each executable
// segment, sorted by address. refresh_modules() builds a new table and publishes it by one pointer;
// find_module() reads whichever table is current: no lock, no malloc, no system call, so it is good
// in signal handlers and under a stopped world.
//
// Old tables are never unmapped, since a handler on another thread may be reading one. They are
// small (about 200 bytes for a module) and there is a new one only when the set of modules has
// changed, so their number is bounded by the number of dlopen and dlclose calls.
//
// What is not promised. A module that was opened after the last refresh is not found. One that was
// closed is not found either where glibc is 2.35 or newer (_dl_find_object is asked whether it still
// stands there); with an older one it is, and its tables may be unmapped: then the table must be
// refreshed after dlclose before code can be mapped in its place and walked. (Programs that close
// libraries while goroutines run in them are broken anyway.)
//
// Rejected: _dl_find_object alone, lock-free too and never stale, but it knows neither names nor
// build ids nor which pages are code.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gort::inline v0::arch {

/// One executable segment of a loaded module. Lives for ever once published.
struct Module {
  /// A row of the binary search table in .eh_frame_hdr; both are relative to the header.
  struct FdeRow {
    std::int32_t pc;
    std::int32_t fde;
  };

  std::uintptr_t base;       ///< what to subtract from an address to get the file's virtual address
  std::uintptr_t text_lo;    ///< the segment, readable in [text_lo, text_hi)
  std::uintptr_t text_hi;
  std::uintptr_t hdr;        ///< .eh_frame_hdr, or 0
  const FdeRow* fdes;        ///< its table, sorted by pc; null if there is none that we can search
  std::size_t fde_count;
  std::uintptr_t frames_lo;  ///< the readable segment that .eh_frame is in
  std::uintptr_t frames_hi;
  std::uintptr_t map_lo;     ///< the whole module as the loader tells it without a lock;
  std::uintptr_t map_hi;     ///< 0: it cannot be asked about this one
  const char* path;  ///< as the loader has it, "" for the program itself; a copy, lives for ever
  std::uint8_t build_id[20];
  std::uint8_t build_id_size;  ///< 0: none
};

/// Reads the loader's list of modules. Returns false if there was no memory for a new table (the
/// old one stays). Takes the loader's lock, which user code may hold while it waits for anything:
/// only a thread without a P may call it (rule L1). Call it at start and after dlopen and dlclose.
bool refresh_modules() noexcept;

/// The module whose code pc is in, or null. Async-signal-safe.
const Module* find_module(std::uintptr_t pc) noexcept;

/// Calls f for each block of thread_local variables that the calling thread has. As refresh_modules: not with a P.
void for_each_thread_local_block(void (*f)(const void* at, std::size_t bytes) noexcept) noexcept;

/// The current table, for reports that list all mappings.
struct ModuleList {
  const Module* first;
  std::size_t count;
};
ModuleList modules() noexcept;

}  // namespace gort::inline v0::arch
