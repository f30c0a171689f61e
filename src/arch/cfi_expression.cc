// DWARF expressions, as far as unwind tables use them: procedure linkage tables (the CFA depends on
// pc), realigned stacks, signal trampolines.
#include "arch/cfi.h"
#include "arch/dwarf_reader.h"

namespace gort::inline v0::arch::cfi {
namespace {

using dwarf::Reader;

enum Op : std::uint8_t {
  kAddr = 0x03,
  kDeref = 0x06,
  kConst1u = 0x08,
  kConst1s = 0x09,
  kConst2u = 0x0a,
  kConst2s = 0x0b,
  kConst4u = 0x0c,
  kConst4s = 0x0d,
  kConst8u = 0x0e,
  kConst8s = 0x0f,
  kConstu = 0x10,
  kConsts = 0x11,
  kDup = 0x12,
  kDrop = 0x13,
  kOver = 0x14,
  kPick = 0x15,
  kSwap = 0x16,
  kRot = 0x17,
  kAbs = 0x19,
  kAnd = 0x1a,
  kDiv = 0x1b,
  kMinus = 0x1c,
  kMod = 0x1d,
  kMul = 0x1e,
  kNeg = 0x1f,
  kNot = 0x20,
  kOr = 0x21,
  kPlus = 0x22,
  kPlusUconst = 0x23,
  kShl = 0x24,
  kShr = 0x25,
  kShra = 0x26,
  kXor = 0x27,
  kBra = 0x28,
  kEq = 0x29,
  kGe = 0x2a,
  kGt = 0x2b,
  kLe = 0x2c,
  kLt = 0x2d,
  kNe = 0x2e,
  kSkip = 0x2f,
  kLit0 = 0x30,
  kLit31 = 0x4f,
  kBreg0 = 0x70,
  kBreg31 = 0x8f,
  kBregx = 0x92,
  kDerefSize = 0x94,
  kNop = 0x96,
};

class Evaluator {
 public:
  Evaluator(const Cursor& c, Reader r) noexcept : c_(c), r_(r), begin_(r.p) {}

  void push(std::uint64_t v) noexcept {
    if (depth_ == kMaxDepth) {
      bad_ = true;
    } else {
      stack_[depth_++] = v;
    }
  }

  bool run(std::uintptr_t* out) noexcept {
    for (int ops = 0; r_.more() && !bad_; ++ops) {
      if (ops == kMaxOps) return false;  // a loop
      one(r_.get<std::uint8_t>());
    }
    if (bad_ || r_.bad || depth_ == 0) return false;
    *out = stack_[depth_ - 1];
    return true;
  }

 private:
  static constexpr unsigned kMaxDepth = 16;
  static constexpr int kMaxOps = 256;

  std::uint64_t pop() noexcept {
    if (depth_ == 0) {
      bad_ = true;
      return 0;
    }
    return stack_[--depth_];
  }

  std::uint64_t peek(unsigned i) noexcept {
    if (i >= depth_) {
      bad_ = true;
      return 0;
    }
    return stack_[depth_ - 1 - i];
  }

  void push_register(std::uint64_t n, std::int64_t offset) noexcept {
    if (n >= reg::kCount || !(c_.regs.known >> n & 1)) {
      bad_ = true;
      return;
    }
    push(c_.regs.value[n] + static_cast<std::uint64_t>(offset));
  }

  void load(unsigned bytes) noexcept {
    // Whole words only: rules find saved registers, and those are words.
    std::uintptr_t v = 0;
    if (bytes != sizeof v || !read_word(c_, pop(), &v)) bad_ = true;
    push(v);
  }

  void jump(std::int16_t by) noexcept {
    if (by < begin_ - r_.p || by > r_.end - r_.p) {
      bad_ = true;
    } else {
      r_.p += by;
    }
  }

