#include "debug/trace_text.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <initializer_list>
#include <map>
#include <vector>

#include "debug/symbols.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::size_t kMaxNameShown = 64;

constexpr std::array<const char*, 5> kLevelNames = {"none", "single", "all", "system", "crash"};

const char* state_of(const GoroutineTrace& g) noexcept {
  if (g.wait_reason != nullptr && g.wait_reason[0] != '\0') return g.wait_reason;
  return g.status != nullptr ? g.status : "???";
}

/// A user's name inside our line: whatever could end the brackets or the line is replaced.
void print_name(Printer& out, const char* name) noexcept {
  if (name == nullptr || name[0] == '\0') return;
  out << ", name \"";
  for (std::size_t i = 0; name[i] != '\0'; ++i) {
    if (i == kMaxNameShown) {
      out << "...";
      break;
    }
    const char c = name[i];
    const bool plain = static_cast<unsigned char>(c) >= 0x20 && c != 0x7f && c != '"' && c != '[' && c != ']';
    out << (plain ? c : '?');
  }
  out << '"';
}

/// "[semacquire, 2 minutes, locked to thread]:"; a range of minutes only for groups.
void print_state(Printer& out, const GoroutineTrace& g, std::int64_t min_minutes, std::int64_t max_minutes,
                 bool with_name) noexcept {
  out << '[' << state_of(g);
  if (max_minutes >= 1) {
    out << ", ";
    if (min_minutes != max_minutes) out << min_minutes << '-';
    out << max_minutes << " minutes";
  }
  if (g.locked_to_thread) out << ", locked to thread";
  if (with_name) print_name(out, g.name);
  out << "]:\n";
}

void print_header(Printer& out, const GoroutineTrace& g) noexcept {
  out << (g.is_thread ? "thread " : "goroutine ") << g.id << ' ';
  print_state(out, g, g.waiting_minutes, g.waiting_minutes, true);
}

void print_raw_pc(Printer& out, std::uintptr_t pc) noexcept {
  out << Hex{pc};
  Module m;
  // One byte back, so that a return address at a module's very end is still that module's.
  if (find_module(pc != 0 ? pc - 1 : pc, &m)) out << ' ' << m.path << '+' << Hex{pc - m.base};
}

std::string hex(std::uintptr_t v) {
  char buf[24];
  Printer p(buf, sizeof buf);
  p << Hex{v};
  return buf;
}

/// The second line of a frame, with its tab and newline.
std::string place(const SymbolFrame& f, std::uintptr_t pc) {
  std::string s = "\t";
  if (f.file != nullptr) {
    s += f.file;
    s += ':' + std::to_string(f.line);
    if (!f.inlined && f.entry != 0 && pc > f.entry) s += " +" + hex(pc - f.entry);
  } else {
    // No line, but what addr2line and a disassembler take.
    s += (f.module != nullptr ? f.module : "?") + ('+' + hex(f.offset));
  }
  return s += '\n';
}

struct Lines {
  std::string users;          // users' frames
  std::string all;            // the runtime's too
  std::size_t users_end = 0;  // of `users`, up to the last frame that is not mere plumbing
};

bool starts_with_any(std::string_view s, std::initializer_list<std::string_view> prefixes) {
  return std::ranges::any_of(prefixes, [&](std::string_view p) { return s.starts_with(p); });
}

bool ends_with_any(std::string_view s, std::initializer_list<std::string_view> suffixes) {
  return std::ranges::any_of(suffixes, [&](std::string_view p) { return s.ends_with(p); });
}

/// What stands between the first frame of a goroutine and the user's function: our templates that carry
/// the closure, and the standard library's that call it. GCC may give them unqualified names.
bool is_plumbing(std::string_view function, std::string_view file) {
  if (ends_with_any(file, {"gort/detail/goroutine.h", "gort/run.h", "gort/go.h"})) return true;
  if (starts_with_any(function, {"gort::v0::detail::", "gort::v0::run<"})) return true;
  if (function.starts_with("std::")) function.remove_prefix(5);
  // Clang mangles some lambdas in a way that GCC's demangler does not know.
  return starts_with_any(function, {"__invoke", "invoke<", "__apply_impl<", "apply<", "_ZSt8__invoke",
                                    "_ZSt13__invoke_impl", "_ZSt6invoke", "_ZSt12__apply_impl", "_ZSt5apply"}) &&
         ends_with_any(file, {"/invoke.h", "/functional", "/tuple"});
}

