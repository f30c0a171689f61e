// gort simulator: what a run leaves behind: records of its steps, captured output, verdict, text.
//
// All of it lies in one mapping shared between the driver and the forked children, so that it
// outlives a run that ends by a fault. Steps are binary records in a ring; text is made of them
// only when somebody will read it. No addresses of this process' life appear in records: they are
// translated to places (an offset into the arena or the program's static data), so that histories
// of two processes can be compared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "os/sim/sim.h"

namespace gort::inline v0::os::sim {

/// Where simulated stacks and mappings lie: far from where the kernel puts anything by itself,
/// inside what AddressSanitizer lets programs use.
inline constexpr std::uintptr_t kArenaLo = 0x2000'0000'0000;
inline constexpr std::uintptr_t kArenaHi = 0x3000'0000'0000;

struct Record {
  std::uint64_t step;
  std::int64_t time;
  std::uint64_t where;   // address (translated), or a literal's address for notes
  std::uint64_t before;  // values (translated if they are addresses)
  std::uint64_t after;
  std::uint16_t thread;
  SimOp op;
  bool values;       // before and after are set
  bool delayed;      // a store that went into the thread's buffer
  const char* site;  // the function, as the compiler writes it; or null
};

struct Label {
  std::uint64_t place;
  std::size_t bytes;
  char name[24];
  std::span<const char* const> values;
};

/// Text into a fixed buffer; cut off silently at its end.
class Text {
 public:
  Text(char* out, std::size_t cap) noexcept : out_(out), cap_(cap) {}
  Text& operator<<(const char* s) noexcept;
  Text& operator<<(char c) noexcept;
  Text& operator<<(std::string_view s) noexcept;
  Text& operator<<(std::uint64_t v) noexcept;
  Text& operator<<(std::int64_t v) noexcept;
  Text& operator<<(int v) noexcept { return *this << static_cast<std::int64_t>(v); }
  Text& hex(std::uint64_t v) noexcept;
  Text& pad_to(std::size_t column) noexcept;  // of the current line
  std::size_t size() const noexcept { return used_; }

 private:
  char* out_;
  std::size_t cap_;
  std::size_t used_ = 0;
  std::size_t line_ = 0;  // where the current line begins
};

const char* op_name(SimOp op) noexcept;
/// The name of a function without its result, namespaces and parameters.
std::string_view short_name(const char* function) noexcept;

class History {
 public:
  static constexpr std::size_t kMaxRecords = 65'536;
  static constexpr std::size_t kMaxLabels = 512;
  static constexpr std::size_t kMaxDecisions = 1u << 20;
  static constexpr std::size_t kMaxFences = 256;
  static constexpr std::size_t kOutput = 16'384;
  static constexpr std::size_t kText = 16u << 20;

  /// The one history of this process, mapped at the first call.
  static History& instance() noexcept;

  void begin(const SimOptions& options) noexcept;
  void add(std::uint64_t step, std::int64_t time, int thread, SimOp op, const void* where) noexcept;
  /// Completes the last record.
  void values(std::uint64_t before, std::uint64_t after) noexcept;
  /// Adds to the last record: where in the program it is; that the store went into the buffer.
  void site(const char* function) noexcept { records_[(count_ - 1) % keep_].site = function; }
  void delayed() noexcept { records_[(count_ - 1) % keep_].delayed = true; }
  void label(const void* addr, std::size_t bytes, const char* name,
             std::span<const char* const> values) noexcept;
  void decision(const SimDecision& d) noexcept {
    if (decision_count_ < kMaxDecisions) decisions_[decision_count_++] = d;
  }
  std::span<const SimDecision> decisions() const noexcept { return {decisions_, decision_count_}; }
  /// For SimFence: kept over runs.
  void fence_met(SimOp op, const SimSite& at) noexcept;
  std::span<const SimFence> fences() const noexcept { return {fences_, fence_count_}; }
  static void print_site(char (&out)[sizeof(SimFence::site)], const SimSite& at) noexcept;
  /// Takes output; returns where it is.
  std::string_view capture(const char* data, std::size_t n) noexcept;
  std::string_view output() const noexcept { return {output_, output_used_}; }

  /// Ends the records: computes the last of the digest.
  void close() noexcept;
  void print_records(Text& out) const noexcept;
  /// What matters of them: one column per thread (table.cc).
  void print_table(Text& out, const char* (*thread_name)(int)) noexcept;
  void print_place(Text& out, std::uint64_t place) const noexcept;
  static std::uint64_t translate(std::uint64_t word) noexcept;

  SimResult result;
  SimReport report;
  char message[512];
  char text[kText];

 private:
  void fold(const Record& r) noexcept;
  void print_record(Text& out, const Record& r) const noexcept;
  const Label* label_of(std::uint64_t place) const noexcept;
  bool matters(const Record& r) noexcept;
  void print_cell(Text& out, const Record& r) const noexcept;
  void print_value(Text& out, const Label* l, std::uint64_t value) const noexcept;

  std::size_t keep_;
  std::uint64_t count_;  // records ever added
  bool open_;            // the last record is not yet in the digest
  std::size_t label_count_;
  std::size_t output_used_;
  Label labels_[kMaxLabels];
  char output_[kOutput];
  Record records_[kMaxRecords];
  SimFence fences_[kMaxFences];
  const char* fence_names_[kMaxFences];
  std::uint_least32_t fence_lines_[kMaxFences];
  std::size_t fence_count_;
  std::size_t decision_count_;
  SimDecision decisions_[kMaxDecisions];
  // print_table: who has changed a word, and what a thread knows of it.
  struct Seen {
    std::uint64_t place;
    std::uint32_t thread;
    std::uint32_t version;
  };
  static constexpr std::size_t kSeen = 1u << 15;
  Seen& seen_of(std::uint64_t place, std::uint32_t thread) noexcept;
  Seen seen_[kSeen];
  bool marked_[kMaxRecords];
};

}  // namespace gort::inline v0::os::sim
