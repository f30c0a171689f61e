#include "connection.h"

#include <gort/context.h>
#include <gort/debug.h>
#include <gort/this_goroutine.h>

#include <ctime>
#include <string_view>

namespace httpd {

namespace {

using in_stream = gort::net::buffered_reader<gort::net::conn>;
using out_stream = gort::net::buffered_writer<gort::net::conn>;

constexpr char kHome[] = R"(<!doctype html><title>gort</title>
<h1>A goroutine per connection</h1>
<p><a href="/hello">/hello</a> <a href="/stats">/stats</a> <a href="/stacks">/stacks</a>; POST to /echo
)";

response answer(const request& r, const statistics& stats) {
  const std::string_view path = r.path();
  const bool reads = r.method() == "GET" || r.method() == "HEAD";
  if (path == "/echo") {
    if (r.method() != "POST") return {.status = 405, .extra = "Allow: POST\r\n", .body = "POST something\n"};
    return {.type = "application/octet-stream", .body = r.body()};
  }
  const bool known = path == "/" || path == "/hello" || path == "/stats" || path == "/stacks";
  if (known && !reads) return {.status = 405, .extra = "Allow: GET, HEAD\r\n", .body = "GET it\n"};
  if (path == "/") return {.type = "text/html; charset=utf-8", .body = kHome};
  if (path == "/hello") return {.body = "Hello, World!\n"};
  if (path == "/stacks") return {.body = gort::all_stacks()};
  if (path == "/stats") {
    return {.body = "connections " + std::to_string(stats.connections) + "\nopen " + std::to_string(stats.open) +
                    "\nrequests " + std::to_string(stats.requests) + "\nrefused " + std::to_string(stats.refused) +
                    "\ngoroutines " + std::to_string(gort::num_goroutine()) + "\n"};
  }
  return {.status = 404, .body = "there is nothing here\n"};
}

/// The time in a header's form, remade when the second changes.
class date {
 public:
  const std::string& text() {
    const std::time_t now = std::time(nullptr);
    if (now != of_) {
      std::tm t;
      char room[64];
      of_ = now;
      text_.assign(room, std::strftime(room, sizeof room, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", gmtime_r(&now, &t)));
    }
    return text_;
  }

 private:
  std::time_t of_ = 0;
  std::string text_;
};

class connection {
 public:
  connection(gort::net::conn c, const settings& s, statistics& stats)
      : conn_(std::move(c)), in_(conn_), out_(conn_), settings_(s), stats_(stats), request_(s.most) {}

  void run() {
    while (receive()) {
      stats_.requests.fetch_add(1, std::memory_order_relaxed);
      const bool more = request_.keeps_alive() && !gort::this_goroutine::context().cancelled();
      write(answer(request_, stats_), more);
      request_.next();
      if (!more) break;
    }
    if (send() && (request_.now() == request::state::failed || in_.buffered() != 0)) drain();
  }

 private:
  /// Until the next request is complete. False: there is none. What was answered is sent before it waits.
  bool receive() {
    bool told = false;  // how long the client has for this one
    for (;;) {
      const std::size_t n = request_.feed(in_.peek_buffered());
      in_.consume(n);
      if (request_.now() == request::state::complete) return true;
      if (request_.now() == request::state::failed) return refuse();
      if (in_.buffered() != 0) continue;
      if (request_.wants_continue()) static_cast<void>(out_.write("HTTP/1.1 100 Continue\r\n\r\n"));
      if (!send()) return false;
      const bool begun = request_.now() == request::state::receiving;
      if (!begun || !told) static_cast<void>(conn_.set_read_timeout(begun ? settings_.receive : settings_.idle));
      told = begun;
      const auto got = in_.fill_more();
      if (got && *got != 0) continue;
      if (got) request_.end_of_stream();
      if (request_.now() == request::state::complete) return true;
      if (!got && begun && got.error() == std::errc::timed_out) write({.status = 408, .body = "too slow\n"}, false);
      return false;
    }
  }

  bool refuse() {
    stats_.refused.fetch_add(1, std::memory_order_relaxed);
    write({.status = request_.failure(), .body = "no\n"}, false);
    return false;
  }

  void write(const response& r, bool more) {
    head_.assign("HTTP/1.1 ").append(std::to_string(r.status)).append(1, ' ');
    head_.append(http_status_str(static_cast<http_status>(r.status))).append("\r\n").append(date_.text());
    head_.append("Content-Type: ").append(r.type).append("\r\nContent-Length: ").append(std::to_string(r.body.size()));
    head_.append("\r\n").append(r.extra);
    // A client of HTTP/1.0 takes the end of the connection for the answer's, unless it is told.
    head_.append(!more ? "Connection: close\r\n\r\n" : request_.is_old() ? "Connection: keep-alive\r\n\r\n" : "\r\n");
    gort::shield _;  // an answer that has begun is finished; the time limit ends it for who does not read
    static_cast<void>(conn_.set_write_timeout(settings_.send));
    static_cast<void>(out_.write(head_));
    if (request_.method() != "HEAD") static_cast<void>(out_.write(r.body));  // errors stay with the writer
  }

  bool send() {
    gort::shield _;
    return out_.flush().has_value();
  }

  /// A close with bytes that nobody has read is a reset, and would take the answer away from the client: it gets some
  /// time to see it.
  void drain() {
    static_cast<void>(conn_.close_write());
    static_cast<void>(conn_.set_read_timeout(std::chrono::seconds(2)));
    char room[4096];
    for (std::size_t all = 0; all < kDrained;) {
      const auto n = conn_.read_some({room, sizeof room});
      if (!n || *n == 0) return;
      all += *n;
    }
  }

  static constexpr std::size_t kDrained = 4 << 20;

  gort::net::conn conn_;
  in_stream in_;
  out_stream out_;
  const settings& settings_;
  statistics& stats_;
  request request_;
  date date_;
  std::string head_;
};

}  // namespace

void serve(gort::net::conn c, const settings& s, statistics& stats) {
  stats.connections.fetch_add(1, std::memory_order_relaxed);
  stats.open.fetch_add(1, std::memory_order_relaxed);
  struct leaving {
    statistics& stats;
    ~leaving() { stats.open.fetch_sub(1, std::memory_order_relaxed); }
  } const leaves{stats};
  connection(std::move(c), s, stats).run();
}

}  // namespace httpd
