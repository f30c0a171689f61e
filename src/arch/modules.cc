#include "arch/modules.h"

#include <elf.h>
#include <link.h>  // and what it includes: _dl_find_object

#include <cstring>

#include "arch/dwarf_reader.h"
#include "os/atomic.h"
#include "os/os.h"

namespace gort::inline v0::arch {
namespace {

struct Table {
  std::uint64_t generation;  ///< the loader's count of openings and closings
  std::size_t count;
  std::size_t bytes;  ///< of the mapping
  Module* modules;    ///< right behind this, then the paths
};

constinit os::atomic<Table*> current{nullptr};

/// One walk over the loader's list: measures first, then, with a table, fills.
struct Walk {
  Table* out = nullptr;
  std::size_t modules = 0;  ///< seen, whether or not they fit
  std::size_t path_bytes = 0;
  std::size_t max_modules = 0;
  char* paths = nullptr;
  std::size_t max_path_bytes = 0;
  std::uint64_t generation = 0;
};

const ElfW(Phdr) * load_segment_of(const dl_phdr_info* info, std::uintptr_t addr) noexcept {
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& ph = info->dlpi_phdr[i];
    const std::uintptr_t lo = info->dlpi_addr + ph.p_vaddr;
    if (ph.p_type == PT_LOAD && (ph.p_flags & PF_R) && addr >= lo && addr < lo + ph.p_filesz)
      return &ph;
  }
  return nullptr;
}

/// Finds the search table in .eh_frame_hdr. Linkers write one form only: 32-bit offsets from the
/// header.
void read_hdr(Module* m, const dl_phdr_info* info, std::uintptr_t hdr) noexcept {
  const auto* seg = load_segment_of(info, hdr);
  if (!seg) return;
  const std::uintptr_t end = info->dlpi_addr + seg->p_vaddr + seg->p_filesz;
  dwarf::Reader r{reinterpret_cast<const std::uint8_t*>(hdr),
                  reinterpret_cast<const std::uint8_t*>(end)};
  const auto version = r.get<std::uint8_t>();
  const auto frame_how = r.get<std::uint8_t>();
  const auto count_how = r.get<std::uint8_t>();
  const auto table_how = r.get<std::uint8_t>();
  const std::uintptr_t frames = r.encoded(frame_how, hdr);
  const std::uintptr_t count = r.encoded(count_how, hdr);
  if (r.bad || version != 1 || table_how != (dwarf::kDataRelative | dwarf::kSdata4)) return;
  if (count > static_cast<std::size_t>(r.end - r.p) / sizeof(Module::FdeRow)) return;
  const auto* frame_seg = load_segment_of(info, frames);
  if (!frame_seg) return;
  m->hdr = hdr;
  m->fdes = reinterpret_cast<const Module::FdeRow*>(r.p);
  m->fde_count = count;
  m->frames_lo = info->dlpi_addr + frame_seg->p_vaddr;
  m->frames_hi = m->frames_lo + frame_seg->p_filesz;
}

void read_build_id(Module* m, const dl_phdr_info* info, const ElfW(Phdr) & ph) noexcept {
  const std::uintptr_t at = info->dlpi_addr + ph.p_vaddr;
  if (!load_segment_of(info, at)) return;
  const auto* p = reinterpret_cast<const std::uint8_t*>(at);
  dwarf::Reader r{p, p + ph.p_filesz};
  while (r.more()) {
    const auto note = r.get<ElfW(Nhdr)>();
    const std::uint8_t* name = r.p;
    r.skip((note.n_namesz + 3u) & ~std::uint64_t{3});
    const std::uint8_t* desc = r.p;
    r.skip(note.n_descsz);
    if (r.bad) return;
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(name, "GNU", 4) == 0) {
      const std::size_t n = note.n_descsz < sizeof m->build_id ? note.n_descsz : sizeof m->build_id;
      std::memcpy(m->build_id, desc, n);
      m->build_id_size = static_cast<std::uint8_t>(n);
      return;
    }
    const auto aligned = (note.n_descsz + 3u) & ~std::uint64_t{3};
    if (aligned != note.n_descsz &&
        static_cast<std::uint64_t>(r.end - r.p) >= aligned - note.n_descsz) {
      r.skip(aligned - note.n_descsz);
    }
  }
}

/// What stands at pc according to the loader, without a lock. False: nothing, or it cannot be asked.
bool ask_loader(std::uintptr_t pc, std::uintptr_t* lo, std::uintptr_t* hi, std::uintptr_t* hdr) noexcept {
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 35)
  dl_find_object found;
  if (_dl_find_object(reinterpret_cast<void*>(pc), &found) != 0) return false;
  *lo = reinterpret_cast<std::uintptr_t>(found.dlfo_map_start);
  *hi = reinterpret_cast<std::uintptr_t>(found.dlfo_map_end);
  *hdr = reinterpret_cast<std::uintptr_t>(found.dlfo_eh_frame);
  return true;
#else
  static_cast<void>(pc), static_cast<void>(lo), static_cast<void>(hi), static_cast<void>(hdr);
  return false;
#endif
}

/// Remembers what the loader says of m, if it knows it as we do.
void read_map(Module* m) noexcept {
  std::uintptr_t lo, hi, hdr;
  if (m->hdr == 0 || !ask_loader(m->text_lo, &lo, &hi, &hdr) || hdr != m->hdr) return;
  m->map_lo = lo;
  m->map_hi = hi;
}

