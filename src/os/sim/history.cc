#include "os/sim/history.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern "C" {
// Begin and end of the program's own image, by the linker.
extern const char __executable_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));
}

namespace gort::inline v0::os::sim {

namespace {

// Translated words: the high bits say what kind of place it is.
constexpr std::uint64_t kStatic = 0xfff1'0000'0000'0000;
constexpr std::uint64_t kArena = 0xfff2'0000'0000'0000;
constexpr std::uint64_t kHost = 0xfff3'0000'0000'0000;
constexpr std::uint64_t kKindMask = 0xffff'0000'0000'0000;

// In the order of SimOp.
constexpr const char* kOpNames[] = {
    "point",      "load",    "store",         "exchange", "cas",        "add",
    "sub",        "or",      "and",           "fence",    "futex_wait", "futex_return",
    "futex_wake", "create",  "create_failed", "exit",     "reap",       "join",
    "yield",      "relax",   "sleep",         "wake",     "clock",      "memory",
    "signal",     "handler", "note",          "output",   "drain"};
static_assert(sizeof kOpNames / sizeof kOpNames[0] == static_cast<std::size_t>(SimOp::drain) + 1);

}  // namespace

const char* op_name(SimOp op) noexcept { return kOpNames[static_cast<std::size_t>(op)]; }

Text& Text::operator<<(char c) noexcept {
  if (used_ < cap_) {
    out_[used_++] = c;
    if (c == '\n') line_ = used_;
  }
  return *this;
}

Text& Text::operator<<(std::string_view s) noexcept {
  for (char c : s) *this << c;
  return *this;
}

Text& Text::operator<<(const char* s) noexcept { return *this << std::string_view(s); }

Text& Text::operator<<(std::uint64_t v) noexcept {
  char digits[20];
  int n = 0;
  do {
    digits[n++] = static_cast<char>('0' + v % 10);
    v /= 10;
  } while (v != 0);
  while (n > 0) *this << digits[--n];
  return *this;
}

Text& Text::operator<<(std::int64_t v) noexcept {
  if (v < 0) *this << '-';
  return *this << (v < 0 ? 0 - static_cast<std::uint64_t>(v) : static_cast<std::uint64_t>(v));
}

Text& Text::hex(std::uint64_t v) noexcept {
  *this << "0x";
  int shift = 60;
  while (shift > 0 && (v >> shift) == 0) shift -= 4;
  for (; shift >= 0; shift -= 4) *this << "0123456789abcdef"[(v >> shift) & 15];
  return *this;
}

Text& Text::pad_to(std::size_t column) noexcept {
  while (used_ < cap_ && used_ - line_ < column) *this << ' ';
  return *this;
}

History& History::instance() noexcept {
  static constinit History* history = nullptr;
  if (history == nullptr) {
    void* p = ::mmap(nullptr, sizeof(History), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) ::_exit(99);
    history = static_cast<History*>(p);
  }
  return *history;
}

void History::begin(const SimOptions& options) noexcept {
  result = SimResult{};
  result.seed = options.seed;
  result.runs = 1;
  result.digest = 0xcbf29ce484222325ULL;
  message[0] = '\0';
  keep_ = options.history_steps < kMaxRecords ? options.history_steps : kMaxRecords;
  if (keep_ == 0) keep_ = 1;
  count_ = 0;
  open_ = false;
  label_count_ = 0;
  output_used_ = 0;
  decision_count_ = 0;
}

std::uint64_t History::translate(std::uint64_t word) noexcept {
  const auto lo = reinterpret_cast<std::uintptr_t>(__executable_start);
  const auto hi = reinterpret_cast<std::uintptr_t>(_end);
  if (word >= lo && word < hi) return kStatic + (word - lo);
  if (word >= kArenaLo && word < kArenaHi) return kArena + (word - kArenaLo);
  // Anywhere else that programs have memory: the driver's stack, malloc, libraries. Differs between
  // processes, so no more is said.
  if (word >= 0x5000'0000'0000 && word < 0x8000'0000'0000) return kHost;
  return word;
}

void History::fold(const Record& r) noexcept {
  const std::uint64_t words[] = {
      r.step,
      static_cast<std::uint64_t>(r.time),
      r.op == SimOp::note ? 0 : r.where,
      r.before,
      r.after,
      (std::uint64_t{r.thread} << 16) | static_cast<std::uint64_t>(r.op)};
  for (std::uint64_t w : words) {
    result.digest = (result.digest ^ w) * 0x100000001b3ULL;
    result.digest ^= result.digest >> 29;
  }
}

void History::add(std::uint64_t step, std::int64_t time, int thread, SimOp op,
                  const void* where) noexcept {
  close();
  const auto word = reinterpret_cast<std::uintptr_t>(where);
  records_[count_++ % keep_] = {step, time, op == SimOp::note ? word : translate(word),
                                0,    0,    static_cast<std::uint16_t>(thread),
                                op,   false, false, nullptr};
  open_ = true;
}

void History::values(std::uint64_t before, std::uint64_t after) noexcept {
  Record& r = records_[(count_ - 1) % keep_];
  r.before = translate(before);
  r.after = translate(after);
  r.values = true;
}

void History::close() noexcept {
  if (open_) fold(records_[(count_ - 1) % keep_]);
  open_ = false;
}

void History::label(const void* addr, std::size_t bytes, const char* name,
                    std::span<const char* const> values) noexcept {
  if (label_count_ == kMaxLabels) return;
  Label& l = labels_[label_count_++];
  l.place = translate(reinterpret_cast<std::uintptr_t>(addr));
  l.bytes = bytes;
  l.values = values;
  std::size_t n = 0;
  for (; n + 1 < sizeof l.name && name[n] != '\0'; ++n) l.name[n] = name[n];
  l.name[n] = '\0';
}

/// The bare name of a function and, in it, the line.
void History::print_site(char (&out)[sizeof(SimFence::site)], const SimSite& at) noexcept {
  Text text(out, sizeof out - 1);
  text << short_name(at.function_name()) << ':' << static_cast<std::uint64_t>(at.line());
  out[text.size()] = '\0';
}

void History::fence_met(SimOp op, const SimSite& at) noexcept {
  // The text of a place is made once: the name's address tells functions apart.
  for (std::size_t i = 0; i < fence_count_; ++i) {
    if (fence_names_[i] == at.function_name() && fence_lines_[i] == at.line()) return;
  }
  if (fence_count_ == kMaxFences) return;
  fence_names_[fence_count_] = at.function_name();
  fence_lines_[fence_count_] = at.line();
  fences_[fence_count_].op = op;
  print_site(fences_[fence_count_++].site, at);
}

/// From "void gort::v0::rt::f(T) [with T = int]" (Clang: "[T = int]") to "f", and with the class for its members.
std::string_view short_name(const char* function) noexcept {
  std::string_view s(function);
  if (const auto with = s.find(") ["); with != s.npos) s = s.substr(0, with + 1);
  int depth = 0;
  std::size_t begin = 0;
  std::size_t end = s.size();
  for (std::size_t i = 0; i < s.size(); ++i) {
    const char c = s[i];
    if (c == '(' && depth == 0) {
      if (constexpr std::string_view none = "(anonymous namespace)"; s.substr(i).starts_with(none)) {
        i += none.size() - 1;
        continue;
      }
      end = i;
      break;
    }
    if (c == '<' || c == '{') ++depth;
    if (c == '>' || c == '}') --depth;
    if (depth != 0) continue;
    if (c == ' ' || c == '*' || c == '&') begin = i + 1;
  }
  s = s.substr(begin, end - begin);
  // The namespaces are ours, and say nothing.
  for (const std::string_view own : {"gort::", "v0::", "rt::", "os::", "{anonymous}::", "(anonymous namespace)::"}) {
    while (s.starts_with(own)) s.remove_prefix(own.size());
  }
  return s;
}

const Label* History::label_of(std::uint64_t place) const noexcept {
  // Later labels win: memory may have been reused.
  for (std::size_t i = label_count_; i-- > 0;) {
    const Label& l = labels_[i];
    if (l.place != kHost && place >= l.place && place - l.place < l.bytes) return &l;
  }
  return nullptr;
}

std::string_view History::capture(const char* data, std::size_t n) noexcept {
  const std::size_t at = output_used_;
  if (n > kOutput - at) n = kOutput - at;
  memcpy(output_ + at, data, n);
  output_used_ += n;
  return {output_ + at, n};
}

void History::print_place(Text& out, std::uint64_t place) const noexcept {
  if (const Label* l = label_of(place); l != nullptr) {
    out << l->name;
    if (place != l->place) out << '+' << static_cast<std::uint64_t>(place - l->place);
    return;
  }
  const std::uint64_t offset = place & ~kKindMask;
  switch (place & kKindMask) {
    case kStatic:
      out << "static+";
      break;
    case kArena:
      out << "arena+";
      break;
    case kHost:
      out << "host";
      return;
    default:
      if (place < 1'000'000) {
        out << place;
      } else {
        out.hex(place);
      }
      return;
  }
  out.hex(offset);
}

void History::print_record(Text& out, const Record& r) const noexcept {
  out << r.step;
  out.pad_to(8) << r.time;
  out.pad_to(22) << 'T' << static_cast<int>(r.thread);
  out.pad_to(28);
  if (r.op == SimOp::note) {
    out << "-- " << reinterpret_cast<const char*>(r.where);
    if (r.after != 0) out << ' ' << r.after;
    out << '\n';
    return;
  }
  out << op_name(r.op);
  if (r.op == SimOp::output) {
    out << ' ' << std::string_view(output_ + r.before, r.after);
    if (r.after == 0 || output_[r.before + r.after - 1] != '\n') out << '\n';
    return;
  }
  if (r.where != 0) {
    out.pad_to(41);
    print_place(out, r.where);
  }
  if (r.values) {
    out << ' ';
    if (r.op == SimOp::futex_wait) {
      print_place(out, r.before);
      out << (r.before == r.after ? ", sleeps" : ", changed");
    } else if (r.op == SimOp::futex_return) {
      constexpr const char* kWait[] = {"woken", "changed", "timed_out"};
      out << kWait[r.after % 3];
    } else if (r.op == SimOp::signal) {
      out << r.after << " to T" << r.before;
    } else {
      if (r.before != r.after) {
        print_place(out, r.before);
        out << " -> ";
      }
      print_place(out, r.after);
      if (r.op == SimOp::cas && r.before == r.after) out << " (failed)";
      if (r.delayed) out << " (in its buffer)";
    }
  }
  out << '\n';
}

void History::print_records(Text& out) const noexcept {
  const std::uint64_t first = count_ > keep_ ? count_ - keep_ : 0;
  out << "step    time          thread what\n";
  if (first > 0) out << "... " << first << " records before these\n";
  for (std::uint64_t i = first; i < count_; ++i) print_record(out, records_[i % keep_]);
}

}  // namespace gort::inline v0::os::sim
