// gort: how calls into the outside world answer: a value, or the system's error. Nothing in gort::net and gort::os
// throws for what the world does; memory that is not there throws std::bad_alloc.
//
//   error (compare with ==)                  means
//   std::errc::operation_canceled            the caller's context is cancelled; this_goroutine::context().cause() says why
//   std::errc::timed_out                     the deadline of this direction has passed (set_deadline and its like)
//   std::errc::bad_file_descriptor           it is closed, has been closed while we waited, or was moved from
//   anything else                            what the kernel has said: connection_reset, broken_pipe, address_in_use ...
//   net::resolve_category()'s                a name that could not be resolved
//
// End of file is no error: 0 bytes. A peer that is gone is broken_pipe or connection_reset; there is no SIGPIPE.
#pragma once

#include <expected>
#include <system_error>

#include "gort/config.h"

namespace gort::inline v0::net {

template <class T>
using result = std::expected<T, std::error_code>;

/// What calls give on something that is closed.
inline constexpr std::errc closed = std::errc::bad_file_descriptor;

}  // namespace gort::inline v0::net