/// Whether m still stands where it stood when it was put into the table.
bool still_there(const Module& m, std::uintptr_t pc) noexcept {
  if (m.map_hi == 0) return true;
  std::uintptr_t lo, hi, hdr;
  return ask_loader(pc, &lo, &hi, &hdr) && lo == m.map_lo && hi == m.map_hi && hdr == m.hdr;
}

int visit(dl_phdr_info* info, std::size_t, void* arg) {
  auto& w = *static_cast<Walk*>(arg);
  w.generation = info->dlpi_adds + info->dlpi_subs;
  const char* name = info->dlpi_name ? info->dlpi_name : "";
  const std::size_t name_bytes = std::strlen(name) + 1;
  Module common{};
  common.base = info->dlpi_addr;
  common.path = "";
  if (w.out) {
    if (w.path_bytes + name_bytes <= w.max_path_bytes) {
      common.path = static_cast<char*>(std::memcpy(w.paths + w.path_bytes, name, name_bytes));
    }
    for (int i = 0; i < info->dlpi_phnum; ++i) {
      const auto& ph = info->dlpi_phdr[i];
      if (ph.p_type == PT_GNU_EH_FRAME) read_hdr(&common, info, info->dlpi_addr + ph.p_vaddr);
      if (ph.p_type == PT_NOTE && !common.build_id_size) read_build_id(&common, info, ph);
    }
  }
  w.path_bytes += name_bytes;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& ph = info->dlpi_phdr[i];
    if (ph.p_type != PT_LOAD || !(ph.p_flags & PF_X)) continue;
    if (w.out && w.modules < w.max_modules) {
      Module& m = w.out->modules[w.modules];
      m = common;
      m.text_lo = info->dlpi_addr + ph.p_vaddr;
      m.text_hi = m.text_lo + ph.p_filesz;
      read_map(&m);
    }
    ++w.modules;
  }
  return 0;
}

/// By insertion: the list is short and nearly sorted, and std::sort would bring no better promise.
void sort(Module* m, std::size_t n) noexcept {
  for (std::size_t i = 1; i < n; ++i) {
    const Module x = m[i];
    std::size_t j = i;
    for (; j > 0 && m[j - 1].text_lo > x.text_lo; --j) m[j] = m[j - 1];
    m[j] = x;
  }
}

/// True if `mine` became, or need not become, the current table: never replaces a newer one.
bool publish(Table* mine) noexcept {
  Table* seen = current.load(os::memory_order_acquire);
  while (!seen || seen->generation < mine->generation) {
    // Release: pairs with the acquire in find_module(), which then sees the whole table.
    if (current.compare_exchange_strong(seen, mine, os::memory_order_acq_rel,
                                        os::memory_order_acquire)) {
      return true;
    }
  }
  return false;
}

}  // namespace

bool refresh_modules() noexcept {
  for (;;) {
    Walk measure;
    dl_iterate_phdr(visit, &measure);
    const Table* now = current.load(os::memory_order_acquire);
    if (now && now->generation == measure.generation) return true;

    const std::size_t page = os::page_size();
    std::size_t bytes = sizeof(Table) + measure.modules * sizeof(Module) + measure.path_bytes;
    bytes = (bytes + page - 1) & ~(page - 1);
    void* mem = os::mem_map(bytes, page);
    if (!mem) return false;
    auto* t = static_cast<Table*>(mem);
    t->bytes = bytes;
    t->modules = reinterpret_cast<Module*>(t + 1);

    Walk fill;
    fill.out = t;
    fill.max_modules = measure.modules;
    fill.paths = reinterpret_cast<char*>(t->modules + measure.modules);
    fill.max_path_bytes = measure.path_bytes;
    dl_iterate_phdr(visit, &fill);
    if (fill.generation != measure.generation) {  // a change in between: nobody has seen t yet
      os::mem_unmap(mem, bytes);
      continue;
    }
    t->generation = fill.generation;
    t->count = fill.modules;
    sort(t->modules, t->count);
    if (!publish(t)) os::mem_unmap(mem, bytes);
    return true;
  }
}

void for_each_thread_local_block(void (*f)(const void* at, std::size_t bytes) noexcept) noexcept {
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* arg) {
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          if (info->dlpi_phdr[i].p_type != PT_TLS || info->dlpi_tls_data == nullptr) continue;
          reinterpret_cast<void (*)(const void*, std::size_t) noexcept>(arg)(info->dlpi_tls_data, info->dlpi_phdr[i].p_memsz);
        }
        return 0;
      },
      reinterpret_cast<void*>(f));
}

ModuleList modules() noexcept {
  const Table* t = current.load(os::memory_order_acquire);
  return t ? ModuleList{t->modules, t->count} : ModuleList{nullptr, 0};
}

const Module* find_module(std::uintptr_t pc) noexcept {
  const ModuleList all = modules();
  std::size_t lo = 0, hi = all.count;
  while (lo < hi) {  // the first module that begins after pc
    const std::size_t mid = lo + (hi - lo) / 2;
    if (all.first[mid].text_lo <= pc) {
      lo = mid + 1;
    } else {
      hi = mid;
    }
  }
  if (lo == 0 || pc >= all.first[lo - 1].text_hi || !still_there(all.first[lo - 1], pc)) return nullptr;
  return &all.first[lo - 1];
}

}  // namespace gort::inline v0::arch
