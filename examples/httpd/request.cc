#include "request.h"

#include <http_parser.h>
#include <strings.h>

#include <algorithm>
#include <climits>
#include <utility>

namespace httpd {

const http_parser_settings request::kSettings = [] {
  http_parser_settings s;
  http_parser_settings_init(&s);
  s.on_message_begin = on_begin;
  s.on_url = on_url;
  s.on_header_field = on_field;
  s.on_header_value = on_value;
  s.on_headers_complete = on_head;
  s.on_chunk_header = on_chunk;
  s.on_body = on_body;
  s.on_message_complete = on_complete;
  return s;
}();

request::request(const limits& most) : most_(most) {
  http_parser_init(&parser_, HTTP_REQUEST);
  parser_.data = this;
}

std::size_t request::feed(std::string_view bytes) {
  if (bytes.empty() || state_ == state::complete || state_ == state::failed) return 0;
  fed_to_ = bytes.data() + bytes.size();
  if (!ends_chunk(bytes.data())) return fail(400), 0;
  const std::size_t taken = http_parser_execute(&parser_, &kSettings, bytes.data(), bytes.size());
  const auto error = HTTP_PARSER_ERRNO(&parser_);
  if (error == HPE_PAUSED) {  // at the end of a request
    http_parser_pause(&parser_, 0);
  } else if (error == HPE_HEADER_OVERFLOW) {
    fail(431);
  } else if (error != HPE_OK) {
    fail(failure_);
  }
  return taken;
}

void request::feed_end() {
  if (state_ != state::receiving) return;
  http_parser_execute(&parser_, &kSettings, nullptr, 0);
  if (state_ != state::complete) fail(400);
}

void request::next() {
  state_ = state::idle;
  wants_continue_ = in_value_ = false;
  hosts_ = 0;
  chunk_ = 0;
  chunk_end_ = 0;
  head_ = 0;
  target_.clear(), field_.clear(), value_.clear(), body_.clear();
  if (body_.capacity() > (64u << 10)) std::string().swap(body_);
}

bool request::wants_continue() noexcept { return std::exchange(wants_continue_, false); }

std::string_view request::method() const noexcept {
  return http_method_str(static_cast<http_method>(parser_.method));
}

std::string_view request::path() const noexcept {
  std::string_view path = target_;
  // As one asks a proxy, "http://host/path": RFC 9112, 3.2.2, wants it to be understood by everybody.
  if (const std::size_t host = path.find("://"); host != path.npos && host < path.find_first_of("/?")) {
    path.remove_prefix(host + 3);
    path.remove_prefix(std::min(path.find_first_of("/?"), path.size()));
    if (!path.starts_with('/')) return "/";
  }
  return path.substr(0, path.find('?'));
}

int request::fail(int status) {
  failure_ = status;
  state_ = state::failed;
  return -1;  // for on_head, 1 would mean: it has no body
}

bool request::head_grows(std::size_t n) {
  head_ += n;
  return head_ <= most_.head;
}

int request::on_begin(http_parser* p) {
  of(p).state_ = state::receiving;
  return 0;
}

int request::on_url(http_parser* p, const char* at, std::size_t n) {
  request& r = of(p);
  if (!r.head_grows(n)) return r.fail(414);
  r.target_.append(at, n);
  return 0;
}

int request::on_field(http_parser* p, const char* at, std::size_t n) {
  request& r = of(p);
  if (!r.head_grows(n)) return r.fail(431);
  if (std::exchange(r.in_value_, false)) r.field_.clear(), r.value_.clear();  // the next header begins
  // The parser takes "Transfer-Encoding : chunked" for what it looks like, others do not: a request within a request.
  if (std::string_view(at, n).find_first_of(" \t") != std::string_view::npos) return r.fail(400);
  r.field_.append(at, n);
  return 0;
}

int request::on_value(http_parser* p, const char* at, std::size_t n) {
  request& r = of(p);
  if (!r.head_grows(n)) return r.fail(431);
  if (!std::exchange(r.in_value_, true) && ::strcasecmp(r.field_.c_str(), "host") == 0) ++r.hosts_;
  r.value_.append(at, n);
  const bool may_wait = p->http_minor > 0 && (p->flags & F_TRAILING) == 0;  // not behind the body
  if (may_wait && ::strcasecmp(r.field_.c_str(), "expect") == 0 && ::strcasecmp(r.value_.c_str(), "100-continue") == 0) {
    r.wants_continue_ = true;
  }
  return 0;
}

int request::on_head(http_parser* p) {
  request& r = of(p);
  p->upgrade = 0;  // we offer no other protocol: answered as if it had not been asked for
  if (p->method == HTTP_CONNECT) return r.fail(501);
  if (p->content_length != ULLONG_MAX && p->content_length > r.most_.body) return r.fail(413);
  if (p->http_major != 1) return r.fail(505);
  // RFC 9112, 3.2: which of two would be believed, one would have to guess, and others may guess otherwise.
  if (p->http_minor > 0 ? r.hosts_ != 1 : r.hosts_ > 1) return r.fail(400);
  return 0;
}

int request::on_chunk(http_parser* p) {
  of(p).chunk_ = p->content_length;
  return 0;
}

// The parser, as distributions build it, does not look at what stands there; who does would see other chunks than we.
bool request::ends_chunk(const char* at) {
  for (; chunk_end_ > 0 && at != fed_to_; --chunk_end_) {
    if (*at++ != (chunk_end_ == 2 ? '\r' : '\n')) return false;
  }
  return true;
}

int request::on_body(http_parser* p, const char* at, std::size_t n) {
  request& r = of(p);
  if ((p->flags & F_CHUNKED) != 0 && (r.chunk_ -= n) == 0) {
    r.chunk_end_ = 2;
    if (!r.ends_chunk(at + n)) return r.fail(400);
  }
  if (r.body_.size() + n > r.most_.body) return r.fail(413);
  r.body_.append(at, n);
  return 0;
}

int request::on_complete(http_parser* p) {
  request& r = of(p);
  r.state_ = state::complete;
  // Chunks from a client that does not know them: whatever is between us may see another end of the request.
  const bool odd = p->http_minor == 0 && (p->flags & F_CHUNKED) != 0;
  r.keeps_alive_ = http_should_keep_alive(p) != 0 && !odd;
  http_parser_pause(p, 1);
  return 0;
}

}  // namespace httpd