/// Both forms at once: only at the end is it known whether there was anything but the runtime.
void add_frames(Lines& lines, std::uintptr_t pc, bool is_return_address) {
  struct Text {
    std::string text;
    bool qualified;
    bool runtime;
    bool plumbing;
  };
  std::vector<Text> at_pc;
  symbolize(pc, is_return_address, [&](const SymbolFrame& f) {
    std::string s = f.function != nullptr ? std::string(function_name_only(f.function)) : "?" + hex(pc);
    const bool plumbing = is_plumbing(s, f.file != nullptr ? f.file : "");
    s += f.inlined ? "(...)\n" : "()\n";
    s += place(f, pc);
    const std::string_view linkage = f.linkage != nullptr ? f.linkage : "";
    // GCC gives an inlined static function an unqualified name; it is then whose code it was put into.
    at_pc.push_back({std::move(s), !f.inlined || linkage.starts_with("_Z"), is_runtime_linkage(linkage), plumbing});
  });
  bool owner_is_runtime = false;
  for (std::size_t i = at_pc.size(); i-- > 0;) {
    if (!at_pc[i].qualified) at_pc[i].runtime = owner_is_runtime;
    owner_is_runtime = at_pc[i].runtime;
  }
  for (const Text& t : at_pc) {
    lines.all += t.text;
    if (t.runtime) continue;
    lines.users += t.text;
    if (!t.plumbing) lines.users_end = lines.users.size();
  }
}

/// For an empty stack: it has been asked for, but its thread has not answered, or it never stood still.
const char* no_stack(const GoroutineTrace& g) noexcept {
  const bool runs = g.status != nullptr && std::strcmp(g.status, "running") == 0;
  return runs ? "\tgoroutine running on other thread; stack unavailable\n" : "\tstack unavailable\n";
}

std::string stack_text(const GoroutineTrace& g, TracebackLevel level) {
  if (g.pcs.empty()) return no_stack(g);
  Lines lines;
  const std::size_t n = g.pcs.size();
  const bool elide = n > 2 * kTraceEnd;
  for (std::size_t i = 0; i < n; ++i) {
    if ((elide || g.omitted != 0) && i == kTraceEnd) {
      const std::size_t left_out = g.omitted + (elide ? n - 2 * kTraceEnd : 0);
      const std::string gap = "..." + std::to_string(left_out) + " frames elided...\n";
      lines.users += gap;
      lines.all += gap;
      if (elide) i = n - kTraceEnd;
    }
    add_frames(lines, g.pcs[i], i != 0 || !g.first_is_exact);
  }
  // A stack of the runtime's frames alone is better than an empty one.
  const bool all = shows_runtime(level) || lines.users_end == 0;
  if (!all) lines.users.resize(lines.users_end);
  std::string text = std::move(all ? lines.all : lines.users);
  if (g.truncated) text += "...additional frames elided...\n";
  return text;
}

/// The `go` call itself, a template of ours, is usually inlined into the function that matters.
std::string creator_text(const GoroutineTrace& g, bool with_creator_id) {
  if (g.created_by == 0) return {};
  std::string name, at;
  symbolize(g.created_by, true, [&](const SymbolFrame& f) {
    const std::string_view function = f.function != nullptr ? function_name_only(f.function) : "";
    const bool ours = f.inlined && function.starts_with("gort::v0::");
    if (!name.empty() || ours) return;
    name = function.empty() ? "?" + hex(g.created_by) : std::string(function);
    at = place(f, g.created_by);
  });
  std::string s = "created by " + name;
  if (with_creator_id && g.creator_id != 0) s += " in goroutine " + std::to_string(g.creator_id);
  return s + '\n' + at;
}

/// What goroutines of one group have in common.
struct SameStack {
  bool operator()(const GoroutineTrace* a, const GoroutineTrace* b) const noexcept {
    if (const int c = std::strcmp(state_of(*a), state_of(*b)); c != 0) return c < 0;
    if (a->locked_to_thread != b->locked_to_thread) return b->locked_to_thread;
    if (a->first_is_exact != b->first_is_exact) return b->first_is_exact;
    if (a->truncated != b->truncated) return b->truncated;
    if (a->omitted != b->omitted) return a->omitted < b->omitted;
    if (a->created_by != b->created_by) return a->created_by < b->created_by;
    return std::ranges::lexicographical_compare(a->pcs, b->pcs);
  }
};

