#include "arch/unwind.h"

#include <cstring>

#include "arch/cfi.h"
#include "arch/modules.h"

namespace gort::inline v0::arch {
namespace {

/// A walk changes stacks a few times (signal stack, system stack, goroutine); more is a cycle.
constexpr unsigned kMaxStackChanges = 8;

bool contains(const StackRange& r, std::uintptr_t addr, std::size_t bytes) noexcept {
  return addr >= r.lo && addr <= r.hi && r.hi - addr >= bytes;
}

/// The range that sp stands in; a stack pointer may stand at the very end. Null if in none.
const StackRange* range_of(const Cursor& c, std::uintptr_t sp) noexcept {
  for (unsigned i = 0; i < c.range_count; ++i) {
    if (contains(c.ranges[i], sp, 0)) return &c.ranges[i];
  }
  return nullptr;
}

bool readable(const Cursor& c, std::uintptr_t addr, std::size_t bytes) noexcept {
  if (addr % sizeof(std::uintptr_t) != 0) return false;  // compilers align what they save
  if (c.range_count == 0) return true;
  for (unsigned i = 0; i < c.range_count; ++i) {
    if (contains(c.ranges[i], addr, bytes)) return true;
  }
  return false;
}

bool ended(Cursor& c, WalkEnd how) noexcept {
  c.end = how;
  return false;
}

/// Makes `up` the cursor's frame if its stack pointer can be that of c's caller: above c's on the
/// same stack (or equal, for an interrupted function without a frame), or on another of the allowed
/// stacks.
bool go_up(Cursor& c, const reg::Set& up, std::uintptr_t pc, bool exact) noexcept {
  if (pc == 0) return ended(c, WalkEnd::bottom);
  const std::uintptr_t from = c.sp(), to = up.value[reg::kSp];
  bool same_stack = true;
  if (c.range_count != 0) {
    const StackRange* target = range_of(c, to);
    if (!target) return ended(c, WalkEnd::lost);
    same_stack = contains(*target, from, 0);
  } else if (exact && to < from) {
    same_stack = false;  // a signal handler's own stack may lie anywhere
  }
  if (same_stack ? (to < from || (to == from && !c.exact)) : ++c.stack_changes > kMaxStackChanges) {
    return ended(c, WalkEnd::lost);
  }
  c.regs = up;
  c.regs.value[reg::kPc] = pc;
  c.pc = pc;
  c.exact = exact;
  return true;
}

/// A handler's caller: what the signal interrupted.
bool step_signal(Cursor& c) noexcept {
  const std::uintptr_t uc = c.sp() + reg::kTrampolineUcontext;
  if (!readable(c, uc, reg::kUcontextBytes)) return ended(c, WalkEnd::lost);
  reg::Set up;
  const std::uintptr_t pc = reg::from_ucontext(reinterpret_cast<const void*>(uc), &up);
  return go_up(c, up, pc, true);
}

/// A frame without rules, by its frame pointer.
bool step_fp(Cursor& c) noexcept {
  const std::uintptr_t fp = c.fp();
  std::uintptr_t up_fp, pc;
  if (c.range_count == 0 || !(c.regs.known >> reg::kFp & 1) || fp < c.sp() ||
      !cfi::read_word(c, fp, &up_fp) || !cfi::read_word(c, fp + sizeof fp, &pc)) {
    return ended(c, WalkEnd::lost);
  }
  reg::Set up{};
  up.value[reg::kFp] = up_fp;
  up.value[reg::kSp] = fp + 2 * sizeof fp;  // or a little higher
  up.known = std::uint64_t{1} << reg::kFp | std::uint64_t{reg::kFpGivesSp} << reg::kSp;
  return go_up(c, up, reg::strip_return(pc, true), false);
}

/// One register of the caller. False if the rule cannot be followed.
bool apply(const cfi::Frame& f, const cfi::Rule& rule, unsigned n, std::uintptr_t cfa,
           const Cursor& c, reg::Set* up) noexcept {
  std::uintptr_t v = 0;
  bool known = true;
  switch (rule.how) {
    case cfi::How::unspecified:
    case cfi::How::same:
      v = c.regs.value[n];
      known = c.regs.known >> n & 1;
      break;
    case cfi::How::undefined: known = false; break;
    case cfi::How::at_offset:
      if (!cfi::read_word(c, cfa + static_cast<std::uintptr_t>(std::intptr_t{rule.value}), &v))
        return false;
      break;
    case cfi::How::is_offset:
      v = cfa + static_cast<std::uintptr_t>(std::intptr_t{rule.value});
      break;
    case cfi::How::in_register: {
      const auto from = static_cast<unsigned>(rule.value);
      if (from >= reg::kCount) return false;
      v = c.regs.value[from];
      known = c.regs.known >> from & 1;
      break;
    }
    case cfi::How::at_expression:
    case cfi::How::is_expression:
      if (!cfi::evaluate(f, rule.value, c, &cfa, &v)) return false;
      if (rule.how == cfi::How::at_expression && !cfi::read_word(c, v, &v)) return false;
      break;
  }
  up->value[n] = v;
  if (known) up->known |= std::uint64_t{1} << n;
  return true;
}

bool find_cfa(const cfi::Frame& f, const Cursor& c, std::uintptr_t* cfa) noexcept {
  const cfi::Rules& rules = f.rules;
  if (rules.cfa_by_expression) return cfi::evaluate(f, rules.cfa_offset, c, nullptr, cfa);
  if (c.regs.known >> rules.cfa_reg & 1) {
    *cfa = c.regs.value[rules.cfa_reg] + static_cast<std::uintptr_t>(rules.cfa_offset);
    return true;
  }
  // Came here by a frame pointer, which did not tell sp. But it tells where this frame saved its
  // caller's, and the rules say where that is from the CFA.
  const cfi::Rule& saved_fp = rules.regs[reg::kFp];
  if (!(c.regs.known >> reg::kFp & 1) || saved_fp.how != cfi::How::at_offset) return false;
  *cfa = c.fp() - static_cast<std::uintptr_t>(std::intptr_t{saved_fp.value});
  return true;
}

bool step_cfi(Cursor& c, const cfi::Frame& f) noexcept {
  const cfi::Rules& rules = f.rules;
  if (rules.regs[f.return_column].how == cfi::How::undefined) return ended(c, WalkEnd::bottom);
  std::uintptr_t cfa;
  if (!find_cfa(f, c, &cfa)) return ended(c, WalkEnd::lost);
  reg::Set up{};
  for (unsigned n = 0; n < reg::kCount; ++n) {
    if (!apply(f, rules.regs[n], n, cfa, c, &up)) return ended(c, WalkEnd::lost);
  }
  if (!(up.known >> f.return_column & 1)) return ended(c, WalkEnd::lost);
  if (rules.regs[reg::kSp].how == cfi::How::unspecified) {
    up.value[reg::kSp] = cfa;
    // A return address at or above the "CFA" belongs to this frame all the same: glibc's lazy
    // binding on aarch64 forgets the two words that the linker's stub has pushed.
    const cfi::Rule& ra = rules.regs[f.return_column];
    if (ra.how == cfi::How::at_offset && ra.value >= 0) {
      up.value[reg::kSp] += static_cast<std::uintptr_t>(ra.value) + sizeof cfa;
    }
    up.known |= std::uint64_t{1} << reg::kSp;
  }
  const std::uintptr_t pc = reg::strip_return(up.value[f.return_column], rules.return_is_signed);
  return go_up(c, up, pc, f.is_signal);
}

/// An interrupted frame without rules: a call through a null or wild pointer, or a linker's stub.
/// Mostly it has not touched the stack, and all there is of it is its return address.
bool step_wild(Cursor& c) noexcept {
  reg::Set up = c.regs;
  std::uintptr_t pc;
  if (reg::return_of_call(c.regs, &pc, &up, [&c](std::uintptr_t at, std::uintptr_t* out) {
        return c.range_count != 0 && cfi::read_word(c, at, out);
      }) && find_module(pc - 1)) {
    return go_up(c, up, pc, false);
  }
  return step_fp(c);
}

}  // namespace

bool cfi::read_word(const Cursor& c, std::uintptr_t addr, std::uintptr_t* out) noexcept {
  if (!readable(c, addr, sizeof *out)) return false;
  std::memcpy(out, reinterpret_cast<const void*>(addr), sizeof *out);
  return true;
}

Cursor cursor_from_context(const Context& context) noexcept {
  Cursor c;
  const char* sp = static_cast<const char*>(context.sp);
  for (const auto& s : reg::kSaved) {
    std::memcpy(&c.regs.value[s.reg], sp + s.offset, sizeof c.regs.value[0]);
    c.regs.known |= std::uint64_t{1} << s.reg;
  }
  c.regs.value[reg::kSp] = reinterpret_cast<std::uintptr_t>(sp + saved_frame::kSize);
  c.regs.known |= std::uint64_t{1} << reg::kSp;
  c.pc = c.regs.value[reg::kPc];
  return c;
}

Cursor cursor_from_signal(const void* ucontext) noexcept {
  Cursor c;
  c.pc = reg::from_ucontext(ucontext, &c.regs);
  c.exact = true;
  return c;
}

bool step(Cursor& c) noexcept {
  if (c.end != WalkEnd::not_yet) return false;
  const std::uintptr_t at = c.exact ? c.pc : c.pc - 1;
  // The trampoline is "returned to" at its first instruction, so it is looked for at pc itself.
  const Module* m = find_module(c.pc);
  if (m && m->text_hi - c.pc >= reg::kTrampolineBytes && reg::is_signal_trampoline(c.pc))
    return step_signal(c);
  if (!m || at < m->text_lo) m = find_module(at);  // a call may be a module's last instruction
  cfi::Frame f;
  if (m && cfi::find_rules(*m, at, &f)) return step_cfi(c, f);
  return c.exact ? step_wild(c) : step_fp(c);
}

std::size_t collect(Cursor c, std::uintptr_t* pcs, std::size_t max) noexcept {
  std::size_t n = 0;
  while (n < max) {
    pcs[n++] = c.exact ? c.pc + 1 : c.pc;
    if (n == max || !step(c)) break;
  }
  return n;
}

std::size_t collect_fp(const Cursor& c, std::uintptr_t* pcs, std::size_t max) noexcept {
  if (max == 0) return 0;
  std::size_t n = 0;
  pcs[n++] = c.exact ? c.pc + 1 : c.pc;
  if (c.range_count == 0 || !(c.regs.known >> reg::kFp & 1)) return n;
  std::uintptr_t fp = c.fp(), last = c.sp();
  const StackRange* here = &c.ranges[0];
  unsigned changes = 0;
  while (n < max && fp % sizeof fp == 0) {
    if (!contains(*here, fp, 2 * sizeof fp)) {
      const StackRange* next = range_of(c, fp);
      if (!next || !contains(*next, fp, 2 * sizeof fp) || ++changes > kMaxStackChanges) break;
      here = next;
    } else if (contains(*here, last, 0) && fp < last) {
      break;
    }
    std::uintptr_t frame[2];
    std::memcpy(frame, reinterpret_cast<const void*>(fp), sizeof frame);
    if (frame[1] == 0) break;
    pcs[n++] = reg::strip_return(frame[1], true);
    last = fp + sizeof frame;
    fp = frame[0];
  }
  return n;
}

}  // namespace gort::inline v0::arch
