#include "network.h"

#include <gort/context.h>
#include <gort/go.h>
#include <gort/mutex.h>
#include <gort/this_goroutine.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <string_view>
#include <utility>

#include "server.h"
#include "session.h"

namespace kv {

using namespace std::chrono_literals;

namespace {

/// One connection. Two goroutines write to it if it has subscribed: its own, and the one that pushes messages; each holds
/// `writing_` from the execution of a command to the end of its answer, so that nothing comes between.
class connection {
 public:
  connection(server& srv, gort::net::conn c)
      : socket_(std::make_shared<gort::net::conn>(std::move(c))),
        most_kept_(srv.config.max_bulk.load() + (1u << 20)),
        in_({.bulk_bytes = srv.config.max_bulk.load(),
             .request_bytes = srv.config.max_bulk.load() + (1u << 20)}),
        session_(
            srv, socket_->peer_address().to_string(),
            {.close = [s = socket_] { s->close(); },
             .end_reading = [s = socket_] { static_cast<void>(s->close_read()); },
             .wake =
                 [s = socket_] { static_cast<void>(s->set_read_deadline(gort::clock::now())); },
             .unread =
                 [s = socket_] {
                   int bytes = 0;
                   const int fd = s->native_handle();
                   return fd >= 0 && ::ioctl(fd, SIOCOUTQ, &bytes) == 0 ? bytes : 0;
                 },
             .read_on =
                 [s = socket_] { static_cast<void>(s->set_write_deadline(gort::clock::now())); }}) {
  }

  void serve() {
    std::size_t chunk = 2 << 10;  // small, since most of 10,000 connections say little
    for (;;) {
      const session::wants w = answer();
      if (w == session::wants::end) return;
      if (w == session::wants::wait) {
        if (!wait()) return;
        continue;
      }
      if (session_.subscriber != nullptr && !pusher_.valid()) {
        pusher_ = gort::spawn({.name = "push"}, [this] { push(); });
      }
      const std::span<char> room = in_.room(chunk);
      const auto n = socket_->read_some(room);
      if (!n && n.error() == std::errc::timed_out) {  // woken for a wait that was over already
        static_cast<void>(socket_->set_read_deadline(gort::clock::time_point::max()));
        continue;
      }
      if (!n || *n == 0) return;
      in_.filled(*n);
      session_.srv.stats.bytes_in.fetch_add(*n, std::memory_order_relaxed);
      if (*n == room.size() && chunk < (64u << 10)) chunk *= 2;
    }
  }

 private:
  /// Executes what has come and writes the answers.
  session::wants answer() {
    std::scoped_lock hold(writing_);
    session::wants w;
    do {
      w = session_.run(in_);
      if (!write(session_.out.out, true)) return session::wants::end;
    } while (w == session::wants::flush);
    return w;
  }

  /// A command waits: for whoever serves it, its time, or the client's end, which only a read sees. Requests that come
  /// meanwhile are kept. False: the connection ends.
  bool wait() {
    using state = blocked::state;
    const std::shared_ptr<blocked> w = session_.waiting;
    auto until = w->deadline;
    for (;;) {
      if (!socket_->set_read_deadline(until)) return false;
      if (w->over()) break;  // who serves it ends the read after that
      if (in_.waiting() > most_kept_) return false;
      const std::span<char> room = in_.room(2 << 10);
      const auto n = socket_->read_some(room);
      if (n && *n > 0) {
        in_.filled(*n);
      } else if (n || n.error() != std::errc::timed_out) {
        w->claim(state::gone);
        return false;
      } else if (gort::clock::now() >= w->deadline && !w->claim(state::timed_out)) {
        until =
            gort::clock::time_point::max();  // somebody serves it just now, and will end the read
      }
    }
    static_cast<void>(socket_->set_read_deadline(gort::clock::time_point::max()));
    std::scoped_lock hold(writing_);
    session_.end_wait();
    return write(session_.out.out, true);
  }

  /// `reads`: nobody else reads the socket meanwhile.
  bool write(std::string& text, bool reads) {
    if (text.empty()) return true;
    // The janitor closes the socket of who does not read for too long (server.cc).
    // The time of the last command would not do: a subscriber's, or one's who has waited, may be hours old. Nor would one
    // time for all of it: a large answer over a thin line takes long, and is read all the while.
    constexpr std::size_t kPiece = 256 << 10;
    bool done = true;
    for (std::string_view rest = text; done && !rest.empty();) {
      session_.writing_since.store(session_.srv.now_ms(), std::memory_order_relaxed);
      const std::string_view piece = rest.substr(0, kPiece);
      std::size_t written = 0;
      const auto r = socket_->write_all(piece, &written);
      done = r.has_value() || (r.error() == std::errc::timed_out &&
                               write_and_read(piece.substr(written), reads));
      rest.remove_prefix(piece.size());
    }
    session_.writing_since.store(0, std::memory_order_relaxed);
    session_.srv.stats.bytes_out.fetch_add(text.size(), std::memory_order_relaxed);
    // One huge answer does not make the connection a large one for good.
    if (text.capacity() > (1u << 20)) std::string().swap(text);
    text.clear();
    return done;
  }

