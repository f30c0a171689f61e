// gort simulator: a failed run as a table: one column per thread, one row per step that matters.
//
// What matters: a step that changes a named word; one that learns of a change that another thread has made; sleeping,
// waking, signals, threads' beginnings and ends, notes. Steps on words that nobody has named do not.
#include <string.h>

#include "os/sim/history.h"

namespace gort::inline v0::os::sim {

namespace {

constexpr std::size_t kRows = 70;
constexpr int kColumns = 12;
constexpr std::uint32_t kNobody = 0xffff;

bool is_read(const Record& r) noexcept {
  return r.op == SimOp::load || (r.before == r.after && r.op >= SimOp::store && r.op <= SimOp::bit_and);
}

}  // namespace

History::Seen& History::seen_of(std::uint64_t place, std::uint32_t thread) noexcept {
  std::uint64_t h = (place * 31 + thread) * 0x9e3779b97f4a7c15ULL;
  h >>= 40;
  for (std::size_t tries = 0; tries < kSeen; ++tries, ++h) {
    Seen& s = seen_[h % kSeen];
    if (s.place == place && s.thread == thread) return s;
    if (s.place == 0) {
      s = {place, thread, 0};
      return s;
    }
  }
  return seen_[0];  // more words than the table knows: some rows too many
}

bool History::matters(const Record& r) noexcept {
  switch (r.op) {
    case SimOp::note:
    case SimOp::create:
    case SimOp::create_failed:
    case SimOp::exit:
    case SimOp::signal:
    case SimOp::handler:
      return true;
    case SimOp::futex_wait:
      return r.before == r.after;
    case SimOp::futex_wake:
      return r.after != 0;
    case SimOp::futex_return:
      return true;
    case SimOp::drain:
      break;
    default:
      if (r.op > SimOp::bit_and || r.op == SimOp::point) return false;
      break;
  }
  if (label_of(r.where) == nullptr) return false;
  // The version of a word counts its changes; a thread that has seen the present one learns nothing.
  Seen& word = seen_of(r.where, kNobody);
  Seen& mine = seen_of(r.where, r.thread);
  const bool news = mine.version != word.version;
  if (!is_read(r)) ++word.version;
  mine.version = word.version;
  return news || !is_read(r);
}

void History::print_value(Text& out, const Label* l, std::uint64_t value) const noexcept {
  if (l != nullptr && value < l->values.size()) {
    out << l->values[value];
  } else {
    print_place(out, value);
  }
}

void History::print_cell(Text& out, const Record& r) const noexcept {
  if (r.op == SimOp::note) {
    out << "-- " << reinterpret_cast<const char*>(r.where);
    if (r.after != 0) out << ' ' << r.after;
    return;
  }
  const Label* l = r.where != 0 ? label_of(r.where) : nullptr;
  if (r.op < SimOp::load || r.op > SimOp::bit_and) {
    if (r.op == SimOp::drain) {
      out << "(buffer) ";
    } else {
      out << op_name(r.op) << ' ';
    }
  }
  if (r.op == SimOp::signal) {
    out << 'T' << r.before;
    return;
  }
  if (r.where != 0 && r.op != SimOp::create) print_place(out, r.where);
  if (r.op == SimOp::create) out << 'T' << r.after;
  if (r.op > SimOp::bit_and && r.op != SimOp::drain) return;
  if (is_read(r) || r.op == SimOp::drain) {
    out << (r.op == SimOp::drain ? " := " : " is ");
    print_value(out, l, r.after);
    return;
  }
  out << ' ';
  print_value(out, l, r.before);
  out << " -> ";
  print_value(out, l, r.after);
  if (r.delayed) out << " (buffered)";
}

void History::print_table(Text& out, const char* (*thread_name)(int)) noexcept {
  memset(seen_, 0, sizeof seen_);
  const std::uint64_t first = count_ > keep_ ? count_ - keep_ : 0;
  std::size_t rows = 0;
  for (std::uint64_t i = first; i < count_; ++i) {
    marked_[i % keep_] = matters(records_[i % keep_]);
    if (marked_[i % keep_]) ++rows;
  }
  std::uint64_t begin = first;
  for (std::size_t skip = rows > kRows ? rows - kRows : 0; skip > 0; ++begin) {
    if (marked_[begin % keep_]) --skip;
  }
  // Columns in the order of first appearance, each as wide as its widest cell.
  int column_of[kColumns];
  std::size_t at[kColumns + 1];
  std::size_t width[kColumns] = {};
  int columns = 0;
  char cell[160];
  for (std::uint64_t i = begin; i < count_; ++i) {
    const Record& r = records_[i % keep_];
    if (!marked_[i % keep_]) continue;
    int c = 0;
    while (c < columns && column_of[c] != r.thread) ++c;
    if (c == kColumns) continue;
    if (c == columns) {
      column_of[columns++] = r.thread;
      width[c] = 3 + strlen(thread_name(r.thread)) + 4;
    }
    Text in_cell(cell, sizeof cell);
    print_cell(in_cell, r);
    if (in_cell.size() + 2 > width[c]) width[c] = in_cell.size() + 2;
  }
  constexpr std::size_t kFunction = 8;
  at[0] = kFunction + 22;
  for (int c = 0; c < columns; ++c) at[c + 1] = at[c] + (width[c] < 48 ? width[c] : 48);
  if (begin != first) out << "... " << static_cast<std::uint64_t>(rows - kRows) << " rows before these\n";
  out << "step";
  out.pad_to(kFunction) << "in";
  for (int c = 0; c < columns; ++c) {
    out.pad_to(at[c]) << 'T' << column_of[c];
    if (thread_name(column_of[c])[0] != '\0') out << " (" << thread_name(column_of[c]) << ')';
  }
  out << '\n';
  for (std::uint64_t i = begin; i < count_; ++i) {
    const Record& r = records_[i % keep_];
    if (!marked_[i % keep_]) continue;
    int c = 0;
    while (c < columns && column_of[c] != r.thread) ++c;
    if (c == columns) continue;
    out << r.step;
    out.pad_to(kFunction);
    if (r.site != nullptr) out << short_name(r.site).substr(0, 21);
    out.pad_to(at[c]);
    print_cell(out, r);
    out << '\n';
  }
}

}  // namespace gort::inline v0::os::sim
