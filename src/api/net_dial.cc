#include "gort/net/dial.h"

#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "api/net_socket.h"
#include "gort/blocking.h"
#include "gort/cancelled.h"
#include "gort/chan.h"
#include "gort/event.h"
#include "gort/go.h"
#include "gort/select.h"
#include "gort/semaphore.h"
#include "gort/this_goroutine.h"
#include "gort/timer.h"

namespace gort::inline v0::net {

using detail::fails;

namespace {

class resolver_errors final : public std::error_category {
 public:
  const char* name() const noexcept override { return "gort.resolve"; }
  std::string message(int value) const override { return ::gai_strerror(value); }
};

}  // namespace

const std::error_category& resolve_category() noexcept {
  // Never destroyed.
  alignas(resolver_errors) static std::byte room[sizeof(resolver_errors)];
  static const auto* made = ::new (room) resolver_errors;
  return *made;
}

// ---- names -------------------------------------------------------------------------------------

namespace {

[[gnu::noinline]] int last_errno() noexcept { return errno; }

/// Blocks the thread.
result<std::vector<address>> look_up(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  const int e = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (e == EAI_SYSTEM) return fails(last_errno());
  if (e != 0) return std::unexpected(std::error_code(e, resolve_category()));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(list, ::freeaddrinfo);
  std::vector<address> all;
  for (const addrinfo* a = list; a != nullptr; a = a->ai_next) {
    all.push_back(address::from_raw(a->ai_addr, a->ai_addrlen).with_port(port));
  }
  if (all.empty()) return std::unexpected(std::error_code(EAI_NONAME, resolve_category()));
  return all;
}

/// Shared by who asks and the goroutine that looks up, whoever lasts longer.
struct question {
  std::string host;
  std::uint16_t port = 0;
  result<std::vector<address>> answer;
  event answered;
};

/// Each holds a thread for as long as the resolver takes, and too many threads are the program's end.
constexpr int kLookUps = 128;
constinit semaphore look_ups(kLookUps);

}  // namespace

result<std::vector<address>> resolve(std::string_view host, std::uint16_t port) {
  std::string numeric(host);
  if (numeric.find(':') != numeric.npos && !numeric.starts_with('[')) numeric = '[' + numeric + ']';
  // What looks like the path of a Unix socket is one for dial, but no host.
  if (auto a = address::parse(numeric + ':' + std::to_string(port)); a && a->family() != family::local && !host.empty()) {
    return std::vector<address>{*a};
  }
  if (host.empty() || host.find('\0') != host.npos) return fails(EINVAL);
  auto q = std::make_shared<question>();
  q->host = host;
  q->port = port;
  try {
    look_ups.acquire();
    try {
      gort::go({.name = "resolve"}, [q] {
        q->answer = gort::blocking([&] { return look_up(q->host, q->port); });
        look_ups.release();
        q->answered.set();
      });
    } catch (...) {
      look_ups.release();
      throw;
    }
    q->answered.wait();
  } catch (const cancelled&) {
    return fails(ECANCELED);
  }
  return std::move(q->answer);
}

// ---- connections -------------------------------------------------------------------------------

namespace {

constexpr std::chrono::milliseconds kLongestPause(10);

result<int> socket_for(const address& where, const dial_options& options) {
  const int fd = detail::make_socket(where, SOCK_STREAM);
  if (fd < 0) return fails(-fd);
  detail::usual_options(fd, where);
  if (!options.local) return fd;
  const int e = detail::bind_socket(fd, *options.local);
  if (e == 0) return fd;
  os::fd_close(fd);
  return fails(e);
}

/// 0, or -errno; -EINPROGRESS: it is under way.
int begin_connection(int fd, const address& where) {
  for (std::chrono::milliseconds pause(1);; pause = std::min(pause * 2, kLongestPause)) {
    const int r = os::io_connect(fd, where.raw(), where.raw_size());
    // A Unix listener's queue is full. The kernel tells nobody when there is room: that has to be asked for.
    if (r != -EAGAIN || where.family() != family::local) return r;
    try {
      this_goroutine::sleep_for(pause);
    } catch (const cancelled&) {
      return -ECANCELED;
    }
  }
}

/// Nobody listens there, but the system has chosen just that port as ours: two that call each other at the same time are
/// connected, and so is one that calls itself.
bool with_itself(detail::net_fd* f, const dial_options& options) {
  if (options.local && options.local->port() != 0) return false;  // he who asks for it gets it
  const address own = detail::fd_address(f, false);
  return own.port() != 0 && own == detail::fd_address(f, true);
}

}  // namespace

result<conn> dial(const address& where, const dial_options& options) {
  if (rt::is_cancelled(gort::detail::cancellation())) return fails(ECANCELED);
  const result<int> fd = socket_for(where, options);
  if (!fd) return std::unexpected(fd.error());
  // Added to the poller after connect() has begun: before, the kernel calls it hung up.
  const int begun = begin_connection(*fd, where);
  if (begun != 0 && begun != -EINPROGRESS) {
    os::fd_close(*fd);
    return fails(-begun);
  }
  result<detail::fd_owner> f = detail::own_fd(*fd, detail::stream_kind(where), begun != 0);
  if (!f) return std::unexpected(f.error());
  if (begun != 0) {
    if (const int e = detail::await_connection(f->get()); e != 0) return fails(e);
  }
  if (with_itself(f->get(), options)) {
    const ::linger none{1, 0};  // the port is free at once for who wants to listen there
    static_cast<void>(detail::set_option(f->get(), SOL_SOCKET, SO_LINGER, &none, sizeof none));
    return fails(ECONNREFUSED);
  }
  return conn(*std::move(f));
}

namespace {

/// IPv6 and IPv4 in turn, the first one's family first.
std::vector<address> interleave(const std::vector<address>& all) {
  std::vector<address> same, other, out;
  for (const address& a : all) (a.family() == all.front().family() ? same : other).push_back(a);
  for (std::size_t i = 0; i < std::max(same.size(), other.size()); ++i) {
    if (i < same.size()) out.push_back(same[i]);
    if (i < other.size()) out.push_back(other[i]);
  }
  return out;
}

}  // namespace

result<conn> detail::dial_first(const std::vector<address>& all, const dial_options& options) {
  chan<result<conn>> answers(static_cast<std::ptrdiff_t>(all.size()));
  std::vector<task<void>> attempts;  // their ends cancel and join
  std::optional<std::error_code> first_error;
  std::size_t failed = 0;
  while (failed < all.size()) {
    if (attempts.size() < all.size()) {
      attempts.push_back(spawn([answers, where = all[attempts.size()], &options] { answers.send(dial(where, options)); }));
    }
    std::optional<result<conn>> got;
    if (attempts.size() < all.size()) {
      if (select(answers.on_recv(got), after(options.stagger)) == 1) continue;
    } else {
      got = answers.recv();
    }
    if (*got) return *std::move(got);
    if (!first_error) first_error = got->error();
    ++failed;
  }
  return std::unexpected(*first_error);
}

result<conn> dial(std::string_view where, const dial_options& options) {
  const result<std::vector<address>> all = detail::addresses_of(where);
  if (!all) return std::unexpected(all.error());
  if (all->size() == 1) return dial(all->front(), options);
  try {
    return detail::dial_first(interleave(*all), options);
  } catch (const cancelled&) {
    return fails(ECANCELED);
  }
}

}  // namespace gort::inline v0::net