/// "18, 19, 25-59": four or more in a row become a range; nothing is left out.
void print_ids(const TextSink& out, std::span<const std::uint64_t> ids) {
  char buf[64];
  for (std::size_t i = 0; i < ids.size();) {
    std::size_t end = i + 1;
    while (end < ids.size() && ids[end] == ids[end - 1] + 1) ++end;
    if (end - i < 4) end = i + 1;
    Printer p(buf, sizeof buf);
    p << (i == 0 ? "" : ", ") << ids[i];
    if (end - i > 1) p << '-' << ids[end - 1];
    out(buf);
    i = end;
  }
}

void print_group(const TextSink& out, std::span<const GoroutineTrace* const> group, TracebackLevel level) {
  const GoroutineTrace& first = *group.front();
  if (group.size() == 1) return print_trace(out, first, level);
  std::vector<std::uint64_t> ids;
  std::int64_t min_minutes = first.waiting_minutes, max_minutes = first.waiting_minutes;
  bool same_creator = true, same_name = true;
  for (const GoroutineTrace* g : group) {
    ids.push_back(g->id);
    min_minutes = std::min(min_minutes, g->waiting_minutes);
    max_minutes = std::max(max_minutes, g->waiting_minutes);
    same_creator &= g->creator_id == first.creator_id;
    same_name &= std::string_view(g->name != nullptr ? g->name : "") == (first.name != nullptr ? first.name : "");
  }
  std::ranges::sort(ids);
  out(std::to_string(group.size()) + " goroutines: goroutine ");
  print_ids(out, ids);
  char buf[512];
  Printer p(buf, sizeof buf);
  p << ' ';
  print_state(p, first, min_minutes, max_minutes, same_name);
  out(buf);
  out(stack_text(first, level));
  out(creator_text(first, same_creator));
}

}  // namespace

std::optional<TracebackLevel> parse_traceback(const char* value) noexcept {
  if (value == nullptr || value[0] == '\0') return TracebackLevel::single;
  for (std::size_t i = 0; i < kLevelNames.size(); ++i) {
    if (std::strcmp(value, kLevelNames[i]) == 0) return static_cast<TracebackLevel>(i);
  }
  return std::nullopt;
}

void report_bad_traceback(Printer& out, const char* value) noexcept {
  out << "gort: GORT_TRACEBACK=" << value << " is not one of none, single, all, system, crash\n";
}

TextSink::TextSink(Printer& out) noexcept
    : write_([](void* p, const char* text, std::size_t n) { static_cast<Printer*>(p)->text(text, n); }),
      context_(&out) {}

TextSink::TextSink(std::string& out) noexcept
    : write_([](void* s, const char* text, std::size_t n) { static_cast<std::string*>(s)->append(text, n); }),
      context_(&out) {}

void print_raw_frames(Printer& out, const GoroutineTrace& g) noexcept {
  for (std::size_t i = 0; i < g.pcs.size(); ++i) {
    if (g.omitted != 0 && i == kTraceEnd) out << "..." << g.omitted << " frames elided...\n";
    out << '\t';
    print_raw_pc(out, g.pcs[i]);
    out << '\n';
  }
}

void print_raw(Printer& out, const GoroutineTrace& g) noexcept {
  print_header(out, g);
  print_raw_frames(out, g);
  if (g.pcs.empty()) out << no_stack(g);
  if (g.truncated) out << "...additional frames elided...\n";
  if (g.created_by == 0) return;
  out << "created by ";
  print_raw_pc(out, g.created_by);
  if (g.creator_id != 0) out << " in goroutine " << g.creator_id;
  out << '\n';
}

void print_trace(const TextSink& out, const GoroutineTrace& g, TracebackLevel level) {
  char header[512];
  Printer p(header, sizeof header);
  print_header(p, g);
  out(header);
  out(stack_text(g, level));
  out(creator_text(g, true));
}

void print_traces(const TextSink& out, std::span<const GoroutineTrace> goroutines, TracebackLevel level,
                  std::size_t group_above) {
  if (goroutines.size() <= group_above) {
    for (std::size_t i = 0; i < goroutines.size(); ++i) {
      if (i != 0) out("\n");
      print_trace(out, goroutines[i], level);
    }
    return;
  }
  std::vector<std::vector<const GoroutineTrace*>> groups;  // in the order of their first members
  std::map<const GoroutineTrace*, std::size_t, SameStack> known;
  for (const GoroutineTrace& g : goroutines) {
    const auto [it, is_new] = known.try_emplace(&g, groups.size());
    if (is_new) groups.emplace_back();
    groups[it->second].push_back(&g);
  }
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (i != 0) out("\n");
    print_group(out, groups[i], level);
  }
}

}  // namespace gort::inline v0::rt
