#include "arch/cfi.h"

#include <cstddef>
#include <limits>

#include "arch/dwarf_reader.h"

namespace gort::inline v0::arch::cfi {
namespace {

using dwarf::Reader;

const std::uint8_t* at(std::uintptr_t a) noexcept {
  return reinterpret_cast<const std::uint8_t*>(a);
}

/// One entry's body, its length field read.
struct Entry {
  Reader body;
  const std::uint8_t* id_at;  ///< where the CIE pointer stands
  std::uint64_t id;           ///< 0 in a CIE, the distance back to it in an FDE
};

bool read_entry(const Module& m, std::uintptr_t addr, Entry* out) noexcept {
  if (addr < m.frames_lo || addr >= m.frames_hi) return false;
  Reader r{at(addr), at(m.frames_hi)};
  std::uint64_t length = r.get<std::uint32_t>();
  if (length == 0xffffffff) length = r.get<std::uint64_t>();
  const std::uint8_t* begin = r.p;
  r.skip(length);
  if (r.bad || length < 4) return false;
  out->body = Reader{begin, r.p};
  out->id_at = begin;
  out->id = out->body.get<std::uint32_t>();  // four bytes in .eh_frame, whatever the length's form
  return !out->body.bad;
}

/// What the common entry says, shared by many functions.
struct Common {
  std::uint64_t code_align = 1;
  std::int64_t data_align = 1;
  unsigned return_column = 0;
  std::uint8_t pointer_how = dwarf::kAbsolute;
  bool has_augmentation = false;
  bool is_signal = false;
  Reader program;
};

bool read_common(const Module& m, std::uintptr_t addr, Common* out) noexcept {
  Entry e;
  if (!read_entry(m, addr, &e) || e.id != 0) return false;
  Reader& r = e.body;
  const auto version = r.get<std::uint8_t>();
  if (version != 1 && version != 3) return false;
  const char* augmentation = reinterpret_cast<const char*>(r.p);
  while (r.get<char>() != 0) {
  }
  if (r.bad) return false;
  out->code_align = r.uleb();
  out->data_align = r.sleb();
  out->return_column = version == 1 ? r.get<std::uint8_t>() : static_cast<unsigned>(r.uleb());
  if (*augmentation == 'z') {
    ++augmentation;
    out->has_augmentation = true;
    const std::uint64_t size = r.uleb();
    const std::uint8_t* data = r.p;
    r.skip(size);
    if (r.bad) return false;
    Reader a{data, r.p};
    for (; *augmentation; ++augmentation) {
      switch (*augmentation) {
        case 'R': out->pointer_how = a.get<std::uint8_t>(); break;
        case 'L': a.get<std::uint8_t>(); break;
        case 'P': {
          const auto how = a.get<std::uint8_t>();
          a.encoded(how, 0);
          break;
        }
        case 'S': out->is_signal = true; break;
        case 'B':                       // aarch64: return addresses signed with the B key
        case 'G': break;                // aarch64: tagged stack frames
        default: return false;
      }
    }
    if (a.bad) return false;
  } else if (*augmentation) {
    return false;
  }
  out->program = Reader{r.p, r.end};
  return !r.bad;
}

/// Runs a rule program.
class Machine {
 public:
  Machine(Frame* f, const Common& common, std::uintptr_t pc) noexcept
      : f_(f), common_(common), pc_(pc) {}

  /// The common part, before the first row.
  bool run_common() noexcept {
    if (!run(common_.program)) return false;
    initial_ = f_->rules;
    return true;
  }

  /// The function's part, until the row that holds for pc.
  bool run_function(Reader program, std::uintptr_t begin) noexcept {
    loc_ = begin;
    return run(program);
  }

 private:
  static constexpr unsigned kMaxRemembered = 6;

