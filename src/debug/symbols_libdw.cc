// Symbols by libdw, elfutils' reader of ELF and DWARF.
//
// A session (Dwfl) is a view of the process's modules; libdw does not let two threads use one. Sessions wait
// in a few slots: whoever needs one takes it out, or makes one if there is none, so that nobody waits for
// a thread that is held up with a session in hand.
//
// Units are found by an index of our own and not by .debug_aranges (dwfl_module_addrdie): Clang writes none.
#if defined(GORT_HAVE_LIBDW)

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <unordered_map>
#include <vector>

#include "debug/symbols.h"
#include "debug/symbols_backend.h"
#include "os/os.h"

namespace gort::inline v0::rt {

namespace {

/// Debug information in a file of its own, as distributions install it. Not dwfl_standard_find_debuginfo:
/// that may ask servers on the network.
int find_debuginfo(Dwfl_Module* mod, void**, const char*, Dwarf_Addr, const char*, const char*, GElf_Word,
                   char** debuginfo_file) {
  const unsigned char* id = nullptr;
  GElf_Addr at = 0;
  const int n = dwfl_module_build_id(mod, &id, &at);
  if (n < 2) return -1;
  constexpr char kDigits[] = "0123456789abcdef";
  std::string path = "/usr/lib/debug/.build-id/";
  for (int i = 0; i < n; ++i) {
    path += kDigits[id[i] >> 4];
    path += kDigits[id[i] & 15];
    if (i == 0) path += '/';
  }
  path += ".debug";
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  *debuginfo_file = ::strdup(path.c_str());  // libdw frees it
  return fd;
}

constinit char* no_path = nullptr;
constexpr Dwfl_Callbacks kCallbacks = {
    dwfl_linux_proc_find_elf,
    find_debuginfo,
    nullptr,
    &no_path,
};

/// The addresses (of the file) that compilation units cover.
struct UnitRange {
  Dwarf_Addr lo;
  Dwarf_Addr hi;
  Dwarf_Die die;
};

class Session {
 public:
  explicit Session(LoaderCounts counts) : made_at_(counts), dwfl_(dwfl_begin(&kCallbacks), dwfl_end) {
    if (dwfl_ == nullptr) return;
    dwfl_report_begin(dwfl_.get());
    const bool ok = dwfl_linux_proc_report(dwfl_.get(), ::getpid()) == 0;
    if (dwfl_report_end(dwfl_.get(), nullptr, nullptr) != 0 || !ok) dwfl_.reset();
  }

  bool fits(LoaderCounts now) const { return made_at_.adds == now.adds && made_at_.subs == now.subs; }

  void find(std::uintptr_t pc, Found& found) {
    Dwfl_Module* mod = dwfl_ != nullptr ? dwfl_addrmodule(dwfl_.get(), pc) : nullptr;
    if (mod == nullptr) return;
    GElf_Sym sym;
    GElf_Off offset = 0;
    if (const char* name = dwfl_module_addrinfo(mod, pc, &offset, &sym, nullptr, nullptr, nullptr)) {
      found.symbol = name;
      found.entry = pc - offset;
    }
    find_frames(mod, pc, found);
  }

 private:
  std::vector<UnitRange>& units_of(Dwfl_Module* mod, Dwarf* dwarf) {
    auto [it, is_new] = units_.try_emplace(mod);
    if (is_new) {
      for (Dwarf_CU* cu = nullptr;;) {
        Dwarf_Die die;
        if (dwarf_get_units(dwarf, cu, &cu, nullptr, nullptr, &die, nullptr) != 0) break;
        Dwarf_Addr base = 0, lo = 0, hi = 0;
        for (std::ptrdiff_t at = 0; (at = dwarf_ranges(&die, at, &base, &lo, &hi)) > 0;) {
          if (lo != 0 && lo < hi) it->second.push_back({lo, hi, die});  // 0: the linker dropped that section
        }
      }
      std::ranges::sort(it->second, {}, &UnitRange::lo);
    }
    return it->second;
  }

  void find_frames(Dwfl_Module* mod, std::uintptr_t pc, Found& found);

