// gort: call frame information: the rules by which one instruction's frame finds its caller's
// registers. Internal to src/arch.
//
// .eh_frame holds an entry (FDE) for each function: a small program that builds, row by row, a
// table from code addresses to rules. A rule says where the caller's value of a register is: at an
// offset from the CFA (the canonical frame address: the caller's stack pointer), in another
// register, at or equal to the value of an expression, unchanged, or lost. find_rules() runs the
// program up to one address.
#pragma once

#include <cstdint>

#include "arch/modules.h"
#include "arch/unwind.h"

namespace gort::inline v0::arch::cfi {

enum class How : std::uint8_t {
  unspecified,     ///< no rule: as `same` for walking
  same,            ///< the caller's value is this frame's
  undefined,       ///< lost; for the return address: there is no caller
  at_offset,       ///< in memory at CFA + value
  is_offset,       ///< CFA + value itself
  in_register,     ///< in register number `value`
  at_expression,   ///< in memory at the expression's result
  is_expression,   ///< the expression's result
};

/// `value` of the expression kinds is the expression's distance from Frame::program.
struct Rule {
  How how;
  std::int32_t value;
};

/// One row. Zeroed by find_rules, not here: remembered rows need no first value, and that shows.
struct Rules {
  Rule regs[reg::kCount];
  unsigned cfa_reg;
  bool cfa_by_expression;    ///< cfa_offset is the expression's distance from Frame::program
  bool return_is_signed;     ///< aarch64: the return address carries an authentication code
  std::int64_t cfa_offset;
};

/// A row, and what all rows of its function share.
struct Frame {
  Rules rules{};
  unsigned return_column = 0;
  bool is_signal = false;  ///< the caller was interrupted here, it did not call
  const std::uint8_t* program = nullptr;
  const std::uint8_t* limit = nullptr;  ///< end of the readable tables
};

/// The rules for the instruction at pc. False if there are none, or none that we understand.
bool find_rules(const Module& m, std::uintptr_t pc, Frame* out) noexcept;

/// Evaluates a frame's expression over the cursor's registers; `start` goes on the expression's
/// stack first if it has one. Reads memory through read_word only.
bool evaluate(const Frame& f, std::int64_t expression, const Cursor& c, const std::uintptr_t* start,
              std::uintptr_t* out) noexcept;

/// Reads one word of a stack; false if it is outside the cursor's ranges.
bool read_word(const Cursor& c, std::uintptr_t addr, std::uintptr_t* out) noexcept;

}  // namespace gort::inline v0::arch::cfi
