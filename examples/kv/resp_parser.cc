#include "resp_parser.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "text.h"

namespace kv {

namespace {
constexpr std::size_t kManyKept = 16
                                  << 10;  // elements of vectors that are kept for the next request
constexpr std::int64_t kSmallArgs = 10, kSmallBulk = 16 << 10;
}  // namespace

std::span<char> parser::room(std::size_t n) {
  begin_ += std::exchange(drop_, 0);
  args_.clear();
  if (begin_ == end_) {
    begin_ = end_ = 0;
    // One huge request does not make its connection a large one for good. ("= {}" would keep the memory.)
    if (buffer_.size() > (1u << 20) && n < buffer_.size() / 4) buffer_ = std::vector<char>();
    if (pieces_.capacity() > kManyKept) pieces_ = std::vector<piece>();
    if (args_.capacity() > kManyKept) args_ = std::vector<std::string_view>();
    if (words_.capacity() > kManyKept) words_ = std::vector<std::string>();
  }
  if (buffer_.size() - end_ < n && begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= std::exchange(begin_, 0);
  }
  if (buffer_.size() - end_ < n) {
    std::size_t want = std::max(buffer_.size() * 2, end_ + n);
    // A large argument has said how large it is. It is not believed further than this: saying so costs nothing.
    if (bulk_ > 0)
      want =
          std::max(want, begin_ + at_ +
                             static_cast<std::size_t>(std::min<std::int64_t>(bulk_, 64 << 10)) + 2);
    buffer_.resize(want);
  }
  return {buffer_.data() + end_, buffer_.size() - end_};
}

void parser::feed(std::string_view bytes) {
  if (bytes.empty()) return;
  std::memcpy(room(bytes.size()).data(), bytes.data(), bytes.size());
  filled(bytes.size());
}

parser::status parser::next() {
  if (!error_.empty()) return broken;
  begin_ += std::exchange(drop_, 0);
  args_.clear();
  for (;;) {
    if (begin_ == end_) return need_more;
    const status s = missing_ >= 0 || buffer_[begin_] == '*' ? next_array() : next_inline();
    if (s != command || !args_.empty()) return s;
    begin_ += std::exchange(drop_, 0);  // an empty line or array asks for nothing
  }
}

void parser::back_to(std::size_t place) noexcept {
  begin_ = place;
  drop_ = at_ = searched_ = 0;
  missing_ = bulk_ = -1;
  args_.clear();
  error_.clear();
}

bool parser::line_from(std::size_t from, std::string_view& line) {
  const char* base = buffer_.data() + begin_;
  const std::size_t start = std::max(from, searched_), size = end_ - begin_;
  const void* nl = start < size ? std::memchr(base + start, '\n', size - start) : nullptr;
  if (nl == nullptr) {
    searched_ = size;
    return false;
  }
  line = {base + from, static_cast<std::size_t>(static_cast<const char*>(nl) - base) - from};
  return true;
}

namespace {
/// A header's number behind its first byte; the line may end in \r.
bool header_number(std::string_view line, std::int64_t& n) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  line.remove_prefix(1);
  const auto v = to_integer(line);
  if (v) n = *v;
  return v.has_value();
}
}  // namespace

parser::status parser::next_array() {
  std::string_view line;
  if (missing_ < 0) {
    if (!line_from(0, line)) {
      return end_ - begin_ > limits_.inline_bytes ? fail("too big mbulk count string") : need_more;
    }
    std::int64_t n = 0;
    if (!header_number(line, n) || n > static_cast<std::int64_t>(limits_.args))
      return fail("invalid multibulk length");
    if (small_ && n > kSmallArgs) return fail("unauthenticated multibulk length");
    at_ = line.size() + 1;
    missing_ = std::max<std::int64_t>(n, 0);
    pieces_.clear();
  }
  while (missing_ > 0) {
    if (bulk_ < 0) {
      if (!line_from(at_, line)) {
        return end_ - begin_ - at_ > limits_.inline_bytes ? fail("too big bulk count string")
                                                          : need_more;
      }
      if (line.empty() || line[0] != '$') {
        return fail("expected '$', got '" +
                    std::string(1, line.empty() || line[0] == '\r' ? ' ' : line[0]) + "'");
      }
      std::int64_t n = 0;
      if (!header_number(line, n) || n < 0 || n > static_cast<std::int64_t>(limits_.bulk_bytes)) {
        return fail("invalid bulk length");
      }
      if (small_ && n > kSmallBulk) return fail("unauthenticated bulk length");
      at_ += line.size() + 1;
      if (at_ + static_cast<std::size_t>(n) > limits_.request_bytes)
        return fail("request too large");
      bulk_ = n;
    }
    const auto size = static_cast<std::size_t>(bulk_);
    if (end_ - begin_ < at_ + size + 2) return need_more;
    pieces_.push_back({at_, size});
    at_ += size + 2;  // what stands in the place of \r\n does not matter
    bulk_ = -1;
    --missing_;
  }
  const char* base = buffer_.data() + begin_;
  for (const piece& p : pieces_) args_.emplace_back(base + p.at, p.size);
  stay_ = true;
  return done(at_);
}

parser::status parser::next_inline() {
  std::string_view line;
  if (!line_from(0, line)) {
    return end_ - begin_ > limits_.inline_bytes ? fail("too big inline request") : need_more;
  }
  if (line.size() > limits_.inline_bytes) return fail("too big inline request");
  if (!split_words(line, words_)) return fail("unbalanced quotes in request");
  args_.assign(words_.begin(), words_.end());
  stay_ = false;
  return done(line.size() + 1);
}

parser::status parser::done(std::size_t used) {
  drop_ = used;
  at_ = searched_ = 0;
  missing_ = bulk_ = -1;
  return command;
}

parser::status parser::fail(std::string_view what) {
  error_ = "ERR Protocol error: " + std::string(what);
  return broken;
}

}  // namespace kv