  LoaderCounts made_at_;
  std::unique_ptr<Dwfl, void (*)(Dwfl*)> dwfl_;
  std::unordered_map<Dwfl_Module*, std::vector<UnitRange>> units_;
};

/// Functions, inlined calls and blocks around an address, outermost first. Not dwarf_getscopes: what that
/// returns for an inlined call are the scopes of its source, and for Clang's units not the calls around it.
void find_scopes(Dwarf_Die* parent, Dwarf_Addr at, std::vector<Dwarf_Die>& path) {
  Dwarf_Die die;
  if (dwarf_child(parent, &die) != 0) return;
  do {
    const int tag = dwarf_tag(&die);
    if (tag == DW_TAG_namespace) {
      find_scopes(&die, at, path);
      if (!path.empty()) return;
    } else if (tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine || tag == DW_TAG_lexical_block ||
               tag == DW_TAG_try_block || tag == DW_TAG_catch_block) {
      if (dwarf_haspc(&die, at) != 1) continue;
      path.push_back(die);
      return find_scopes(&die, at, path);
    }
  } while (dwarf_siblingof(&die, &die) == 0);
}

const char* text_of(Dwarf_Die* die, unsigned attribute) {
  Dwarf_Attribute a;
  return dwarf_formstring(dwarf_attr_integrate(die, attribute, &a));
}

/// The name that the linker would use, else the plain one.
std::string name_of(Dwarf_Die* die) {
  const char* s = text_of(die, DW_AT_linkage_name);
  if (s == nullptr) s = text_of(die, DW_AT_MIPS_linkage_name);
  if (s == nullptr) s = dwarf_diename(die);
  return s != nullptr ? s : "";
}

int number_of(Dwarf_Die* die, unsigned attribute) {
  Dwarf_Attribute a;
  Dwarf_Word v = 0;
  return dwarf_formudata(dwarf_attr(die, attribute, &a), &v) == 0 ? static_cast<int>(v) : 0;
}

/// Where the call that was inlined stands.
std::string call_file(Dwarf_Die* unit, Dwarf_Die* inlined) {
  Dwarf_Files* files = nullptr;
  if (dwarf_getsrcfiles(unit, &files, nullptr) != 0) return {};
  const char* s = dwarf_filesrc(files, static_cast<std::size_t>(number_of(inlined, DW_AT_call_file)), nullptr, nullptr);
  return s != nullptr ? s : "";
}

void Session::find_frames(Dwfl_Module* mod, std::uintptr_t pc, Found& found) {
  Dwarf_Addr bias = 0;
  Dwarf* dwarf = dwfl_module_getdwarf(mod, &bias);
  if (dwarf == nullptr) return;
  const Dwarf_Addr at = pc - bias;
  const std::vector<UnitRange>& units = units_of(mod, dwarf);
  auto it = std::ranges::upper_bound(units, at, {}, &UnitRange::lo);
  if (it == units.begin() || at >= (--it)->hi) return;
  Dwarf_Die unit = it->die;

  std::string file;
  int line = 0;
  if (Dwarf_Line* l = dwarf_getsrc_die(&unit, at); l != nullptr) {
    if (const char* s = dwarf_linesrc(l, nullptr, nullptr)) file = s;
    dwarf_lineno(l, &line);
  }
  std::vector<Dwarf_Die> scopes;
  find_scopes(&unit, at, scopes);
  for (std::size_t i = scopes.size(); i-- > 0;) {
    Dwarf_Die* die = &scopes[i];
    const int tag = dwarf_tag(die);
    if (tag == DW_TAG_inlined_subroutine) {
      found.frames.push_back({name_of(die), std::move(file), line});
      file = call_file(&unit, die);
      line = number_of(die, DW_AT_call_line);
    } else if (tag == DW_TAG_subprogram) {
      found.frames.push_back({name_of(die), std::move(file), line});
      return;
    }
  }
  // No function: assembly, or debug information with lines only.
  found.frames.push_back({"", std::move(file), line});
}

constexpr int kSlots = 4;
constinit os::atomic<Session*> slots[kSlots] = {};

/// A session for this thread alone until it is put back.
class Borrowed {
 public:
  explicit Borrowed(LoaderCounts counts) {
    for (auto& slot : slots) {
      session_.reset(slot.exchange(nullptr, os::memory_order_acq_rel));
      if (session_ != nullptr && session_->fits(counts)) return;
    }
    session_ = std::make_unique<Session>(counts);
  }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;
  ~Borrowed() {
    for (auto& slot : slots) {
      Session* empty = nullptr;
      if (slot.compare_exchange_strong(empty, session_.get(), os::memory_order_acq_rel, os::memory_order_relaxed)) {
        static_cast<void>(session_.release());
        return;
      }
    }
  }
  Session* operator->() const { return session_.get(); }

 private:
  std::unique_ptr<Session> session_;
};

/// libdw does not survive the end of memory: it calls exit(), or faults. So it is not asked anything unless there is some
/// room: for the program's file and what is made of it, and for some libraries'.
bool has_room() noexcept {
  constexpr std::size_t kLibraries = std::size_t{64} << 20;
  static constinit os::atomic<std::size_t> wanted{0};
  std::size_t n = wanted.load(os::memory_order_relaxed);
  if (n == 0) {
    struct stat program;
    if (::stat("/proc/self/exe", &program) != 0) program.st_size = 0;
    const std::size_t mask = os::page_size() - 1;
    n = (kLibraries + 4 * static_cast<std::size_t>(program.st_size) + mask) & ~mask;
    wanted.store(n, os::memory_order_relaxed);
  }
  void* const p = os::mem_map(n, os::page_size());
  if (p != nullptr) os::mem_unmap(p, n);
  return p != nullptr;
}

}  // namespace

Found find_symbols(std::uintptr_t pc, LoaderCounts counts) {
  if (!has_room()) throw std::bad_alloc();
  Found found;
  const Borrowed session(counts);
  session->find(pc, found);
  return found;
}

bool symbols_have_lines() noexcept { return true; }
bool symbols_have_all_lines() noexcept { return true; }

}  // namespace gort::inline v0::rt

#endif