  void one(std::uint8_t op) noexcept {
    if (op >= kLit0 && op <= kLit31) return push(op - kLit0);
    if (op >= kBreg0 && op <= kBreg31) return push_register(op - kBreg0, r_.sleb());
    switch (op) {
      case kNop: break;
      case kAddr:
      case kConst8u: push(r_.get<std::uint64_t>()); break;
      case kConst8s: push(r_.get<std::uint64_t>()); break;
      case kConst1u: push(r_.get<std::uint8_t>()); break;
      case kConst1s: push_signed(r_.get<std::int8_t>()); break;
      case kConst2u: push(r_.get<std::uint16_t>()); break;
      case kConst2s: push_signed(r_.get<std::int16_t>()); break;
      case kConst4u: push(r_.get<std::uint32_t>()); break;
      case kConst4s: push_signed(r_.get<std::int32_t>()); break;
      case kConstu: push(r_.uleb()); break;
      case kConsts: push_signed(r_.sleb()); break;
      case kBregx: {
        const std::uint64_t n = r_.uleb();
        push_register(n, r_.sleb());
        break;
      }
      case kDeref: load(sizeof(std::uintptr_t)); break;
      case kDerefSize: load(r_.get<std::uint8_t>()); break;
      case kPlusUconst: push(pop() + r_.uleb()); break;
      case kSkip: jump(r_.get<std::int16_t>()); break;
      case kBra: {
        const auto by = r_.get<std::int16_t>();
        if (pop() != 0) jump(by);
        break;
      }
      case kDup: push(peek(0)); break;
      case kDrop: pop(); break;
      case kOver: push(peek(1)); break;
      case kPick: push(peek(r_.get<std::uint8_t>())); break;
      case kSwap: {
        const std::uint64_t a = pop(), b = pop();
        push(a), push(b);
        break;
      }
      case kRot: {
        const std::uint64_t a = pop(), b = pop(), c = pop();
        push(a), push(c), push(b);
        break;
      }
      case kAbs: {
        const auto v = static_cast<std::int64_t>(pop());
        push(v < 0 ? 0 - static_cast<std::uint64_t>(v) : static_cast<std::uint64_t>(v));
        break;
      }
      case kNeg: push(0 - pop()); break;
      case kNot: push(~pop()); break;
      default: {
        const std::uint64_t b = pop(), a = pop();
        push(two(op, a, b));
      }
    }
  }

  void push_signed(std::int64_t v) noexcept { push(static_cast<std::uint64_t>(v)); }

  std::uint64_t two(std::uint8_t op, std::uint64_t a, std::uint64_t b) noexcept {
    const auto sa = static_cast<std::int64_t>(a), sb = static_cast<std::int64_t>(b);
    switch (op) {
      case kAnd: return a & b;
      case kOr: return a | b;
      case kXor: return a ^ b;
      case kPlus: return a + b;
      case kMinus: return a - b;
      case kMul: return a * b;
      case kShl: return b < 64 ? a << b : 0;
      case kShr: return b < 64 ? a >> b : 0;
      case kShra: return static_cast<std::uint64_t>(sa >> (b < 64 ? b : 63));
      case kEq: return sa == sb;
      case kNe: return sa != sb;
      case kGe: return sa >= sb;
      case kGt: return sa > sb;
      case kLe: return sa <= sb;
      case kLt: return sa < sb;
      case kMod:
        if (b != 0) return a % b;
        break;
      case kDiv:
        if (sb == -1) return 0 - a;
        if (sb != 0) return static_cast<std::uint64_t>(sa / sb);
        break;
    }
    bad_ = true;
    return 0;
  }

  const Cursor& c_;
  Reader r_;
  const std::uint8_t* begin_;
  std::uint64_t stack_[kMaxDepth] = {};
  unsigned depth_ = 0;
  bool bad_ = false;
};

}  // namespace

bool evaluate(const Frame& f, std::int64_t expression, const Cursor& c, const std::uintptr_t* start,
              std::uintptr_t* out) noexcept {
  Reader r{f.program + expression, f.limit};
  const std::uint64_t size = r.uleb();
  const std::uint8_t* begin = r.p;
  r.skip(size);
  if (r.bad) return false;
  Evaluator e(c, Reader{begin, r.p});
  if (start) e.push(*start);
  return e.run(out);
}

}  // namespace gort::inline v0::arch::cfi
