// gort: making sockets, as listen, dial and datagrams do.
#pragma once

#include <vector>

#include "api/net_fd.h"
#include "gort/net/dial.h"

namespace gort::inline v0::net::detail {

/// A non-blocking, close-on-exec socket for this kind of address. Positive: a descriptor; else -errno.
int make_socket(const address& for_this, int type) noexcept;
/// PollDesc::kind of a stream: TCP, or another socket. A read of a Unix stream ends behind a message with descriptors (and where
/// the sender changes), although there is more: that one is no kPollStream.
std::uint16_t stream_kind(const address& of) noexcept;
/// Of a descriptor that a stranger has made; negative: -errno.
int stream_kind(int fd) noexcept;
/// There is something that SIGPIPE's default action would make dangerous to write to: a pipe's end.
bool sigpipe_is_unwanted() noexcept;
/// errno's value or 0. None of them waits.
int bind_socket(int fd, const address& where) noexcept;
int option(int fd, int level, int name, int value) noexcept;
/// TCP: no_delay and keep_alive with its defaults; others: nothing. For connections that a listener accepts as well: they
/// inherit it.
void usual_options(int fd, const address& of) noexcept;
/// Waits for the end of a connect() that is under way; heeds the context. 0 or errno.
int await_connection(net_fd* f);
/// A Unix socket's path that nobody listens on any more is removed. (Who does listen sees a connection that ends at once.)
void remove_stale(const address& where, int type) noexcept;
/// Tries all of them, one more when one has failed or `options.stagger` has passed: the first connection, or the first error.
/// Throws `cancelled`.
result<conn> dial_first(const std::vector<address>& all, const dial_options& options);
/// Host and port of "host:port"; false: it is no such thing.
bool split_host_port(std::string_view text, std::string_view* host, std::uint16_t* port) noexcept;
/// What of address::parse or of the resolver this text means, several.
result<std::vector<address>> addresses_of(std::string_view text);

}  // namespace gort::inline v0::net::detail