  enum Op : std::uint8_t {
    kNop = 0x00,
    kSetLoc = 0x01,
    kAdvance1 = 0x02,
    kAdvance2 = 0x03,
    kAdvance4 = 0x04,
    kOffsetExtended = 0x05,
    kRestoreExtended = 0x06,
    kUndefined = 0x07,
    kSameValue = 0x08,
    kRegister = 0x09,
    kRememberState = 0x0a,
    kRestoreState = 0x0b,
    kDefCfa = 0x0c,
    kDefCfaRegister = 0x0d,
    kDefCfaOffset = 0x0e,
    kDefCfaExpression = 0x0f,
    kExpression = 0x10,
    kOffsetExtendedSf = 0x11,
    kDefCfaSf = 0x12,
    kDefCfaOffsetSf = 0x13,
    kValOffset = 0x14,
    kValOffsetSf = 0x15,
    kValExpression = 0x16,
    kNegateReturnState = 0x2d,  // aarch64; register windows on SPARC, which we do not meet
    kGnuArgsSize = 0x2e,
    kGnuNegativeOffsetExtended = 0x2f,
    kAdvance = 0x40,  // these three carry an operand in their low six bits
    kOffset = 0x80,
    kRestore = 0xc0,
  };

  /// Registers that we do not follow (vector ones) are parsed and dropped.
  void set(std::uint64_t reg, How how, std::int64_t value) noexcept {
    if (value > std::numeric_limits<std::int32_t>::max() ||
        value < std::numeric_limits<std::int32_t>::min()) {
      bad_ = true;
      return;
    }
    if (reg < reg::kCount) f_->rules.regs[reg] = {how, static_cast<std::int32_t>(value)};
  }

  void restore(std::uint64_t reg) noexcept {
    if (reg < reg::kCount) f_->rules.regs[reg] = initial_.regs[reg];
  }

  void set_expression(Reader& r, std::uint64_t reg, How how) noexcept {
    const std::ptrdiff_t where = r.p - f_->program;
    r.skip(r.uleb());
    set(reg, how, where);
  }

  std::int64_t scaled(std::uint64_t n) const noexcept {
    return static_cast<std::int64_t>(n) * common_.data_align;
  }
  std::int64_t scaled_signed(std::int64_t n) const noexcept { return n * common_.data_align; }

  void cfa(std::uint64_t reg, std::int64_t offset) noexcept {
    if (reg >= reg::kCount) bad_ = true;
    f_->rules.cfa_reg = static_cast<unsigned>(reg);
    f_->rules.cfa_offset = offset;
    f_->rules.cfa_by_expression = false;
  }

  void advance(std::uint64_t by) noexcept { loc_ += by * common_.code_align; }

  void remember() noexcept {
    if (remembered_ == kMaxRemembered) {
      bad_ = true;
    } else {
      stack_[remembered_++] = f_->rules;
    }
  }

  void recall() noexcept {
    if (remembered_ == 0) {
      bad_ = true;
    } else {
      f_->rules = stack_[--remembered_];
    }
  }

  bool run(Reader r) noexcept {
    while (r.more() && !bad_) {
      const auto op = r.get<std::uint8_t>();
      const std::uint64_t low = op & 0x3f;
      switch (op & 0xc0) {
        case kAdvance: advance(low); break;
        case kOffset: set(low, How::at_offset, scaled(r.uleb())); break;
        case kRestore: restore(low); break;
        default: extended(op, r); break;
      }
      if (loc_ > pc_) return true;  // the next row is past the instruction
    }
    return !bad_ && !r.bad;
  }

