// gort: making connections, and finding the addresses of names.
//
//   gort::with_timeout limit(2s);
//   auto c = gort::net::dial("db.example.org:5432");
//
// dial("name:port") tries all addresses of the name: IPv6 and IPv4 in turn, the next one when one has failed or has
// not answered for a quarter of a second; the first connection that stands wins and the others are dropped (RFC 8305,
// "happy eyeballs"). The time limit is the caller's context; a dial that it ends gives operation_canceled. If all fail: the first error.
//
// A Unix listener whose queue is full is asked again every few milliseconds, as long as the context allows. Where nobody
// listens, a TCP dial can be connected with itself, if the system picks that port for it: that is connection_refused here.
//
// Names are resolved by the C library (getaddrinfo) in gort::blocking, on a thread of its own: it holds no processor
// meanwhile, but cannot be interrupted: a cancelled dial leaves it behind, and its answer is dropped. At most 128 are under
// way at a time; others wait their turn, as their contexts allow.
#pragma once

#include <chrono>
#include <vector>

#include "gort/net/conn.h"

namespace gort::inline v0::net {

struct dial_options {
  std::chrono::milliseconds stagger{250};  ///< until the next address is tried beside those under way
  std::optional<address> local = {};       ///< from where; nothing: the system says
};

/// TCP or Unix, by the form of the text.
result<conn> dial(std::string_view where, const dial_options& options = {});
/// One address.
result<conn> dial(const address& where, const dial_options& options = {});

/// All addresses of a host, in the system's order (RFC 6724), with this port. Numeric ones need no look-up. An
/// error: of resolve_category(), or the system's; invalid_argument: empty, or with a zero in it.
result<std::vector<address>> resolve(std::string_view host, std::uint16_t port);

/// Errors of the resolver: values of getaddrinfo, EAI_NONAME and so on.
const std::error_category& resolve_category() noexcept;

}  // namespace gort::inline v0::net