  /// A client that sends all of a long pipeline before it reads the first answer waits for us to read, and we for him. The
  /// janitor has seen that (read_on): his requests are read and kept, so many as a request may be large, until he takes answers.
  bool write_and_read(std::string_view text, bool reads) {
    gort::task<void> reader;
    if (reads) {
      reader = gort::spawn({.name = "read on"}, [this] {
        while (in_.waiting() <= most_kept_) {
          const std::span<char> room = in_.room(64 << 10);
          const auto n = socket_->read_some(room);
          if (!n || *n == 0) return;  // whoever reads next is told the same
          in_.filled(*n);
          session_.srv.stats.bytes_in.fetch_add(*n, std::memory_order_relaxed);
        }
      });
    }
    gort::net::result<void> r;
    do {
      static_cast<void>(socket_->set_write_deadline(gort::net::no_deadline));
      std::size_t written = 0;
      r = socket_->write_all(text, &written);
      text.remove_prefix(written);
    } while (!r && r.error() == std::errc::timed_out);
    if (reads) {
      static_cast<void>(socket_->set_read_deadline(gort::clock::now()));
      reader.get();
      static_cast<void>(socket_->set_read_deadline(gort::net::no_deadline));
    }
    return r.has_value();
  }

  /// Messages, as they come, until the connection ends.
  void push() {
    const auto from = session_.subscriber->messages;
    try {
      while (auto first = from.recv()) {
        std::scoped_lock hold(writing_);
        session_.take(**first);
        session_.take_mail();
        if (!write(session_.out.out, false)) break;
      }
    } catch (const std::exception&) {  // no memory for a message: nobody takes the next ones
    }
    socket_->close();
  }

  std::shared_ptr<gort::net::conn> socket_;  // shared with whoever may close it
  gort::mutex writing_;
  const std::size_t most_kept_;  // of requests behind one that waits
  parser in_;
  session session_;
  gort::task<void> pusher_;  // its end cancels and waits: the rest is still there
};

/// One connection that counts against --maxclients, from its acceptance to its end.
class place {
 public:
  explicit place(server& s) noexcept : open_(&s.stats.open) {
    open_->fetch_add(1, std::memory_order_relaxed);
  }
  place(place&& o) noexcept : open_(std::exchange(o.open_, nullptr)) {}
  ~place() {
    if (open_ != nullptr) open_->fetch_sub(1, std::memory_order_relaxed);
  }

 private:
  std::atomic<std::int64_t>* open_;
};

}  // namespace

void accept_clients(server& srv, gort::net::listener& from, gort::scope& clients) {
  for (;;) {
    auto c = from.accept_some();
    if (!c) {
      if (c.error() == gort::net::closed || c.error() == std::errc::operation_canceled) return;
      gort::this_goroutine::sleep_for(10ms);  // the system's trouble, for now
      continue;
    }
    srv.stats.connections.fetch_add(1, std::memory_order_relaxed);
    place taken(srv);
    if (srv.stats.open.load(std::memory_order_relaxed) >
        srv.config.max_clients.load(std::memory_order_relaxed)) {
      srv.stats.rejected.fetch_add(1, std::memory_order_relaxed);
      static_cast<void>(c->write_some("-ERR max number of clients reached\r\n"));
      continue;
    }
    // What one of them throws (no memory for a request) would be the end of all: they share a scope.
    try {
      clients.go({.name = "client"},
                 [&srv, taken = std::move(taken), socket = std::move(*c)]() mutable {
                   try {
                     connection(srv, std::move(socket)).serve();
                   } catch (const std::exception&) {
                     srv.stats.errors.fetch_add(1, std::memory_order_relaxed);
                   }
                 });
    } catch (const std::bad_alloc&) {
      srv.stats.rejected.fetch_add(1, std::memory_order_relaxed);
    }
  }
}

void hang_up_all(server& srv) {
  std::scoped_lock hold(srv.clients.lock);
  for (const auto& [id, s] : srv.clients.all) {
    if (s->line.end_reading) s->line.end_reading();
  }
}

}  // namespace kv