  void extended(std::uint8_t op, Reader& r) noexcept {
    Rules& rules = f_->rules;
    std::uint64_t n = 0;
    switch (op) {
      case kNop: break;
      case kSetLoc: loc_ = r.encoded(common_.pointer_how, 0); break;
      case kAdvance1: advance(r.get<std::uint8_t>()); break;
      case kAdvance2: advance(r.get<std::uint16_t>()); break;
      case kAdvance4: advance(r.get<std::uint32_t>()); break;
      case kOffsetExtended: n = r.uleb(), set(n, How::at_offset, scaled(r.uleb())); break;
      case kOffsetExtendedSf: n = r.uleb(), set(n, How::at_offset, scaled_signed(r.sleb())); break;
      case kGnuNegativeOffsetExtended:
        n = r.uleb(), set(n, How::at_offset, -scaled(r.uleb()));
        break;
      case kValOffset: n = r.uleb(), set(n, How::is_offset, scaled(r.uleb())); break;
      case kValOffsetSf: n = r.uleb(), set(n, How::is_offset, scaled_signed(r.sleb())); break;
      case kRestoreExtended: restore(r.uleb()); break;
      case kUndefined: set(r.uleb(), How::undefined, 0); break;
      case kSameValue: set(r.uleb(), How::same, 0); break;
      case kRegister:
        n = r.uleb(), set(n, How::in_register, static_cast<std::int64_t>(r.uleb()));
        break;
      case kRememberState: remember(); break;
      case kRestoreState: recall(); break;
      case kDefCfa: n = r.uleb(), cfa(n, static_cast<std::int64_t>(r.uleb())); break;
      case kDefCfaSf: n = r.uleb(), cfa(n, scaled_signed(r.sleb())); break;
      case kDefCfaRegister: cfa(r.uleb(), rules.cfa_offset); break;
      case kDefCfaOffset: rules.cfa_offset = static_cast<std::int64_t>(r.uleb()); break;
      case kDefCfaOffsetSf: rules.cfa_offset = scaled_signed(r.sleb()); break;
      case kDefCfaExpression:
        rules.cfa_by_expression = true;
        rules.cfa_offset = r.p - f_->program;
        r.skip(r.uleb());
        break;
      case kExpression: set_expression(r, r.uleb(), How::at_expression); break;
      case kValExpression: set_expression(r, r.uleb(), How::is_expression); break;
      case kNegateReturnState: rules.return_is_signed = !rules.return_is_signed; break;
      case kGnuArgsSize: r.uleb(); break;
      default: bad_ = true;
    }
  }

  Frame* f_;
  const Common& common_;
  std::uintptr_t pc_;
  std::uintptr_t loc_ = 0;
  bool bad_ = false;
  unsigned remembered_ = 0;
  Rules initial_{};
  Rules stack_[kMaxRemembered];
};

/// The table's last function that begins at or before pc.
bool search(const Module& m, std::uintptr_t pc, std::uintptr_t* fde) noexcept {
  if (!m.fdes || m.fde_count == 0) return false;
  std::size_t lo = 0, hi = m.fde_count;
  while (lo < hi) {
    const std::size_t mid = lo + (hi - lo) / 2;
    if (m.hdr + static_cast<std::uintptr_t>(std::intptr_t{m.fdes[mid].pc}) <= pc) {
      lo = mid + 1;
    } else {
      hi = mid;
    }
  }
  if (lo == 0) return false;
  *fde = m.hdr + static_cast<std::uintptr_t>(std::intptr_t{m.fdes[lo - 1].fde});
  return true;
}

}  // namespace

bool find_rules(const Module& m, std::uintptr_t pc, Frame* out) noexcept {
  std::uintptr_t addr;
  Entry fde;
  if (!search(m, pc, &addr) || !read_entry(m, addr, &fde) || fde.id == 0) return false;
  Common common{.program = Reader{nullptr, nullptr}};
  if (!read_common(m, reinterpret_cast<std::uintptr_t>(fde.id_at) - fde.id, &common)) return false;
  Reader& r = fde.body;
  const std::uintptr_t begin = r.encoded(common.pointer_how, 0);
  const std::uintptr_t size = r.encoded(common.pointer_how & dwarf::kFormMask, 0);
  if (common.has_augmentation) r.skip(r.uleb());
  if (r.bad || pc < begin || pc - begin >= size || common.return_column >= reg::kCount)
    return false;

  out->return_column = common.return_column;
  out->is_signal = common.is_signal;
  out->program = at(m.frames_lo);
  out->limit = at(m.frames_hi);
  Machine machine(out, common, pc);
  return machine.run_common() && machine.run_function(r, begin);
}

}  // namespace gort::inline v0::arch::cfi
