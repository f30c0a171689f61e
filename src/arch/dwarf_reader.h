// gort: bounded reading of DWARF's encodings. Internal to src/arch.
//
// A Reader stands in [p, end) of a module's unwind tables. Reading past the end gives zeros and
// sets `bad`, which callers look at once, when they are done: tables are trusted to be mapped, not
// to be right.
#pragma once

#include <cstdint>
#include <cstring>

namespace gort::inline v0::arch::dwarf {

/// DW_EH_PE_*: how a pointer is written. The low four bits are its form, the next three its base.
enum : std::uint8_t {
  kFormMask = 0x0f,
  kAbsolute = 0x00,
  kUleb = 0x01,
  kUdata2 = 0x02,
  kUdata4 = 0x03,
  kUdata8 = 0x04,
  kSleb = 0x09,
  kSdata2 = 0x0a,
  kSdata4 = 0x0b,
  kSdata8 = 0x0c,
  kBaseMask = 0x70,
  kPcRelative = 0x10,
  kDataRelative = 0x30,
  kIndirect = 0x80,
  kOmitted = 0xff,
};

struct Reader {
  const std::uint8_t* p;
  const std::uint8_t* end;
  bool bad = false;

  bool more() const noexcept { return !bad && p < end; }

  template <class T>
  T get() noexcept {
    T v{};
    if (bad || end < p || static_cast<std::size_t>(end - p) < sizeof v) {
      bad = true;
      return v;
    }
    std::memcpy(&v, p, sizeof v);
    p += sizeof v;
    return v;
  }

  void skip(std::uint64_t n) noexcept {
    if (bad || n > static_cast<std::uint64_t>(end - p)) {
      bad = true;
    } else {
      p += n;
    }
  }

  std::uint64_t uleb() noexcept {
    std::uint64_t v = 0;
    for (unsigned shift = 0;; shift += 7) {
      const auto b = get<std::uint8_t>();
      if (bad) return 0;
      if (shift < 64) v |= static_cast<std::uint64_t>(b & 0x7f) << shift;
      if (!(b & 0x80)) return v;
    }
  }

  std::int64_t sleb() noexcept {
    std::uint64_t v = 0;
    for (unsigned shift = 0;; shift += 7) {
      const auto b = get<std::uint8_t>();
      if (bad) return 0;
      if (shift < 64) v |= static_cast<std::uint64_t>(b & 0x7f) << shift;
      if (b & 0x80) continue;
      shift += 7;
      if ((b & 0x40) && shift < 64) v |= ~std::uint64_t{0} << shift;
      return static_cast<std::int64_t>(v);
    }
  }

  /// A DW_EH_PE pointer. `data` is the base of data-relative ones. Indirect ones are not followed:
  /// they only name personality routines here, which nobody calls.
  std::uintptr_t encoded(std::uint8_t how, std::uintptr_t data) noexcept {
    if (how == kOmitted) return 0;
    const auto here = reinterpret_cast<std::uintptr_t>(p);
    std::uintptr_t v = 0;
    switch (how & kFormMask) {
      case kAbsolute: v = get<std::uintptr_t>(); break;
      case kUleb: v = uleb(); break;
      case kUdata2: v = get<std::uint16_t>(); break;
      case kUdata4: v = get<std::uint32_t>(); break;
      case kUdata8: v = get<std::uint64_t>(); break;
      case kSleb: v = static_cast<std::uintptr_t>(sleb()); break;
      case kSdata2: v = static_cast<std::uintptr_t>(std::intptr_t{get<std::int16_t>()}); break;
      case kSdata4: v = static_cast<std::uintptr_t>(std::intptr_t{get<std::int32_t>()}); break;
      case kSdata8: v = static_cast<std::uintptr_t>(get<std::int64_t>()); break;
      default: bad = true; return 0;
    }
    switch (how & kBaseMask) {
      case 0: return v;
      case kPcRelative: return v + here;
      case kDataRelative: return v + data;
      default: bad = true; return 0;
    }
  }
};

}  // namespace gort::inline v0::arch::dwarf
