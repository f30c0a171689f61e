// One client: what it has said about itself, its transaction, its subscriptions, and the way of a request from bytes to
// an answer. It knows no sockets: bytes come in by a parser, answers go into a string (network.cc has the rest).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "blocking.h"
#include "command.h"
#include "keyspace.h"
#include "pipeline.h"
#include "pubsub.h"
#include "reply.h"
#include "resp_parser.h"

namespace kv {

class server;

class session {
 public:
  /// How others can end the connection; any goroutine may call these, any number of times. Empty: they cannot.
  struct connection_line {
    std::function<void()> close;        ///< now
    std::function<void()> end_reading;  ///< after the requests that are there
    std::function<void()> wake;         ///< ends a read that waits because a command does
    std::function<int()> unread;        ///< bytes that have been written and that the client's side has not taken
    std::function<void()> read_on;      ///< a write waits: read what the client sends meanwhile
  };
  /// Registers with the server, until it ends.
  session(server& s, std::string peer, connection_line line);
  ~session();
  session(const session&) = delete;
  session& operator=(const session&) = delete;

  enum class wants { input, flush, wait, end };
  /// Executes the requests that the parser has. `flush`: `out` is long, and there are more. `wait`: until `waiting` is over,
  /// then end_wait, then again.
  wants run(parser& p);
  /// Runs a command on locked keys; what it throws becomes the answer. False: it has thrown.
  bool answer(const command& c, std::span<const std::string_view> args);

  server& srv;
  const std::uint64_t id;
  const std::string peer;
  const connection_line line;
  reply out;
  access db;
  bool closing = false;  ///< after what is in `out`
  bool authenticated;    ///< has said --requirepass' password, or there was none when it came
  enum class replies { on, off, skip_this, skip_next } replies = replies::on;

  // Guarded by the clients' lock, since CLIENT LIST shows them.
  std::string name, library, library_version;
  // For others to read.
  std::atomic<std::int64_t> connected_at, active_at;
  std::atomic<const command*> last{nullptr};
  std::atomic<std::int64_t> writing_since{0};  ///< ms, or when it was seen to get on; 0: not in a write
  int unread = 0;                              ///< when the janitor looked last; the janitor's
  std::atomic<std::size_t> buffers{0};
  std::atomic<std::uint32_t> subscribed{0};

  struct queued {
    const command* what;
    std::vector<std::string> args;
  };
  struct {
    bool open = false;     ///< after MULTI
    bool broken = false;   ///< something could not be queued
    bool running = false;  ///< in EXEC
    std::vector<queued> queue;
    std::size_t bytes = 0;  ///< of the queue, about
    std::shared_ptr<watcher> watched;
    std::vector<std::string> watched_keys;
  } transaction;
  void end_transaction();
  void unwatch();

  std::shared_ptr<blocked> waiting;    ///< of the command that waits; null: none does
  std::shared_ptr<blocked> published;  ///< the same for CLIENT UNBLOCK; under the clients' lock
  /// It is over, or the client is gone: the answer, into `out`.
  void end_wait();

  std::shared_ptr<inbox> subscriber;  ///< null until the first subscription
  std::set<std::string, std::less<>> channels, patterns;
  outgoing mail;  ///< to be delivered when no lock is held
  std::size_t subscriptions() const noexcept { return channels.size() + patterns.size(); }
  void open_inbox();
  void leave_all();
  /// A message out of the inbox, into `out`; not if its subscription has ended meanwhile: a client takes what comes after
  /// that for an answer.
  void take(const message& m);
  /// What is in the inbox now, into `out`.
  void take_mail();

 private:
  void execute(const command* c, std::span<const std::string_view> args);
  bool refuse(const command& c, std::span<const std::string_view> args);
  void queue(const command& c, std::span<const std::string_view> args);
  void begin_wait();
  /// Those who wait for keys that the command has made.
  void serve_waiting();

  pipeline ahead_;
};

}  // namespace kv
