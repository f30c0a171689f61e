#include "debug/only_copy.h"

#include <elf.h>
#include <link.h>

#include <cstring>

#include "base/print.h"
#include "os/os.h"

// Only assembly names it, as gort_v0_tls (os/linux/tls.cc).
#if defined(__clang__)
#define GORT_NAMED_BY_ASSEMBLY used
#else
#define GORT_NAMED_BY_ASSEMBLY used, externally_visible
#endif

extern "C" {
/// 1 from the start of this copy on.
constinit gort::v0::os::atomic<std::uint32_t> gort_v0_copy __attribute__((GORT_NAMED_BY_ASSEMBLY)){0};
}

// Name "gort", type 1: eight bytes, how far the copy's word is from here. Other versions of gort keep this form.
// The word is hidden: another module's must not be taken for ours.
asm(R"(
  .hidden gort_v0_copy
  .pushsection .note.gort, "a", %note
  .balign 4
  .long 5, 8, 1
  .asciz "gort"
  .balign 4
  .quad gort_v0_copy - .
  .popsection
)");

namespace gort::inline v0::rt {

namespace {

constexpr std::uint32_t kNoteType = 1;

struct Found {
  const char* own = "";    ///< paths; empty: the program
  const char* other = nullptr;
};

std::size_t padded(std::size_t n) noexcept { return (n + 3) & ~std::size_t{3}; }

/// One module's notes, [p, end).
void look(const unsigned char* p, const unsigned char* end, const char* path, Found* found) noexcept {
  ElfW(Nhdr) note;
  while (static_cast<std::size_t>(end - p) >= sizeof note) {
    std::memcpy(&note, p, sizeof note);
    p += sizeof note;
    const std::size_t name = padded(note.n_namesz);
    const std::size_t body = padded(note.n_descsz);
    if (static_cast<std::size_t>(end - p) < name + body) return;
    std::int64_t distance = 0;
    if (note.n_type == kNoteType && note.n_descsz == sizeof distance && note.n_namesz == 5 &&
        std::memcmp(p, "gort", 5) == 0) {
      std::memcpy(&distance, p + name, sizeof distance);
      auto* word = reinterpret_cast<os::atomic<std::uint32_t>*>(reinterpret_cast<std::uintptr_t>(p + name) +
                                                                static_cast<std::uintptr_t>(distance));
      if (word == &gort_v0_copy) {
        found->own = path;
      } else if (word->load(os::memory_order_seq_cst) != 0) {
        found->other = path;
      }
    }
    p += name + body;
  }
}

int visit(dl_phdr_info* info, std::size_t, void* arg) {
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& ph = info->dlpi_phdr[i];
    // Those of another alignment (.note.gnu.property) stand in segments of their own.
    if (ph.p_type != PT_NOTE || ph.p_align > 4) continue;
    const auto* p = reinterpret_cast<const unsigned char*>(info->dlpi_addr + ph.p_vaddr);
    look(p, p + ph.p_filesz, info->dlpi_name != nullptr ? info->dlpi_name : "", static_cast<Found*>(arg));
  }
  return 0;
}

const char* name_of(const char* path) noexcept { return path[0] != '\0' ? path : "the program"; }

}  // namespace

void refuse_second_copy() noexcept {
  // Said before it is looked for, on both sides, so that of two that start at once at least one sees the other.
  gort_v0_copy.store(1, os::memory_order_seq_cst);
  Found found;
  ::dl_iterate_phdr(visit, &found);
  if (found.other == nullptr) return;
  Printer(2) << "fatal error: gort: two copies in one process: " << name_of(found.other)
             << " has started one, and now " << name_of(found.own)
             << " would start another; link one copy into a shared object that both use\n";
  os::exit_process(2);
}

}  // namespace gort::inline v0::rt
